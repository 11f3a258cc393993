"""The values that an exact layer can hold: evenly spaced, near enough to each voxel, numbered from 0."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import FitError
from ..core.volume import Volume

MOST_LEVELS = 2**16  # that the context networks code; more need another coder
FINEST = 16  # halvings of 1 that a float volume without error may count in
LARGEST_WHOLE = 2.0**53
LARGEST_ERROR = 2.0**51  # that makes a difference: a step of twice as much and one is whole in float64


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """Levels from 0 on: that of padding if there is any, then base, base + step, ..., none above `high`."""

    base: float
    step: float
    high: float
    levels: int
    padded: bool

    def to_levels(self, voxels: NDArray[Any], padding: float | None) -> NDArray[np.int32]:
        """Return the level next to each voxel (z, y, x)."""
        levels = np.empty(voxels.shape, np.int32)
        for plane, found in zip(voxels, levels, strict=True):  # one by one, for what they take in between
            found[:] = self._nearest(plane, padding)
        return levels

    def _nearest(self, voxels: NDArray[Any], padding: float | None) -> NDArray[np.int64]:
        if voxels.dtype.kind in "iu":
            step = int(self.step)
            found = (voxels.astype(np.int64) - int(self.base) + step // 2) // step
        else:
            found = np.rint((voxels.astype(np.float64) - self.base) / self.step).astype(np.int64)
        if self.padded:
            found = np.where(voxels == padding, 0, found + 1)
        return found

    def to_voxels(self, levels: NDArray[Any], dtype: np.dtype[Any], padding: float | None) -> NDArray[Any]:
        """Return the value of each level."""
        with np.errstate(over="ignore", invalid="ignore"):  # a changed file may hold any numbers
            values = np.minimum(self.base + self.step * (levels - int(self.padded)), self.high)
            if self.padded:
                values[levels == 0] = padding
            return values.astype(dtype)


def find_lattice(volume: Volume, max_error: float) -> Lattice | None:
    """Return a lattice that is within `max_error` of every voxel; None if it takes too many levels.

    Raises FitError for an error that no volume of this dtype can be held to.
    """
    check_max_error(max_error, volume.dtype)
    low, high = volume.intensity_range
    if max(abs(low), abs(high)) >= LARGEST_WHOLE:
        return None
    rounding = 0.0
    whole = volume.dtype.kind in "iu"
    if whole:
        step = 2 * min(max_error, LARGEST_ERROR) + 1
    elif max_error:
        largest = max(abs(low), abs(high))
        # To the dtype, and on the way to and from a level.
        rounding = float(np.spacing(volume.dtype.type(largest))) + 8 * float(np.spacing(largest))
        step = 2 * (min(max_error, LARGEST_ERROR) - rounding)
    else:
        step = _common_step(volume)
    if step <= 8 * rounding:
        return None
    padding, base = volume.padding, low
    if padding is not None and max_error and low <= padding <= high:
        away = (padding - base) / step
        if abs(away - round(away)) < 1 / 8:  # or some voxels would come back as padding
            base += max(step // 4, 1.0) if whole else step / 4
    padded = padding is not None
    levels = math.floor((high - base) / step + 0.5) + 1 + padded
    if levels > MOST_LEVELS:
        return None
    return Lattice(base=base, step=step, high=high, levels=levels, padded=padded)


def check_max_error(max_error: float, dtype: np.dtype[Any]) -> None:
    """Raise FitError for an error that no volume of this dtype can be held to."""
    if not 0 <= max_error < math.inf:
        raise FitError(f"the largest error must be 0 or more, got {max_error:g}")
    if dtype.kind in "iu" and max_error != int(max_error):
        raise FitError(
            f"the voxels are whole numbers, so the largest error must be one too, got {max_error:g};"
            f" give {math.floor(max_error)} or {math.ceil(max_error)}"
        )


def _common_step(volume: Volume) -> float:
    """Return the power of two of which all values are multiples, from 1 to 2^-FINEST; 0 if there is none."""
    halvings = 0
    for z in range(volume.shape[0]):
        plane = volume.plane(z).astype(np.float64)
        if np.signbit(plane[plane == 0]).any():  # a lattice has one zero, and so has padding
            return 0.0
        plane = plane[plane != volume.padding]  # which is kept by itself
        if not plane.size:
            continue
        while (scaled := plane * 2.0**halvings).max() < LARGEST_WHOLE and (scaled != np.rint(scaled)).any():
            halvings += 1
            if halvings > FINEST:
                return 0.0
    return 2.0**-halvings
