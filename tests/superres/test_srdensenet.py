"""SRDenseNet: the size and layout of the paper."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_inr_volume.superres.srdensenet import SRDenseNet


def test_parameters_are_those_of_the_paper() -> None:
    with torch.device("meta"):
        network = SRDenseNet()
    assert sum(tensor.numel() for tensor in network.parameters()) == 2_659_585


def test_a_slice_of_128_costs_73_billion_multiplications() -> None:
    with torch.device("meta"):
        network, lr = SRDenseNet(), torch.zeros(1, 1, 128, 128)
    with FlopCounterMode(display=False) as counter:
        hr = network(lr)
    assert hr.shape == (1, 1, 512, 512)
    assert counter.get_total_flops() / 2 == pytest.approx(73.1e9, rel=1e-3)


def test_maps_keep_their_scale_through_all_blocks() -> None:
    torch.manual_seed(0)
    network = SRDenseNet().requires_grad_(False)
    features = network.features(torch.rand(1, 1, 16, 16))
    assert 0.01 < features.std() < 100
