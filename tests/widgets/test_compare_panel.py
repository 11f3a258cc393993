"""Comparing in the panel: modes, the difference of any result, the cursor, other sides, docks."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
from napari import Viewer
from napari.layers import Image
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication, QDockWidget, QWidget

from napari_inr_volume import compress
from napari_inr_volume.core.lowres import low_res
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.inr_volume import InrVolume
from napari_inr_volume.plugin.compare import Arrangement
from napari_inr_volume.plugin.fit_layers import FitLayers
from napari_inr_volume.plugin.layers import (
    add_layer,
    hr_layer,
    is_view,
    kwargs_over,
    lr_layer,
    original_layer,
)
from napari_inr_volume.plugin.names import Names
from napari_inr_volume.records import Request
from napari_inr_volume.widgets.compress import CompressWidget
from napari_inr_volume.widgets.orthogonal import TITLE, OrthogonalViews

pytestmark = [pytest.mark.gui, pytest.mark.slow]

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture(scope="module")
def inr() -> InrVolume:
    small = Settings(field=SirenConfig(layers=2, hidden_features=16), fit=FitConfig(steps=20, batch=256))
    return compress(head_phantom((16, 64, 64)), small, device="cpu", upscaler="lanczos")


def fitted(panel: CompressWidget, inr: InrVolume) -> FitLayers:
    """Give the panel a fit of the chosen volume: an LR 3 off, a reconstruction 7 off."""
    volume, source = panel.state.volume, panel.state.layer
    fit = FitLayers(panel.viewer, source, volume, Request())
    fit.inr, fit.file_bytes, fit.upscaler = inr, 1000, "span"
    lr = low_res(volume, inr.factor).voxels + 3
    fit.lr = fit._add(lr_layer(lr, "head [LR fit 41.2 dB]", inr, source))
    fit.hr = fit._add(hr_layer(volume.voxels + np.int16(7), "head [SPAN 37.9 dB]", inr, source))
    fit.lr_filled = True
    panel.state.set_fitted(fit)
    return fit


def choose(panel: CompressWidget, layer: Image) -> None:
    """Choose what to subtract from, as a person does."""
    box = panel.compare.subtracted
    box.setCurrentIndex([one is layer for one in box.layers].index(True))


def errors(panel: CompressWidget) -> np.ndarray:
    """Return the values of the difference's layer where the original was measured."""
    volume, error = panel.state.volume, panel.state.fitted.error.data
    return np.unique(error[volume.measured()] if error.shape == volume.shape else error)


def test_difference_of_the_reconstruction_the_lr_and_another_codec(qtbot, panel, head, inr) -> None:
    fit = fitted(panel, inr)
    other = panel.viewer.add_image(
        panel.state.volume.voxels - np.int16(2), name="head [JPEG 2000 40.1 dB]", **kwargs_over(head)
    )
    panel.compare.subtracted.choose(fit.hr)
    panel.compare.button("difference").click()
    qtbot.waitUntil(lambda: fit.error is not None)
    assert fit.error.visible
    assert not head.visible
    assert errors(panel).tolist() == [7]
    choose(panel, fit.lr)
    qtbot.waitUntil(lambda: fit.error is not None and fit.error.data.shape == fit.lr.data.shape)
    assert errors(panel).max() == pytest.approx(3, abs=1e-3)
    choose(panel, other)
    qtbot.waitUntil(lambda: fit.error is not None and fit.error.data.shape == other.data.shape)
    assert errors(panel).tolist() == [-2]
    assert fit.error.name == "head [JPEG 2000 40.1 dB - original, ±10 HU]"
    assert sum(is_view(layer) for layer in panel.viewer.layers) == 1
    panel.compare.button("off").click()
    assert head.visible
    assert not fit.error.visible


