"""Evaluate an `InrVolume`'s network: the LR at any z, in the volume's units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..coding.weights import decode_weights
from .config import Device
from .device import find_device
from .inr_volume import InrVolume
from .siren import Siren, axis_coordinates


class LrDecoder:
    """The LR of an `InrVolume`, slice by slice in any order. Raises InrFileError on damaged weights."""

    def __init__(self, inr: InrVolume, device: Device = "auto") -> None:
        self.inr = inr
        weights = decode_weights(inr.payload, inr.siren.shapes, inr.coding)
        self.device = find_device(device)
        self.siren = Siren.from_weights(inr.siren, weights).to(self.device)

    def slices(self, z: Sequence[int]) -> NDArray[np.float32]:
        """Return the LR (n, y, x) at these slices of the original, in the volume's units."""
        depth = self.inr.geometry.shape[0]
        return self._evaluate(axis_coordinates(depth, 1.0, depth)[list(z)])

    def fitted(self, part: slice = slice(None)) -> NDArray[np.float32]:
        """Return the LR (z, y, x), or a part of its slices, on the grid the network was fitted to."""
        depth, count = self.inr.geometry.shape[0], self.inr.lr_shape[0]
        return self._evaluate(axis_coordinates(depth, self.inr.factor[0], count)[part])

    def _evaluate(self, z: torch.Tensor) -> NDArray[np.float32]:
        inr = self.inr
        y, x = (
            axis_coordinates(inr.geometry.shape[axis], inr.factor[axis], inr.lr_shape[axis]).to(self.device)
            for axis in (1, 2)
        )
        scaled = self.siren.on_grid(z.to(self.device), y, x)
        return to_intensity(scaled, inr.intensity_range)


def to_intensity(scaled: torch.Tensor, intensity_range: tuple[float, float]) -> NDArray[np.float32]:
    """Return the network's output, [-1, 1] over the intensity range, as an array in the volume's units."""
    low, high = intensity_range
    array: NDArray[np.float32] = scaled.add(1).mul((high - low) / 2).add(low).cpu().numpy()
    return array
