"""What a preset leaves to the volume: a finer grid for few voxels, a narrower network for few bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from napari_inr_volume.fields.registry import PRESETS, find_kind, suited
from napari_inr_volume.fields.settings import Settings

CHEST, HEAD, SMALL = (98, 512, 512), (28, 512, 512), (48, 256, 256)


def of(settings: Settings, shape: tuple[int, int, int]) -> Settings:
    z, y, x = shape
    return suited(settings, shape, 2 * z * y * x)


@pytest.mark.parametrize("preset", ["fast", "default"])
def test_a_small_volume_is_shrunk_by_less(preset: str) -> None:
    settings = PRESETS[preset]
    assert of(settings, CHEST) == settings
    assert of(settings, HEAD).factor == (1.0, 2.0, 2.0)


def test_a_small_volume_gets_a_small_network() -> None:
    found, most = of(PRESETS["default"], SMALL), 2 * 48 * 256 * 256 / 800
    assert 0.9 * most < found.fit.weight_bits * found.field.parameters / 8 <= most
    assert of(PRESETS["default"], (4, 32, 32)).field.in_words == "5 layers of 48"


@pytest.mark.parametrize("preset", ["quality", "paper-2", "paper-4"])
def test_quality_and_the_paper_s_presets_leave_nothing_to_the_volume(preset: str) -> None:
    assert of(PRESETS[preset], SMALL) == PRESETS[preset]


@pytest.mark.parametrize(("option", "value"), [("hidden_features", 110), ("boxes", 2), ("layers", 4)])
def test_a_size_that_a_person_chose_is_kept(option: str, value: int) -> None:
    siren = find_kind("siren")
    settings = siren.with_option(PRESETS["default"], option, value)
    assert of(settings, SMALL) == settings
    assert of(siren.with_option(PRESETS["default"], "all_steps", 100), SMALL).factor == (1.0, 2.0, 2.0)


@pytest.mark.parametrize("shape", [CHEST, HEAD, SMALL])
def test_what_suits_a_volume_suits_it_still(shape: tuple[int, int, int]) -> None:
    once = of(PRESETS["default"], shape)
    assert of(once, shape) == once


def test_settings_of_a_person_s_own_are_not_changed_though_they_began_as_a_preset() -> None:
    preset = PRESETS["default"]
    wide = replace(preset, field=replace(preset.field, hidden_features=200))
    halved = replace(preset, factor=(1.0, 3.0, 3.0))
    assert [of(settings, SMALL) for settings in (wide, halved)] == [wide, halved]
