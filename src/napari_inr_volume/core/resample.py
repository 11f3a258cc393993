"""Lanczos resampling of a volume: antialiased, separable, any factor on each axis.

One convention everywhere: `scale` is input voxels per output voxel, and the centre of output voxel k
lies at input position (k + 0.5) * scale - 0.5, so the outer faces of both grids' first voxels coincide.
The LR of a length that the factor does not divide has one more voxel, which hangs over the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from .volume import Triple

LOBES = 3  # half-width `a` of the kernel, in voxels of the coarser grid; open in the paper


def lanczos_kernel(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sheibanifard and Yu 2023, eq. 1, with a = 3: the paper's sinc(pi x) is numpy's sinc(x)."""
    return np.where(np.abs(x) < LOBES, np.sinc(x) * np.sinc(x / LOBES), 0.0)


def lanczos_weights(in_length: int, out_length: int, scale: float) -> scipy.sparse.csr_array:
    """Return how much each input voxel counts in each output voxel along one axis.

    Shape (out_length, in_length), float32, no unit; every row sums to 1. When shrinking (scale > 1)
    the kernel is widened by the scale, which is what keeps finer detail from folding back (antialiasing).
    """
    width = max(scale, 1.0)
    taps = 2 * math.ceil(LOBES * width) + 1
    centre = (np.arange(out_length) + 0.5) * scale - 0.5
    first = np.ceil(centre - LOBES * width).astype(np.int64)
    column = first[:, np.newaxis] + np.arange(taps)
    weight = lanczos_kernel((column - centre[:, np.newaxis]) / width)
    # The border cuts the kernel: unless rows sum to 1, flat tissue changes its HU there.
    weight[(column < 0) | (column >= in_length)] = 0.0
    weight /= weight.sum(axis=1, keepdims=True)
    row = np.repeat(np.arange(out_length), taps)
    kept = weight.ravel() != 0.0
    entries = (weight.ravel()[kept].astype(np.float32), (row[kept], column.ravel()[kept]))
    return scipy.sparse.csr_array(entries, shape=(out_length, in_length))


def resample_plane(
    plane: NDArray[np.float32], shape: tuple[int, int], scale: tuple[float, float]
) -> NDArray[np.float32]:
    """Return a slice (y, x) on a grid of `shape` (y, x), each axis by its own scale."""
    rows, columns = (
        lanczos_weights(length, out, step)
        for length, out, step in zip(plane.shape, shape, scale, strict=True)
    )
    return _apply(plane, rows, columns)


def downsample(
    read_slice: Callable[[int], NDArray[np.float32]], shape: tuple[int, int, int], factor: Triple
) -> NDArray[np.float32]:
    """Return the LR, float32 (ceil(z / fz), ceil(y / fy), ceil(x / fx)), of a volume of `shape`.

    `read_slice` returns one axial slice (y, x), so that no float copy of the volume is ever made.
    """
    lr = np.empty(lr_shape(shape, factor), dtype=np.float32)
    for z, plane in enumerate(downsampled(read_slice, shape, factor)):
        lr[z] = plane
    return lr


def downsampled(
    read_slice: Callable[[int], NDArray[np.float32]], shape: tuple[int, int, int], factor: Triple
) -> Iterator[NDArray[np.float32]]:
    """Yield the slices of the LR as `downsample` returns them, with no more in memory than each is made of.

    `read_slice` is asked for every slice once, in order.
    """
    lr_z, lr_y, lr_x = lr_shape(shape, factor)
    rows = lanczos_weights(shape[1], lr_y, factor[1])
    columns = lanczos_weights(shape[2], lr_x, factor[2])
    in_plane = (_apply(read_slice(z), rows, columns) for z in range(shape[0]))
    if factor[0] == 1:
        yield from in_plane
        return
    depth = lanczos_weights(shape[0], lr_z, factor[0])
    window: dict[int, NDArray[np.float32]] = {}  # slices by number, resampled in the plane
    for z in range(lr_z):
        entries = slice(depth.indptr[z], depth.indptr[z + 1])
        numbers, weights = depth.indices[entries], depth.data[entries]
        window = {number: plane for number, plane in window.items() if number >= numbers[0]}
        for number in range(max(window, default=-1) + 1, numbers[-1] + 1):
            window[number] = next(in_plane)
        found = np.zeros((lr_y, lr_x), np.float32)
        for number, weight in zip(numbers, weights, strict=True):
            found += weight * window[number]
        yield found


def lr_shape(shape: tuple[int, int, int], factor: Triple) -> tuple[int, int, int]:
    """Return the shape of the LR: whole voxels that cover the volume (463 slices by 4 give 116)."""
    z, y, x = (math.ceil(length / step) for length, step in zip(shape, factor, strict=True))
    return z, y, x


def _apply(
    plane: NDArray[np.float32], rows: scipy.sparse.csr_array, columns: scipy.sparse.csr_array
) -> NDArray[np.float32]:
    """Resample a slice along y, then along x."""
    along_y = rows @ plane
    both: NDArray[np.float32] = (columns @ along_y.T).T
    return both
