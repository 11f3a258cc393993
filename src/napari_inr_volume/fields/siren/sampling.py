"""Which voxels of the LR a step sees: drawn one by one, or spread evenly over the volume.

An even choice says more of the volume than one with clusters and gaps: at the same steps it fits a little
better (docs/benchmarks.md, "Optimisers").
"""

from __future__ import annotations

import torch
from torch import Tensor

from .config import Sampling

PLASTIC = 1.2207440846057596  # the root of g^4 = g + 1


class Sampler:
    """Draws batches of flat indices into an LR (z, y, x), from a generator of random numbers.

    random: each voxel by itself. lattice: the points k (1/g, 1/g^2, 1/g^3) modulo 1 of the unit cube, which
    are spread evenly (Roberts 2018, "The unreasonable effectiveness of quasirandom sequences"), shifted by a
    random vector at every draw, so that all voxels are as likely (Cranley and Patterson 1976).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        batch: int,
        kind: Sampling,
        random: torch.Generator,
        device: torch.device,
    ) -> None:
        self._shape, self._batch, self._random, self._device = shape, batch, random, device
        self._lattice: Tensor | None = None
        if kind == "lattice":
            steps = torch.tensor([PLASTIC**-axis for axis in (1, 2, 3)], dtype=torch.float64)
            points = torch.arange(batch, dtype=torch.float64)[:, None] * steps
            self._lattice = (points % 1).float().to(device)  # (batch, 3)
            self._lengths = torch.tensor(shape, device=device)
            self._strides = torch.tensor([shape[1] * shape[2], shape[2], 1], device=device)

    def draw(self) -> Tensor:
        """Return the flat indices of the next batch, (batch,)."""
        if self._lattice is None:
            count = self._shape[0] * self._shape[1] * self._shape[2]
            return torch.randint(count, (self._batch,), generator=self._random, device=self._device)
        shift = torch.rand(3, generator=self._random, device=self._device)
        voxels = ((self._lattice + shift) % 1 * self._lengths).long()
        voxels = torch.minimum(voxels, self._lengths - 1)  # float32 may round up to the length itself
        return (voxels * self._strides).sum(dim=1)
