"""Settings for a target keep within its bytes, and say what cannot be met."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_inr_volume import compress
from napari_inr_volume.core.errors import FitError
from napari_inr_volume.core.generators import drain
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.registry import find_preset
from napari_inr_volume.fields.siren import ladder
from napari_inr_volume.fields.siren.ladder import PROBED_WIDTHS, WIDTHS
from napari_inr_volume.fields.siren.widths import with_width
from napari_inr_volume.io.inr_file import to_bytes
from napari_inr_volume.planning import APART, PROBED, WHOLE, FactorModel, curve, next_plan, plan, probe
from napari_inr_volume.target import Target

BASE = find_preset("fast")
VOLUME = Volume.from_array(np.arange(40 * 512 * 512, dtype=np.int16).reshape(40, 512, 512))
MODELS = [
    FactorModel(
        factor=PROBED[0],
        upscaler="span",
        model_bytes=830_000,
        clean_mse=1e-4,
        probed=(26.0, 30.0),
    ),
    FactorModel(
        factor=PROBED[1],
        upscaler="lanczos",
        model_bytes=0,
        clean_mse=1e-5,
        probed=(23.0, 27.0),
    ),
]


@given(st.integers(3_000, 2_000_000))
def test_a_plan_keeps_within_the_bytes(most: int) -> None:
    found = plan(VOLUME, MODELS, Target(kind="bytes", value=most), BASE)
    assert 0.7 * min(most, 400_000) < found.file_bytes <= most


def test_a_ratio_is_a_size() -> None:
    by_ratio = plan(VOLUME, MODELS, Target(kind="ratio", value=1000), BASE)
    most = VOLUME.source_bytes / 1000
    assert by_ratio == plan(VOLUME, MODELS, Target(kind="bytes", value=int(most)), BASE)


def test_more_bytes_promise_more_and_take_the_finer_grid_in_the_end() -> None:
    plans = [plan(VOLUME, MODELS, Target(kind="bytes", value=most), BASE) for most in (5e3, 2e4, 8e4, 6e5)]
    qualities = [found.hr_psnr for found in plans]
    assert qualities == sorted(qualities)
    assert plans[0].settings.factor == PROBED[0]
    assert plans[-1].settings.factor == PROBED[1]


def test_a_fit_to_the_volume_itself_is_planned_where_it_promises_more() -> None:
    four = replace(MODELS[0], probed=(32.0, 36.0))  # coarse, and so much easier to fit
    two = replace(MODELS[1], clean_mse=1e-4)  # of which x1 loses less
    models = [four, two, replace(two, factor=WHOLE)]
    small, large = (plan(VOLUME, models, Target(kind="bytes", value=most), BASE) for most in (5_000, 5e5))
    assert [small.settings.factor, large.settings.factor] == [PROBED[0], WHOLE]
    assert large.lr_psnr == large.hr_psnr  # the LR is the volume
    assert large.hr_psnr > two.hr_psnr(replace(large.settings, factor=PROBED[1]))


def test_a_curve_has_of_plans_of_about_the_same_bytes_the_best() -> None:
    coarse = replace(MODELS[0], clean_mse=1e-3)
    fine = replace(MODELS[1], probed=(27.0, 31.0))  # better at any size, in a few bytes more
    found = curve(VOLUME, [coarse, fine], BASE)
    assert len(found) > 5
    assert {one.settings.factor for one in found} == {PROBED[1]}
    for one, more in pairwise(found):
        assert more.file_bytes >= APART * one.file_bytes
        assert more.hr_psnr > one.hr_psnr


def test_what_is_too_small_is_refused_with_the_least_that_can_be_had() -> None:
    with pytest.raises(FitError, match=r"as small as 100 bytes; ask for ([\d,]+) bytes") as caught:
        plan(VOLUME, MODELS, Target(kind="bytes", value=100), BASE)
    least = int(str(caught.value).split("ask for ")[1].split(" ")[0].replace(",", ""))
    assert plan(VOLUME, MODELS, Target(kind="bytes", value=least), BASE).file_bytes <= least


def test_an_embedded_model_counts() -> None:
    target = Target(kind="bytes", value=900_000)
    plain, embedded = (plan(VOLUME, MODELS[:1], target, BASE, embed=embed) for embed in (False, True))
    assert embedded.file_bytes <= 900_000
    assert embedded.settings.field.parameters < plain.settings.field.parameters
    lanczos = [plan(VOLUME, MODELS[1:], target, BASE, embed=embed) for embed in (False, True)]
    assert lanczos[0] == lanczos[1]  # which has no weights to embed


def test_a_psnr_is_planned_with_the_fewest_bytes() -> None:
    found = plan(VOLUME, MODELS, Target(kind="psnr", value=34.0), BASE)
    assert found.hr_psnr >= 34
    assert found.missed is None
    smaller = [width for width in WIDTHS if width < found.settings.field.hidden_features]
    siren = replace(found.settings.field, hidden_features=smaller[-1])
    model = next(model for model in MODELS if model.factor == found.settings.factor)
    assert model.hr_psnr(replace(found.settings, field=siren)) < 34


def test_a_psnr_out_of_reach_is_said_to_be() -> None:
    found = plan(VOLUME, MODELS, Target(kind="psnr", value=90.0), BASE)
    assert found.missed is not None
    assert "90 dB cannot be reached" in found.missed


def test_the_next_plan_is_larger_until_the_target_is_reached() -> None:
    target = Target(kind="psnr", value=33.0)
    first = plan(VOLUME, MODELS, target, BASE)
    second = next_plan(VOLUME, MODELS, target, BASE, first, reached=32.0)
    assert second is not None
    assert second.file_bytes > first.file_bytes
    assert next_plan(VOLUME, MODELS, target, BASE, second, reached=33.0) is None


def test_targets_of_size_are_planned_once() -> None:
    target = Target(kind="bytes", value=20_000)
    assert next_plan(VOLUME, MODELS, target, BASE, plan(VOLUME, MODELS, target, BASE), reached=1.0) is None


@pytest.mark.slow
def test_a_file_of_a_target_has_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """From short probes to the file, with what a person would set."""
    monkeypatch.setattr(ladder, "PROBED_WIDTHS", (8, 16))
    monkeypatch.setattr(ladder, "PROBED_STEPS", 20)
    volume = head_phantom((8, 64, 64))
    base = replace(BASE, fit=replace(BASE.fit, steps=60, tuning_steps=20, batch=256))
    probing = probe(volume, base, upscaler="lanczos", device="cpu")
    told: list[tuple[int, int]] = []
    models = drain(probing, told.append)
    assert told[-1][0] <= told[-1][1]
    assert [model.factor for model in models] == [*PROBED, WHOLE]
    assert models[1].clean_mse < models[0].clean_mse  # a finer grid loses less
    found = plan(volume, models, Target(kind="bytes", value=4_000), base)
    file = to_bytes(compress(volume, found.settings, device="cpu", upscaler="lanczos"))
    assert 0.95 * found.file_bytes <= len(file) <= 4_000


def test_a_wider_network_than_the_preset_s_takes_a_lower_rate_and_a_narrower_one_a_higher() -> None:
    small, large = (plan(VOLUME, MODELS, Target(kind="bytes", value=most), BASE) for most in (5_000, 200_000))
    assert small.settings.field.hidden_features < BASE.field.hidden_features
    narrow = BASE.field.hidden_features / small.settings.field.hidden_features
    assert small.settings.fit.learning_rate == pytest.approx(BASE.fit.learning_rate * narrow**0.5, rel=1e-2)
    wide = with_width(BASE, 3 * BASE.field.hidden_features)
    assert wide.fit.learning_rate == pytest.approx(BASE.fit.learning_rate / 3**0.5, rel=1e-2)
    assert large.settings.field.boxes > 1
    assert large.settings.fit.learning_rate == pytest.approx(BASE.fit.learning_rate, rel=0.1)


def test_a_volume_too_small_for_boxes_gets_a_wider_network() -> None:
    volume = Volume.from_array(np.arange(4 * 64 * 64, dtype=np.int16).reshape(4, 64, 64))
    found = plan(volume, MODELS, Target(kind="bytes", value=200_000), BASE)
    assert found.settings.field.boxes == 1
    assert found.settings.field.hidden_features > 112


@given(st.sampled_from(WIDTHS), st.sampled_from(WIDTHS), st.integers(1_000, 100_000))
def test_more_weights_and_more_steps_promise_more(one: int, other: int, steps: int) -> None:
    narrow, wide = (with_width(BASE, width) for width in sorted((one, other)))
    longer = replace(wide, fit=wide.fit.with_all_steps(2 * steps))
    narrow, wide = (replace(each, fit=each.fit.with_all_steps(steps)) for each in (narrow, wide))
    for model in MODELS:
        assert model.lr_psnr(narrow) <= model.lr_psnr(wide)
        assert model.hr_psnr(narrow) <= model.hr_psnr(wide)
        if wide.field.hidden_features > PROBED_WIDTHS[0]:
            assert model.lr_psnr(wide) < model.lr_psnr(longer)


def test_a_volume_whose_wide_probe_gained_more_is_promised_more_by_wide_networks() -> None:
    flat, steep = (replace(MODELS[0], probed=(26.0, high)) for high in (26.0, 32.0))
    narrow, wide = (with_width(BASE, width) for width in (PROBED_WIDTHS[0], WIDTHS[-1]))
    assert flat.lr_psnr(narrow) == steep.lr_psnr(narrow)
    assert flat.lr_psnr(wide) < steep.lr_psnr(wide)
    worse = replace(MODELS[0], probed=(26.0, 20.0))  # a wide network that fell apart tells nothing
    assert worse.lr_psnr(wide) == flat.lr_psnr(wide)
