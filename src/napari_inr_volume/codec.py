"""The steps of both ways: `fit_volume` and `encode` to an `InrVolume`, `decompress` back, `measure` between.

`session` makes the one way there of them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compute.device import errors_in_words, find_device
from .core.choices import Device
from .core.errors import FitError, InrFileError, ModelError, VolumeError
from .core.memory import check_memory
from .core.metrics import Comparison, compare_volumes, psnr
from .core.resample import downsample, lr_shape
from .core.volume import Triple, Volume
from .core.windows import Window
from .decode import LrDecoder
from .fields.base import FitProgress, FitResult, FitState
from .fields.registry import find_kind
from .fields.samples import LrSamples
from .fields.settings import Settings
from .inr_volume import InrVolume, Quality, UpscalerRef
from .superres.upscale import LanczosUpscaler, Upscaler, find_restorer

SLICES_AT_ONCE = 8  # slices decoded together: enough work for a GPU, little memory
VOXELS_AT_ONCE = 2**24  # of them, unless a slice alone has more: 8 slices of 1448 x 1448
BYTES_A_VOXEL = 24  # of slices that are restored: float32 of LR, Lanczos and network, float64, the dtype

# Of a fit, on the CPU or a GPU that shares its memory: intensity, and with padding its share and index too.
BYTES_A_SAMPLE, BYTES_A_PADDED_SAMPLE = 4, 17

OnSlices = Callable[[int, int], None]  # told (slices done, slices in all)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How good an `InrVolume` is, against the original. PSNR in dB, padding excluded."""

    lr_psnr: float  # range; the decoded LR against the Lanczos LR of the original
    reconstruction: Comparison  # as the file decodes
    lanczos: Comparison  # the same decoded LR, put back by Lanczos alone
    upscaler: str

    @property
    def quality(self) -> Quality:
        """What of it an `.inr` records."""
        return Quality(
            lr_psnr=self.lr_psnr,
            hr_psnr=self.reconstruction.psnr,
            lanczos_psnr=self.lanczos.psnr,
            rmse=self.reconstruction.rmse,
            p99=self.reconstruction.p99,
            max_error=self.reconstruction.max_error,
        )


def decompress(
    inr: InrVolume,
    *,
    upscaler: Upscaler | None = None,
    weights: Iterable[str | PathLike[str] | bytes | None] = (),
    device: Device = "auto",
    on_slices: OnSlices | None = None,
    warn: Callable[[str], object] = warnings.warn,
) -> Volume:
    """Reconstruct the volume: voxels (z, y, x) in the original's units and dtype, at its full resolution.

    The super-resolution network that the `InrVolume` names is taken with the weights of that SHA-256: from
    `weights`, which are weights files of your own, or what `io.inr_file.read_model` found embedded in the
    `.inr`; or from those that ship. Without them Lanczos restores, and `warn` is told so. `upscaler`
    replaces what the `InrVolume` names. Where the original had padding, the reconstruction has its lowest
    intensity. Raises InrFileError on damaged weights of the fit, and if the volume is larger than memory.
    """
    check_whole(inr)
    restore = upscaler or find_restorer(inr, warn, weights=weights, device=device)
    voxels = np.empty(inr.geometry.shape, dtype=inr.dtype)
    for z, _, hr in decode_slices(inr, restore, device=device):
        voxels[z] = hr
        if on_slices is not None:
            on_slices(z + 1, len(voxels))
    return Volume(voxels=voxels, geometry=inr.geometry, units=inr.units)


