"""The LR of a volume: what a field is fitted to and measured against. Computed once, slice by slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import VolumeError
from .memory import check_memory
from .resample import downsample, lr_shape
from .volume import Triple, Volume


@dataclass(frozen=True, eq=False)
class LowRes:
    """A volume on the LR grid. Source: Sheibanifard and Yu 2023, section 3.1."""

    voxels: NDArray[np.float32]  # (z, y, x), in the volume's units; padding counts as the lowest intensity
    counted: NDArray[np.bool_] | None  # which of them were measured for the most part; None: all


def low_res(volume: Volume, factor: Triple) -> LowRes:
    """Return the Lanczos LR of a volume, `factor` HR voxels to an LR voxel along z, y, x.

    Raises VolumeError if memory does not suffice for it.
    """
    z, y, x = lr_shape(volume.shape, factor)
    check_memory(
        4 * z * y * x,
        f"the volume on the grid of the fit, {z} x {y} x {x},",
        "choose a larger factor, crop the volume, or use a machine with more memory",
        VolumeError,
    )
    low, high = volume.intensity_range
    if low == high:  # which the weights of a Lanczos kernel would round
        voxels = np.full((z, y, x), low, np.float32)
    else:
        voxels = downsample(lambda z: filled(volume, z), volume.shape, factor)
    if volume.padding is None:
        return LowRes(voxels, None)
    share = downsample(lambda z: (volume.plane(z) != volume.padding).astype(np.float32), volume.shape, factor)
    return LowRes(voxels, share >= 0.5)


def filled(volume: Volume, z: int) -> NDArray[np.float32]:
    """Return slice z with its padding at the lowest intensity: outside the scan circle there is air."""
    plane = volume.plane(z)
    values: NDArray[np.float32] = plane.astype(np.float32)
    if volume.padding is not None:
        values[plane == volume.padding] = volume.intensity_range[0]
    return values


class LowResOf:
    """A volume's LR, computed when it is asked for; that of the latest factor is kept."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._kept: tuple[Triple, LowRes] | None = None

    def by(self, factor: Triple) -> LowRes:
        """Return the LR by this factor. Raises VolumeError if memory does not suffice for it."""
        if self._kept is None or self._kept[0] != factor:
            self._kept = None  # goes before the next comes
            self._kept = factor, low_res(self._volume, factor)
        return self._kept[1]
