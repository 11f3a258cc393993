"""What an `.inr` holds, in words; and the work of decoding it whole and of measuring it by its original."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.metrics import Comparison
from ..core.windows import Window
from ..inr.config import Device
from ..inr.inr_volume import InrVolume
from .jobs import Control
from .layers import UPSCALERS, volume_of

if TYPE_CHECKING:
    from napari.layers import Image

    from ..superres.upscale import Upscaler

DIAGNOSTIC = 15.0  # the highest ratio that is accepted for diagnosis
PEAK = "Peak: the intensity range of the original."


@dataclass(frozen=True)
class Line:
    """One thing that an `.inr` declares."""

    name: str
    value: str
    meaning: str = ""  # more of it, with its unit


@dataclass(frozen=True)
class Group:
    """What belongs together."""

    name: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """All that an `.inr` declares."""

    groups: tuple[Group, ...]
    file_bytes: int
    ratio: float  # stored pixels of the source over bytes of the file


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoded:
    """The LR or the reconstruction, whole."""

    voxels: NDArray[Any]  # (z, y, x), in the volume's units
    upscaler: str  # that was used
    notes: tuple[str, ...]  # what a person should know of it


@dataclass(frozen=True, kw_only=True, eq=False)
class Errors:
    """How far an `.inr` is from its original."""

    lr: Comparison
    lanczos: Comparison
    reconstruction: Comparison
    upscaler: str  # of the reconstruction
    notes: tuple[str, ...]


# Work for a `Job`


def look(control: Control, inr: InrVolume, path: Path | None, device: Device) -> Contents:
    """Return what an `.inr` holds; `path` is where it was opened, if it was."""
    from ..io.inr_file import VERSION, describe, to_bytes

    declared: dict[str, Any] = {"format": ".".join(map(str, VERSION)), "sections": []}
    if path is None:
        declared["file_bytes"] = len(to_bytes(inr))
    else:
        declared = describe(path)
    upscaler, notes = _restorer(inr, path, device)
    size = int(declared["file_bytes"])
    return Contents(
        groups=(
            _file(inr, path, declared, upscaler),
            _quality(inr),
            _original(inr),
            _lr(inr),
            _network(inr),
            _fit(inr),
            _upscaler(inr, upscaler, notes),
        ),
        file_bytes=size,
        ratio=inr.source_bytes / size,
    )


def decode(
    control: Control, inr: InrVolume, kind: Literal["lr", "hr"], path: Path | None, device: Device
) -> Decoded:
    """Decode the LR, or the reconstruction, whole and into memory; reports Done."""
    from .. import codec
    from ..inr.decode import LrDecoder

    decoder = LrDecoder(inr, device)
    if kind == "lr":
        voxels = np.empty(inr.lr_shape, dtype=np.float32)
        for z in range(len(voxels)):
            voxels[z] = decoder.fitted(slice(z, z + 1))[0]
            control.on_progress(z + 1, len(voxels))
        return Decoded(voxels=voxels, upscaler=inr.upscaler.name, notes=())
    upscaler, notes = _restorer(inr, path, device)
    voxels = np.empty(inr.geometry.shape, dtype=inr.dtype)
    for z in range(len(voxels)):
        voxels[z] = codec.restore_slices(decoder.slices([z]), upscaler, inr)[0]
        control.on_progress(z + 1, len(voxels))
    return Decoded(voxels=voxels, upscaler=upscaler.name, notes=notes)


def measure(
    control: Control, original: Image, inr: InrVolume, path: Path | None, device: Device, window: Window
) -> Errors:
    """Decode the `.inr` and compare it with its original, slice by slice; reports Done.

    Raises VolumeError if the layer is no volume, or not of the original's shape.
    """
    from .. import codec
    from .compare import compare_lr

    volume = volume_of(original)
    upscaler, notes = _restorer(inr, path, device)
    lr = decode(Control(), inr, "lr", path, device).voxels
    control.check()
    measured = codec.measure(
        volume, inr, upscaler, device=device, window=window, lr=lr, on_slices=control.on_progress
    )
    return Errors(
        lr=compare_lr(volume, inr, lr, window),
        lanczos=measured.lanczos,
        reconstruction=measured.reconstruction,
        upscaler=measured.upscaler,
        notes=notes,
    )


def _restorer(inr: InrVolume, path: Path | None, device: Device) -> tuple[Upscaler, tuple[str, ...]]:
    """Return the upscaler that an `.inr` names, or what takes its place and a sentence that says so."""
    from ..io.inr_file import read_model
    from .lazy import find_restorer

    notes: list[str] = []
    model = None if path is None else read_model(path)
    return find_restorer(inr, device, notes.append, model=model), tuple(notes)


# Words


def _file(inr: InrVolume, path: Path | None, declared: dict[str, Any], upscaler: Upscaler) -> Group:
    size = declared["file_bytes"]
    lines = [
        Line("Name", "not saved yet" if path is None else path.name, "" if path is None else str(path)),
        Line("Size", _bytes(size), f"{size:,} bytes" + (", once it is saved" if path is None else "")),
        Line(
            "Ratio",
            f"{inr.source_bytes / size:,.0f}:1",
            "Stored pixels of the source over bytes of the file.",
        ),
    ]
    model = 0 if any(section["tag"] == "srmd" for section in declared["sections"]) else upscaler.model_bytes
    if model:
        words = "The same, with the bytes of the super-resolution model counted, which every reader needs."
        lines.append(Line("Ratio with the model", f"{inr.source_bytes / (size + model):,.0f}:1", words))
    lines.append(Line("Format", declared["format"], "Version of the .inr format."))
    lines += [
        Line(
            f"Section {section['tag']}",
            f"{_bytes(section['bytes'])}, CRC-32 {section['crc32']}",
            "A part of the file and its checksum, which holds."
            + ("" if section["known"] else " This version does not know what it is for."),
        )
        for section in declared["sections"]
    ]
    lines.append(Line("Written by", inr.software))
    return Group("File", tuple(lines))


def _quality(inr: InrVolume) -> Group:
    quality = inr.quality
    if quality is None:
        return Group("Quality when it was made", (Line("Not measured", "", "The file records no figures."),))
    low, high = inr.intensity_range
    unit = _unit(inr)
    return Group(
        "Quality when it was made",
        (
            Line("PSNR (range), LR fit", f"{quality.lr_psnr:.1f} dB", f"Against the Lanczos LR. {PEAK}"),
            Line(
                "PSNR (range), reconstruction",
                f"{quality.hr_psnr:.1f} dB",
                f"The reconstruction against the original. {PEAK}",
            ),
            Line(
                "PSNR (range), Lanczos",
                f"{quality.lanczos_psnr:.1f} dB",
                f"The same LR put back by Lanczos alone. {PEAK}",
            ),
            Line("Peak", f"{high - low:,.0f}{unit}", "Of the PSNRs: width of the intensity range."),
            Line("RMSE", f"{quality.rmse:,.1f}{unit}", "Root mean square error of the reconstruction."),
            Line(
                "99 % of errors below",
                f"{quality.p99:,.0f}{unit}",
                "99th percentile of the reconstruction's absolute error.",
            ),
            Line("Largest error", f"{quality.max_error:,.0f}{unit}", "Of any voxel of the reconstruction."),
        ),
    )


def _original(inr: InrVolume) -> Group:
    geometry = inr.geometry
    low, high = inr.intensity_range
    unit = _unit(inr)
    positions = geometry.slice_positions
    distances = "regular"
    if positions is not None:
        steps = np.diff(positions)
        distances = f"irregular, {steps.min():.2f} to {steps.max():.2f} mm apart"
    lines = [
        Line("Voxels (z, y, x)", _shape(geometry.shape), "The reconstruction has as many."),
        Line("Spacing (z, y, x)", f"{_product(geometry.spacing)} mm", "From voxel centre to voxel centre."),
        Line("Slices", distances, "Distances along z."),
        Line(
            "Origin (x, y, z)", f"{_listed(geometry.origin)} mm", "Centre of the first voxel, LPS of DICOM."
        ),
    ]
    lines += [
        Line(f"Direction of {axis}", _listed(column), "Unit vector in patient x, y, z (LPS of DICOM).")
        for axis, column in zip("zyx", zip(*geometry.direction, strict=True), strict=True)
    ]
    lines += [
        Line("Values", f"{inr.dtype}, {'HU' if inr.units == 'HU' else 'raw'}", "Type of the decoded voxels."),
        Line("Intensity range", f"{low:,.0f} to {high:,.0f}{unit}", "Padding not counted."),
        Line(
            "Padding",
            "none" if inr.padding is None else f"{inr.padding:,.0f}{unit}",
            "Value of voxels outside the scan circle; they decode to the lowest intensity.",
        ),
        Line("Stored pixels", _bytes(inr.source_bytes), f"{inr.source_bytes:,} bytes, what the ratio is of."),
    ]
    return Group("Original", tuple(lines))


def _lr(inr: InrVolume) -> Group:
    geometry = inr.lr_geometry
    return Group(
        "LR grid",
        (
            Line("Factor (z, y, x)", _product(inr.factor, ":g"), "HR voxels per LR voxel."),
            Line("Voxels (z, y, x)", _shape(inr.lr_shape), "The grid that the network was fitted to."),
            Line(
                "Spacing (z, y, x)", f"{_product(geometry.spacing)} mm", "From voxel centre to voxel centre."
            ),
            Line(
                "Origin (x, y, z)",
                f"{_listed(geometry.origin)} mm",
                "Centre of the first voxel, LPS of DICOM.",
            ),
        ),
    )


def _network(inr: InrVolume) -> Group:
    siren = inr.siren
    return Group(
        "Network",
        (
            Line("Kind", "SIREN", "From a voxel's place (z, y, x) to its intensity."),
            Line("Layers", f"{siren.layers}", "Sine layers, as the paper counts them."),
            Line("Hidden features", f"{siren.hidden_features}", "Width of a layer."),
            Line("omega_0", f"{siren.omega_0:g}", "Frequency of the first layer."),
            Line("Hidden omega", f"{siren.hidden_omega:g}", "Frequency of the layers behind it."),
            Line("Parameters", f"{siren.parameters:,}"),
            Line("Coding", f"{inr.coding}, {_bytes(len(inr.payload))}", "How the weights are stored."),
        ),
    )


def _fit(inr: InrVolume) -> Group:
    return Group(
        "Fit",
        (
            Line("Preset", inr.fit.preset),
            Line("Steps", f"{inr.fit.steps:,}", "Done when the weights were kept."),
            Line("Seed", f"{inr.fit.seed}", "The same seed gives the same file."),
        ),
    )


def _upscaler(inr: InrVolume, found: Upscaler, notes: tuple[str, ...]) -> Group:
    wanted = inr.upscaler
    lines = [Line("Name", UPSCALERS.get(wanted.name, wanted.name), "What restores the in-plane resolution.")]
    if wanted.sha256 is not None:
        lines.append(Line("Weights", f"SHA-256 {wanted.sha256[:12]}...", wanted.sha256))
    if notes:
        lines.append(Line("Used here", UPSCALERS[found.name], " ".join(notes)))
    return Group("Upscaler", tuple(lines))


def _unit(inr: InrVolume) -> str:
    return " HU" if inr.units == "HU" else ""


def _bytes(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} B"


def _shape(shape: Iterable[int]) -> str:
    return " × ".join(str(length) for length in shape)


def _product(numbers: Iterable[float], form: str = ":.2f") -> str:
    return " × ".join(f"{{{form}}}".format(number) for number in numbers)


def _listed(numbers: Iterable[float]) -> str:
    return ", ".join(f"{number:.2f}".rstrip("0").rstrip(".") for number in numbers)
