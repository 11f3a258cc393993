"""Arguments and options that commands share, and groups of options that a command takes as one parameter."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from ..core.choices import Device
from ..core.errors import FitError, InrError
from ..fields.registry import PRESETS, find_kind, find_preset
from ..superres.catalogue import CHOICES
from ..target import PRESET, Target, one_target

if TYPE_CHECKING:
    from ..cluster import Cluster
    from ..core.volume import Triple
    from ..fields.settings import Settings

Source = Annotated[
    Path,
    typer.Argument(
        metavar="SRC",
        help="The volume to read: a DICOM folder, file, DICOMDIR or zip; a NIfTI, NRRD, MetaImage, TIFF, .npy"
        " or .npz file; an OME-Zarr image or a level of it; or a folder of PNG or TIFF slices.",
    ),
]
InrPath = Annotated[Path, typer.Argument(metavar="IN.inr", help="The .inr file to read.")]
PresetOption = Annotated[
    str,
    typer.Option(help=f"Preset for every setting that is not given as an option: {', '.join(PRESETS)}."),
]
SkipBrokenOption = Annotated[
    bool,
    typer.Option(
        "--skip-broken", help="Skip broken files of a DICOM series and report them, instead of stopping."
    ),
]
OtherUpscalerOption = Annotated[
    str | None,
    typer.Option(
        help=f"Use this upscaler instead of the one that the .inr names: {', '.join(CHOICES)}, or the path of"
        " a weights file (.safetensors)."
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object on standard output.")
]


@dataclass(frozen=True, kw_only=True)
class SeriesOptions:
    """What to read of a source that is DICOM."""

    series: Annotated[
        str | None,
        typer.Option(
            help="The DICOM series to read, if there are several: its number or key as `inr-volume series`"
            " lists them."
        ),
    ] = None
    skip_broken: SkipBrokenOption = False


SchedulerOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Spread the work over the workers of this Dask scheduler, such as tcp://host:8786 (extra"
        " cluster). Networks are fitted by those that have the resource GPU, if there are some.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Where boxes and slabs are done, if not on threads of this process."""

    scheduler: SchedulerOption = None
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Spread boxes and slabs over so many processes of this machine (extra cluster)."
        ),
    ] = None

    def place(self, device: Device) -> AbstractContextManager[Cluster | None]:
        """Give the place that is asked for. Raises InrError as `cluster.connected` does."""
        from ..cluster import connected

        if self.scheduler is not None and self.workers is not None:
            raise InrError(
                "--workers starts workers here, --scheduler takes those that run; give one of them"
            )
        if self.scheduler is None and self.workers is None:
            return nullcontext()
        return connected(self.scheduler, self.workers or 1, device)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where a command computes, what it may write over, and how it reports."""

    device: Annotated[Device, typer.Option(help="Device to compute on; auto uses a GPU if there is one.")] = (
        "auto"
    )
    force: Annotated[
        bool,
        typer.Option("--force", help="Overwrite an existing output file of any kind, but never the source."),
    ] = False
    as_json: JsonOption = False


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """A preset, and settings that replace its own."""

    preset: PresetOption = "default"
    factor: Annotated[
        str | None,
        typer.Option(
            help="Downsampling factor of the low-resolution (LR) grid that the network is fitted to: one"
            " number for all axes, or three for z,y,x such as 1,4,4."
        ),
    ] = None
    layers: Annotated[int | None, typer.Option(help="Number of sine layers of the network.")] = None
    hidden: Annotated[
        int | None, typer.Option(help="Hidden features of the network: the width of each layer.")
    ] = None
    boxes: Annotated[
        int | None,
        typer.Option(help="Cut the volume into this many parts, each with a network of its own."),
    ] = None
    omega: Annotated[
        float | None, typer.Option(help="omega_0, the frequency of the network's first layer.")
    ] = None
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate of the fit.")] = None
    batch: Annotated[int | None, typer.Option(help="Voxels of the LR grid in each step of the fit.")] = None
    steps: Annotated[
        int | None,
        typer.Option(
            help="Total steps of the fit, its tuning included; the learning rate is adapted to them."
        ),
    ] = None
    bits: Annotated[
        float | None,
        typer.Option(help="Bits per weight in the file. Fewer: a smaller file that keeps less of the fit."),
    ] = None
    lr_psnr: Annotated[
        float | None,
        typer.Option(help="End the fit once the LR grid reaches this PSNR in dB (peak: intensity range)."),
    ] = None
    seed: Annotated[
        int | None, typer.Option(help="Seed for the random numbers; the same seed gives the same file.")
    ] = None

    def settings(self) -> Settings:
        """Return the preset with the given options in its place. Raises FitError on bad values."""
        settings = find_preset(self.preset)
        kind = find_kind(settings.field.kind)
        options = {
            "all_steps": self.steps,
            "hidden_features": self.hidden,
            "layers": self.layers,
            "boxes": self.boxes,
            "omega_0": self.omega,
            "learning_rate": self.learning_rate,
            "batch": self.batch,
            "weight_bits": self.bits,
            "target_psnr": self.lr_psnr,
            "seed": self.seed,
        }
        for name, value in options.items():
            if value is not None:
                settings = kind.with_option(settings, name, value)
        if self.factor is not None:
            settings = replace(settings, factor=_parse_factor(self.factor), by_volume=())
        return settings


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """What is asked of the file; at most one of them."""

    max_bytes: Annotated[
        int | None,
        typer.Option(
            help="Choose factor, hidden features, boxes and bits per weight for the best file of at most this"
            " many bytes."
        ),
    ] = None
    ratio: Annotated[
        float | None,
        typer.Option(
            help="Choose factor, hidden features, boxes and bits per weight for the best file of this ratio:"
            " bytes of the source's pixels / bytes of the file."
        ),
    ] = None
    target_psnr: Annotated[
        float | None,
        typer.Option(
            help="Choose factor, hidden features, boxes and bits per weight for the smallest file whose"
            " reconstruction reaches this PSNR in dB (peak: intensity range)."
        ),
    ] = None

    def beside(self, fit: FitOptions) -> Target:
        """Return the target, beside these settings. Raises FitError if it or they are one too many."""
        target = one_target(max_bytes=self.max_bytes, ratio=self.ratio, target_psnr=self.target_psnr)
        if target != PRESET and (fit.factor, fit.hidden, fit.boxes, fit.bits) != (None,) * 4:
            raise FitError(
                "a target chooses --factor, --hidden, --boxes and --bits; leave those out, or the target"
            )
        return target


@dataclass(frozen=True, kw_only=True)
class ExactOptions:
    """Whether the file holds the voxels themselves, too."""

    lossless: Annotated[
        bool,
        typer.Option(
            "--lossless", help="Add an exact layer, from which decompress gives every voxel as it was."
        ),
    ] = False
    max_error: Annotated[
        float | None,
        typer.Option(
            metavar="K",
            help="Add an exact layer, from which decompress gives every voxel to within K, in the volume's"
            " units; 0 is --lossless.",
        ),
    ] = None
    exact_only: Annotated[
        bool,
        typer.Option(
            "--exact-only",
            help="Fit no network: the file holds the exact layer alone, lossless without --max-error.",
        ),
    ] = False

    def bound(self) -> float | None:
        """Return the largest error; None without an exact layer. Raises FitError if two are given."""
        if self.lossless and self.max_error:
            raise FitError("--lossless is --max-error 0; give only one of them")
        lossless = self.lossless or (self.exact_only and self.max_error is None)
        return 0.0 if lossless else self.max_error


@dataclass(frozen=True, kw_only=True)
class UpscalerOptions:
    """What restores the fit's grid to the full resolution, and whether it travels with the file."""

    upscaler: Annotated[
        str,
        typer.Option(
            help=f"What restores the in-plane resolution: {', '.join(CHOICES)}, or the path of your own"
            " weights file (.safetensors). auto takes what restores slices of the volume best."
        ),
    ] = "auto"
    embed_model: Annotated[
        bool,
        typer.Option(
            "--embed-model",
            help="Embed the upscaler's weights in the .inr, so that decoding needs no separate weights file.",
        ),
    ] = False


def expanded(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command as typer is to see it: each group of options replaced by the options themselves.

    A group is a parameter whose type is a dataclass; its fields become parameters, in its place.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if is_dataclass(kind) and isinstance(kind, type)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += _options_of(groups[name])
        else:
            only = inspect.Parameter.KEYWORD_ONLY
            parameters.append(parameter.replace(kind=only, annotation=hints[name]))

    @functools.wraps(command)
    def run(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _options_of(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]


def _parse_factor(text: str) -> Triple:
    try:
        numbers = [float(part) for part in text.replace("x", ",").split(",")]
        z, y, x = numbers * 3 if len(numbers) == 1 else numbers
    except ValueError:
        raise FitError(f"--factor is one number, or three for z,y,x such as 1,4,4; got {text!r}") from None
    return z, y, x
