"""Several volumes in one viewer: what is opened is seen, what is shown is named, fits can be gone back to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from napari import Viewer
from napari.layers import Image
from qtpy.QtCore import Qt

from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.plugin.layers import add_layer, original_layer
from napari_inr_volume.widgets.compress import CompressWidget

pytestmark = [pytest.mark.gui, pytest.mark.slow]

LEFT = Qt.MouseButton.LeftButton
SMALL = Settings(
    field=SirenConfig(layers=2, hidden_features=16),
    fit=FitConfig(steps=30, tuning_steps=10, batch=256, learning_rate=1e-3),
)
ENDLESS = replace(SMALL, fit=replace(SMALL.fit, steps=10_000_000))


def elsewhere() -> Volume:
    """A volume none of whose slices lies where the phantom has one."""
    volume = head_phantom((12, 48, 48))
    return replace(volume, geometry=replace(volume.geometry, origin=(0.0, 0.0, 5_000.0)))


def open_other(qtbot, panel: CompressWidget) -> Image:
    layer = add_layer(panel.viewer, original_layer(elsewhere(), "other"))
    qtbot.waitUntil(lambda: panel.state.volume is not None and panel.state.volume.shape == (12, 48, 48))
    return layer


def fit_it(qtbot, panel: CompressWidget) -> None:
    panel.settings.show_settings(SMALL)
    qtbot.mouseClick(panel.fit.fit, LEFT)
    qtbot.waitUntil(lambda: not panel.state.fitting.running)


def z_in_view(panel: CompressWidget) -> float:
    return float(panel.viewer.dims.point[0])


def has(layer: Image, z: float) -> bool:
    low, high = layer.extent.world[:, 0]
    return bool(low <= z <= high)


def test_volume_that_is_opened_is_chosen_selected_and_in_view(qtbot, docked) -> None:
    (head,) = docked.viewer.layers
    other = open_other(qtbot, docked)
    assert docked.source.layer is other
    assert docked.viewer.layers.selection.active is other
    assert has(other, z_in_view(docked))
    assert not has(head, z_in_view(docked))
    low, high = other.extent.world[:, 1:]
    centre = docked.viewer.scene.camera.center[1:]
    assert np.all((low < centre) & (centre < high))


def test_layer_that_is_added_by_somebody_else_changes_nothing(qtbot, panel, head) -> None:
    panel.viewer.add_image(np.zeros((4, 8, 8)), translate=(5_000, 0, 0))
    assert panel.source.layer is head
    assert has(head, z_in_view(panel))


def test_fit_of_one_volume_is_not_shown_for_another_and_is_gone_back_to(qtbot, panel, head) -> None:
    fit_it(qtbot, panel)
    first, words = panel.state.fitted, panel.fit.words.text()
    other = open_other(qtbot, panel)
    assert panel.state.fitted is None
    assert panel.fit.words.text() == "Not fitted yet."
    assert not panel.save.button.isEnabled()
    assert "other" in panel.fit.heading.text()
    fit_it(qtbot, panel)
    assert panel.save.sizes.text().startswith("other: .inr")
    assert panel.fit.sessions.count() == 2
    panel.fit.sessions.activated.emit(0)
    assert panel.state.fitted is first
    assert panel.source.layer is head
    assert panel.fit.words.text() == words
    assert panel.fit.plot.steps
    assert panel.save.sizes.text().startswith("head: .inr")
    for section in (panel.fit, panel.reconstruct, panel.compare):
        assert "head" in section.heading.text()
    assert panel.viewer.layers.selection.active is first.lr
    assert has(head, z_in_view(panel))
    panel.source.choose(other)
    assert panel.state.fitted.source is other


def test_side_by_side_shows_the_fit_that_is_chosen(qtbot, docked) -> None:
    fit_it(qtbot, docked)
    open_other(qtbot, docked)
    fit_it(qtbot, docked)
    docked.compare.button("side by side").click()
    visible = [layer.name.split(" [")[0] for layer in docked.viewer.layers if layer.visible]
    assert visible == ["other", "other"]
    docked.fit.sessions.activated.emit(0)
    assert docked.compare.mode == "off"
    docked.compare.button("side by side").click()
    visible = [layer for layer in docked.viewer.layers if layer.visible]
    assert [layer.name.split(" [")[0] for layer in visible] == ["head", "head"]
    assert all(has(layer, z_in_view(docked)) for layer in visible)


def test_fit_that_runs_stays_shown_and_named_while_another_volume_is_opened(qtbot, panel, head) -> None:
    panel.settings.show_settings(ENDLESS)
    qtbot.mouseClick(panel.fit.fit, LEFT)
    qtbot.waitUntil(lambda: panel.state.fitted.lr is not None)
    open_other(qtbot, panel)
    assert panel.state.fitted.source is head
    assert "head" in panel.fit.heading.text()
    assert not panel.fit.sessions.isEnabled()
    qtbot.mouseClick(panel.fit.fit, LEFT)
    qtbot.waitUntil(lambda: not panel.state.fitting.running)
    assert panel.save.sizes.text().startswith("head: .inr")


def test_removed_source_leaves_its_fit_and_nothing_made_of_it_becomes_the_source(qtbot, panel, head) -> None:
    fit_it(qtbot, panel)
    qtbot.mouseClick(panel.reconstruct.apply, LEFT)
    qtbot.waitUntil(lambda: not panel.state.applying.running)
    panel.compare.button("difference").click()
    qtbot.waitUntil(lambda: panel.state.fitted.error is not None)
    panel.viewer.layers.remove(head)
    assert panel.source.layer is None
    assert "Choose a layer" in panel.source.info.text()
    assert panel.save.button.isEnabled()
    other = open_other(qtbot, panel)
    assert panel.source.layer is other


def test_layers_of_a_fit_follow_their_original(qtbot, panel, head) -> None:
    fit_it(qtbot, panel)
    qtbot.mouseClick(panel.reconstruct.apply, LEFT)
    qtbot.waitUntil(lambda: not panel.state.applying.running)
    fitted = panel.state.fitted
    head.scale = (7.0, 2.0, 3.0)
    head.translate = (10.0, 20.0, 30.0)
    head.rotate = 30
    np.testing.assert_allclose(fitted.hr.extent.world, head.extent.world)
    np.testing.assert_allclose(fitted.lr.data_to_world((3, 2.5, 2.5)), head.data_to_world((3, 11.5, 11.5)))


def test_what_is_selected_is_seen(qtbot, docked) -> None:
    (head,) = docked.viewer.layers
    fit_it(qtbot, docked)
    active = docked.viewer.layers.selection
    assert active.active is docked.state.fitted.lr
    qtbot.mouseClick(docked.reconstruct.apply, LEFT)
    qtbot.waitUntil(lambda: not docked.state.applying.running)
    active.active = head
    docked.compare.button("difference").click()
    qtbot.waitUntil(lambda: docked.state.fitted.error is not None)
    assert active.active.visible
    docked.compare.button("off").click()
    assert active.active.visible


def test_scrolling_looks_at_nothing_again(qtbot, window: Viewer, docked: CompressWidget) -> None:
    known = docked.state.volume
    heard: list[None] = []
    docked.state.volume_changed.connect(lambda: heard.append(None))
    for z in (1, 5, 9):
        window.dims.set_current_step(0, z)
        docked.grab()
    window.layers[0].visible = False
    window.layers[0].visible = True
    window.dims.roll()
    window.dims.ndisplay = 3
    window.dims.ndisplay = 2
    window.canvas.grid.enabled = True
    window.canvas.grid.enabled = False
    assert heard == []
    assert docked.state.volume is known
    assert not docked.source_controller.describing.running


def test_paused_stays_whatever_is_done_meanwhile(qtbot, docked) -> None:
    docked.settings.show_settings(ENDLESS)
    qtbot.mouseClick(docked.fit.fit, LEFT)
    qtbot.waitUntil(lambda: docked.state.fitted is not None and docked.state.fitted.lr is not None)
    reports: list[object] = []
    docked.state.fitting.reported.connect(reports.append)
    qtbot.waitUntil(lambda: bool(reports))
    qtbot.mouseClick(docked.fit.pause, LEFT)
    docked.state.fitting.reported.emit(reports[-1])  # one that was on its way
    docked.viewer.dims.set_current_step(0, 3)
    open_other(qtbot, docked)
    docked.state.changed.emit()
    assert docked.fit.words.text().startswith("Paused.")
    assert "Resume" in docked.fit.pause.text().replace("&", "")


@pytest.mark.parametrize("focus", ["canvas", "panel"])
def test_keys_fit_compare_and_change_the_window(qtbot, window: Viewer, docked, focus: str) -> None:
    qt_window = window.window._qt_window  # napari has no public way to press a key in its window
    target = qt_window._qt_viewer.canvas.native if focus == "canvas" else docked.fit.fit
    both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier
    docked.settings.show_settings(SMALL)
    qtbot.keyClick(target, Qt.Key.Key_F, both)
    qtbot.waitUntil(lambda: docked.state.fitted is not None and docked.state.fitted.inr is not None)
    qtbot.waitUntil(lambda: not docked.state.fitting.running)
    qtbot.keyClick(target, Qt.Key.Key_C, both)
    assert docked.compare.mode == "side by side"
    before = docked.source.window_name, window.layers[0].contrast_limits
    qtbot.keyClick(target, Qt.Key.Key_W, both)
    assert docked.source.window_name != before[0]
    assert window.layers[0].contrast_limits != before[1]


def test_menu_commands_open_the_panel_where_there_is_none(qtbot, window: Viewer, settings) -> None:
    from napari_inr_volume.plugin.keys import show_next_window

    add_layer(window, original_layer(head_phantom((8, 32, 32)), "head"))
    show_next_window(window)
    (panel,) = window.window._qt_window.findChildren(CompressWidget)
    qtbot.waitUntil(panel.isVisible)
    qtbot.waitUntil(lambda: panel.state.volume is not None)
    before = panel.source.window_name
    show_next_window(window)
    assert panel.source.window_name != before


def test_panel_offers_a_first_volume_of_its_own(qtbot, panel) -> None:
    qtbot.mouseClick(panel.source.sample, LEFT)
    qtbot.waitUntil(lambda: panel.state.volume is not None)
    assert not panel.source.sample.isVisible()
    assert panel.fit.fit.isVisible()
    assert panel.save.isVisible()
