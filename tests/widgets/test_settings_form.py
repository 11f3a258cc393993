"""The numbers under Advanced are those of the kind of field that is chosen."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "fields"))

from lattice import LATTICE, LatticeConfig, LatticeFit

from napari_inr_volume.fields.registry import KINDS, PRESETS, find_preset
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.widgets.settings_section import SettingsSection

COARSE = Settings(preset="coarse", field=LatticeConfig(nodes=6), fit=LatticeFit(steps=6))


@pytest.fixture
def section(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> SettingsSection:
    monkeypatch.setitem(KINDS, LATTICE.name, LATTICE)
    monkeypatch.setitem(PRESETS, COARSE.preset, COARSE)
    section = SettingsSection()
    qtbot.addWidget(section)
    return section


def choose(section: SettingsSection, preset: str) -> None:
    section.preset.setCurrentText(preset)
    section.preset.textActivated.emit(preset)


def test_the_form_follows_the_kind_that_is_chosen(section: SettingsSection) -> None:
    section.show_device("cpu")
    choose(section, "coarse")
    assert set(section.form.options) == {"nodes"}
    assert section.settings == COARSE
    assert section.device == "cpu"
    choose(section, "default")
    assert "hidden_features" in section.form.options
    assert section.settings == find_preset("default")


def test_an_edit_of_another_kind_makes_it_custom(section: SettingsSection) -> None:
    choose(section, "coarse")
    section.form.options["nodes"].value = 9
    assert section.settings.field == LatticeConfig(nodes=9)
    assert section.settings.fit == COARSE.fit
    assert section.settings.preset == "custom"
