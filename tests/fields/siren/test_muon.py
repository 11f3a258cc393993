"""Muon for all matrices at once is torch's Muon."""

from __future__ import annotations

import pytest
import torch

from napari_inr_volume.fields.siren.muon import Muon


def run(optimiser: torch.optim.Optimizer, matrices: list[torch.nn.Parameter]) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    for _ in range(4):
        for matrix in matrices:
            matrix.grad = torch.randn(matrix.shape, generator=random)
        optimiser.step()
    return [matrix.detach() for matrix in matrices]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_steps_are_those_of_torchs_muon(count: int, dtype: torch.dtype) -> None:
    """To 3 %: torch's iterations are in bfloat16, whose rounding moves a step by about 1 % either way."""
    start = torch.randn(count, 32, 32, generator=torch.Generator().manual_seed(1))
    ours, theirs = ([torch.nn.Parameter(matrix.clone()) for matrix in start] for _ in range(2))
    got = run(Muon(ours, 0.1, dtype), ours)
    expected = run(torch.optim.Muon(theirs, lr=0.1, weight_decay=0.0), theirs)
    for one, other, before in zip(got, expected, start, strict=True):
        assert (one - other).norm() < 0.03 * (other - before).norm()


def test_singular_values_are_brought_near_one() -> None:
    matrices = torch.randn(2, 48, 48, generator=torch.Generator().manual_seed(2))
    matrices[1] *= 1e-3
    muon = Muon([torch.nn.Parameter(matrix) for matrix in matrices], 0.1, torch.float32)
    values = torch.linalg.svdvals(muon.orthogonal(matrices))
    assert values.median(dim=1).values == pytest.approx([1, 1], abs=0.3)
    assert values.max() < 1.3


def test_no_gradient_moves_nothing() -> None:
    matrix = torch.nn.Parameter(torch.ones(4, 4))
    muon = Muon([matrix], 0.1)
    matrix.grad = torch.zeros(4, 4)
    muon.step()
    assert torch.equal(matrix.detach(), torch.ones(4, 4))
