"""The LR of a volume: what a field is fitted to and measured against. Computed once, slice by slice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import VolumeError
from .resample import downsampled, lr_shape
from .scratch import room
from .volume import Triple, Volume


@dataclass(frozen=True, eq=False)
class LowRes:
    """A volume on the LR grid. Source: Sheibanifard and Yu 2023, section 3.1."""

    voxels: NDArray[np.float32]  # (z, y, x), in the volume's units; padding counts as the lowest intensity
    counted: NDArray[np.bool_] | None  # which of them were measured for the most part; None: all


def low_res(volume: Volume, factor: Triple) -> LowRes:
    """Return the Lanczos LR of a volume, `factor` HR voxels to an LR voxel along z, y, x.

    A large one lies in a file (`core.scratch`). Raises VolumeError if there is no room for it.
    """
    shape = lr_shape(volume.shape, factor)
    low, high = volume.intensity_range
    voxels = _room(shape, np.float32)
    if low == high:  # which the weights of a Lanczos kernel would round
        voxels[:] = low
    else:
        for z, plane in enumerate(downsampled(lambda z: filled(volume, z), volume.shape, factor)):
            voxels[z] = plane
    if volume.padding is None:
        return LowRes(voxels, None)
    counted = _room(shape, np.bool_)
    shares = downsampled(
        lambda z: (volume.plane(z) != volume.padding).astype(np.float32), volume.shape, factor
    )
    for z, share in enumerate(shares):
        counted[z] = share >= 0.5
    return LowRes(voxels, counted)


def _room(shape: tuple[int, int, int], dtype: Any) -> NDArray[Any]:
    what = f"the volume on the grid of the fit, {' x '.join(map(str, shape))},"
    return room(shape, dtype, what, "choose a larger factor, or crop the volume", VolumeError)


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
        """Return the LR by this factor. Raises VolumeError if there is no room for it."""
        if self._kept is None or self._kept[0] != factor:
            self._kept = None  # goes before the next comes
            self._kept = factor, low_res(self._volume, factor)
        return self._kept[1]