def test_difference_goes_with_the_layer_that_it_is_of(qtbot, panel, head, inr) -> None:
    fit = fitted(panel, inr)
    panel.compare.button("difference").click()
    qtbot.waitUntil(lambda: fit.error is not None)
    panel.viewer.layers.remove(fit.difference.of)
    assert fit.error is None
    assert panel.compare.mode == "off"
    assert head.visible


def test_window_sets_the_limits_of_the_difference(qtbot, panel, head, inr) -> None:
    fit = fitted(panel, inr)
    panel.compare.button("difference").click()
    qtbot.waitUntil(lambda: fit.error is not None)
    windows = panel.source.windows
    windows.setCurrentIndex(windows.findData("lung"))
    windows.textActivated.emit(windows.currentText())
    assert fit.error.contrast_limits == [-300, 300]
    panel.compare.absolute.click()
    assert fit.error.colormap.name == "absolute error"


def test_views_are_no_sources(panel, head, inr) -> None:
    fitted(panel, inr)
    for mode in ("wipe", "3D"):
        panel.compare.button(mode).click()
        assert any(is_view(layer) for layer in panel.viewer.layers)
        assert not any(is_view(layer) for layer in panel.source.layers.layers)
    assert panel.source.layer is head


def test_key_shows_original_and_reconstruction_in_turn(qtbot, docked, window, inr) -> None:
    fitted(docked, inr)
    canvas = window.window._qt_viewer.canvas.native
    shown = []
    for _ in range(3):
        qtbot.keyClick(canvas, Qt.Key.Key_F)
        shown.append(docked.compare.edge.value())
    assert docked.compare.mode == "wipe"
    assert shown == [100, 0, 100]


def test_the_edge_of_a_wipe_is_dragged_on_the_canvas(qtbot, docked, window, inr) -> None:
    fit = fitted(docked, inr)
    docked.compare.button("wipe").click()
    window.fit_to_view()
    canvas = window.window._qt_viewer.canvas.native
    qtbot.waitExposed(canvas)
    middle, before = canvas.rect().center(), window.scene.camera.center
    move(qtbot, canvas, middle)
    assert window.cursor.style == "pointing"
    qtbot.mousePress(canvas, LEFT, pos=middle)
    width = np.ptp(fit.source.extent.world[:, 2])
    share = 0.5 + 60 / window.scene.camera.zoom / width
    wipe = docked.compare_controller.arrangement.wipe

    def dragged() -> bool:
        move(qtbot, canvas, middle + QPoint(60, 0), LEFT)  # vispy drops what comes too soon after another
        return wipe.share == pytest.approx(share, abs=0.02)

    qtbot.waitUntil(dragged)
    assert docked.compare.edge.value() == pytest.approx(100 * share, abs=2)
    assert window.layers["left: head [SPAN 37.9 dB]"].data.shape[2] == pytest.approx(64 * share, abs=2)
    qtbot.mouseRelease(canvas, LEFT, pos=middle + QPoint(60, 0))
    assert window.scene.camera.center == before  # the picture stayed where it is
    assert window.scene.camera.mouse_pan

    def left() -> bool:
        move(qtbot, canvas, middle)
        return window.cursor.style == "standard"

    qtbot.waitUntil(left)
    docked.compare.button("off").click()
    assert not window.mouse_move_callbacks
    assert not any(is_view(layer) for layer in window.layers)


def move(qtbot, canvas: QWidget, to: QPoint, button: Qt.MouseButton = Qt.MouseButton.NoButton) -> None:
    """Move the mouse, with a button held; QTest's own move holds none."""
    where = QPointF(to)
    kind, none = QEvent.Type.MouseMove, Qt.KeyboardModifier.NoModifier
    event = QMouseEvent(kind, where, QPointF(canvas.mapToGlobal(to)), button, button, none)
    QApplication.sendEvent(canvas, event)


