"""The steps of both ways: `fit_volume` and `encode` to an `InrVolume`, `decompress` back, `measure` between.

`session` makes the one way there of them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from os import PathLike
from threading import Event
from typing import Literal

import numpy as np

from .compute.device import errors_in_words, find_device
from .core.choices import Device
from .core.errors import FitError, InrFileError
from .core.lowres import LowRes, low_res
from .core.memory import check_memory
from .core.resample import lr_shape
from .core.volume import Volume
from .fields.base import FitProgress, FitResult, FitState
from .fields.registry import find_kind
from .fields.samples import LrSamples
from .fields.settings import Settings
from .inr_volume import InrVolume, UpscalerRef
from .measuring import OnSlices
from .reader import Reader
from .superres.upscale import Upscaler, find_restorer

# Of a fit, on the CPU or a GPU that shares its memory: intensity, and with padding its share and index too.
BYTES_A_SAMPLE, BYTES_A_PADDED_SAMPLE = 4, 17


def decompress(
    inr: InrVolume,
    *,
    upscaler: Upscaler | None = None,
    weights: Iterable[str | PathLike[str] | bytes | None] = (),
    device: Device = "auto",
    level: Literal["best", "hr", "exact"] = "best",
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
    intensity. A part of the volume, or a volume larger than memory, is read by `reader.Reader`. Raises
    InrFileError on damaged weights of the fit, and if the volume is larger than memory.
    """
    check_whole(inr)
    reader = Reader(inr, upscaler or find_restorer(inr, warn, weights=weights, device=device), device=device)
    voxels = np.empty(reader.shape(), dtype=reader.dtype())
    slices = reader.best_slices(warn) if level == "best" else reader.slices(level)
    for z, plane in slices:
        voxels[z] = plane
        if on_slices is not None:
            on_slices(z + 1, len(voxels))
    exact = inr.exact is not None and level != "hr"
    return Volume(
        voxels=voxels, geometry=inr.geometry, units=inr.units, padding=inr.padding if exact else None
    )


def fit_volume(
    volume: Volume,
    settings: Settings,
    *,
    device: Device = "auto",
    stop: Event | None = None,
    drop: Event | None = None,
    resume: FitState | None = None,
    lr: LowRes | None = None,
) -> Generator[FitProgress, None, FitResult]:
    """Downsample the volume and fit a network to its LR; yields progress, returns the best network.

    From another thread, `stop` ends the fit with what it has, `drop` with a FitError and at once. `resume`
    is where an earlier fit stood (`FitResult.state`, `FitProgress.state()`, kept in a file by
    `fields.state_file`): this one resumes there. Raises FitError if that was of another volume,
    other settings or another kind of device, VolumeError if a network is asked for and the volume holds
    one single value. `lr` is the volume's LR by the settings' factor, if it is at hand.
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
    return (yield from find_kind(settings.field.kind).fit(samples, settings, torch_device, stop, resume))


def check_fittable(volume: Volume, settings: Settings) -> None:
    """Raise VolumeError if no field of these settings can be fitted; a constant can be to any volume."""
    if find_kind(settings.field.kind).preview:
        volume.check_fittable()


def check_fit_memory(volume: Volume, settings: Settings) -> None:
    """Raise FitError if memory does not suffice for what a fit keeps beside the LR."""
    samples = math.prod(lr_shape(volume.shape, settings.factor))
    fitting = find_kind(settings.field.kind).bytes_of_fit(settings)
    a_sample = BYTES_A_SAMPLE if volume.padding is None else BYTES_A_PADDED_SAMPLE
    check_memory(
        a_sample * samples + fitting,
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


def check_whole(inr: InrVolume) -> None:
    """Raise InrFileError if the reconstruction does not fit into memory."""
    size = " x ".join(map(str, inr.geometry.shape))
    check_memory(
        math.prod(inr.geometry.shape) * np.dtype(inr.dtype).itemsize,
        f"the whole volume, {size} {inr.dtype},",
        "open the file in napari, which decodes the slice in view alone, or use a machine with more memory",
        InrFileError,
    )
