"""The steps of both ways: `fit_volume` and `encode` to an `InrVolume`, `decompress` back, `measure` between.

`session` makes the one way there of them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from os import PathLike
from threading import Event
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .compute.device import errors_in_words, find_device
from .core.choices import Device
from .core.errors import FitError, InrFileError
from .core.lowres import LowRes, low_res
from .core.memory import check_memory
from .core.place import Place
from .core.region import Region
from .core.resample import lr_shape
from .core.scratch import room
from .core.volume import Geometry, Volume
from .fields.base import FitProgress, FitResult, FitState
from .fields.registry import find_kind
from .fields.samples import MOST_SHARES, LrSamples
from .fields.settings import Settings
from .inr_volume import InrVolume, UpscalerRef
from .measuring import OnSlices
from .reader import Reader
from .superres.upscale import Upscaler, find_restorer

BYTES_A_SHARE = 4  # of an LR's importance

DecodedLevel = Literal["best", "hr", "exact"]


def decompress(
    inr: InrVolume,
    *,
    upscaler: Upscaler | None = None,
    weights: Iterable[str | PathLike[str] | bytes | None] = (),
    device: Device = "auto",
    level: DecodedLevel = "best",
    on_slices: OnSlices | None = None,
    warn: Callable[[str], object] = warnings.warn,
) -> Volume:
    """Return the volume: voxels (z, y, x) in the original's units and dtype, at its full resolution.

    They are those of the exact layer where there is one, else the reconstruction; `level` chooses one of
    both. If a part of the exact layer is damaged, `best` takes the reconstruction there and tells `warn`,
    and `exact` raises InrFileError.

    The super-resolution network that the `InrVolume` names is taken with the weights of that SHA-256: from
    `weights`, which are weights files of your own, or what `io.inr_file.read_model` found embedded in the
    `.inr`; or from those that ship. Without them Lanczos restores, and `warn` is told so. `upscaler`
    replaces what the `InrVolume` names. Where the original had padding, the reconstruction has its lowest
    intensity. The voxels of a volume that is large for the memory lie in a nameless file; a part of it is
    read by `reader.Reader`, and `Decoded` never holds the whole. Raises InrFileError on damaged weights of
    the fit, and if there is no room for the volume.
    """
    upscaler = upscaler or find_restorer(inr, warn, weights=weights, device=device)
    shape, dtype = inr.geometry.shape, np.dtype(inr.dtype)
    what = f"the whole volume, {' x '.join(map(str, shape))} {dtype},"
    voxels = room(
        shape, dtype, what, "open the file in napari, which decodes the slice in view alone", InrFileError
    )
    source = Decoded(Reader(inr, upscaler, device=device), level, warn)
    for z, plane in enumerate(source.slices()):
        voxels[z] = plane
        if on_slices is not None:
            on_slices(z + 1, len(voxels))
    return Volume(voxels=voxels, geometry=inr.geometry, units=inr.units, padding=source.padding)


@dataclass(frozen=True)
class Decoded:
    """The decoded volume as a `Source`: decoded where it is read, its range known from the file.

    `warn` is told of damaged parts of an exact layer, in whose place `slices` gives the reconstruction if
    the level is the best.
    """

    reader: Reader
    level: DecodedLevel = "best"
    warn: Callable[[str], object] = warnings.warn

    @property
    def padding(self) -> float | None:
        """The original's, at level `exact`; at `hr` what was padded comes back as the lowest intensity."""
        return self.reader.inr.padding if self._level == "exact" else None

    @property
    def geometry(self) -> Geometry:
        """Where the voxels lie."""
        return self.reader.geometry()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Their type, that of the original."""
        return self.reader.dtype()

    @property
    def units(self) -> str:
        """What their values are in."""
        return self.reader.inr.units

    @property
    def intensity_range(self) -> tuple[float, float]:
        """The smallest and the largest value of the original, which no voxel leaves."""
        return self.reader.inr.intensity_range

    def read(self, region: Region) -> NDArray[Any]:
        """Return the voxels of a region (z, y, x)."""
        return self.reader.read(region, self._level)

    def slices(self) -> Iterator[NDArray[Any]]:
        """Yield every slice (y, x), read-only, in order; on all cores."""
        best = self.level == "best"
        for _, plane in self.reader.best_slices(self.warn) if best else self.reader.slices(self._level):
            yield plane

    @property
    def _level(self) -> Literal["hr", "exact"]:
        return self.reader.best if self.level == "best" else self.level


def fit_volume(
    volume: Volume,
    settings: Settings,
    *,
    device: Device = "auto",
    stop: Event | None = None,
    drop: Event | None = None,
    resume: FitState | None = None,
    lr: LowRes | None = None,
    place: Place | None = None,
) -> Generator[FitProgress, None, FitResult]:
    """Downsample the volume and fit a network to its LR; yields progress, returns the best network.

    From another thread, `stop` ends the fit with what it has, `drop` with a FitError and at once. `resume`
    is where an earlier fit stood (`FitResult.state`, `FitProgress.state()`, kept in a file by
    `fields.state_file`): this one resumes there. Raises FitError if that was of another volume,
    other settings or another kind of device, VolumeError if a network is asked for and the volume holds
    one single value. `lr` is the volume's LR by the settings' factor, if it is at hand. Boxes are
    fitted at `place`.
    """
    check_fittable(volume, settings)
    torch_device = find_device(device)
    check_fit_memory(volume, settings)
    lr = low_res(volume, settings.factor) if lr is None else lr
    with errors_in_words(torch_device):
        samples = LrSamples(
            lr.voxels,
            hr_shape=volume.shape,
            factor=settings.factor,
            intensity_range=volume.intensity_range,
            device=torch_device,
            counted=lr.counted,
            drop=drop,
        )
    return (
        yield from find_kind(settings.field.kind).fit(samples, settings, torch_device, stop, resume, place)
    )


def check_fittable(volume: Volume, settings: Settings) -> None:
    """Raise VolumeError if no field of these settings can be fitted; a constant can be to any volume."""
    if find_kind(settings.field.kind).preview:
        volume.check_fittable()


def check_fit_memory(volume: Volume, settings: Settings) -> None:
    """Raise FitError if memory does not suffice for what a fit keeps beside the LR."""
    samples = math.prod(lr_shape(volume.shape, settings.factor))
    fitting = find_kind(settings.field.kind).bytes_of_fit(settings)
    check_memory(
        BYTES_A_SHARE * min(samples, MOST_SHARES) + fitting,
        f"a fit of {samples:,} voxels and {settings.field.parameters:,} weights",
        "choose a larger factor, a smaller network or a smaller batch",
        FitError,
    )


def encode(volume: Volume, settings: Settings, result: FitResult, upscaler: Upscaler) -> InrVolume:
    """Code the fitted weights; the quality is left to be measured."""
    if result.steps == 0:
        raise FitError("the fit was stopped before its first result; there is nothing to keep")
    return InrVolume.of(
        volume,
        replace(settings, field=result.config),
        coding=result.coding,
        payload=result.payload,
        upscaler=UpscalerRef(name=upscaler.name, sha256=upscaler.sha256),
        steps=result.steps,
    )
