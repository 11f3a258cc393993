"""The LR as a fit sees it: voxels as pairs of coordinate and intensity."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from copy import copy
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import FitError
from ..core.volume import Triple, spread
from .grid import axis_coordinates

CPU_PIECE, GPU_PIECE = 2**15, 2**20  # voxels measured at once; the fit can be dropped in between


class LrSamples:
    """The LR's voxels as (coordinate, intensity) pairs on a device.

    Intensities are scaled to [-1, 1] by the intensity range. Beside them only one coordinate per
    row, column and slice is kept, so memory does not grow with the voxels beyond the volume itself.
    """

    def __init__(
        self,
        lr: NDArray[np.float32],  # (z, y, x)
        hr_shape: tuple[int, int, int],
        factor: Triple,
        intensity_range: tuple[float, float],
        device: torch.device,
        counted: NDArray[np.bool_] | None = None,  # (z, y, x): the voxels that the PSNR is of; None: all
        drop: Event | None = None,  # set it from another thread to end all work on the samples
    ) -> None:
        low, _ = intensity_range
        self.shape: tuple[int, ...] = lr.shape
        self.factor = factor
        self.intensity = (
            torch.from_numpy(lr).to(device).flatten().sub(low).mul_(2 / spread(intensity_range)).sub_(1)
        )
        self.axes = [
            axis_coordinates(length, scale, count).to(device)
            for length, scale, count in zip(hr_shape, factor, lr.shape, strict=True)
        ]
        # None rather than every index, which would take twice the memory of the LR itself.
        self.counted = None if counted is None else torch.from_numpy(np.flatnonzero(counted)).to(device)
        self._drop = drop

    def __len__(self) -> int:
        return self.intensity.numel()

    def at(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return coordinates (n, 3) and intensities (n,) of the voxels with these flat indices."""
        columns = self.shape[2]
        rows = self.shape[1] * columns
        z, y, x = self.axes
        inside = index % rows
        coordinates = torch.stack([z[index // rows], y[inside // columns], x[inside % columns]], dim=-1)
        return coordinates, self.intensity[index]

    def part(self, region: tuple[slice, slice, slice], axes: list[Tensor]) -> LrSamples:
        """Return the voxels of a region alone, with coordinates of its own along each axis.

        Where none of them counts, all do: there is something to fit a field to.
        """
        part = copy(self)
        z, y, x = region
        voxels = self.intensity.view(self.shape)[z, y, x]
        part.shape, part.axes, part.intensity = tuple(voxels.shape), axes, voxels.flatten()
        if self.counted is not None:
            counted = torch.zeros(len(self), dtype=torch.bool, device=self.intensity.device)
            counted[self.counted] = True
            inside = counted.view(self.shape)[z, y, x].flatten().nonzero()[:, 0]
            part.counted = inside if len(inside) else None
        return part

    def to(self, device: torch.device) -> LrSamples:
        """Return the same on a device."""
        part = copy(self)
        part.intensity = self.intensity.to(device)
        part.axes = [axis.to(device) for axis in self.axes]
        part.counted = None if self.counted is None else self.counted.to(device)
        return part

    def portable(self) -> LrSamples:
        """Return the same to be pickled: tensors of their own on the CPU, and nobody to drop them."""
        part = self.to(torch.device("cpu"))
        part.intensity, part._drop = part.intensity.clone(), None
        return part

    def digest(self) -> str:
        """Return the SHA-256 of all that a fit sees of the volume: intensities, coordinates, what counts.

        Raises FitError as soon as the fit is to be dropped.
        """
        tensors = [*self.axes, self.intensity, *([] if self.counted is None else [self.counted])]
        found = hashlib.sha256(repr([len(tensor) for tensor in tensors]).encode())
        for tensor in tensors:
            for piece in torch.split(tensor, GPU_PIECE):  # a copy of the whole would double the memory
                self.raise_if_dropped()
                found.update(piece.cpu().numpy().data)
        return found.hexdigest()

    def raise_if_dropped(self) -> None:
        """Raise FitError if the fit is to be dropped."""
        if self._drop is not None and self._drop.is_set():
            raise FitError("the fit was cancelled; nothing of it is kept")

    def chunks(self, index: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the samples with these flat indices, or all that count, in pieces that suit the device.

        Raises FitError as soon as the fit is to be dropped.
        """
        device = self.intensity.device
        index = self.counted if index is None else index
        count = len(self) if index is None else len(index)
        piece = CPU_PIECE if device.type == "cpu" else GPU_PIECE
        for start in range(0, count, piece):
            self.raise_if_dropped()
            end = min(start + piece, count)
            yield self.at(torch.arange(start, end, device=device) if index is None else index[start:end])
