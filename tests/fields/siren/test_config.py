"""Settings and presets."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from napari_inr_volume.core.errors import FitError
from napari_inr_volume.fields.registry import PRESETS, find_preset
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.fields.siren.shifts import with_slices
from napari_inr_volume.fields.siren.widths import with_width


@pytest.mark.parametrize(("layers", "parameters"), [(2, 17_153), (3, 33_665), (4, 50_177)])
def test_paper_presets_are_the_papers_recipe(layers: int, parameters: int) -> None:
    preset = find_preset(f"paper-{layers}")
    assert preset.field == SirenConfig(layers=layers, hidden_features=128, omega_0=30, hidden_omega=30)
    assert preset.field.parameters == parameters
    assert preset.factor == (4, 4, 4)
    assert preset.fit == FitConfig(
        steps=50_000,
        batch=65_536,
        learning_rate=0.0015,
        schedule="constant",
        optimiser="adam",
        precision="float32",
        target_psnr=None,
        least_gain=None,
        tuning_steps=1_000,  # after the recipe, for the coding that the paper does not have
        weight_bits=5.9,
    )


def test_default_preset_keeps_every_slice_and_the_papers_size() -> None:
    assert find_preset("default").factor == (1, 4, 4)
    assert find_preset("default").field.parameters <= 50_177


@pytest.mark.parametrize("name", PRESETS)
def test_preset_knows_its_name(name: str) -> None:
    assert find_preset(name).preset == name


def test_unknown_preset_names_those_there_are() -> None:
    with pytest.raises(FitError, match=r"no preset 'best'.*default, .*paper-2"):
        find_preset("best")


bad_values = [
    (SirenConfig, "layers", 1),
    (SirenConfig, "layers", 17),
    (SirenConfig, "layers", 2.0),
    (SirenConfig, "layers", True),
    (SirenConfig, "hidden_features", 0),
    (SirenConfig, "omega_0", 0.0),
    (SirenConfig, "omega_0", math.nan),
    (SirenConfig, "hidden_omega", math.inf),
    (FitConfig, "steps", 0),
    (FitConfig, "batch", -1),
    (FitConfig, "learning_rate", 0.0),
    (FitConfig, "learning_rate", math.nan),
    (FitConfig, "schedule", "linear"),
    (FitConfig, "optimiser", "sgd"),
    (FitConfig, "precision", "float16"),
    (FitConfig, "target_psnr", -3.0),
    (FitConfig, "tuning_steps", -1),
    (FitConfig, "weight_bits", 0.5),
    (FitConfig, "least_gain", 0.0),
    (FitConfig, "seed", -1),
]


@pytest.mark.parametrize(("config", "name", "value"), bad_values)
def test_impossible_setting_is_refused_by_name(config: type, name: str, value: object) -> None:
    with pytest.raises(FitError, match=rf"{name} must be .*got"):
        config(**{name: value})


def test_shifts_are_true_or_false_and_slices_need_them() -> None:
    with pytest.raises(FitError, match="shifts must be true or false, got 1"):
        SirenConfig(shifts=1)  # type: ignore[arg-type]
    with pytest.raises(FitError, match="slices must be a whole number from 0 to 0, got 3"):
        SirenConfig(slices=3)
    assert SirenConfig(slices=3, shifts=True).kind == "shifted"
    assert SirenConfig(shifts=True, boxes=2).kind == "shifted-blocks"
    assert SirenConfig(boxes=2).kind == "blocks"


def test_shifts_are_stored_with_the_weights_and_do_not_count_as_such() -> None:
    plain, shifted = SirenConfig(), SirenConfig(shifts=True, slices=30)
    assert shifted.parameters == plain.parameters
    assert set(shifted.layouts) - set(plain.layouts) == {"shifts.weight"}
    assert shifted.layouts["shifts.weight"].size == 90


def test_the_network_of_a_box_has_the_shifts_of_its_slices() -> None:
    above = SirenConfig(boxes=2, cuts=((0, 2**14),), margins=(2**12, 1, 1), shifts=True, slices=16)
    assert [network.slices for network in above.networks] == [5, 13]  # a quarter, three, and a slice each
    assert {network.kind for network in above.networks} == {"shifted"}
    assert above.layouts["0/shifts.weight"].size == 15
    assert above.parameters == 2 * SirenConfig().parameters
    without = replace(above, cuts=((0, 1),), margins=(1, 1, 1))
    assert [network.kind for network in without.networks] == ["siren", "shifted"]


@pytest.mark.parametrize("boxes", [1, 3])
@pytest.mark.parametrize(
    ("slices", "thin", "factor", "shifted"),
    [
        (28, False, 1.0, True),
        (514, False, 1.0, True),
        (515, False, 1.0, False),
        (28, False, 4.0, False),
        (28, True, 1.0, False),
    ],
)
def test_slices_are_shifted_where_that_is_worth_its_bytes(
    slices: int, thin: bool, factor: float, shifted: bool, boxes: int
) -> None:
    siren = SirenConfig(layers=5, hidden_features=110, shifts=True, boxes=boxes)  # of 49,391 weights
    lr = np.random.default_rng(1).normal(0, 1, (slices, 12, 12)).astype(np.float32)
    if thin:
        lr = gaussian_filter1d(lr, 4.0, axis=0)
    expected = replace(siren, slices=slices) if shifted else replace(siren, shifts=False)
    assert with_slices(siren, lr, factor) == expected


def test_factor_below_one_is_refused_with_its_axis() -> None:
    with pytest.raises(FitError, match="factor along y must be a number from 1 to 64"):
        replace(find_preset("default"), factor=(1.0, 0.5, 4.0))


@pytest.mark.parametrize("steps", [1, 20, 7_000, 100_000])
def test_other_steps_keep_the_share_of_the_tuning(steps: int) -> None:
    fit = find_preset("default").fit.with_all_steps(steps)
    assert fit.all_steps == steps
    assert fit.tuning_steps == steps // 7
    assert fit.steps >= 1


def test_a_longer_fit_by_muon_takes_a_lower_rate_and_one_by_adam_the_same() -> None:
    ours, papers = find_preset("default").fit, find_preset("paper-2").fit
    assert ours.with_all_steps(16 * ours.all_steps).learning_rate == pytest.approx(ours.learning_rate / 2)
    assert ours.with_all_steps(100).learning_rate == ours.learning_rate
    assert papers.with_all_steps(10**6).learning_rate == papers.learning_rate


def test_wide_networks_take_a_lower_rate_with_muon_and_narrow_ones_a_higher() -> None:
    ours, papers = find_preset("default"), find_preset("paper-4")
    assert with_width(ours, 440).fit.learning_rate == pytest.approx(ours.fit.learning_rate / 2)
    assert with_width(ours, 440).field == replace(ours.field, hidden_features=440)
    assert with_width(ours, 110).fit == ours.fit
    assert with_width(ours, 27).fit.learning_rate == pytest.approx(2 * ours.fit.learning_rate, rel=0.02)
    assert with_width(papers, 512).fit == papers.fit
    with pytest.raises(FitError, match="hidden_features must be a whole number from 1 to 2,048, got 0"):
        with_width(ours, 0)


def test_a_fit_of_no_steps_is_refused() -> None:
    with pytest.raises(FitError, match="steps must be a whole number from 1"):
        find_preset("default").fit.with_all_steps(0)
