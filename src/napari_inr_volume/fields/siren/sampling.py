"""Which voxels of the LR a step sees: drawn one by one, spread evenly, or where there is most to fit.

An even choice says more of the volume than one with clusters and gaps: at the same steps it fits a little
better; and a choice that is denser where the LR changes fits better still, as long as each voxel counts the
less the more often it is drawn (docs/benchmarks/fitting.md, "Sampling").
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from torch import Tensor

from ..samples import MOST_SHARES, LrSamples
from .config import Sampling
from .kernels import find_kernels

PLASTIC = 1.2207440846057596  # the root of g^4 = g + 1
FLOOR = 0.2  # of the mean deviation, added to each: flat regions are looked at too


class Sampler:
    """Draws batches of voxels of an LR (z, y, x), from a generator of random numbers.

    random: each voxel by itself. lattice: the points k (1/g, 1/g^2, 1/g^3) modulo 1 of the unit cube, which
    are spread evenly (Roberts 2018, "The unreasonable effectiveness of quasirandom sequences"), shifted by a
    random vector at every draw, so that all voxels are as likely (Cranley and Patterson 1976). deviation:
    those points, moved along one axis after another so that a voxel is drawn in proportion to `importance`
    (the conditional distributions of Rosenblatt 1952), which keeps them apart.

    Each voxel comes with its sample weight, what all voxels alike would have as a chance over what it has, so
    that the mean of weighted squared errors is that of the LR, whatever the choice (importance sampling).
    """

    def __init__(self, samples: LrSamples, batch: int, kind: Sampling, random: torch.Generator) -> None:
        device = samples.device
        self._count, self._batch, self._random, self._device = len(samples), batch, random, device
        if kind == "random":
            self._move = None
            return
        steps = torch.tensor([PLASTIC**-axis for axis in (1, 2, 3)], dtype=torch.float64)
        points = torch.arange(batch, dtype=torch.float64)[:, None] * steps
        self._lattice = (points % 1).float().to(device)  # (batch, 3)
        self._move = _ByImportance(samples, random) if kind == "deviation" else _Evenly(samples)

    def draw(self) -> tuple[Tensor, Tensor]:
        """Return the flat indices of the next batch and their sample weights, both (batch,)."""
        random, device = self._random, self._device
        if self._move is None:
            index = torch.randint(self._count, (self._batch,), generator=random, device=device)
            return index, torch.ones(self._batch, device=device)
        return self._move((self._lattice + torch.rand(3, generator=random, device=device)) % 1)


class _Evenly:
    """From points (n, 3) of the unit cube to voxels, all of them as likely."""

    def __init__(self, samples: LrSamples) -> None:
        device = samples.device
        _, rows, columns = samples.shape
        self._lengths = torch.tensor(samples.shape, device=device)
        self._strides = torch.tensor([rows * columns, columns, 1], device=device)

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        voxels = (points * self._lengths).long()
        voxels = torch.minimum(voxels, self._lengths - 1)  # float32 may round up to the length itself
        return (voxels * self._strides).sum(dim=1), torch.ones(len(points), device=points.device)


class _ByImportance:
    """From points (n, 3) of the unit cube to voxels, each as likely as it is important.

    Of a large LR, a run of voxels along x is drawn, and by chance one of those.
    """

    def __init__(self, samples: LrSamples, random: torch.Generator) -> None:
        device, self._run, self._random = samples.device, run_of(samples), random
        self._count = len(samples)
        columns = importance(samples)
        *_, runs = columns.shape
        self._row = samples.shape[2]
        starts = torch.arange(runs, device=device) * self._run
        self._lengths = (self._row - starts).clamp(max=self._run)  # the last run is what is left
        np.multiply(columns, self._lengths.cpu().numpy(), out=columns)
        np.cumsum(columns, axis=2, out=columns)  # in float32, like the voxels: for one row it is enough
        rows = np.cumsum(columns[:, :, -1], axis=1, dtype=np.float64)
        slices = np.cumsum(rows[np.newaxis, :, -1], axis=1)
        self._kernels = find_kernels(device)
        tables = (_shares(table, device) for table in (slices, rows, columns))
        self._tables = [self._kernels.view(table) for table in tables]

    def __call__(self, points: Tensor) -> tuple[Tensor, Tensor]:
        found = torch.zeros(len(points), dtype=torch.int64, device=points.device)
        chance = torch.full((len(points),), self._count, dtype=torch.float32, device=points.device)
        view = self._kernels.view
        for table, point in zip(self._tables, points.t().contiguous(), strict=True):
            self._kernels.find(table, view(point), view(found), view(chance))
        return (found, chance.reciprocal_()) if self._run == 1 else self._within(found, chance)

    def _within(self, found: Tensor, chance: Tensor) -> tuple[Tensor, Tensor]:
        """Return a voxel of each of these runs, and its sample weight."""
        runs = len(self._lengths)
        row, run = found // runs, found % runs
        lengths = self._lengths[run]
        share = torch.rand(len(found), generator=self._random, device=found.device)
        return row * self._row + run * self._run + (share * lengths).long(), lengths / chance


def _shares(sums: NDArray[np.floating], device: torch.device) -> Tensor:
    """Return running sums along the last axis, which it may overwrite, as shares of the last one.

    They are (rows, columns) in float32.
    """
    shares = sums.reshape(-1, sums.shape[-1])
    shares /= shares[:, -1:].copy()
    return torch.from_numpy(shares.astype(np.float32, copy=False)).to(device)


def run_of(samples: LrSamples) -> int:
    """Return how many voxels along x one value of `importance` stands for."""
    return -(-samples.whole // MOST_SHARES)


def importance(samples: LrSamples) -> NDArray[np.float32]:
    """Return for each voxel (z, y, x) how much there is to fit, and so how often it should be seen.

    It is the standard deviation over 3 x 3 x 3 voxels, plus FLOOR of its mean. Where it is 0 everywhere, all
    are alike. Of a large LR, one value stands for a run of voxels along x (`run_of`), and for its mean
    deviation.
    """
    (slices, rows, columns), run = samples.shape, run_of(samples)
    starts = np.arange(0, columns, run)
    lengths = np.diff(starts, append=columns).astype(np.float32)
    found = np.empty((slices, rows, len(starts)), np.float32)
    for z in range(slices):  # slice by slice, for what it takes in between
        near = samples.intensity(slice(max(z - 1, 0), z + 2)).cpu().numpy()
        mean, square = (uniform_filter(part, 3, mode="nearest")[min(z, 1)] for part in (near, near * near))
        deviation = np.sqrt(np.maximum(square - mean * mean, 0))
        found[z] = np.add.reduceat(deviation, starts, axis=1) / lengths
    mean_deviation = found.mean(dtype=np.float64)
    found += FLOOR * mean_deviation if mean_deviation > 0 else 1.0
    return found