def test_names_are_made_ready_before_they_are_shown_and_are_not_seen_meanwhile(
    qtbot, docked, window, inr
) -> None:
    fit = fitted(docked, inr)
    names = docked.compare_controller.names
    qtbot.waitUntil(lambda: names.ready)
    assert not any(layer.name_overlay.visible for layer in fit.shown)
    info = window.window._qt_viewer.canvas.font_info()
    made = info.font_manager.get_font(info.face)._glyphs
    assert set("".join(layer.name for layer in fit.shown)) <= set(made)
    docked.compare.button("side by side").click()
    assert all(layer.name_overlay.visible and layer.name_overlay.color is None for layer in fit.shown)


def test_a_name_that_is_shown_while_it_is_made_ready_stays(qtbot, window, volume) -> None:
    layer, names, arrangement = add_layer(window, original_layer(volume, "head")), Names(window), None

    def show(_: object) -> None:
        nonlocal arrangement
        if arrangement is None:
            assert tuple(layer.name_overlay.color) == (0, 0, 0, 0)
            arrangement = Arrangement(window)
            arrangement.show("side by side", [layer])

    layer.name_overlay.events.visible.connect(show)
    names.want([layer])
    qtbot.waitUntil(lambda: names.ready and arrangement is not None)
    QApplication.processEvents()
    assert layer.name_overlay.visible
    assert layer.name_overlay.color is None


def test_values_of_all_compared_layers_are_shown_under_the_cursor(qtbot, panel, head, inr) -> None:
    fit = fitted(panel, inr)
    voxel = (8, 32, 32)
    value = int(head.data[voxel])
    panel.viewer.cursor.position = tuple(head.data_to_world(voxel))
    qtbot.waitUntil(lambda: panel.compare.values.text() != "")
    original, lr, hr = panel.compare.values.text().splitlines()
    assert original == f"original: {value:,} HU"
    assert lr.startswith("LR fit 41.2 dB: ")
    assert hr == f"SPAN 37.9 dB: {value + 7:,} (+7)"
    panel.viewer.cursor.position = (1e4, 0, 0)
    qtbot.waitUntil(lambda: "–" in panel.compare.values.text())
    panel.viewer.layers.remove(fit.source)
    panel.viewer.cursor.position = (0, 0, 0)
    qtbot.waitUntil(lambda: not panel.compare.values.isVisible())


def test_keys_do_nothing_once_the_panel_is_gone(qtbot, window: Viewer) -> None:
    dock, panel = window.window.add_plugin_dock_widget("napari-inr-volume", "Compress (INR)")
    with qtbot.waitSignal(panel.destroyed):
        window.window.remove_dock_widget(dock)
        panel.deleteLater()
    for act in window.keymap.values():
        act(window)


# Other sides


@pytest.fixture
def views(qtbot, docked: CompressWidget, window: Viewer, inr) -> OrthogonalViews:
    fitted(docked, inr)
    docked.compare.button("side by side").click()
    qtbot.mouseClick(docked.compare.orthogonal, LEFT)
    views = window.window.dock_widgets[TITLE]
    yield views
    window.window.dock_widgets[TITLE].close()


def test_both_sides_show_what_is_compared(qtbot, views: OrthogonalViews, docked) -> None:
    names = [layer.name for layer in docked.viewer.layers]
    for mirror, order in zip(views.mirrors, [(1, 0, 2), (2, 0, 1)], strict=True):
        qtbot.waitUntil(lambda mirror=mirror: [layer.name for layer in mirror.model.layers] == names)
        assert mirror.model.dims.order == order
        assert mirror.model.canvas.grid.enabled
        assert all(
            copy.data is layer.data
            for copy, layer in zip(mirror.model.layers, docked.viewer.layers, strict=True)
        )


