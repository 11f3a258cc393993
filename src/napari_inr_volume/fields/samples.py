"""The LR as a fit sees it: voxels as pairs of coordinate and intensity."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from copy import copy
from itertools import chain
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import FitError
from ..core.volume import Triple, spread
from .grid import axis_coordinates

MOST_SHARES = 2**25  # that are kept of an LR's importance: of larger ones, those of runs of voxels along x
CPU_PIECE, GPU_PIECE = 2**15, 2**20  # voxels measured at once; the fit can be dropped in between


class LrSamples:
    """The LR's voxels as (coordinate, intensity) pairs on a device.

    Intensities are scaled to [-1, 1] by the intensity range, of those that are looked at. Beside the LR
    itself, which on a CPU is not copied, only one coordinate per row, column and slice is kept.
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
        self.factor = factor
        self.voxels = torch.from_numpy(lr).to(device)  # (z, y, x), as they are; of a part, a view
        self.whole = lr.size  # voxels of the LR, if this is a part of it too
        self._range = intensity_range
        self.axes = [
            axis_coordinates(length, scale, count).to(device)
            for length, scale, count in zip(hr_shape, factor, lr.shape, strict=True)
        ]
        self._counted = None if counted is None else torch.from_numpy(counted).to(device)  # (z, y, x)
        self.count = len(self) if counted is None else int(np.count_nonzero(counted))  # voxels that count
        self._drop = drop

    def __len__(self) -> int:
        return self.voxels.numel()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y, x."""
        z, y, x = self.voxels.shape
        return z, y, x

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.voxels.device

    def scale_(self, voxels: Tensor) -> Tensor:
        """Scale voxels to intensities, in place."""
        return voxels.sub_(self._range[0]).mul_(2 / spread(self._range)).sub_(1)

    def intensity(self, z: slice = slice(None)) -> Tensor:
        """Return the intensities of some slices, or of all: (z, y, x), a copy."""
        return self.scale_(self.voxels[z].clone(memory_format=torch.contiguous_format))

    def at(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return coordinates (n, 3) and intensities (n,) of the voxels with these flat indices."""
        place = self._places(index)
        coordinates = torch.stack([axis[at] for axis, at in zip(self.axes, place, strict=True)], dim=-1)
        return coordinates, self.scale_(self.voxels[place])

    def _places(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        _, rows, columns = self.shape
        row = index // columns
        return row // rows, row % rows, index % columns

    def counting(self, ranks: Tensor) -> Tensor:
        """Return the flat indices of the voxels with these ranks (n,) among those that count."""
        if self._counted is None:
            return ranks
        found, before = torch.empty_like(ranks), 0
        for index in self._counted_by_slice():
            here = (ranks >= before) & (ranks < before + len(index))
            found[here] = index[ranks[here] - before]
            before += len(index)
        return found

    def _counted_by_slice(self) -> Iterator[Tensor]:
        """Yield the flat indices of the voxels that count, slice by slice: of all, they take twice the LR."""
        assert self._counted is not None
        for z, plane in enumerate(self._counted):
            yield plane.flatten().nonzero()[:, 0] + z * plane.numel()

    def part(self, region: tuple[slice, slice, slice], axes: list[Tensor]) -> LrSamples:
        """Return the voxels of a region alone, with coordinates of its own along each axis.

        Where none of them counts, all do: there is something to fit a field to.
        """
        part = copy(self)
        part.axes, part.voxels = axes, self.voxels[region]
        part.count = len(part)
        if self._counted is not None and (inside := self._counted[region]).any():
            part._counted, part.count = inside, int(inside.count_nonzero())
        else:
            part._counted = None
        return part

    def to(self, device: torch.device) -> LrSamples:
        """Return the same on a device."""
        part = copy(self)
        part.voxels = self.voxels.to(device)
        part.axes = [axis.to(device) for axis in self.axes]
        part._counted = None if self._counted is None else self._counted.to(device)
        return part

    def portable(self) -> LrSamples:
        """Return the same to be pickled: tensors of their own on the CPU, and nobody to drop them."""
        part = self.to(torch.device("cpu"))
        part.voxels, part._drop = part.voxels.clone(memory_format=torch.contiguous_format), None
        if part._counted is not None:
            part._counted = part._counted.clone(memory_format=torch.contiguous_format)
        return part

    def digest(self) -> str:
        """Return the SHA-256 of all that a fit sees of the volume: intensities, coordinates, what counts.

        Raises FitError as soon as the fit is to be dropped.
        """
        lengths = [*map(len, self.axes), len(self), *([] if self._counted is None else [self.count])]
        found = hashlib.sha256(repr(lengths).encode())
        slices = (self.intensity(slice(z, z + 1)) for z in range(self.shape[0]))
        for tensor in chain(self.axes, slices, () if self._counted is None else self._counted_by_slice()):
            self.raise_if_dropped()
            found.update(tensor.cpu().numpy().data)
        return found.hexdigest()

    def raise_if_dropped(self) -> None:
        """Raise FitError if the fit is to be dropped."""
        if self._drop is not None and self._drop.is_set():
            raise FitError("the fit was cancelled; nothing of it is kept")

    def chunks(self, index: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the samples with these flat indices, or all that count, in pieces that suit the device.

        Raises FitError as soon as the fit is to be dropped.
        """
        piece = CPU_PIECE if self.device.type == "cpu" else GPU_PIECE
        for start in range(0, len(self) if index is None else len(index), piece):
            self.raise_if_dropped()
            if index is not None:
                yield self.at(index[start : start + piece])
                continue
            some = torch.arange(start, min(start + piece, len(self)), device=self.device)
            yield self.at(some if self._counted is None else some[self._counted[self._places(some)]])
