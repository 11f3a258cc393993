"""Labels from one grid to another: each voxel takes the label of the nearest one, and no label is made up."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .volume import Triple


def labels_on_grid(labels: NDArray[Any], shape: tuple[int, int, int], factor: Triple) -> NDArray[Any]:
    """Return labels (z, y, x) on a grid of this shape whose voxels are 1 / `factor` as large on each axis.

    The outer faces of both grids' first voxels coincide, as in `core.resample`; the last label goes on where
    the new grid hangs over the end. A factor below 1 gives a coarser grid.
    """
    for axis, (length, scale) in enumerate(zip(shape, factor, strict=True)):
        nearest = np.floor((np.arange(length) + 0.5) / scale).astype(np.intp)
        labels = labels.take(np.minimum(nearest, labels.shape[axis] - 1), axis=axis)
    return labels


def smallest(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels in the smallest type of whole numbers that holds them, which every format here can."""
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    for dtype in (np.uint8, np.int16, np.uint16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return labels.astype(dtype, copy=False)
    return labels
