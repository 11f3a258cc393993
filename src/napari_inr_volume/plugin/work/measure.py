"""What a fit is worth: compared with its original slice by slice, and subtracted from it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.metrics import Comparison, compare_volumes
from ...core.volume import Volume
from ...core.windows import Window
from ...inr_volume import InrVolume, Quality, UpscalerRef
from ..job import Control
from ..layers import new_voxels

if TYPE_CHECKING:
    from ...core.choices import Device
    from ...measuring import Measured
    from ...superres.upscale import Upscaler


def measure(
    control: Control,
    volume: Volume,
    inr: InrVolume,
    upscaler: Upscaler | None,
    restored: tuple[str, NDArray[Any]] | None = None,
    *,
    device: Device,
    window: Window,
) -> Measured:
    """Compare an `.inr` with its original through a window, slice by slice; reports Done.

    It is decoded by the upscaler, or by Lanczos. Voxels that were restored already are measured instead of
    its reconstruction; they come with the name of what restored them.
    Raises VolumeError if the volume is not of the original's shape.
    """
    from ... import measuring
    from ...reader import Reader

    more = 0 if restored is None else volume.shape[0]
    measured = measuring.measure(
        volume,
        Reader(inr, upscaler, device=device),
        window=window,
        on_slices=lambda done, total: control.on_progress(done, total + more),
    )
    if restored is None:
        return measured
    name, voxels = restored
    before = volume.shape[0] + inr.lr_shape[0]
    found = compare_volumes(
        volume, voxels, window, lambda done, _: control.on_progress(before + done, before + more)
    )
    return replace(measured, reconstruction=found, upscaler=name)


def with_upscaler(inr: InrVolume, upscaler: Upscaler, comparison: Comparison) -> InrVolume:
    """Return the volume as it decodes with another upscaler, whose figures are given."""
    quality = inr.quality
    if quality is not None:
        quality = Quality(
            lr_psnr=quality.lr_psnr,
            hr_psnr=comparison.psnr,
            lanczos_psnr=quality.lanczos_psnr,
            rmse=comparison.rmse,
            p99=comparison.p99,
            max_error=comparison.max_error,
        )
    return replace(inr, upscaler=UpscalerRef(name=upscaler.name, sha256=upscaler.sha256), quality=quality)


def difference(control: Control, volume: Volume, voxels: NDArray[Any]) -> NDArray[Any]:
    """Return reconstruction - original (z, y, x) in the volume's units; 0 where nothing was measured."""
    whole = all(one.dtype.kind in "iu" and one.dtype.itemsize <= 2 for one in (volume, voxels))
    error = new_voxels(volume.shape, np.int32 if whole else np.float32)
    for z in range(len(error)):
        control.on_progress(z + 1, len(error))
        np.subtract(voxels[z], volume.plane(z), out=error[z], dtype=error.dtype, casting="unsafe")
        measured = volume.measured(z)
        if measured is not None:
            error[z][~measured] = 0
    return error
