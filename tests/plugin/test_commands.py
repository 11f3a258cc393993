"""The commands under File > IO Utilities, chosen in a real viewer's menu."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event, current_thread, main_thread

import numpy as np
import pytest
from napari import Viewer
from napari._qt.widgets.qt_progress_bar import QtLabeledProgressBar
from napari.layers import Image
from napari.layers._source import layer_source
from napari.settings import get_settings
from napari.utils import progress
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QTimer
from qtpy.QtGui import QAction
from qtpy.QtWidgets import QFileDialog, QMenu

from napari_inr_volume import codec
from napari_inr_volume.core import memory
from napari_inr_volume.core.even import evened
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Geometry
from napari_inr_volume.inr_volume import UpscalerRef
from napari_inr_volume.io.dicom import read_dicom
from napari_inr_volume.io.dicom_export import write_dicom_series
from napari_inr_volume.io.inr_file import read_inr, write_inr
from napari_inr_volume.io.volumes import WRITERS, read_volume
from napari_inr_volume.plugin import commands, dialogs
from napari_inr_volume.plugin.layers import volume_of
from napari_inr_volume.plugin.settings import OWN_WEIGHTS, remember
from napari_inr_volume.reader import Reader

pytestmark = pytest.mark.gui

PLUGIN = "napari-inr-volume"
Choose = Callable[[str], None]


def entry(menu: QMenu, text: str) -> QAction:
    menu.aboutToShow.emit()
    (found,) = (action for action in menu.actions() if action.text().replace("&", "") == text)
    return found


@pytest.fixture
def viewer(make_napari_viewer, plugins, plugin_settings, monkeypatch) -> Viewer:
    """A viewer with a window, and with our menus in it."""
    monkeypatch.setattr(get_settings().experimental, "async_", False)  # and so again after the test
    notification_manager.records.clear()
    return make_napari_viewer()


@pytest.fixture
def choose(viewer: Viewer) -> Choose:
    """Choose an entry of File > IO Utilities."""

    def click(text: str) -> None:
        utilities = entry(viewer.window.file_menu, "IO Utilities").menu()
        entry(utilities, f"{text} (INR Volume)").trigger()

    return click


@pytest.fixture
def finished(qtbot) -> Callable[[], None]:
    """Wait until nothing runs in the background."""

    def wait() -> None:
        qtbot.waitUntil(lambda: not commands.running)

    return wait


def said() -> list[str]:
    return [str(notification.message) for notification in notification_manager.records]


def test_ct_folder_is_loaded_in_the_background(viewer, choose, finished, tmp_path, monkeypatch) -> None:
    volume = head_phantom((8, 32, 40))
    write_dicom_series(volume, tmp_path / "head CT")
    monkeypatch.setattr(dialogs, "ask_source", lambda *_: tmp_path / "head CT")
    choose("Open CT...")
    assert len(viewer.layers) == 0  # the menu returned before the folder was read
    finished()
    (layer,) = viewer.layers
    assert layer.name == "head CT"
    np.testing.assert_array_equal(volume_of(layer).voxels, volume.voxels)
    assert tuple(layer.contrast_limits_range) == volume.intensity_range


def test_one_of_several_series_is_chosen(viewer, choose, finished, tmp_path, monkeypatch) -> None:
    for slices, name in ((8, "soft"), (9, "bone")):
        write_dicom_series(head_phantom((slices, 32, 40)), tmp_path / "study" / name, description=name)
    monkeypatch.setattr(dialogs, "ask_source", lambda *_: tmp_path / "study")
    bone = []

    def choose_bone(series, *_):
        bone.extend(line for line in series if line.description == "bone")
        return bone[0]

    monkeypatch.setattr(dialogs, "ask_series", choose_bone)
    choose("Open CT...")
    finished()
    assert [(layer.name, layer.data.shape[0]) for layer in viewer.layers] == [("study bone", 9)]


def test_nothing_happens_when_the_person_cancels(viewer, choose, finished, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(dialogs, "ask_source", lambda *_: None)
    choose("Open CT...")
    assert not commands.running
    assert (len(viewer.layers), said()) == (0, [])


def test_folder_without_ct_is_told_in_words(viewer, choose, finished, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(dialogs, "ask_source", lambda *_: tmp_path)
    choose("Open CT...")
    finished()
    assert len(viewer.layers) == 0
    assert "holds neither DICOM files nor PNG or TIFF slices" in said()[-1]


def test_loading_leaves_the_ui_responsive(viewer, choose, finished, tmp_path, monkeypatch) -> None:
    write_dicom_series(head_phantom((64, 32, 40)), tmp_path / "head CT")
    monkeypatch.setattr(dialogs, "ask_source", lambda *_: tmp_path / "head CT")
    ticks: list[float] = []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    timer.start(5)
    choose("Open CT...")
    finished()
    timer.stop()
    assert len(viewer.layers) == 1
    assert len(ticks) > 3  # it went on while the files were read


def test_network_in_the_viewer_is_saved(viewer, choose, inr_path, tmp_path, monkeypatch) -> None:
    viewer.open(str(inr_path), plugin=PLUGIN)
    proposed = []

    def where(title, name, filters):
        proposed.append((name, filters))
        return tmp_path / "saved.inr"

    monkeypatch.setattr(dialogs, "ask_where_to_save", where)
    viewer.layers.selection.clear()
    choose("Save as .inr...")
    assert proposed == [("head", ["Fitted network (*.inr)"])]
    assert (tmp_path / "saved.inr").read_bytes() == inr_path.read_bytes()
    assert re.fullmatch(r"Saved saved\.inr: \d+ kB\.", said()[-1])


def test_nothing_to_save_is_told_in_words(viewer, choose) -> None:
    viewer.open_sample(PLUGIN, "head_phantom")
    choose("Save as .inr...")
    assert "'CT head phantom' carries no fitted network" in said()[-1]


def test_export_to_a_format_there_is_not_is_told_in_words(
    viewer, choose, inr_path, tmp_path, monkeypatch
) -> None:
    viewer.open(str(inr_path), plugin=PLUGIN)
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *asked: tmp_path / "head.jpg")
    choose("Export reconstruction...")
    assert not commands.running
    assert "'head.jpg' must end in .nii" in said()[-1]


@pytest.mark.parametrize("name", ["head.nii.gz", "head.tif"])
def test_reconstruction_is_exported(
    viewer, choose, finished, inr_path, tmp_path, monkeypatch, name: str
) -> None:
    viewer.open(str(inr_path), plugin=PLUGIN)
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *asked: tmp_path / name)
    choose("Export reconstruction...")
    finished()
    inr = read_inr(inr_path)
    exported = read_volume(tmp_path / name)
    np.testing.assert_array_equal(exported.voxels, codec.decompress(inr, device="cpu").voxels)
    np.testing.assert_allclose(exported.geometry.spacing, inr.geometry.spacing)
    assert said()[-1] == f"Exported the reconstruction to {name}."


@pytest.fixture
def tilted_path(make_inr, tmp_path: Path) -> Path:
    """An `.inr` of a stack that a tilted gantry sheared by 18.5 degrees."""
    direction = ((0.0, 0.0, 1.0), (-0.3173, 1.0, 0.0), (0.94832, 0.0, 0.0))
    geometry = Geometry(shape=(6, 32, 36), spacing=(3.0, 0.5, 0.5), direction=direction)
    write_inr(replace(make_inr(shape=geometry.shape), geometry=geometry), tmp_path / "tilted.inr")
    return tmp_path / "tilted.inr"


@pytest.mark.parametrize("name", ["out.nii.gz", "out.nrrd"])
def test_tilted_stack_is_exported_evenly_spaced_if_the_person_says_so(
    viewer, choose, finished, tilted_path, tmp_path, monkeypatch, name: str
) -> None:
    viewer.open(str(tilted_path), plugin=PLUGIN)
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *_: tmp_path / name)
    monkeypatch.setattr(dialogs, "ask_even", lambda caveats: asked.append(caveats) or True)
    choose("Export reconstruction...")
    finished()
    assert asked == [("the stack is sheared by 18.5 degrees, as by a tilted gantry",)]
    exported = read_volume(tmp_path / name)
    expected = evened(codec.decompress(read_inr(tilted_path), device="cpu"))
    assert not exported.geometry.caveats
    np.testing.assert_array_equal(exported.voxels, expected.voxels)
    np.testing.assert_allclose(exported.geometry.affine, expected.geometry.affine, atol=1e-4)
    assert said() == [f"Exported the reconstruction to {name}."]


@pytest.mark.parametrize(("name", "warned"), [("out.nii", True), ("out.nrrd", True), ("out.npy", False)])
def test_tilted_stack_is_exported_as_scanned_with_a_warning_where_it_is_taken_for_even(
    viewer, choose, finished, tilted_path, tmp_path, monkeypatch, name: str, warned: bool
) -> None:
    viewer.open(str(tilted_path), plugin=PLUGIN)
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *_: tmp_path / name)
    monkeypatch.setattr(dialogs, "ask_even", lambda caveats: False)
    choose("Export reconstruction...")
    finished()
    expected = codec.decompress(read_inr(tilted_path), device="cpu")
    np.testing.assert_array_equal(read_volume(tmp_path / name).voxels, expected.voxels)
    told = [line for line in said() if name in line and "sheared by 18.5 degrees" in line]
    assert bool(told) == warned


def test_export_of_a_tilted_stack_can_be_cancelled_at_the_question(
    viewer, choose, tilted_path, tmp_path, monkeypatch
) -> None:
    viewer.open(str(tilted_path), plugin=PLUGIN)
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *_: tmp_path / "out.nrrd")
    monkeypatch.setattr(dialogs, "ask_even", lambda caveats: None)
    choose("Export reconstruction...")
    assert not commands.running
    assert list(tmp_path.iterdir()) == [tilted_path]


def test_export_never_replaces_what_a_layer_was_read_from(
    viewer, choose, inr_path, tmp_path, monkeypatch
) -> None:
    source = tmp_path / "original.npy"
    np.save(source, np.zeros((9, 30, 37)))
    before = source.read_bytes()
    viewer.open(str(inr_path), plugin=PLUGIN)
    with layer_source(path=str(source)):
        viewer.add_image(np.load(source))
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *_: source)
    choose("Export reconstruction...")
    assert not commands.running
    assert re.search("'original.npy'.*another name", said()[-1])
    assert source.read_bytes() == before


def test_export_that_needs_too_much_memory_is_told_in_words(
    viewer, choose, finished, inr_path, tmp_path, monkeypatch
) -> None:
    viewer.open(str(inr_path), plugin=PLUGIN)
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *_: tmp_path / "out.npy")
    monkeypatch.setattr(memory, "available", lambda: 10_000)
    choose("Export reconstruction...")
    finished()
    assert "of memory, and 10.0 kB are free" in said()[-1]
    assert not (tmp_path / "out.npy").exists()


def test_every_format_that_can_be_written_is_offered() -> None:
    offered = {suffix.lstrip("*") for line in commands.EXPORTS for suffix in re.findall(r"\*[.a-z]+", line)}
    assert offered == set(WRITERS)


def test_export_can_be_cancelled_in_the_activity_dock(
    viewer, choose, finished, make_inr, tmp_path, qtbot, monkeypatch
) -> None:
    write_inr(make_inr(shape=(400, 256, 256)), tmp_path / "long.inr")
    viewer.open(str(tmp_path / "long.inr"), plugin=PLUGIN)
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *asked: tmp_path / "long.nii.gz")
    choose("Export reconstruction...")
    qtbot.waitUntil(lambda: len(progress._all_instances) == 1)
    (bar,) = progress._all_instances
    (shown,) = viewer.window._qt_window._activity_dialog.findChildren(QtLabeledProgressBar)
    qtbot.waitUntil(lambda: bar.n > 0)  # slices
    shown.cancel_button.click()
    finished()
    assert [path.name for path in tmp_path.iterdir()] == ["long.inr"]
    assert len(progress._all_instances) == 0


@pytest.mark.parametrize("fitted_here", [False, True], ids=["opened", "not saved yet"])
def test_reconstruction_is_exported_as_a_dicom_series(
    viewer, choose, finished, make_inr, tmp_path, monkeypatch, fitted_here: bool
) -> None:
    inr, path = make_inr(), tmp_path / "a.inr"
    write_inr(inr, path)
    viewer.open(str(path), plugin=PLUGIN)
    if fitted_here:
        path.unlink()
    folder = tmp_path / "series"
    folder.mkdir()
    monkeypatch.setattr(dialogs, "ask_folder", lambda *_: folder)
    choose("Export DICOM series...")
    finished()
    assert re.search(f"{inr.geometry.shape[0]} slices.* series", said()[-1])
    exported = read_dicom(folder)
    np.testing.assert_array_equal(exported.voxels, codec.decompress(inr, device="cpu").voxels)
    np.testing.assert_allclose(exported.geometry.affine, inr.geometry.affine, atol=1e-6)
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a.inr", "series"][fitted_here:]


def test_a_dicom_series_needs_an_empty_folder(viewer, choose, inr_path, tmp_path, monkeypatch) -> None:
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "notes.txt").touch()
    viewer.open(str(inr_path), plugin=PLUGIN)
    monkeypatch.setattr(dialogs, "ask_folder", lambda *_: tmp_path / "series")
    choose("Export DICOM series...")
    assert not commands.running
    assert re.search("'series' is not empty; .*new folder", said()[-1])


def test_an_export_to_dicom_that_is_cancelled_leaves_the_folder_empty(
    viewer, choose, finished, make_inr, tmp_path, qtbot, monkeypatch
) -> None:
    write_inr(make_inr(shape=(400, 256, 256)), tmp_path / "long.inr")
    viewer.open(str(tmp_path / "long.inr"), plugin=PLUGIN)
    (tmp_path / "series").mkdir()
    monkeypatch.setattr(dialogs, "ask_folder", lambda *_: tmp_path / "series")
    choose("Export DICOM series...")
    qtbot.waitUntil(lambda: len(progress._all_instances) == 1)
    (bar,) = progress._all_instances
    (shown,) = viewer.window._qt_window._activity_dialog.findChildren(QtLabeledProgressBar)
    qtbot.waitUntil(lambda: bar.n > 0)  # slices
    shown.cancel_button.click()
    finished()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.inr", "series"]
    assert list((tmp_path / "series").iterdir()) == []


def test_viewer_closed_while_loading_leaves_nothing_running(
    viewer, choose, finished, tmp_path, monkeypatch
) -> None:
    write_dicom_series(head_phantom((64, 32, 40)), tmp_path / "head CT")
    monkeypatch.setattr(dialogs, "ask_source", lambda *_: tmp_path / "head CT")
    choose("Open CT...")
    viewer.close()
    finished()
    assert not progress._all_instances


@pytest.mark.parametrize("place", ["embedded", "chosen last", "nowhere"])
def test_export_uses_the_weights_that_the_file_names_or_says_that_it_has_none(
    viewer, choose, finished, make_inr, make_weights, tmp_path, monkeypatch, qtbot, place: str
) -> None:
    weights, path, output = tmp_path / "mine.safetensors", tmp_path / "own.inr", tmp_path / "own.npy"
    info = make_weights(weights)
    inr = make_inr(upscaler=UpscalerRef(name="span", sha256=info.sha256))
    write_inr(inr, path, model=info.data if place == "embedded" else None)
    if place == "chosen last":
        remember({OWN_WEIGHTS: str(weights)})
    _, hr = viewer.open(str(path), plugin=PLUGIN)
    # What opening it has to tell is told by then.
    qtbot.waitUntil(lambda: hr.data.sharp and not hr.data.sharpening.job.running)
    notification_manager.records.clear()
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *_: output)
    choose("Export reconstruction...")
    finished()
    told = [record.message for record in notification_manager.records if record.severity.name == "WARNING"]
    assert len(told) == (1 if place == "nowhere" else 0)
    restored = codec.decompress(inr, weights=[] if told else [weights], device="cpu", warn=lambda _: None)
    np.testing.assert_allclose(np.load(output), restored.voxels, atol=1)


# Saving and opening in a window


def test_file_menu_saves_two_selected_layers_and_appends_the_suffix(
    viewer, make_inr, inr_path, tmp_path, monkeypatch
) -> None:
    viewer.open(str(inr_path), plugin=PLUGIN)
    viewer.layers.select_all()
    offered = []

    def type_a_name(*asked, filter, **options):  # noqa: A002  # Qt's word
        offered.append(filter)
        return str(tmp_path / "typed"), filter

    monkeypatch.setattr(QFileDialog, "getSaveFileName", type_a_name)
    entry(viewer.window.file_menu, "Save Selected Layers...").trigger()
    assert offered == ["INR Volume fitted network (*.inr)"]
    assert read_inr(tmp_path / "typed.inr") == make_inr()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_opened_file_is_never_decoded_on_the_ui_thread_and_shows_it_all_in_the_end(
    viewer, make_inr, tmp_path, qtbot, monkeypatch, asynchronous: bool
) -> None:
    get_settings().experimental.async_ = asynchronous
    threads: set[str] = set()

    def noted(work: Callable) -> Callable:
        return lambda *asked, **more: threads.add(current_thread().name) or work(*asked, **more)

    for name in ("__init__", "planes", "slices"):
        monkeypatch.setattr(Reader, name, noted(getattr(Reader, name)))
    inr = make_inr(shape=(20, 30, 37))
    write_inr(inr, tmp_path / "x.inr")
    lr, hr = viewer.open(str(tmp_path / "x.inr"), plugin=PLUGIN)
    expected = codec.decompress(inr, device="cpu").voxels
    threads.clear()

    def drawn(layer: Image) -> np.ndarray:
        return np.asarray(layer._slice.image.raw)

    qtbot.waitUntil(lambda: np.array_equal(drawn(hr), expected[9]))
    viewer.dims.set_current_step(0, 3)
    qtbot.waitUntil(lambda: np.array_equal(drawn(hr), expected[3]))
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_current_step(1, 7)
    qtbot.waitUntil(lambda: np.array_equal(drawn(hr), expected[:, 7]))
    viewer.dims.order = (0, 1, 2)
    viewer.dims.ndisplay = 3
    qtbot.waitUntil(lambda: np.array_equal(drawn(hr), expected))
    assert main_thread().name not in threads
    qtbot.waitUntil(lambda: not any(layer.data.sharpening.job.running for layer in (lr, hr)))
    assert not progress._all_instances


def test_a_view_of_all_slices_has_a_bar_and_shows_the_lr_meanwhile(
    viewer, make_inr, tmp_path, qtbot, monkeypatch
) -> None:
    go_on, planes = Event(), Reader.planes

    def held(self: Reader, numbers, level="hr"):
        if level == "hr" and 4 not in numbers:
            go_on.wait()
        return planes(self, numbers, level)

    monkeypatch.setattr(Reader, "planes", held)
    inr = make_inr()
    write_inr(inr, tmp_path / "x.inr")
    _, hr = viewer.open(str(tmp_path / "x.inr"), plugin=PLUGIN)
    viewer.dims.ndisplay = 3
    try:
        lr = Reader(inr, device="cpu").read(level="lr")
        near = [((np.arange(length) + 0.5) // 4).astype(int) for length in (30, 37)]
        meanwhile = np.rint(np.clip(lr, *inr.intensity_range)).astype(np.int16)[:, *np.ix_(*near)]
        others = [z for z in range(9) if z != 4]  # which may be restored already
        qtbot.waitUntil(lambda: np.array_equal(np.asarray(hr._slice.image.raw)[others], meanwhile[others]))
        qtbot.waitUntil(lambda: [bar.total for bar in progress._all_instances] == [9])
        qtbot.waitUntil(lambda: "LR fit, sharpening" in viewer.canvas.overlays.text.text)
    finally:
        go_on.set()
    qtbot.waitUntil(lambda: hr.data.sharp and not hr.data.sharpening.job.at_work)
    qtbot.waitUntil(lambda: not viewer.canvas.overlays.text.visible and not progress._all_instances)


def test_a_layer_is_renamed_once_it_is_known_that_its_upscaler_is_missing(
    viewer, make_inr, tmp_path, qtbot
) -> None:
    write_inr(make_inr(upscaler=UpscalerRef(name="srdensenet", sha256="ab" * 32)), tmp_path / "x.inr")
    _, hr = viewer.open(str(tmp_path / "x.inr"), plugin=PLUGIN)
    assert hr.name == "x [SRDenseNet 37.9 dB]"
    qtbot.waitUntil(lambda: hr.name == "x [Lanczos 36.5 dB]")
    (told,) = [line for line in said() if "not by SRDenseNet" in line]
    assert told.startswith("The reconstruction is restored by Lanczos")
    qtbot.waitUntil(lambda: not hr.data.sharpening.job.at_work)
