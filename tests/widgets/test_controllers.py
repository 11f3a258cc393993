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
from qtpy.QtCore import QEvent, QObject, Signal
from qtpy.QtWidgets import QApplication

from napari_inr_volume.core.errors import FitError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.core.windows import find_window
from napari_inr_volume.exact.predict import ExactPrediction
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
    state.deleteLater()  # with its controllers, before the sections that they show something in
    QApplication.sendPostedEvents(state, QEvent.Type.DeferredDelete)
    qtbot.waitUntil(lambda: not any(job.at_work for job in jobs), timeout=LONG)


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

    def show_prediction(self, words: str, caution: str | None = None, exact: str = "") -> None:
        self.shown.append((words, caution))
        self.show_exact_prediction(exact)

    def show_exact_prediction(self, words: str) -> None:
        self.exact = words

    def show_sizes(self, points: list[tuple[int, float]], planned: tuple[int, float] | None) -> None:
        self.sizes = points


def trial(settings: Settings) -> forecast.Trial:
    """Return what a trial finds, on the CPU and with Lanczos."""
    pace, decoding = forecast.speed_key(settings, "cpu"), forecast.decoding_key(settings, "lanczos", "cpu")
    return forecast.Trial(pace=pace, speed=100.0, decoding=decoding, measuring=125.0)


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

    def probe(control: Control, volume: Volume, settings: Settings, **options: str) -> forecast.Trial:
        tried.append(settings.field.layers)
        return trial(settings)

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
    assert words.endswith("to fit and 2 min 05 s to measure it")
    assert caution is None  # such a volume's ratio is small


def test_a_target_is_planned_from_one_look_and_forgotten_with_the_volume(
    qtbot, state: PanelState, monkeypatch
) -> None:
    looks: list[Volume] = []
    monkeypatch.setattr(
        forecast, "look", lambda control, volume, *_, **__: looks.append(volume) or (SimpleNamespace(),)
    )
    monkeypatch.setattr(forecast, "probe", lambda _, volume, settings, **options: trial(settings))
    plan = SimpleNamespace(settings=SMALL, file_bytes=500, lr_psnr=30.0, hr_psnr=29.0, missed=None)
    monkeypatch.setattr("napari_inr_volume.planning.plan", lambda *_: plan)
    curves: list[Volume] = []
    monkeypatch.setattr(
        "napari_inr_volume.planning.curve", lambda volume, *_: curves.append(volume) or [plan]
    )
    section = FakeSettings()
    section.target = Target(kind="bytes", value=500.0)
    controller = SettingsController(state, section, lambda: "lanczos", state)
    layer, volume = head(state), head_phantom((8, 32, 32))
    state.set_source(layer, volume)
    qtbot.waitUntil(lambda: controller.plan is plan)
    section.target = Target(kind="bytes", value=600.0)
    section.changed.emit()
    assert controller.plan is plan
    assert looks == curves == [volume]
    assert section.sizes == [(500, 29.0)]
    state.set_source(layer, head_phantom((8, 16, 16)))
    assert controller.plan is None
    assert section.sizes == []
    qtbot.waitUntil(lambda: len(looks) == 2)


@pytest.fixture
def waiting(qtbot, state: PanelState, monkeypatch) -> Iterator[SimpleNamespace]:
    """A controller that wants to know of an exact layer, whose trials end when they are let to."""
    found = SimpleNamespace(go_on=threading.Event(), begun=[], dropped=None, error=None)

    def exact(control: Control, volume: Volume, max_error: float) -> tuple[float, object]:
        found.dropped = control.drop
        found.begun.append(max_error)
        assert found.go_on.wait(10)
        if found.error is not None:
            raise found.error
        return max_error, ExactPrediction(1000, 1.0)

    monkeypatch.setattr(forecast, "exact", exact)
    monkeypatch.setattr(forecast, "probe", lambda _, volume, settings, **options: trial(settings))
    found.section = FakeSettings()
    found.section.max_error = 2.0
    found.controller = SettingsController(state, found.section, lambda: "lanczos", state)
    state.set_source(head(state), head_phantom((8, 32, 32)))
    qtbot.waitUntil(lambda: len(found.begun) == 1)
    yield found
    found.go_on.set()


@pytest.mark.parametrize("work", ["fitting", "applying"])
def test_a_prediction_that_other_work_ended_is_made_after_it(
    qtbot, state: PanelState, waiting: SimpleNamespace, work: str
) -> None:
    ended = threading.Event()
    waiting.controller.make_way()
    job = getattr(state, work)
    job.start(lambda control: ended.wait(10))
    state.changed.emit()
    assert "once the other work" in waiting.section.exact
    waiting.go_on.set()
    qtbot.waitUntil(lambda: not waiting.controller.coding.running)
    qtbot.wait(700)  # longer than the delay after an edit
    assert waiting.begun == [2.0]
    ended.set()
    qtbot.waitUntil(lambda: "The file: about" in waiting.section.exact)
    assert waiting.begun == [2.0, 2.0]


def test_a_prediction_of_another_bound_follows_the_one_that_runs(
    qtbot, state: PanelState, waiting: SimpleNamespace
) -> None:
    waiting.section.max_error = 5.0
    with qtbot.waitSignal(waiting.controller.edited):
        waiting.section.changed.emit()
    assert "trying" in waiting.section.exact
    waiting.go_on.set()
    qtbot.waitUntil(lambda: "The file: about" in waiting.section.exact)
    assert waiting.begun == [2.0, 5.0]


def test_a_prediction_that_nobody_waits_for_is_dropped(
    qtbot, state: PanelState, waiting: SimpleNamespace
) -> None:
    assert not waiting.dropped.is_set()
    waiting.section.max_error = None
    waiting.section.changed.emit()
    qtbot.waitUntil(waiting.dropped.is_set)


def test_a_prediction_that_fails_says_so_and_is_tried_again_after_an_edit(
    qtbot, state: PanelState, waiting: SimpleNamespace
) -> None:
    waiting.error = FitError("too little memory")
    waiting.go_on.set()
    qtbot.waitUntil(lambda: "too little memory" in waiting.section.exact)
    qtbot.wait(700)
    assert waiting.begun == [2.0]
    waiting.error = None
    waiting.section.changed.emit()
    qtbot.waitUntil(lambda: "The file: about" in waiting.section.exact)


def test_compiling_is_said(qtbot, state: PanelState, waiting: SimpleNamespace) -> None:
    waiting.controller.coding.reported.emit(forecast.Compiling())
    assert "compiling" in waiting.section.exact
    waiting.controller.coding.reported.emit(forecast.Compiled())
    assert "trying" in waiting.section.exact


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
