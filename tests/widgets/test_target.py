"""A size, a ratio or a PSNR instead of a preset's settings: what the panel says, fits and remembers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from napari.utils.notifications import notification_manager
from pyqtgraph import PlotWidget
from qtpy.QtCore import QPointF, Qt

from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren import ladder
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.io.inr_file import to_bytes
from napari_inr_volume.planning import Plan
from napari_inr_volume.plugin.settings import load_last_used
from napari_inr_volume.target import Target
from napari_inr_volume.widgets.compress import CompressWidget
from napari_inr_volume.widgets.plot import SizePlot
from napari_inr_volume.widgets.settings_section import SettingsSection, target_from

pytestmark = [pytest.mark.gui, pytest.mark.slow]

LONG = 60_000  # ms
LEFT = Qt.MouseButton.LeftButton
BASE = Settings(
    field=SirenConfig(layers=2, hidden_features=16),
    fit=FitConfig(steps=20, tuning_steps=10, batch=256, learning_rate=1e-3, optimiser="muon"),
)


@pytest.fixture(autouse=True)
def short_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "PROBED_WIDTHS", (8, 16))
    monkeypatch.setattr(ladder, "PROBED_STEPS", 20)


def choose(panel: CompressWidget, kind: str, value: float | None = None) -> None:
    """As a person does: the kind from the list, then the number."""
    section = panel.settings
    section.target_kind.setCurrentIndex(section.target_kind.findData(kind))
    section.target_kind.activated.emit(section.target_kind.currentIndex())
    if value is not None:
        section.target_value.setValue(value)


def planned(qtbot, panel: CompressWidget) -> Plan:
    qtbot.waitUntil(lambda: panel.settings_controller.plan is not None, timeout=LONG)
    return panel.settings_controller.plan


@pytest.mark.parametrize(
    ("kind", "shown", "expected"),
    [("bytes", 25.0, 25_000), ("ratio", 700.0, 700), ("psnr", 37.5, 37.5)],
)
def test_the_row_gives_the_target_in_its_unit(qtbot, kind: str, shown: float, expected: float) -> None:
    section = SettingsSection()
    qtbot.addWidget(section)
    section.show_target(Target(kind=kind, value=expected))
    assert section.target_value.value() == shown
    assert section.target == Target(kind=kind, value=expected)


def test_a_preset_needs_no_number(qtbot) -> None:
    section = SettingsSection()
    qtbot.addWidget(section)
    section.show()
    assert section.target == Target()
    assert not section.target_value.isVisible()


@pytest.mark.parametrize("fields", [None, {"kind": "size", "value": 3}, {"kind": "psnr", "value": -1}, 7])
def test_a_target_that_was_remembered_unsoundly_is_forgotten(fields: object) -> None:
    assert target_from(fields) == Target()


@pytest.mark.slow
def test_a_size_is_looked_for_told_and_kept(qtbot, panel: CompressWidget, head) -> None:
    panel.settings.show_settings(BASE)
    choose(panel, "bytes", 4.0)
    assert "Looking at the volume" in panel.settings.prediction.text()
    plan = planned(qtbot, panel)
    words = panel.settings.prediction.text()
    assert f"reconstruction about {plan.hr_psnr:.1f} dB" in words
    qtbot.waitUntil(
        lambda: (
            not panel.settings_controller.probing.running and not panel.settings_controller.looking.running
        ),
        timeout=LONG,
    )
    qtbot.mouseClick(panel.fit.fit, LEFT)
    assert not panel.settings.target_kind.isEnabled()
    qtbot.waitUntil(lambda: not (panel.state.fitting.running or panel.state.measuring.running), timeout=LONG)
    assert panel.state.fitted.inr.field == plan.settings.field
    assert len(to_bytes(panel.state.fitted.inr)) <= 4_000


def test_a_size_that_cannot_be_is_said_before_the_fit(qtbot, panel: CompressWidget, head) -> None:
    panel.settings.show_settings(BASE)
    choose(panel, "bytes", 0.1)
    qtbot.waitUntil(lambda: "as small as 100 bytes" in panel.settings.prediction.text(), timeout=LONG)
    panel.fit_controller.start()
    assert not panel.state.fitting.running


def test_another_number_needs_no_other_look(qtbot, panel: CompressWidget, head) -> None:
    panel.settings.show_settings(BASE)
    choose(panel, "bytes", 4.0)
    first = planned(qtbot, panel)
    panel.settings.target_value.setValue(9.0)
    assert not panel.settings_controller.looking.running
    assert panel.settings_controller.plan.file_bytes > first.file_bytes


POINTS = [(2_020, 27.3), (12_456, 32.7), (140_166, 38.4)]


def click(qtbot, plot: SizePlot, at: QPointF) -> None:
    view = plot.findChild(PlotWidget)
    qtbot.mouseClick(view.viewport(), LEFT, pos=view.mapFromScene(at))


def test_a_click_on_a_point_asks_for_a_file_of_its_size(qtbot) -> None:
    section = SettingsSection()
    qtbot.addWidget(section)
    section.resize(300, 600)
    section.show()
    assert not section.sizes.isVisible()
    section.show_target(Target(kind="psnr", value=36.0))
    section.show_sizes(POINTS, (50_000, 36.1))
    assert section.sizes.isVisible()
    with qtbot.waitSignal(section.changed):
        click(qtbot, section.sizes, section.sizes.place(POINTS[1]))
    assert (section.target.kind, section.target_value.value()) == ("bytes", 12.5)  # kB, enough for that file
    with qtbot.assertNotEmitted(section.changed):
        click(qtbot, section.sizes, section.sizes.place((12_456, 37.0)))  # nothing is there
    section.lock(True)
    with qtbot.assertNotEmitted(section.changed):
        click(qtbot, section.sizes, section.sizes.place(POINTS[2]))
    section.show_sizes([], None)
    assert not section.sizes.isVisible()


def test_sizes_to_choose_from_are_shown_once_the_volume_was_looked_at(
    qtbot, panel: CompressWidget, head
) -> None:
    panel.settings.show_settings(BASE)
    choose(panel, "bytes", 4.0)
    assert not panel.settings.sizes.isVisible()
    planned(qtbot, panel)
    assert panel.settings.sizes.isVisible()
    choose(panel, "bytes", 0.1)  # which cannot be; what can be stays in sight
    assert panel.settings_controller.plan is None
    assert panel.settings.sizes.isVisible()
    choose(panel, "preset")
    assert not panel.settings.sizes.isVisible()


@pytest.mark.slow
def test_a_quality_that_is_missed_is_tried_again_larger_or_said(qtbot, panel: CompressWidget, head) -> None:
    panel.settings.show_settings(BASE)
    choose(panel, "psnr", 14.0)
    plan = planned(qtbot, panel)
    panel.settings_controller.plan = replace(plan, hr_psnr=30.0)  # as if more had been promised than was held
    qtbot.mouseClick(panel.fit.fit, LEFT)
    qtbot.waitUntil(
        lambda: (
            not panel.state.fitting.running
            and panel.state.fitted is not None
            and panel.state.fitted.inr is not None
        ),
        timeout=LONG,
    )
    reached = panel.state.fitted.inr.quality.hr_psnr
    assert reached >= 14.0 or "was not met" in panel.fit.words.text()


def test_the_target_is_remembered(qtbot, panel: CompressWidget, head) -> None:
    choose(panel, "ratio", 321.0)
    qtbot.waitUntil(lambda: "target" in load_last_used(), timeout=LONG)
    assert load_last_used()["target"] == {"kind": "ratio", "value": 321.0}


def test_advice_is_given_once_beyond_diagnostic_ratios(qtbot, panel: CompressWidget, head) -> None:
    panel.settings.show_settings(replace(BASE, field=SirenConfig(layers=2, hidden_features=4)))
    qtbot.waitUntil(lambda: "Expected" in panel.settings.prediction.text(), timeout=LONG)
    assert ratio(panel) > 15
    assert panel.settings.banner.isVisible()
    panel.settings.show_settings(replace(BASE, field=SirenConfig(layers=3, hidden_features=96)))
    assert 1 < ratio(panel) < 15
    assert not panel.settings.banner.isVisible()


def test_a_file_that_would_be_larger_than_the_volume_is_said_before_the_fit(qtbot, panel, head) -> None:
    panel.settings.show_settings(replace(BASE, field=SirenConfig(layers=4, hidden_features=256)))
    qtbot.waitUntil(lambda: "Expected" in panel.settings.prediction.text())
    assert ratio(panel) < 1
    assert "larger than the volume" in panel.settings.banner.text()


def test_a_target_that_cannot_be_used_is_said_before_the_fit(qtbot, panel, head) -> None:
    panel.settings.show_settings(BASE)
    choose(panel, "bytes", 0.1)
    qtbot.waitUntil(lambda: "ask for" in panel.settings.prediction.text())
    assert not panel.fit.fit.isEnabled()
    assert panel.fit.fit.toolTip() == panel.settings.prediction.text()
    panel.fit_or_stop()
    assert panel.settings.prediction.text() in notification_manager.records[-1].message
    choose(panel, "bytes", 5.0)
    assert panel.fit.fit.isEnabled()


def test_fit_pressed_while_the_volume_is_looked_at_begins_when_that_is_known(qtbot, panel, head) -> None:
    panel.settings.show_settings(BASE)
    choose(panel, "bytes", 5.0)
    assert panel.settings_controller.plan is None
    qtbot.mouseClick(panel.fit.fit, LEFT)
    assert not panel.state.fitting.running
    qtbot.waitUntil(lambda: panel.state.fitted is not None and panel.state.fitted.inr is not None)
    qtbot.waitUntil(lambda: not panel.state.fitting.running)
    assert panel.state.fitted.file_bytes <= 5_000


def test_fit_that_waits_can_be_taken_back(qtbot, panel, head) -> None:
    panel.settings.show_settings(BASE)
    choose(panel, "bytes", 5.0)
    qtbot.mouseClick(panel.fit.fit, LEFT)
    assert "as soon as" in panel.fit.words.text()
    qtbot.mouseClick(panel.fit.fit, LEFT)
    assert panel.fit.words.text() == "Not fitted yet."
    planned(qtbot, panel)
    assert not panel.state.fitting.running


def ratio(panel: CompressWidget) -> float:
    """What the panel says."""
    return float(panel.settings.prediction.text().split(", ")[1].split(":")[0].replace(",", ""))
