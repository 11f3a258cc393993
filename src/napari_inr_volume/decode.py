"""Evaluate an `InrVolume`'s network: the LR at any z, in the volume's units.

A file may ask for any grid and hold any finite weights, so memory is checked before it is taken, and what a
network gives is checked before it becomes voxels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from .compute.device import find_device
from .core.choices import Device
from .core.errors import InrFileError
from .core.memory import check_memory
from .fields.grid import axis_coordinates, to_intensity
from .fields.registry import find_kind
from .inr_volume import InrVolume

LARGEST_OUTPUT = 1e6  # of a network, where a fitted one gives about -1 to 1
BYTES_A_VOXEL = 12  # of a grid while it is evaluated: output, intensity and one to spare, in float32


class LrDecoder:
    """The LR of an `InrVolume`, slice by slice in any order.

    Raises InrFileError on damaged weights, and if memory does not suffice for the network or for what is
    asked for at once.
    """

    def __init__(self, inr: InrVolume, device: Device = "auto") -> None:
        self.inr = inr
        self.device = find_device(device)
        kind = find_kind(inr.field.kind)
        self.field = kind.load(inr.field, inr.payload, inr.coding, self.device)

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
        shape = len(z), *inr.lr_shape[1:]
        check_memory(
            BYTES_A_VOXEL * math.prod(shape),
            f"decoding {' x '.join(map(str, shape))} voxels of the network's grid",
            "ask for fewer slices at once, or decode the file on a machine with more memory",
            InrFileError,
        )
        y, x = (
            axis_coordinates(inr.geometry.shape[axis], inr.factor[axis], inr.lr_shape[axis]).to(self.device)
            for axis in (1, 2)
        )
        scaled = self.field.on_grid(z.to(self.device), y, x)
        if not bool((scaled.abs() <= LARGEST_OUTPUT).all()):  # also catches nan
            raise InrFileError(
                "the network gives values far from those that it was fitted to; the file is damaged, get it"
                " again"
            )
        return to_intensity(scaled, inr.intensity_range)