def fit_volume(
    volume: Volume,
    settings: Settings,
    *,
    device: Device = "auto",
    stop: Event | None = None,
    drop: Event | None = None,
    resume: FitState | None = None,
) -> Generator[FitProgress, None, FitResult]:
    """Downsample the volume and fit a network to its LR; yields progress, returns the best network.

    From another thread, `stop` ends the fit with what it has, `drop` with a FitError and at once. `resume`
    is where an earlier fit stood (`FitResult.state`, `FitProgress.state()`, kept in a file by
    `fields.state_file`): this one goes on from there. Raises FitError if that was of another volume,
    other settings or another kind of device, VolumeError if the volume holds one single value.
    """
    volume.check_fittable()
    where = find_device(device)
    _check_fit_memory(volume, settings)
    with errors_in_words(where):
        samples = LrSamples(
            lanczos_lr(volume, settings.factor),
            hr_shape=volume.shape,
            factor=settings.factor,
            intensity_range=volume.intensity_range,
            device=where,
            counted=lr_measured(volume, settings.factor),
            drop=drop,
        )
    return (yield from find_kind(settings.field.kind).fit(samples, settings, where, stop, resume))


def _check_fit_memory(volume: Volume, settings: Settings) -> None:
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
        settings,
        coding=result.coding,
        payload=result.payload,
        upscaler=UpscalerRef(name=upscaler.name, sha256=upscaler.sha256),
        steps=result.steps,
    )


def measure(
    volume: Volume,
    inr: InrVolume,
    upscaler: Upscaler,
    *,
    device: Device = "auto",
    window: Window | None = None,
    lr: NDArray[np.float32] | None = None,
    on_slices: OnSlices | None = None,
) -> Measured:
    """Say how good an `InrVolume` is, by decoding it and comparing with the original.

    `window` is the one of the 8-bit PSNR, by default the full range; `lr` the decoded LR if it is at hand.
    `on_slices` is told of decoding and of comparing, and may raise to end it.
    Raises VolumeError if the volume is not of the original's shape, InrFileError if memory does not suffice.
    """
    if volume.shape != inr.geometry.shape:
        raise VolumeError(
            f"the original has the shape {volume.shape}, the .inr decodes to {inr.geometry.shape};"
            " give the volume that it was made of"
        )
    lanczos = LanczosUpscaler(inr.factor[1:])
    check_whole(inr, copies=1 if upscaler.name == lanczos.name else 2)
    plain = np.empty(volume.shape, dtype=inr.dtype)
    restored = plain if upscaler.name == lanczos.name else np.empty_like(plain)
    done, total = 0, len(plain) * (2 if restored is plain else 3)

    def one_more(*_: int) -> None:
        nonlocal done
        done += 1
        if on_slices is not None:
            on_slices(done, total)

    for z, lr_slice, hr in decode_slices(inr, upscaler, device=device):
        restored[z] = hr
        if restored is not plain:
            plain[z] = restore_slices(lr_slice[np.newaxis], lanczos, inr)[0]
        one_more()
    by_lanczos = compare_volumes(volume, plain, window, one_more)
    return Measured(
        lr_psnr=_lr_psnr(volume, inr, LrDecoder(inr, device).fitted() if lr is None else lr),
        reconstruction=by_lanczos
        if restored is plain
        else compare_volumes(volume, restored, window, one_more),
        lanczos=by_lanczos,
        upscaler=upscaler.name,
    )


def check_whole(inr: InrVolume, copies: int = 1) -> None:
    """Raise InrFileError if so many reconstructions do not fit into memory at once."""
    size = " x ".join(map(str, inr.geometry.shape))
    check_memory(
        copies * math.prod(inr.geometry.shape) * np.dtype(inr.dtype).itemsize,
        f"the whole volume, {size} {inr.dtype},",
        "open the file in napari, which decodes the slice in view alone, or use a machine with more memory",
        InrFileError,
    )


def check_restoring(inr: InrVolume, slices: int = 1) -> None:
    """Raise InrFileError if memory does not suffice to restore so many slices at once."""
    shape = slices, *inr.geometry.shape[1:]
    check_memory(
        BYTES_A_VOXEL * math.prod(shape),
        f"restoring {' x '.join(map(str, shape))} voxels",
        "ask for fewer slices at once, or use a machine with more memory",
        InrFileError,
    )


