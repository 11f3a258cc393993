"""Exact slices in napari's window: the preview at once, then those in view; ended with layer and window."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from exact_files import SHAPE, damaged, exact_voxels, voxels, with_exact
from napari import Viewer
from napari.layers import Image
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QApplication

from napari_inr_volume.exact.decode import ExactSlices
from napari_inr_volume.inr_volume import InrVolume
from napari_inr_volume.io.inr_file import write_inr
from napari_inr_volume.plugin.layers import voxels_of
from napari_inr_volume.plugin.settings import PLUGIN
from napari_inr_volume.plugin.sharpening import Sharpening, sharpening_of
from napari_inr_volume.reader import Reader
from napari_inr_volume.widgets.inr_info import InrFileWidget

pytestmark = [pytest.mark.gui, pytest.mark.slow]

EXACT = voxels()
MIDDLE = 4  # the slice that is in view first


class Gate:
    """Holds back exact slices until it is opened; the UI thread must not ask for any before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.waiting = Event(), Event()
        take = ExactSlices.take

        def held(slices: ExactSlices, numbers):
            in_window = threading.current_thread() is threading.main_thread()
            assert self.open.is_set() or not in_window, "the window waits"
            self.waiting.set()
            self.open.wait()
            return take(slices, numbers)

        monkeypatch.setattr(ExactSlices, "take", held)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate(monkeypatch)
    yield gate
    gate.open.set()


@pytest.fixture
def inr(make_inr, monkeypatch: pytest.MonkeyPatch) -> InrVolume:
    return with_exact(make_inr(shape=SHAPE), monkeypatch)


@pytest.fixture
def window(make_napari_viewer, plugins) -> Viewer:
    notification_manager.records.clear()
    return make_napari_viewer(show=True)


def opened(window: Viewer, inr: InrVolume, tmp_path: Path) -> Image:
    """Open a file of it, as a person does; return the layer of exact voxels."""
    write_inr(inr, tmp_path / "head.inr")
    window.open(str(tmp_path / "head.inr"), plugin=PLUGIN)
    return window.layers[-1]


def follower(layer: Image) -> Sharpening:
    found = sharpening_of(layer)
    assert found is not None
    return found


def drawn(layer: Image) -> np.ndarray:
    """Return the slice that is drawn."""
    return np.asarray(layer._slice.image.raw)


def idle(qtbot, layer: Image) -> None:
    qtbot.waitUntil(lambda: not follower(layer).job.at_work and not layer.data.next_steps())


def test_a_file_opens_with_the_preview_and_its_slice_becomes_exact(
    qtbot, window: Viewer, inr: InrVolume, tmp_path: Path, gate: Gate
) -> None:
    layer = opened(window, inr, tmp_path)
    preview = Reader(inr, device="cpu").plane(MIDDLE)
    qtbot.waitUntil(lambda: np.array_equal(drawn(layer), preview))
    qtbot.waitUntil(gate.waiting.is_set)
    qtbot.waitUntil(lambda: "preview" in window.canvas.overlays.text.text)
    gate.open.set()
    qtbot.waitUntil(lambda: np.array_equal(drawn(layer), EXACT[MIDDLE]))
    qtbot.waitUntil(lambda: not window.canvas.overlays.text.visible)
    assert layer.get_value((MIDDLE, 6, 7)) == EXACT[MIDDLE, 6, 7]
    idle(qtbot, layer)


