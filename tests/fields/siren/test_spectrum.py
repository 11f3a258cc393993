"""How fast a volume changes along its axes, and the first layer that a fit begins with."""

from __future__ import annotations

import math
from dataclasses import replace
from threading import Event

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_inr_volume.fields.base import FitResult
from napari_inr_volume.fields.registry import PRESETS
from napari_inr_volume.fields.samples import LrSamples
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.fields.siren.fit import fit
from napari_inr_volume.fields.siren.network import Siren
from napari_inr_volume.fields.siren.spectrum import LEAST, MOST, first_scales, mean_frequency


def waves(shape: tuple[int, int, int], half_periods: tuple[int, int, int]) -> np.ndarray:
    """A sum of one cosine along each axis, of so many half periods."""
    axes = [
        np.cos(math.pi * count * (np.arange(length) + 0.5) / length)
        for length, count in zip(shape, half_periods, strict=True)
    ]
    return sum(np.meshgrid(*axes, indexing="ij")).astype(np.float32)


@given(st.tuples(*[st.integers(1, 7)] * 3))
def test_the_frequency_of_a_cosine_is_found(half_periods: tuple[int, int, int]) -> None:
    lr = waves((8, 10, 12), half_periods)
    for axis, count in enumerate(half_periods):
        assert mean_frequency(lr, axis) == pytest.approx(count * math.pi / 2, rel=1e-4)


def test_scales_are_the_root_of_the_frequency_over_that_in_the_plane() -> None:
    assert first_scales(waves((16, 16, 16), (2, 4, 4))) == pytest.approx((math.sqrt(0.5), 1, 1), rel=1e-4)
    assert first_scales(waves((16, 16, 16), (4, 2, 8))) == pytest.approx(
        (1, math.sqrt(0.5), math.sqrt(2)), rel=1e-4
    )


@given(st.integers(0, 99), st.tuples(*[st.integers(1, 9)] * 3), st.floats(-1000, 1000, width=32))
def test_scales_are_bounded_and_do_not_depend_on_the_intensity_s_offset(
    seed: int, shape: tuple[int, int, int], offset: float
) -> None:
    lr = np.random.default_rng(seed).random(shape, dtype=np.float32)
    scales = first_scales(lr)
    assert all(LEAST <= scale <= MOST for scale in scales)
    assert first_scales(lr + np.float32(offset)) == pytest.approx(scales, rel=1e-2)


@pytest.mark.parametrize("shape", [(1, 8, 8), (8, 1, 8), (1, 1, 1)])
def test_an_axis_of_one_voxel_and_what_cannot_be_compared_keep_their_scale(
    shape: tuple[int, int, int],
) -> None:
    lr = np.random.default_rng(0).random(shape, dtype=np.float32)
    for length, scale in zip(shape, first_scales(lr), strict=True):
        assert length > 1 or scale == 1
    assert first_scales(np.ones((4, 4, 4), np.float32)) == (1, 1, 1)


def fitted(config: FitConfig, lr: np.ndarray) -> FitResult:
    samples = LrSamples(lr, lr.shape, (1.0, 1.0, 1.0), (-3.0, 3.0), torch.device("cpu"))
    steps = fit(samples, SirenConfig(layers=2, hidden_features=16), config, torch.device("cpu"), Event())
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_a_fit_begins_with_these_scales_where_it_is_to() -> None:
    lr = waves((16, 16, 16), (1, 8, 8))
    still = FitConfig(steps=1, batch=64, learning_rate=1e-8, weight_bits=16.0)
    fresh = Siren(SirenConfig(layers=2, hidden_features=16)).sines[0].weight.detach()
    alike = fitted(still, lr).field.sines[0].weight
    measured = fitted(replace(still, first_layer="measured"), lr).field.sines[0].weight
    torch.testing.assert_close(alike, fresh, rtol=0, atol=1e-3)
    torch.testing.assert_close(measured, fresh * torch.tensor(first_scales(lr)), rtol=0, atol=1e-3)


def test_the_paper_s_presets_keep_their_first_layer_and_ours_measure_it() -> None:
    found = {name: settings.fit.first_layer for name, settings in PRESETS.items()}
    assert {name for name, way in found.items() if way == "measured"} == {"fast", "default", "quality"}
