"""Rounding costs what its sensitivities say, and what is computed with is what is coded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_inr_volume.coding.range_coding import encode as encode_quantised
from napari_inr_volume.coding.weights import QUANTISED, decode_weights
from napari_inr_volume.fields.siren.config import SirenConfig
from napari_inr_volume.fields.siren.network import Siren
from napari_inr_volume.fields.siren.tuning import (
    Rounding,
    choose_all_steps,
    quantised,
    sensitivities,
    steps_within,
)

SIREN = SirenConfig(layers=3, hidden_features=16, omega_0=20.0, hidden_omega=25.0)


@pytest.fixture(scope="module")
def coordinates() -> torch.Tensor:
    return torch.rand(4_000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("name", SIREN.layouts)
def test_a_sensitivity_is_the_mean_square_of_the_outputs_derivative(
    name: str, coordinates: torch.Tensor
) -> None:
    """Against autograd, point by point; derivative and feature are not quite independent."""
    siren = Siren(SIREN, seed=3)
    parameter = dict(siren.named_parameters())[name]
    points = coordinates[:400]
    squares = torch.stack(
        [torch.autograd.grad(siren(point), parameter)[0].square() for point in points]
    ).mean(0)
    expected = SIREN.layouts[name].rows(squares.numpy()).mean(axis=1)
    np.testing.assert_allclose(sensitivities(siren, points)[name], expected, rtol=0.35)


def test_the_sensitivity_of_shifts_is_the_mean_square_of_the_outputs_derivative() -> None:
    config = replace(SIREN, shifts=True, slices=3)
    siren = Siren(config, seed=3)
    assert siren.shifts is not None
    torch.nn.init.normal_(siren.shifts.weight, 0.0, 0.4, torch.Generator().manual_seed(4))
    z = torch.tensor([-2 / 3, 0.0, 2 / 3]).repeat(100)
    points = torch.cat([z[:, None], torch.rand(300, 2, generator=torch.Generator().manual_seed(5))], dim=1)
    squares = [torch.autograd.grad(siren(point), siren.shifts.weight)[0].square() for point in points]
    expected = torch.stack(squares).mean((0, 1)).numpy()
    np.testing.assert_allclose(sensitivities(siren, points)["shifts.weight"], expected, rtol=0.35)


def test_rounding_adds_the_error_that_its_noise_says(coordinates: torch.Tensor) -> None:
    siren = Siren(SIREN, seed=3)
    noise = 2.0**-9
    rounded = Rounding(siren, choose_all_steps(siren, sensitivities(siren, coordinates), noise)).siren
    added = (rounded.at(coordinates) - siren.at(coordinates)).square().mean().item()
    expected = SIREN.parameters * noise**2 / 12
    assert 0.4 * expected < added < 1.2 * expected  # steps are the next smaller of four in an octave


def test_rounded_weights_are_those_that_are_coded(coordinates: torch.Tensor) -> None:
    siren = Siren(SIREN, seed=4)
    rounding = Rounding(siren, choose_all_steps(siren, sensitivities(siren, coordinates), 2.0**-7))
    decoded = decode_weights(encode_quantised(quantised(siren, rounding.steps)), SIREN.layouts, QUANTISED)
    for name, values in rounding.siren.weights().items():
        assert np.array_equal(values, decoded[name])


def test_rounding_follows_the_weights(coordinates: torch.Tensor) -> None:
    siren = Siren(SIREN, seed=4)
    rounding = Rounding(siren, choose_all_steps(siren, sensitivities(siren, coordinates), 2.0**-7))
    with torch.no_grad():
        siren.sine[1].weight.add_(0.05)
    before = rounding.siren.weights()["sine.1.weight"]
    rounding.refresh()
    moved = rounding.siren.weights()["sine.1.weight"] - before
    assert moved.mean() == pytest.approx(0.05, abs=1e-2)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_steps_are_the_finest_that_fit_into_the_bytes(share: float, coordinates: torch.Tensor) -> None:
    siren = Siren(SirenConfig(layers=3, hidden_features=32), seed=5)
    found = sensitivities(siren, coordinates)
    most = int(share * siren.config.parameters)
    taken = len(encode_quantised(quantised(siren, steps_within(siren, found, most))))
    assert 0.97 * most - 4 <= taken <= most


def test_rows_of_a_tensor_share_a_step_only_where_the_layout_says(coordinates: torch.Tensor) -> None:
    siren = Siren(SIREN, seed=6)
    steps = {
        name: np.arange(layout.row_shape[0], dtype=np.int32) - 20 for name, layout in SIREN.layouts.items()
    }
    rounded = Rounding(siren, steps).siren.weights()
    for tensor, (name, layout) in zip(quantised(siren, steps), SIREN.layouts.items(), strict=True):
        assert np.array_equal(layout.tensor(tensor.values), rounded[name])
