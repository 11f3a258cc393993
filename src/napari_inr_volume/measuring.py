"""How good an `.inr` is: decoded and compared with its original a slice at a time, neither in memory.

Which upscaler restores it best is measured too, on a few slices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .core.errors import VolumeError
from .core.lowres import LowRes, low_res
from .core.metrics import Comparison, Meter, psnr
from .core.volume import Volume, spread
from .core.windows import Window, find_window
from .core.words import counted
from .inr_volume import InrVolume, Quality
from .reader import Reader
from .superres.catalogue import title_of
from .superres.upscale import LanczosUpscaler, Upscaler

SLICES = 6  # of a volume, on which upscalers are compared

OnSlices = Callable[[int, int], None]  # told (slices done, slices in all)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How good an `InrVolume` is, against the original. PSNR in dB, padding excluded."""

    lr: Comparison  # the decoded LR, against the Lanczos LR of the original
    reconstruction: Comparison  # as the file decodes
    lanczos: Comparison  # the same decoded LR, put back by Lanczos alone
    upscaler: str

    @property
    def lr_psnr(self) -> float:
        """PSNR of the LR in dB (range)."""
        return self.lr.psnr

    @property
    def quality(self) -> Quality:
        """What of it an `.inr` records."""
        return Quality(
            lr_psnr=self.lr.psnr,
            hr_psnr=self.reconstruction.psnr,
            lanczos_psnr=self.lanczos.psnr,
            rmse=self.reconstruction.rmse,
            p99=self.reconstruction.p99,
            max_error=self.reconstruction.max_error,
        )


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The upscaler that restores a volume best."""

    upscaler: Upscaler
    words: str | None = None  # why it is not the usual one, in a sentence


def choose_upscaler(
    volume: Volume, reader: Reader, upscalers: Sequence[Upscaler], on_slices: OnSlices | None = None
) -> Choice:
    """Return the upscaler by which slices of an `.inr` have the highest PSNR; the usual one comes first.

    Among equals the last is taken, which is Lanczos. `on_slices` is told of slices compared, if there is
    more than one upscaler, and may raise to end it.
    """
    usual, *others = upscalers
    if not others:
        return Choice(upscaler=usual)
    slices = some_slices(volume)
    errors = slice_errors(volume, slices, [reader.by(one).plane for one in upscalers], on_slices)
    best = upscalers[least(errors)]
    if best is usual:
        return Choice(upscaler=usual)
    title, other = title_of(best.name), title_of(usual.name)
    peak = spread(volume.intensity_range)
    found, before = (f"{psnr(error, peak):.2f}" for error in (min(errors), errors[0]))
    how = f"better than {other}, {found} against {before}"
    if found == before:
        how = f"as well as {other} does, {found}"
    return Choice(
        upscaler=best,
        words=f"{title} restores this volume {how} dB (range) on {counted(len(slices), 'slice')}, so the file"
        f" names {title}",
    )


def slice_errors(
    volume: Volume,
    slices: Sequence[int],
    ways: Sequence[Callable[[int], NDArray[Any]]],
    on_slices: OnSlices | None = None,
) -> list[float]:
    """Return the mean squared error over these slices of a volume, for each way to restore a slice.

    A way is given the number of a slice and gives its voxels (y, x), in the volume's units. Padding is left
    out. `on_slices` is told how many slices are done, of how many.
    """
    squares, voxels = [0.0] * len(ways), 0
    for done, z in enumerate(slices, 1):
        measured = volume.measured(z)
        kept = ... if measured is None else measured
        true = volume.plane(z)[kept].astype(np.float64)
        voxels += true.size
        for index, restore in enumerate(ways):
            squares[index] += float(np.sum(np.square(restore(z)[kept] - true)))
        if on_slices is not None:
            on_slices(done, len(slices))
    return [each / voxels for each in squares]


def least(errors: Sequence[float]) -> int:
    """Return which error is the least, the last of equals."""
    return min(reversed(range(len(errors))), key=lambda index: errors[index])


def some_slices(volume: Volume) -> list[int]:
    """Return evenly spaced slices, SLICES of them at most, in which something was measured."""
    there = [
        z for z in range(volume.shape[0]) if (measured := volume.measured(z)) is None or bool(measured.any())
    ]
    if len(there) <= SLICES:
        return there
    return [there[place] for place in np.linspace(0, len(there) - 1, SLICES + 2)[1:-1].astype(int)]


def measure(
    volume: Volume,
    reader: Reader,
    *,
    window: Window | None = None,
    lr: LowRes | None = None,
    on_slices: OnSlices | None = None,
) -> Measured:
    """Say how good an `InrVolume` is, by decoding it and comparing with the original, a slice at a time.

    `window` is the one of the 8-bit PSNR, by default the full range; `lr` the original's LR if it is at hand.
    `on_slices` is told of slices decoded and compared, and may raise to end it.
    Raises VolumeError if the volume is not of the original's shape, InrFileError if memory does not suffice.
    """
    inr = reader.inr
    if volume.shape != inr.geometry.shape:
        raise VolumeError(
            f"the original has the shape {volume.shape}, the .inr decodes to {inr.geometry.shape};"
            " give the volume that it was made from"
        )
    plain = reader.by(LanczosUpscaler(inr.factor[1:]))
    readers = [plain] if reader.upscaler.name == plain.upscaler.name else [plain, reader]
    meters = [Meter(volume, window) for _ in readers]
    depth, total = volume.shape[0], volume.shape[0] + inr.lr_shape[0]
    for start in range(0, depth, reader.at_once):
        part = range(start, min(start + reader.at_once, depth))
        for one, meter in zip(readers, meters, strict=True):
            region = slice(part.start, part.stop), slice(None), slice(None)
            for z, decoded in zip(part, one.read(region), strict=True):
                meter.add(z, decoded)
        if on_slices is not None:
            on_slices(part.stop, total)
    by_upscaler = [meter.result() for meter in meters]
    return Measured(
        lr=measure_lr(volume, reader, window=window, lr=lr, on_slices=on_slices),
        reconstruction=by_upscaler[-1],
        lanczos=by_upscaler[0],
        upscaler=reader.upscaler.name,
    )


def measure_lr(
    volume: Volume,
    reader: Reader,
    *,
    window: Window | None = None,
    lr: LowRes | None = None,
    on_slices: OnSlices | None = None,
) -> Comparison:
    """Compare the decoded LR with the Lanczos LR of the original, on the grid of the LR.

    The peak of the PSNR is the original's intensity range, as everywhere. `lr` and the others as `measure`
    takes them.
    """
    inr = reader.inr
    lr = low_res(volume, inr.factor) if lr is None else lr
    target = _as_volume(lr, volume, inr)
    meter = Meter(target, window or find_window("full", volume))
    depth, total = volume.shape[0], volume.shape[0] + inr.lr_shape[0]
    for z, decoded in reader.slices("lr"):
        meter.add(z, decoded)
        if on_slices is not None:
            on_slices(depth + z + 1, total)
    peak, of_lr = (high - low for low, high in (volume.intensity_range, target.intensity_range))
    found = meter.result()
    if of_lr == 0:  # such as an LR of one voxel, which has no PSNR of its own
        by_slice = np.array([psnr(rmse**2, peak) for rmse in found.slices.rmse])
        return replace(found, psnr=psnr(found.rmse**2, peak), slices=replace(found.slices, psnr=by_slice))
    shift = 20 * math.log10(peak / of_lr)  # dB
    slices = replace(found.slices, psnr=found.slices.psnr + shift)
    return replace(found, psnr=found.psnr + shift, slices=slices)


def _as_volume(lr: LowRes, volume: Volume, inr: InrVolume) -> Volume:
    """Return the LR as a volume; voxels that were mostly not measured are its padding."""
    if lr.counted is None:
        return Volume(voxels=lr.voxels, geometry=inr.lr_geometry, units=volume.units)
    padding = float(np.float32(lr.voxels.min() - 1))
    voxels = np.where(lr.counted, lr.voxels, np.float32(padding))
    return Volume(voxels=voxels, geometry=inr.lr_geometry, units=volume.units, padding=padding)
