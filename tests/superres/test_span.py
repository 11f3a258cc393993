"""SPAN: small enough to be the processor's network."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_inr_volume.superres.network import Network
from napari_inr_volume.superres.span import AttentionBlock, Span
from napari_inr_volume.superres.srdensenet import SRDenseNet


def multiplications(kind: type[Network]) -> float:
    """How many a slice of 128 x 128 costs."""
    with torch.device("meta"):
        network, lr = kind(), torch.zeros(1, 1, 128, 128)
    with FlopCounterMode(display=False) as counter:
        assert network(lr).shape == (1, 1, 512, 512)
    return counter.get_total_flops() / 2


def test_it_costs_at_least_ten_times_less_than_srdensenet() -> None:
    assert multiplications(Span) == pytest.approx(6.7e9, rel=0.01)
    assert multiplications(SRDenseNet) > 10 * multiplications(Span)


def test_parameters_are_as_documented() -> None:
    with torch.device("meta"):
        assert sum(tensor.numel() for tensor in Span().parameters()) == 411_568


def test_attention_lets_nothing_through_where_a_block_found_nothing() -> None:
    block = AttentionBlock().requires_grad_(False)
    torch.nn.init.zeros_(block.convolutions[2].weight)
    torch.nn.init.zeros_(block.convolutions[2].bias)
    maps, early = block(torch.rand(1, 48, 5, 6))
    assert torch.all(maps == 0)
    assert early.shape == (1, 48, 5, 6)
