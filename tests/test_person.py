"""A person at the screen, scripted: clicks and keys on the real widgets, answers in the real dialogs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from napari import Viewer
from napari.utils.notifications import NotificationSeverity, notification_manager
from npe2 import PluginManifest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QFileDialog, QLineEdit, QMenu

import napari_inr_volume
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.io.dicom_export import write_dicom_series
from napari_inr_volume.plugin import kept_fits
from napari_inr_volume.widgets.compress import CompressWidget

pytestmark = pytest.mark.gui

MANIFEST = Path(napari_inr_volume.__file__).parent / "napari.yaml"
LEFT = Qt.MouseButton.LeftButton
LONG = 60_000  # ms


@pytest.fixture(autouse=True)
def dialogs_of_qt(npe2pm, plugin_settings, monkeypatch, tmp_path_factory) -> Iterator[None]:
    """Not the desktop's dialogs, which nobody can answer from here; and napari with our plugin only.

    What is kept of a stopped fit goes into a folder of the test's own.
    """
    monkeypatch.setattr(kept_fits, "FOLDER", tmp_path_factory.mktemp("data") / "fits")
    npe2pm.register(PluginManifest.from_file(MANIFEST))
    notification_manager.records.clear()
    QApplication.setAttribute(Qt.ApplicationAttribute.AA_DontUseNativeDialogs)
    yield
    QApplication.setAttribute(Qt.ApplicationAttribute.AA_DontUseNativeDialogs, False)


def type_into_next_file_dialog(name: str) -> None:
    """Answer the next file dialog, as soon as it is there."""

    def look() -> None:
        dialog = QApplication.activeModalWidget()
        if not isinstance(dialog, QFileDialog):
            QTimer.singleShot(50, look)
            return
        buttons = dialog.findChild(QDialogButtonBox)
        accept, reject = QDialogButtonBox.ButtonRole.AcceptRole, QDialogButtonBox.ButtonRole.RejectRole
        by_role = {buttons.buttonRole(button): button for button in buttons.buttons()}
        dialog.findChild(QLineEdit).setText(name)
        by_role[accept].click()
        if dialog.isVisible():  # a test must not wait for ever
            by_role[reject].click()

    QTimer.singleShot(50, look)


def choose(menu: QMenu, *path: str) -> None:
    """Choose an entry of a menu or of a menu below it, by the beginning of its text."""
    menu.aboutToShow.emit()
    for action in menu.actions():
        if action.text().replace("&", "").startswith(path[0]):
            if len(path) > 1:
                return choose(action.menu(), *path[1:])
            return action.trigger()
    raise AssertionError(f"no {path[0]!r} among {[action.text() for action in menu.actions()]}")


def wait(qtbot, condition: Callable[[], bool]) -> None:
    qtbot.waitUntil(condition, timeout=LONG)


def open_panel(viewer: Viewer) -> CompressWidget:
    choose(viewer.window.plugins_menu, "INR Volume", "Compress (INR)")
    panels = [widget for widget in QApplication.allWidgets() if isinstance(widget, CompressWidget)]
    (panel,) = (panel for panel in panels if panel.viewer is viewer)  # not those of earlier tests
    return panel


def test_person_goes_the_whole_way_and_gets_the_same_voxels_back(
    qtbot, make_napari_viewer, tmp_path: Path
) -> None:
    folder = tmp_path / "head CT"
    write_dicom_series(head_phantom((12, 64, 64)), folder)
    viewer = make_napari_viewer(show=True)
    panel = open_panel(viewer)

    type_into_next_file_dialog(str(folder))
    qtbot.mouseClick(panel.source.load, LEFT)
    wait(qtbot, lambda: panel.state.volume is not None)
    assert panel.fit.fit.isEnabled()
    assert "12 × 64 × 64 voxels" in panel.source.info.text()
    assert viewer.layers[0].name == "head CT"

    qtbot.keyClicks(panel.settings.preset, "qua")  # of the presets, only quality begins so
    assert panel.settings.preset.currentText() == "quality"
    assert ":1" in panel.settings.prediction.text()

    qtbot.mouseClick(panel.fit.fit, LEFT)
    wait(qtbot, lambda: "LR PSNR" in panel.fit.words.text() and len(viewer.layers) == 2)
    qtbot.mouseClick(panel.fit.fit, LEFT)  # it is Stop by now
    wait(qtbot, lambda: panel.fit.words.text().startswith("Done"))

    wait(qtbot, panel.reconstruct.apply.isEnabled)
    qtbot.mouseClick(panel.reconstruct.apply, LEFT)
    wait(qtbot, lambda: len(viewer.layers) == 3 and panel.reconstruct.apply.isEnabled())
    wait(qtbot, lambda: panel.state.fitted.measured)
    original, lr, reconstruction = viewer.layers
    assert "dB]" in lr.name
    assert reconstruction.data.shape == original.data.shape

    qtbot.mouseClick(panel.compare.button("side by side"), LEFT)
    assert viewer.canvas.grid.enabled
    table = panel.compare.figures.table
    figures = [text for row in range(table.rowCount()) if (text := table.item(row, 1).text().strip())]
    assert len(figures) >= 4  # LR fit and Lanczos, in the slice and in the volume
    assert all(float(figure.split()[0]) > 5 for figure in figures)
    qtbot.mouseClick(panel.compare.button("off"), LEFT)

    viewer.layers.selection = {lr, reconstruction}
    type_into_next_file_dialog(str(tmp_path / "head.inr"))
    choose(viewer.window.file_menu, "Save Selected Layers")
    assert 25_000 < (tmp_path / "head.inr").stat().st_size < 40_000
    assert [
        record.message
        for record in notification_manager.records
        if record.severity >= NotificationSeverity.WARNING
    ] == []

    again = make_napari_viewer()
    opened = again.open(tmp_path / "head.inr", plugin="napari-inr-volume")
    by_shape = {layer.data.shape: layer for layer in opened}
    np.testing.assert_array_equal(np.asarray(by_shape[original.data.shape].data), reconstruction.data)
    np.testing.assert_allclose(np.asarray(by_shape[lr.data.shape].data), lr.data, atol=0.01)
    np.testing.assert_allclose(by_shape[lr.data.shape].translate, lr.translate)