def test_slice_contrast_and_zoom_are_linked_both_ways(qtbot, views: OrthogonalViews, docked, window) -> None:
    for mirror in views.mirrors:
        qtbot.waitUntil(lambda mirror=mirror: mirror.model.canvas.grid.enabled)
    front, side = (mirror.model for mirror in views.mirrors)
    head = window.layers["head"]
    front.dims.set_point(1, window.dims.range[1].start + 10)
    assert window.dims.point[1] == pytest.approx(front.dims.point[1])
    window.dims.set_point(2, window.dims.range[2].start + 5)
    assert side.dims.point[2] == pytest.approx(window.dims.point[2])
    head.contrast_limits = (-500, 500)
    assert front.layers["head"].contrast_limits == [-500, 500]
    side.layers["head"].contrast_limits = (0, 80)
    assert head.contrast_limits == [0, 80]
    before = [each.scene.camera.zoom for each in (window, front, side)]
    front.scene.camera.zoom *= 2
    after = [each.scene.camera.zoom for each in (window, front, side)]
    np.testing.assert_allclose(after, 2 * np.array(before))


def test_hidden_layers_are_hidden_from_all_sides(qtbot, views: OrthogonalViews, docked, window) -> None:
    window.layers["head"].visible = False
    for mirror in views.mirrors:
        qtbot.waitUntil(lambda mirror=mirror: not mirror.model.layers["head"].visible)
    docked.compare.button("off").click()
    for mirror in views.mirrors:
        qtbot.waitUntil(lambda mirror=mirror: not mirror.model.canvas.grid.enabled)


def test_layer_that_must_be_decoded_is_named_and_not_shown(qtbot, views: OrthogonalViews, window) -> None:
    window.add_image(dask.array.zeros((16, 64, 64)), name="lazy", contrast_limits=(0, 1))
    qtbot.waitUntil(lambda: "'lazy'" in views.words.text())
    assert "lazy" not in views.mirrors[0].model.layers
    window.layers.remove("lazy")
    qtbot.waitUntil(lambda: not views.words.isVisible())


def test_closed_views_follow_no_more_and_come_again(qtbot, views: OrthogonalViews, docked, window) -> None:
    window.window.remove_dock_widget(views)
    callbacks = len(window.mouse_drag_callbacks)
    window.dims.set_point(1, window.dims.range[1].start)
    window.layers["head"].contrast_limits = (1, 2)
    assert all(mirror.model.layers["head"].contrast_limits != [1, 2] for mirror in views.mirrors)
    assert views.canvases == []
    qtbot.mouseClick(docked.compare.orthogonal, LEFT)
    again = window.window.dock_widgets[TITLE]
    assert again is not views
    assert len(window.mouse_drag_callbacks) == callbacks + 2
    again.close()
    assert len(window.mouse_drag_callbacks) == callbacks


# Docks


def test_panels_are_tabs_and_keep_a_usable_height(qtbot, docked: CompressWidget, window: Viewer) -> None:
    window.window.resize(1280, 720)
    panels = [docked]
    for name in ("INR file", "Codec comparison"):
        _, panel = window.window.add_plugin_dock_widget("napari-inr-volume", name)
        panels.append(panel)
        main = window.window._qt_window
        dock = panel.parentWidget()
        while not isinstance(dock, QDockWidget):
            dock = dock.parentWidget()
        qtbot.waitUntil(lambda main=main, dock=dock: bool(main.tabifiedDockWidgets(dock)))
        qtbot.waitUntil(lambda panel=panel: panel.height() > 400)


def test_two_volumes_apart_are_each_compared_in_view(qtbot, docked, window, volume, inr) -> None:
    layer = add_layer(window, original_layer(volume, "second"))
    layer.translate = (900, 300, 0)
    docked.source.choose(layer)
    qtbot.waitUntil(lambda: docked.state.volume is not None and docked.state.layer is layer)
    fitted(docked, inr)
    docked.compare.button("side by side").click()
    low, high = layer.extent.world
    assert low[0] <= window.dims.point[0] <= high[0]
    assert low[1] < window.scene.camera.center[1] < high[1]