def test_the_layer_of_the_lr_is_drawn_too_where_another_had_it_decoded(
    qtbot, window: Viewer, inr: InrVolume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = opened(window, inr, tmp_path)
    lr = window.layers[0]
    idle(qtbot, layer)
    idle(qtbot, lr)
    voxels_of(lr)._kept.clear()  # as if the slices were too many to be kept
    voxels_of(layer)._kept.clear()
    monkeypatch.setattr(follower(lr).job, "start", lambda *_: False)  # the other is faster
    window.dims.set_current_step(0, 9)
    qtbot.waitUntil(lambda: np.array_equal(drawn(lr), Reader(inr, device="cpu").plane(9, level="lr")))
    idle(qtbot, layer)


def test_scrolling_never_waits_and_what_is_in_view_comes_next(
    qtbot, window: Viewer, inr: InrVolume, tmp_path: Path, gate: Gate
) -> None:
    layer = opened(window, inr, tmp_path)
    for z in (9, 0, 3, 8):  # none of them waits, or the gate would fail them
        window.dims.set_current_step(0, z)
    gate.open.set()
    qtbot.waitUntil(lambda: np.array_equal(drawn(layer), EXACT[8]))
    idle(qtbot, layer)


def test_a_file_that_is_saved_over_stays_as_it_was_opened(
    qtbot, window: Viewer, inr: InrVolume, make_inr, tmp_path: Path, gate: Gate
) -> None:
    layer = opened(window, inr, tmp_path)
    write_inr(make_inr(shape=SHAPE, seed=7), tmp_path / "head.inr")
    window.dims.set_current_step(0, 9)
    gate.open.set()
    qtbot.waitUntil(lambda: np.array_equal(drawn(layer), EXACT[9]))
    idle(qtbot, layer)
    np.testing.assert_array_equal(np.asarray(layer.data), EXACT)


def test_a_view_along_another_axis_is_exact_once_all_slices_are(
    qtbot, window: Viewer, inr: InrVolume, tmp_path: Path, gate: Gate
) -> None:
    layer = opened(window, inr, tmp_path)
    window.dims.order = (1, 0, 2)
    window.dims.set_current_step(1, 7)
    assert not np.array_equal(drawn(layer), EXACT[:, 7])
    gate.open.set()
    qtbot.waitUntil(lambda: np.array_equal(drawn(layer), EXACT[:, 7]))
    window.dims.order = (0, 1, 2)
    window.dims.ndisplay = 3
    np.testing.assert_array_equal(drawn(layer), EXACT)
    idle(qtbot, layer)


def test_a_layer_that_is_removed_ends_the_work_and_is_freed(
    qtbot, window: Viewer, inr: InrVolume, tmp_path: Path, gate: Gate
) -> None:
    layer = opened(window, inr, tmp_path)
    qtbot.waitUntil(gate.waiting.is_set)
    job, found = follower(layer).job, layer.data
    window.layers.remove(layer)
    gate.open.set()
    qtbot.waitUntil(lambda: not job.at_work)
    assert found.next_steps()  # it was not done
    assert not window.canvas.overlays.text.visible
    np.testing.assert_array_equal(found[2], EXACT[2])  # nobody draws it: it is exact


def test_a_layer_that_comes_back_sharpens_again(
    qtbot, window: Viewer, inr: InrVolume, tmp_path: Path
) -> None:
    layer = opened(window, inr, tmp_path)
    idle(qtbot, layer)
    window.layers.remove(layer)
    window.layers.append(layer)
    window.dims.set_current_step(0, 0)
    qtbot.waitUntil(lambda: np.array_equal(drawn(layer), EXACT[0]))
    idle(qtbot, layer)
    np.testing.assert_array_equal(drawn(layer), EXACT[0])


def test_moving_and_hiding_a_layer_do_not_disturb_it(
    qtbot, window: Viewer, inr: InrVolume, tmp_path: Path, gate: Gate
) -> None:
    layer = opened(window, inr, tmp_path)
    window.layers.move(1, 0)
    qtbot.waitUntil(lambda: window.canvas.overlays.text.visible)
    layer.visible = False
    assert not window.canvas.overlays.text.visible
    layer.visible = True
    gate.open.set()
    qtbot.waitUntil(lambda: np.array_equal(drawn(layer), EXACT[MIDDLE]))
    idle(qtbot, layer)


def test_words_of_the_person_stay_on_the_canvas(
    qtbot, window: Viewer, inr: InrVolume, tmp_path: Path
) -> None:
    overlay = window.canvas.overlays.text
    overlay.text, overlay.visible = "patient 7", True
    layer = opened(window, inr, tmp_path)
    qtbot.waitUntil(lambda: np.array_equal(drawn(layer), EXACT[MIDDLE]))
    idle(qtbot, layer)
    assert (overlay.text, overlay.visible) == ("patient 7", True)


def test_closing_the_window_ends_the_work(
    qtbot, make_napari_viewer, plugins, inr: InrVolume, tmp_path: Path, gate: Gate
) -> None:
    viewer = make_napari_viewer(show=True)
    layer = opened(viewer, inr, tmp_path)
    qtbot.waitUntil(gate.waiting.is_set)
    job, found = follower(layer).job, layer.data
    viewer.close()
    gate.open.set()
    qtbot.waitUntil(lambda: not job.at_work)
    QApplication.processEvents()
    assert not job.running
    assert found.next_steps()


def test_a_damaged_slab_is_said_once_and_stays_the_preview(
    qtbot, window: Viewer, inr: InrVolume, tmp_path: Path
) -> None:
    layer = opened(window, damaged(inr, 2), tmp_path)
    idle(qtbot, layer)
    for z in (0, 4, 5, 9, 5):
        window.dims.set_current_step(0, z)
        idle(qtbot, layer)
    np.testing.assert_array_equal(drawn(layer), Reader(inr, device="cpu").plane(5))
    said = [record.message for record in notification_manager.records if "damaged" in record.message]
    assert len(said) == 1
    assert "slices 4 to 5" in said[0]
    qtbot.waitUntil(lambda: "damaged" in window.canvas.overlays.text.text)


def test_voxels_without_a_layer_are_freed_with_what_follows_them(window: Viewer, inr: InrVolume) -> None:
    found = exact_voxels(inr)
    found.sharpening = Sharpening(window, found)
    alive = weakref.ref(found), weakref.ref(found.sharpening)
    del found
    gc.collect()
    assert [each() for each in alive] == [None, None]


def test_the_widget_says_what_is_in_view_and_decodes_it_whole(
    qtbot, window: Viewer, inr: InrVolume, tmp_path: Path, gate: Gate
) -> None:
    _, widget = window.window.add_plugin_dock_widget(PLUGIN, "INR file")
    assert isinstance(widget, InrFileWidget)
    assert not widget.file.decode_exact.isVisible()
    layer = opened(window, inr, tmp_path)
    qtbot.waitUntil(lambda: f"Slice {MIDDLE}: preview" in widget.file.view.text())
    gate.open.set()
    qtbot.waitUntil(lambda: widget.file.view.text() == f"Slice {MIDDLE}: lossless")
    idle(qtbot, layer)
    window.dims.set_current_step(0, 7)
    qtbot.waitUntil(lambda: "Slice 7" in widget.file.view.text())
    widget.file.decode_exact.click()
    qtbot.waitUntil(lambda: isinstance(layer.data, np.ndarray))
    np.testing.assert_array_equal(layer.data, EXACT)
    assert len(window.layers) == 2
    assert widget.file.view.text() == ""
    qtbot.waitUntil(lambda: not (widget.looking.at_work or widget.decoding.at_work))
