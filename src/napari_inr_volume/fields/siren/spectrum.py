"""How fast a volume changes along each axis, and the first frequencies that a SIREN is to have along it.

A chest changes slowly from slice to slice and quickly within one; a head in few thick slices does not.
A first layer with as high frequencies along every axis wastes steps on learning that
(docs/benchmarks/tried.md).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from ...core.volume import Triple

LINES = 4_096  # of voxels along an axis that are looked at, about: an even choice
LEAST, MOST = 0.25, 2.0  # what a scale can be


def first_scales(lr: NDArray[np.float32]) -> Triple:
    """Return what to multiply the first layer's weights by, along z, y and x, for an LR (z, y, x).

    The square root of the axis' mean frequency over that within a slice.
    """
    z, y, x = (min(max(math.sqrt(each), LEAST), MOST) for each in relative_frequencies(lr))
    return z, y, x


def relative_frequencies(lr: NDArray[np.float32]) -> Triple:
    """Return the mean frequency of an LR (z, y, x) along z, y and x over that within a slice.

    The last two are about 1; 1 is also said where nothing changes along an axis or within the slices.
    """
    frequencies = [mean_frequency(lr, axis) for axis in range(3)]
    in_plane = math.sqrt(frequencies[1] * frequencies[2])
    z, y, x = (each / in_plane if each and in_plane else 1.0 for each in frequencies)
    return z, y, x


def mean_frequency(lr: NDArray[np.float32], axis: int) -> float:
    """Return the mean of angular frequencies along an axis, weighted by their power, the mean left out.

    In radians per unit of the network's coordinates, in which the axis is 2 long; 0 if nothing changes.
    """
    along = np.moveaxis(lr, axis, -1)
    count = along.shape[0] * along.shape[1]
    lines = along[np.unravel_index(np.arange(0, count, max(1, count // LINES)), along.shape[:2])]
    coefficients = dct(lines.astype(np.float64), axis=-1, norm="ortho")
    power = np.square(coefficients[:, 1:]).sum(axis=0)
    if power.sum() == 0:
        return 0.0
    return float(np.average(np.arange(1, lr.shape[axis]) * math.pi / 2, weights=power))
