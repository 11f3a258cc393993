"""SPAN: small enough to be the processor's network."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_inr_volume.superres.network import Network
from napari_inr_volume.superres.span import AttentionBlock, Span
from napari_inr_volume.superres.srdensenet import SRDenseNet


def multiplications(kind: Callable[[int], Network], factor: int = 4) -> float:
    """How many a slice of 512 x 512 costs."""
    with torch.device("meta"):
        network, lr = kind(factor), torch.zeros(1, 1, 512 // factor, 512 // factor)
    with FlopCounterMode(display=False) as counter:
        assert network(lr).shape == (1, 1, 512, 512)
    return counter.get_total_flops() / 2


def test_it_costs_at_least_ten_times_less_than_srdensenet() -> None:
    assert multiplications(Span) == pytest.approx(6.7e9, rel=0.01)
    assert multiplications(Span, 2) == pytest.approx(26.6e9, rel=0.01)
    assert multiplications(SRDenseNet) > 10 * multiplications(Span)


@pytest.mark.parametrize(("factor", "parameters"), [(4, 411_568), (2, 406_372)])
def test_parameters_are_as_documented(factor: int, parameters: int) -> None:
    with torch.device("meta"):
        assert sum(tensor.numel() for tensor in Span(factor).parameters()) == parameters


def test_attention_lets_nothing_through_where_a_block_found_nothing() -> None:
    block = AttentionBlock().requires_grad_(False)
    torch.nn.init.zeros_(block.convolutions[2].weight)
    torch.nn.init.zeros_(block.convolutions[2].bias)
    maps, early = block(torch.rand(1, 48, 5, 6))
    assert torch.all(maps == 0)
    assert early.shape == (1, 48, 5, 6)
