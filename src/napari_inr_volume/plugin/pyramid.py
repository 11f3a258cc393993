"""The levels of a volume too large to be drawn whole, as napari's multiscale layers take them.

    napari, in 2D ----> the full grid, of which only the part in view is indexed
    napari, in 3D ----> the coarsest level: every so many voxels of what is known by now, the LR at first

napari indexes a level twice, by what is in view and then by the slice; so an index here gives another level,
and voxels come when an array of it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.volume import Triple
from .indexing import each_axis

WHOLE = 2**29  # bytes up to which a volume is drawn whole
COARSEST = 2**27  # bytes of the level that is drawn in 3D, at most


class Voxels(Protocol):
    """Voxels (z, y, x), as `ShownVoxels` are."""

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    size: int

    def __getitem__(self, key: Any) -> NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class Level:
    """Some voxels of a volume, on a grid: at each axis a range of them, or one."""

    voxels: Voxels
    at: tuple[range | int, ...]  # z, y, x

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the axes that are left."""
        return tuple(len(one) for one in self.at if isinstance(one, range))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the voxels."""
        return self.voxels.dtype

    @property
    def ndim(self) -> int:
        """How many axes are left."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many voxels there are."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Level:
        left = iter(each_axis(key, self.ndim))
        return Level(
            self.voxels, tuple(one[next(left)] if isinstance(one, range) else one for one in self.at)
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the voxels, as good as they are known by now."""
        key = tuple(_as_slice(one) if isinstance(one, range) else one for one in self.at)
        found = self.voxels[key]
        return found if dtype is None else found.astype(dtype, copy=False)


def pyramid(voxels: Voxels, factor: Triple) -> Voxels | list[Level]:
    """Return the voxels themselves, or the levels of a volume too large to be drawn whole, the finest first.

    The second level has one voxel for each of the LR, by its factor; those after it half as many an axis.
    """
    if _bytes(voxels) <= WHOLE:
        return voxels
    levels = [_every(voxels, (1, 1, 1))]
    steps = [max(1, round(each)) for each in factor]
    if steps == [1, 1, 1]:
        steps = [2, 2, 2]
    while True:
        levels.append(_every(voxels, steps))
        if _bytes(levels[-1]) <= COARSEST:
            return levels
        steps = [2 * step for step in steps]


def finest(data: Any) -> Any:
    """Return the voxels of a layer's data: of several levels, those of the finest."""
    level = data[0] if isinstance(data, Sequence) else data
    return level.voxels if isinstance(level, Level) else level


def _every(voxels: Voxels, steps: Sequence[int]) -> Level:
    return Level(
        voxels, tuple(range(0, length, step) for length, step in zip(voxels.shape, steps, strict=True))
    )


def _bytes(array: Voxels | Level) -> int:
    return array.size * array.dtype.itemsize


def _as_slice(numbers: range) -> slice:
    if not numbers:
        return slice(0, 0)
    stop: int = numbers[-1] + numbers.step
    return slice(numbers[0], stop if stop >= 0 else None, numbers.step)
