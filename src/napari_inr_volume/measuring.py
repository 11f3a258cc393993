"""How good an `.inr` is: decoded and compared with its original a slice at a time, neither in memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .core.errors import VolumeError
from .core.lowres import LowRes, low_res
from .core.metrics import Comparison, Meter, psnr
from .core.volume import Volume
from .core.windows import Window, find_window
from .inr_volume import InrVolume, Quality
from .reader import Reader
from .superres.upscale import LanczosUpscaler

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
