"""Controllers by themselves: real sections or fakes, a viewer without a window, no panel."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.core.windows import find_window
from napari_inr_volume.fields.registry import find_preset
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.plugin.job import Control, Job
from napari_inr_volume.plugin.layers import add_layer, original_layer
from napari_inr_volume.plugin.work import forecast, source
from napari_inr_volume.target import Target
from napari_inr_volume.widgets.controllers.fit import FitController
from napari_inr_volume.widgets.controllers.settings import SettingsController
from napari_inr_volume.widgets.controllers.source import SourceController
from napari_inr_volume.widgets.controllers.state import PanelState
from napari_inr_volume.widgets.fit_section import FitSection
from napari_inr_volume.widgets.source_section import SourceSection

pytestmark = [pytest.mark.gui, pytest.mark.slow]

LONG = 30_000  # ms
SMALL = Settings(
    field=SirenConfig(layers=2, hidden_features=16),
    fit=FitConfig(steps=30, tuning_steps=10, batch=256, learning_rate=1e-3),
)


@pytest.fixture
def state(qtbot) -> Iterator[PanelState]:
    state = PanelState(ViewerModel(), lambda volume: find_window("full", volume), lambda: "cpu")
    yield state
    jobs = state.findChildren(Job)
    for job in jobs:
        job.drop()
    qtbot.waitUntil(lambda: not any(job.running for job in jobs), timeout=LONG)


def head(state: PanelState, shape: tuple[int, int, int] = (8, 32, 32)) -> Image:
    return add_layer(state.viewer, original_layer(head_phantom(shape), "head"))


class FakeSettings(QObject):
    """Stands in for the section with the settings."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.settings, self.target, self.device, self.max_error = SMALL, Target(), "cpu", None
        self.kept = SimpleNamespace(show_units=lambda units: None)
        self.shown: list[tuple[str, str | None]] = []

    def show_prediction(self, words: str, caution: str | None = None) -> None:
        self.shown.append((words, caution))


# Source


@pytest.fixture
def source_controller(qtbot, state: PanelState) -> SourceController:
    section = SourceSection()
    qtbot.addWidget(section)
    return SourceController(state, section, lambda volume: 1000, state)


def test_a_layer_that_is_moved_or_replaced_is_looked_at_again_but_not_one_that_is_drawn(
    qtbot, state: PanelState, source_controller: SourceController
) -> None:
    layer = head(state)
    source_controller.offer_layers()
    qtbot.waitUntil(lambda: state.volume is not None)
    first = state.volume
    layer.refresh()
    assert state.volume is first
    layer.scale = (9.0, 1.0, 1.0)
    qtbot.waitUntil(lambda: state.volume is not None and state.volume.geometry.spacing[0] == 9.0)
    layer.data = np.flip(layer.data, axis=0).copy()
    qtbot.waitUntil(lambda: state.volume is not None and state.volume.voxels is layer.data)


def test_of_layers_chosen_in_a_hurry_only_the_last_is_shown(
    qtbot, state: PanelState, source_controller: SourceController, monkeypatch
) -> None:
    go_on, describe, heard = threading.Event(), source.describe, []

    def wait(control: Control, layer: Image) -> Volume:
        assert go_on.wait(10)
        return describe(control, layer)

    monkeypatch.setattr(source, "describe", wait)
    state.volume_changed.connect(lambda: heard.append(state.volume))
    layers = [head(state, (8, 16, 16 * number)) for number in (1, 2, 3)]
    source_controller.offer_layers()
    for layer in layers:
        source_controller.section.choose(layer)
    go_on.set()
    qtbot.waitUntil(lambda: state.volume is not None)
    assert [volume.shape for volume in heard if volume is not None] == [(8, 16, 48)]


# Settings


def test_each_speed_is_tried_once(qtbot, state: PanelState, monkeypatch) -> None:
    tried: list[int] = []

    def probe(control: Control, settings: Settings, shape: tuple[int, int, int], device: str) -> object:
        tried.append(settings.field.layers)
        return forecast.speed_key(settings, device), 100.0

    monkeypatch.setattr(forecast, "probe", probe)
    section = FakeSettings()
    controller = SettingsController(state, section, lambda: "lanczos", state)
    layer = head(state)
    state.set_source(layer, head_phantom((8, 32, 32)))
    for layers in (2, 3, 2):
        section.settings = replace(SMALL, field=replace(SMALL.field, layers=layers))
        with qtbot.waitSignal(controller.edited):
            section.changed.emit()
        qtbot.waitUntil(lambda: not controller.probing.running)
    assert tried == [2, 3]
    words, caution = section.shown[-1]
    assert words.endswith("s")
    assert caution is None  # such a volume's ratio is small


def test_a_target_is_planned_from_one_look_and_forgotten_with_the_volume(
    qtbot, state: PanelState, monkeypatch
) -> None:
    looks: list[Volume] = []
    monkeypatch.setattr(
        forecast, "look", lambda control, volume, *_, **__: looks.append(volume) or (SimpleNamespace(),)
    )
    monkeypatch.setattr(forecast, "probe", lambda *_: (("none",), 1.0))
    plan = SimpleNamespace(settings=SMALL, file_bytes=500, lr_psnr=30.0, hr_psnr=29.0, missed=None)
    monkeypatch.setattr("napari_inr_volume.planning.plan", lambda *_: plan)
    section = FakeSettings()
    section.target = Target(kind="bytes", value=500.0)
    controller = SettingsController(state, section, lambda: "lanczos", state)
    layer, volume = head(state), head_phantom((8, 32, 32))
    state.set_source(layer, volume)
    qtbot.waitUntil(lambda: controller.plan is plan)
    section.target = Target(kind="bytes", value=600.0)
    section.changed.emit()
    assert controller.plan is plan
    assert looks == [volume]
    state.set_source(layer, head_phantom((8, 16, 16)))
    assert controller.plan is None
    qtbot.waitUntil(lambda: len(looks) == 2)


# Fit


def test_a_fit_needs_no_panel(qtbot, state: PanelState, monkeypatch, tmp_path) -> None:
    section, settings = FitSection(), FakeSettings()
    qtbot.addWidget(section)
    wanted = SettingsController(state, settings, lambda: "lanczos", state)
    controller = FitController(state, section, wanted, state)
    percents: list[int] = []
    controller.progressed.connect(percents.append)
    assert not section.fit.isEnabled()
    state.set_source(head(state), head_phantom((8, 32, 32)))
    assert section.fit.isEnabled()
    with qtbot.waitSignal(controller.ended, timeout=LONG):
        section.fit_wanted.emit()
    assert percents[-1] == 100
    assert state.fitted is not None
    assert state.fitted.inr is not None
    assert state.fitted.inr.field == SMALL.field
    assert state.fitted.file_bytes > 0
    assert state.fitted.lr in state.viewer.layers


def test_preset_that_the_form_shows_is_what_is_asked_for(state: PanelState) -> None:
    settings = FakeSettings()
    settings.settings = find_preset("fast")
    controller = SettingsController(state, settings, lambda: "span", state)
    request = controller.request(find_window("full", head_phantom((8, 32, 32))))
    assert request.settings == find_preset("fast")
    assert (request.upscaler, request.device, request.planned) == ("span", "cpu", False)
