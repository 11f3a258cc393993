from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from napari.settings import get_plugin_settings
from npe2 import PluginManifest

from napari_inr_volume.core.choices import Device
from napari_inr_volume.fields.registry import PRESETS
from napari_inr_volume.plugin.settings import (
    OWN_WEIGHTS,
    PLUGIN,
    Preferences,
    load_last_used,
    own_weights,
    preferences,
    remember,
)


@pytest.fixture
def stored(plugin_settings, plugins):
    """napari's settings of the plugin, kept in a file of this test alone."""
    return get_plugin_settings(PLUGIN)


def test_manifest_and_code_agree_on_the_defaults(stored) -> None:
    assert preferences() == Preferences()


def test_manifest_offers_the_presets_and_devices_there_are() -> None:
    fit = PluginManifest.from_distribution(PLUGIN).contributions.configurations["fit"].properties
    assert fit["preset"].enum == list(PRESETS)
    assert fit["device"].enum == list(get_args(Device))


def test_preferences_follow_what_the_person_chose(stored) -> None:
    stored.fit.device = "cpu"
    stored.fit.preset = "paper-4"
    stored.fit.preview_interval = 2
    assert preferences() == Preferences(device="cpu", preset="paper-4", preview_interval=2.0)


def test_preferences_that_cannot_be_are_refused_by_napari(stored) -> None:
    with pytest.raises(ValueError, match="abacus"):
        stored.fit.device = "abacus"


def test_last_used_settings_are_remembered_beside_napari_s_file(stored) -> None:
    used = {"preset": "fast", "steps": 1200, "target_psnr": None, "factor": [1.0, 4.0, 4.0]}
    remember(used)
    assert load_last_used() == used
    kept = stored.config_path.with_name(f"{PLUGIN}-panel.json")
    assert json.loads(kept.read_text()) == used


def test_preferences_show_only_what_a_person_can_choose(stored) -> None:
    parts = PluginManifest.from_distribution(PLUGIN).contributions.configurations
    assert list(parts) == ["fit"]
    assert list(parts["fit"].properties) == ["device", "preset", "preview_interval"]


def test_preferences_saved_by_an_earlier_version_are_read(plugin_settings, plugins, tmp_path) -> None:
    words = """fit:\n  preset: fast\npanel:\n  last_used: '{"settings": {}}'\n"""
    (tmp_path / f"{PLUGIN}.yaml").write_text(words)
    assert preferences().preset == "fast"


@pytest.mark.parametrize(
    ("used", "path"),
    [({}, None), ({OWN_WEIGHTS: ""}, None), ({OWN_WEIGHTS: 3}, None), ({OWN_WEIGHTS: "a/b"}, Path("a/b"))],
)
def test_own_weights_are_remembered_as_a_path(stored, used: dict[str, object], path: Path | None) -> None:
    remember(used)
    assert own_weights() == path


def test_nothing_was_used_before(stored) -> None:
    assert load_last_used() == {}


@pytest.mark.parametrize("text", ["{", "[1, 2]", "null", '"x"', "[" * 99_999, "9" * 9_999])
def test_last_used_settings_that_were_spoiled_are_forgotten(stored, text: str) -> None:
    stored.config_path.with_name(f"{PLUGIN}-panel.json").write_text(text)
    assert load_last_used() == {}


def test_where_napari_does_not_know_the_plugin_the_defaults_hold(plugin_settings) -> None:
    remember({"preset": "fast"})
    assert (preferences(), load_last_used()) == (Preferences(), {})
