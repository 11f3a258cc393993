"""Several SIRENs as one field: each in a box of the volume, blended where boxes overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .boxes import UNITS, Box, boxes_of
from .config import SirenConfig
from .network import Siren


class Blocks:
    """A SIREN in each box: (..., 3) coordinates of the volume in [-1, 1] -> (...) intensities in [-1, 1].

    Along each axis a network's own coordinates are -1 and 1 where its box, margins included, ends.
    """

    def __init__(self, config: SirenConfig, sirens: Sequence[Siren]) -> None:
        self.config, self.sirens = config, list(sirens)
        self.boxes = boxes_of(config.cuts)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.sirens[0].device

    def to(self, device: torch.device) -> Blocks:
        """Return the same on a device."""
        return Blocks(self.config, [siren.to(device) for siren in self.sirens])

    def at(self, coordinates: Tensor) -> Tensor:
        """Evaluate at coordinates (n, 3), in the order z, y, x; returns (n), float32."""
        intensity = torch.zeros(len(coordinates), device=coordinates.device)
        places = [units(axis) for axis in coordinates.t()]
        for box, siren in zip(self.boxes, self.sirens, strict=True):
            inside = np.ones(len(coordinates), bool)
            for axis, place in enumerate(places):
                low, high = box.reach(axis, self.config.margins)
                inside &= (low <= place) & (place <= high)
            chosen = np.flatnonzero(inside)
            if len(chosen) == 0:
                continue
            share = np.ones(len(chosen))
            for axis, place in enumerate(places):
                share *= box.share(axis, place[chosen], self.config.margins)
            index = torch.from_numpy(chosen).to(coordinates.device)
            own = [
                own_coordinates(coordinates[index, axis], box, axis, self.config.margins) for axis in range(3)
            ]
            values = siren.at(torch.stack(own, dim=1))
            intensity[index] += values * torch.from_numpy(share.astype(np.float32)).to(values.device)
        return intensity

    def on_grid(self, z: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Evaluate on the grid of three axes' coordinates: (nz), (ny), (nx) -> (nz, ny, nx), float32."""
        intensity = torch.zeros(len(z), len(y), len(x), device=z.device)
        for box, siren in zip(self.boxes, self.sirens, strict=True):
            chosen, own, shares = zip(
                *(self._along(box, *axis) for axis in enumerate((z, y, x))), strict=True
            )
            if min(map(len, chosen)) == 0:
                continue
            along_z, along_y, along_x = shares
            values = siren.on_grid(*own)
            values *= along_z[:, None, None] * along_y[:, None] * along_x
            intensity[torch.meshgrid(*chosen, indexing="ij")] += values
        return intensity

    def _along(self, box: Box, axis: int, coordinates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return which coordinates of an axis lie in a box, its own coordinates there, and its shares."""
        margins, places = self.config.margins, units(coordinates)
        low, high = box.reach(axis, margins)
        chosen = np.flatnonzero((low <= places) & (places <= high))
        index = torch.from_numpy(chosen).to(coordinates.device)
        share = box.share(axis, places[chosen], margins).astype(np.float32)
        own = own_coordinates(coordinates[index], box, axis, margins)
        return index, own, torch.from_numpy(share).to(coordinates.device)


def units(coordinates: Tensor) -> NDArray[np.float64]:
    """Return where coordinates along an axis lie, in units of `fields.siren.boxes`."""
    places: NDArray[np.float64] = (coordinates.double().cpu().numpy() + 1) * (UNITS / 2)
    return places


def own_coordinates(coordinates: Tensor, box: Box, axis: int, margins: tuple[int, int, int]) -> Tensor:
    """Return a volume's coordinates along an axis as the network of a box sees them, float32."""
    low, high = (2 * place / UNITS - 1 for place in box.reach(axis, margins))
    return (2 * coordinates - (low + high)) / (high - low)
