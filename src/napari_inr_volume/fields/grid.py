"""The coordinates that a field is asked at, and its output as intensities."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def axis_coordinates(length: int, scale: float, count: int) -> Tensor:
    """Return where `count` voxels lie along one axis of `length` HR voxels, as a field sees it.

    The volume's outer faces are -1 and 1. `scale` is HR voxels per voxel of the grid; voxel k's centre
    lies at HR position (k + 0.5) * scale - 0.5, as in `core.resample`. Shape (count,), float32.
    """
    faces = (torch.arange(count, dtype=torch.float64) + 0.5) * scale
    return (2 * faces / length - 1).float()


def to_intensity(scaled: Tensor, intensity_range: tuple[float, float]) -> NDArray[np.float32]:
    """Return a field's output, [-1, 1] over the intensity range, as an array in the volume's units."""
    low, high = intensity_range
    array: NDArray[np.float32] = scaled.add(1).mul((high - low) / 2).add(low).cpu().numpy()
    return array
