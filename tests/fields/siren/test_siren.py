"""The network against its papers: parameters, initialisation, and evaluation on a grid."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_inr_volume.fields.grid import axis_coordinates
from napari_inr_volume.fields.siren.config import SirenConfig
from napari_inr_volume.fields.siren.network import Siren

small = SirenConfig(layers=3, hidden_features=16)


@pytest.mark.parametrize(("layers", "parameters"), [(2, 17_153), (3, 33_665), (4, 50_177)])
def test_network_has_the_papers_number_of_parameters(layers: int, parameters: int) -> None:
    siren = Siren(SirenConfig(layers=layers))
    assert sum(tensor.numel() for tensor in siren.parameters()) == parameters
    assert {name: tuple(tensor.shape) for name, tensor in siren.state_dict().items()} == {
        name: layout.shape for name, layout in siren.config.layouts.items()
    }


def test_forward_is_sitzmanns_formula() -> None:
    siren = Siren(small, seed=3)
    features = torch.rand(50, 3, dtype=torch.float64) * 2 - 1
    coordinates = features.float()
    for layer in siren.sine:
        features = torch.sin(30 * (features @ layer.weight.double().T + layer.bias.double()))
    expected = (features @ siren.linear.weight.double().T + siren.linear.bias.double()).squeeze(-1)
    torch.testing.assert_close(siren(coordinates).double(), expected, atol=2e-5, rtol=0)


def test_sine_inputs_start_with_unit_variance_at_any_depth() -> None:
    """Sitzmann et al. 2020, section 3.2: what keeps a deep network from dying at the start."""
    siren = Siren(SirenConfig(layers=6, hidden_features=256))
    features = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        for index, layer in enumerate(siren.sine):
            before = 30 * (features @ layer.weight.T)
            if index:
                assert 0.8 < before.std().item() < 1.2, f"layer {index}"
            features = torch.sin(before + 30 * layer.bias)


def test_weights_lie_within_sitzmanns_bounds() -> None:
    siren = Siren(SirenConfig(layers=2, omega_0=50, hidden_omega=10))
    assert siren.sine[0].weight.abs().max() <= 1 / 3
    assert siren.sine[1].weight.abs().max() <= math.sqrt(6 / 128) / 10
    assert siren.linear.weight.abs().max() <= math.sqrt(6 / 128) / 10
    assert siren.sine[1].weight.abs().max() > 0.9 * math.sqrt(6 / 128) / 10


def test_same_seed_same_network_and_no_other() -> None:
    first, again, other = Siren(small, seed=1), Siren(small, seed=1), Siren(small, seed=2)
    assert torch.equal(first.sine[1].weight, again.sine[1].weight)
    assert not torch.equal(first.sine[1].weight, other.sine[1].weight)


def test_making_a_network_leaves_torchs_global_random_numbers_alone() -> None:
    before = torch.random.get_rng_state()
    Siren(small, seed=5)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (2, 130, 129)], ids=str)
def test_grid_equals_point_by_point(shape: tuple[int, int, int]) -> None:
    siren = Siren(small)
    axes = [axis_coordinates(length, 1.0, length) for length in shape]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    with torch.inference_mode():
        torch.testing.assert_close(siren.on_grid(*axes), siren(points), atol=2e-5, rtol=0)


def test_a_shifted_slice_is_that_of_the_other_network_elsewhere() -> None:
    shifted = Siren(replace(small, shifts=True, slices=4), seed=2)
    plain = Siren(small, seed=2)
    z, y, x = (axis_coordinates(length, 1.0, length) for length in (4, 5, 6))
    assert shifted.shifts is not None
    with torch.inference_mode():
        torch.testing.assert_close(
            shifted.on_grid(z, y, x), plain.on_grid(z, y, x)
        )  # none is shifted at first
    with torch.no_grad():
        shifted.shifts.weight[2] = torch.tensor([0.4, -0.8, 1.2])
    with torch.inference_mode():
        found, expected = shifted.on_grid(z, y, x), plain.on_grid(z, y, x)
        expected[2] = plain.on_grid(z[2:3] + 0.1, y - 0.2, x + 0.3)[0]
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_a_shifted_slice_is_the_same_alone_and_among_others() -> None:
    siren = Siren(replace(small, shifts=True, slices=40))
    assert siren.shifts is not None
    torch.nn.init.normal_(siren.shifts.weight, 0.0, 0.4, torch.Generator().manual_seed(4))
    z, y, x = (axis_coordinates(length, 1.0, length) for length in (40, 5, 6))
    with torch.inference_mode():
        together = siren.on_grid(z, y, x)
        for k in (0, 7, 39):
            assert torch.equal(siren.on_grid(z[k : k + 1], y, x)[0], together[k])


@pytest.mark.parametrize(
    ("z", "share"), [(-1.0, 0.0), (-0.75, 0.0), (0.0, 0.5), (0.25, 1.0), (0.5, 0.5), (1.0, 0.0)]
)
def test_shifts_go_over_from_slice_to_slice_in_a_straight_line(z: float, share: float) -> None:
    siren = Siren(replace(small, shifts=True, slices=4))  # at -0.75, -0.25, 0.25 and 0.75
    assert siren.shifts is not None
    with torch.no_grad():
        siren.shifts.weight[2] = torch.tensor([1.0, 2.0, 3.0])
        found = siren.shift_at(torch.tensor([z]))
    torch.testing.assert_close(found, share * torch.tensor([[0.25, 0.5, 0.75]]))


def test_weights_round_trip() -> None:
    siren = Siren(small, seed=9)
    again = Siren.from_weights(small, siren.weights())
    points = torch.rand(10, 3)
    assert torch.equal(siren(points), again(points))
    assert list(siren.weights()) == list(small.layouts)


def test_coordinates_span_the_volumes_faces() -> None:
    np.testing.assert_allclose(axis_coordinates(4, 1.0, 4), [-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(axis_coordinates(8, 4.0, 2), [-0.5, 0.5])


def test_lr_and_hr_voxels_at_the_same_place_have_the_same_coordinate() -> None:
    """LR voxel 2 at a factor of 5 lies at HR position 12, for a length the factor does not divide too."""
    hr, lr = axis_coordinates(53, 1.0, 53), axis_coordinates(53, 5.0, 11)
    assert lr[2] == hr[12]