def decode_slices(
    inr: InrVolume, upscaler: Upscaler, *, device: Device = "auto"
) -> Iterator[tuple[int, NDArray[np.float32], NDArray[Any]]]:
    """Yield (z, LR slice, HR slice): both in the volume's units, the HR slice in its dtype."""
    decoder = LrDecoder(inr, device)
    depth, rows, columns = inr.geometry.shape
    at_once = min(max(VOXELS_AT_ONCE // (rows * columns), 1), SLICES_AT_ONCE)
    for start in range(0, depth, at_once):
        lr = decoder.slices(range(start, min(start + at_once, depth)))
        hr = restore_slices(lr, upscaler, inr)
        yield from zip(range(start, depth), lr, hr, strict=False)


def lanczos_lr(volume: Volume, factor: Triple) -> NDArray[np.float32]:
    """Return the LR (z, y, x) in the volume's units; padding counts as the lowest intensity.

    Raises VolumeError if memory does not suffice for it.
    """
    z, y, x = lr_shape(volume.shape, factor)
    along_z = z if factor[0] != 1 else 0
    check_memory(
        4 * (volume.shape[0] + along_z) * y * x,
        f"the volume on the grid of the fit, {z} x {y} x {x},",
        "choose a larger factor, crop the volume, or use a machine with more memory",
        VolumeError,
    )
    return downsample(lambda z: _filled(volume, z), volume.shape, factor)


def lr_measured(volume: Volume, factor: Triple) -> NDArray[np.bool_] | None:
    """Return which voxels of the LR were measured for the most part, or None if all of them were."""
    if volume.padding is None:
        return None
    share = downsample(
        lambda z: (volume.voxels[z] != volume.padding).astype(np.float32), volume.shape, factor
    )
    return share >= 0.5


def _filled(volume: Volume, z: int) -> NDArray[np.float32]:
    """Return slice z with its padding at the lowest intensity: outside the scan circle there is air."""
    plane: NDArray[np.float32] = volume.voxels[z].astype(np.float32)
    if volume.padding is not None:
        plane[volume.voxels[z] == volume.padding] = volume.intensity_range[0]
    return plane


def restore_slices(lr: NDArray[np.float32], upscaler: Upscaler, inr: InrVolume) -> NDArray[Any]:
    """Put LR slices (n, y, x) back on the HR grid, within the intensity range and in the original's dtype.

    Raises ModelError if the upscaler's weights make no numbers of them, InrFileError if memory does not
    suffice.
    """
    (low, high), dtype = inr.intensity_range, np.dtype(inr.dtype)
    check_restoring(inr, len(lr))
    hr = upscaler((lr - low) / (high - low), inr.geometry.shape[1:])
    if not np.isfinite(hr).all():
        raise ModelError(
            f"the weights of {upscaler.name} give values that are no numbers, so they are damaged or of other"
            " images; use the upscaler lanczos"
        )
    # In float64: the largest int32 is no float32, and would come back as the smallest.
    restored = hr.astype(np.float64) * (high - low) + low
    if dtype.kind in "iu":
        # The largest int64 is no float64 either: the one before 2^63 is.
        largest = np.nextafter(float(np.iinfo(dtype).max) + 1, 0)
        return np.rint(np.clip(restored, low, min(high, largest))).astype(dtype)
    return np.clip(restored, low, high).astype(dtype)


def _lr_psnr(volume: Volume, inr: InrVolume, lr: NDArray[np.float32]) -> float:
    """PSNR (range) in dB of the decoded LR, on the grid the network was fitted to."""
    error = lr - lanczos_lr(volume, inr.factor)
    counted = lr_measured(volume, inr.factor)
    low, high = inr.intensity_range
    return psnr(
        float(np.mean(np.square(error if counted is None else error[counted]), dtype=np.float64)), high - low
    )
