"""SRDenseNet: the size and layout of the paper, and how far each output voxel sees."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from napari_inr_volume.superres.srdensenet import FEATURE_REACH, RESTORE_REACH, SRDenseNet


@pytest.fixture(scope="module")
def network() -> SRDenseNet:
    """A fresh network whose last layer is drawn at random too, so that it adds something."""
    torch.manual_seed(0)
    network = SRDenseNet()
    torch.nn.init.normal_(network.reconstruction.weight, std=0.02)
    return network.eval().requires_grad_(False)


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


def test_a_fresh_network_adds_nothing() -> None:
    torch.manual_seed(1)
    with torch.inference_mode():
        assert not SRDenseNet()(torch.rand(2, 1, 5, 7)).any()


def test_output_is_four_times_the_input_on_both_axes(network: SRDenseNet) -> None:
    assert network(torch.rand(2, 1, 5, 7)).shape == (2, 1, 20, 28)


def test_maps_keep_their_scale_through_all_blocks(network: SRDenseNet) -> None:
    features = network.features(torch.rand(1, 1, 16, 16))
    assert 0.01 < features.std() < 100


def test_slices_of_a_batch_do_not_mix(network: SRDenseNet) -> None:
    lr = torch.rand(2, 1, 6, 6)
    torch.testing.assert_close(network(lr)[1:], network(lr[1:]), rtol=1e-4, atol=1e-5)


def test_features_see_exactly_as_far_as_their_reach() -> None:
    # Positive weights and no biases: whatever is seen arrives, and nothing else is there to swallow it.
    network = SRDenseNet().requires_grad_(False).double()
    for tensor in network.parameters():
        tensor.fill_(0.0 if tensor.ndim == 1 else 0.01)
    lr = torch.zeros(1, 1, 1, 2 * FEATURE_REACH + 5, dtype=torch.float64)
    lr[..., FEATURE_REACH + 2] = 1.0
    seen = network.features(lr).any(dim=1).flatten()
    assert seen.tolist() == [False] * 2 + [True] * (2 * FEATURE_REACH + 1) + [False] * 2


def test_restored_voxels_see_the_features_next_to_theirs(network: SRDenseNet) -> None:
    features = torch.zeros(1, 256, 7, 7)
    flat = network.restore(features)
    features[..., 3, 3] = 1.0
    moved = (network.restore(features) != flat)[0, 0].any(dim=0).nonzero().flatten()
    assert moved.min() >= 4 * (3 - RESTORE_REACH)
    assert moved.max() < 4 * (3 + RESTORE_REACH + 1)


def test_from_its_second_step_on_training_reaches_every_layer() -> None:
    torch.manual_seed(2)
    network = SRDenseNet()
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    lr, target = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 32, 32)
    for _ in range(2):
        optimiser.zero_grad()
        (network(lr) - target).square().mean().backward()
        optimiser.step()
    for name, tensor in network.named_parameters():
        assert tensor.grad is not None, f"{name} is not connected"
        assert tensor.grad.abs().max() > 0, f"{name} is not trained"
