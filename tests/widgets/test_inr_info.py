"""The widget INR file: what it shows of an `.inr`, decoding it, and its error against the original."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari import Viewer
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QComboBox, QMenu, QTreeWidget

from napari_inr_volume import codec, compress
from napari_inr_volume.core.metrics import compare_volumes
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Geometry, Volume
from napari_inr_volume.exact.layer import ExactLayer, Slabs
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.inr_volume import FitRecord, InrVolume, UpscalerRef
from napari_inr_volume.io.inr_file import to_bytes, write_inr
from napari_inr_volume.plugin import commands, dialogs
from napari_inr_volume.plugin.layers import add_layer, carried, lr_layer, original_layer
from napari_inr_volume.plugin.work.inr import Contents
from napari_inr_volume.plugin.work.inr import Section as FileSection
from napari_inr_volume.widgets.contents_section import groups_of
from napari_inr_volume.widgets.inr_info import InrFileWidget

pytestmark = [pytest.mark.gui, pytest.mark.slow]

LEFT = Qt.MouseButton.LeftButton
LONG = 30_000  # ms
PLUGIN = "napari-inr-volume"


@pytest.fixture(scope="module")
def inr() -> InrVolume:
    """The phantom after a fit of a moment, coarser along z too."""
    quick = Settings(
        factor=(2.0, 4.0, 4.0),
        field=SirenConfig(layers=2, hidden_features=8),
        fit=FitConfig(steps=10, batch=256, learning_rate=1e-3),
    )
    return compress(head_phantom((16, 64, 64)), quick, device="cpu", upscaler="lanczos")


@pytest.fixture
def path(inr: InrVolume, tmp_path: Path) -> Path:
    write_inr(inr, tmp_path / "head.inr")
    return tmp_path / "head.inr"


@pytest.fixture
def widget(qtbot, settings) -> Iterator[InrFileWidget]:
    widget = InrFileWidget(ViewerModel())
    qtbot.addWidget(widget)
    widget.resize(360, 900)
    widget.show()
    yield widget
    for job in (widget.looking, widget.decoding, widget.measuring):
        job.drop()
    settle(qtbot, widget)


@pytest.fixture
def opened(qtbot, widget: InrFileWidget, path: Path) -> InrFileWidget:
    """The widget with an `.inr` that was opened."""
    widget.viewer.open(str(path), plugin=PLUGIN)
    settle(qtbot, widget)
    return widget


def settle(qtbot, widget: InrFileWidget) -> None:
    jobs = (widget.looking, widget.decoding, widget.measuring)
    qtbot.waitUntil(lambda: not any(job.running for job in jobs), timeout=LONG)


def lines(tree: QTreeWidget) -> dict[str, str]:
    """Return what a tree shows, as `group / name`."""
    tops = [tree.topLevelItem(index) for index in range(tree.topLevelItemCount())]
    return {
        f"{top.text(0)} / {top.child(index).text(0)}": top.child(index).text(1)
        for top in tops
        for index in range(top.childCount())
    }


def measure(qtbot, widget: InrFileWidget) -> None:
    qtbot.mouseClick(widget.errors.measure, LEFT)
    settle(qtbot, widget)


def table(widget: InrFileWidget) -> list[list[str]]:
    shown = widget.errors.table
    return [
        [shown.item(row, column).text().strip() for column in range(shown.columnCount())]
        for row in range(shown.rowCount())
    ]


# What it shows


def test_opened_file_is_described(opened: InrFileWidget, inr: InrVolume, path: Path) -> None:
    found = lines(opened.contents.tree)
    size = path.stat().st_size
    assert inr.quality is not None
    assert found["File / Name"] == "head.inr"
    assert found["File / Size"] == f"{size} bytes"
    assert found["File / Ratio"] == f"{inr.source_bytes / size:.0f}:1"
    assert found["Original / Voxels (z, y, x)"] == "16 × 64 × 64"
    assert found["Original / Spacing (z, y, x)"] == "12.00 × 3.91 × 3.91 mm"
    assert found["LR grid / Voxels (z, y, x)"] == "8 × 16 × 16"
    assert found["LR grid / Spacing (z, y, x)"] == "24.00 × 15.62 × 15.62 mm"
    assert found["Quality when it was made / HR PSNR (range)"] == f"{inr.quality.hr_psnr:.1f} dB"
    assert found["Network / Parameters"] == "113"
    assert found["Upscaler / Name"] == "Lanczos"
    assert opened.contents.banner.isVisible()


CHANGES: dict[str, Any] = {
    "field": SirenConfig(layers=7, hidden_features=33, omega_0=11.0, hidden_omega=12.0),
    "coding": "another",
    "payload": bytes(123_456),
    "geometry": Geometry(shape=(5, 6, 7), spacing=(1.5, 2.5, 3.5)),
    "factor": (3.0, 5.0, 7.0),
    "intensity_range": (-500.0, 500.0),
    "units": "raw",
    "dtype": "uint16",
    "padding": None,
    "source_bytes": 99_999,
    "upscaler": UpscalerRef(name="srdensenet", sha256="ab" * 32),
    "fit": FitRecord(preset="quality", steps=77, seed=5),
    "quality": None,
    "software": "another 2.0",
    "exact": ExactLayer(
        max_error=2.0, depth=16, features=0, lattice=None, networks=b"", slabs=(), data=Slabs(b"", 0, 0)
    ),
}


@pytest.mark.parametrize("field", CHANGES)
def test_every_field_of_the_file_is_shown(inr: InrVolume, field: str) -> None:
    assert set(CHANGES) == set(vars(inr))
    assert groups_of(contents_of(inr)) != groups_of(contents_of(replace(inr, **{field: CHANGES[field]})))


def contents_of(inr: InrVolume, **others: Any) -> Contents:
    fields = {
        "path": None,
        "file_bytes": 1000,
        "version": "1.0",
        "sections": (),
        "embedded": False,
        "upscaler": "lanczos",
        "model_bytes": 0,
        "notes": (),
    }
    return Contents(inr=inr, **{**fields, **others})


def test_ratio_is_given_with_the_model_that_every_reader_needs(inr: InrVolume) -> None:
    inr = replace(inr, source_bytes=100_000)
    shipped = contents_of(inr, model_bytes=9_000)
    assert ("Ratio with model", "10:1") in [line[:2] for line in groups_of(shipped)[0][1]]
    assert ("Ratio with model", "1.1:1") in [
        line[:2] for line in groups_of(contents_of(inr, model_bytes=89_999))[0][1]
    ]
    assert contents_of(inr).ratio_with_model is None
    assert contents_of(inr, model_bytes=9_000, embedded=True).ratio_with_model is None


def test_irregular_slices_and_unknown_sections_are_told(inr: InrVolume) -> None:
    positions = tuple(float(z) if z < 8 else 3.0 * z for z in range(16))
    geometry = replace(inr.geometry, slice_positions=positions)
    section = FileSection(tag="newf", size=10, crc32="00000000", known=False)
    groups = groups_of(contents_of(replace(inr, geometry=geometry), sections=(section,)))
    found = [line for _, group in groups for line in group]
    assert ("Slices", "1.00 to 17.00 mm apart") in [line[:2] for line in found]
    assert any("does not know" in meaning for name, _, meaning in found if name == "Section newf")


def test_banner_is_for_ratios_beyond_those_of_diagnosis(qtbot, widget, inr: InrVolume) -> None:
    size = len(to_bytes(replace(inr, source_bytes=10_000)))  # of as many digits as below
    inr = replace(inr, source_bytes=15 * size)
    widget.viewer.add_image(**arguments(inr))
    settle(qtbot, widget)
    assert lines(widget.contents.tree)["File / Ratio"] == "15:1"
    assert not widget.contents.banner.isVisible()


def arguments(inr: InrVolume, name: str = "fitted [LR fit]") -> dict[str, Any]:
    data, found, _ = lr_layer(np.zeros(inr.lr_shape, np.float32), name, inr)
    return {"data": data, **found}


def test_missing_model_is_told_with_what_takes_its_place(qtbot, widget, inr: InrVolume) -> None:
    unknown = replace(inr, factor=(1.0, 4.0, 4.0), upscaler=UpscalerRef(name="srdensenet", sha256="0" * 64))
    widget.viewer.add_image(**arguments(unknown))
    settle(qtbot, widget)
    assert "restored by Lanczos, not by SRDenseNet" in widget.contents.words.text()
    assert lines(widget.contents.tree)["Upscaler / Used here"] == "Lanczos"


def test_file_that_was_replaced_meanwhile_is_not_taken_for_the_layers(qtbot, opened, inr, path) -> None:
    write_inr(replace(inr, software="another 2.0"), path)
    opened.inr = None  # look again
    opened.reset_choices()
    settle(qtbot, opened)
    found = lines(opened.contents.tree)
    assert found["File / Name"] == "not from a file"
    assert found["File / Written by"] == inr.software


def test_empty_widget_says_what_to_do(widget: InrFileWidget) -> None:
    assert "Drop an .inr" in widget.file.words.text()
    controls = (widget.file.decode_lr, widget.file.decode_hr, widget.errors.measure)
    assert not any(control.isEnabled() for control in controls)
    assert widget.file.open.isEnabled()


def test_active_layer_is_followed(qtbot, opened: InrFileWidget, inr: InrVolume, volume: Volume) -> None:
    other = opened.viewer.add_image(**arguments(replace(inr, software="another 2.0")))
    settle(qtbot, opened)
    assert opened.layer is other
    assert lines(opened.contents.tree)["File / Written by"] == "another 2.0"
    original = add_layer(opened.viewer, original_layer(volume, "head"))
    assert opened.layer is other  # the original is no .inr
    assert opened.original is original
    opened.viewer.layers.selection.active = opened.viewer.layers[0]
    settle(qtbot, opened)
    assert lines(opened.contents.tree)["File / Written by"] == inr.software


def test_chosen_layer_stays_so_under_another_name_and_goes_with_it(qtbot, opened: InrFileWidget) -> None:
    lr, hr = opened.viewer.layers
    assert opened.layer is hr
    hr.name = "renamed"
    assert opened.layer is hr
    assert opened.file.layers.currentText() == "renamed"
    opened.viewer.layers.remove(hr)
    assert opened.layer is lr
    opened.viewer.layers.remove(lr)
    assert opened.inr is None
    assert not opened.contents.tree.isVisible()
    assert "Drop an .inr" in opened.file.words.text()


# Open


def test_open_button_adds_the_layers_of_a_file(qtbot, widget, path: Path, monkeypatch) -> None:
    monkeypatch.setattr(dialogs, "ask_file", lambda *_: path)
    qtbot.mouseClick(widget.file.open, LEFT)
    assert [carried(layer).kind for layer in widget.viewer.layers] == ["lr", "hr"]
    assert widget.layer is widget.viewer.layers[-1]
    settle(qtbot, widget)


def test_damaged_file_is_told_in_words_and_adds_nothing(qtbot, widget, path: Path, monkeypatch) -> None:
    path.write_bytes(path.read_bytes()[:-5])
    monkeypatch.setattr(dialogs, "ask_file", lambda *_: path)
    qtbot.mouseClick(widget.file.open, LEFT)
    assert len(widget.viewer.layers) == 0
    assert "copy or download it again" in notification_manager.records[-1].message


# Decode


@pytest.mark.parametrize("kind", ["lr", "hr"])
def test_decoding_puts_all_slices_into_the_layer_that_is_there(qtbot, opened, inr, kind: str) -> None:
    layer = next(one for one in opened.viewer.layers if carried(one).kind == kind)
    lazy = np.asarray(layer.data)
    qtbot.mouseClick(opened.file.decode_lr if kind == "lr" else opened.file.decode_hr, LEFT)
    settle(qtbot, opened)
    assert isinstance(layer.data, np.ndarray)
    np.testing.assert_array_equal(layer.data, lazy)
    assert len(opened.viewer.layers) == 2
    assert "in memory" in opened.file.words.text()
    assert not opened.file.progress.isVisible()


@pytest.mark.parametrize("kind", ["lr", "hr"])
def test_decoding_adds_the_layer_that_is_missing_exactly_over_the_other(qtbot, opened, kind: str) -> None:
    gone = next(one for one in opened.viewer.layers if carried(one).kind == kind)
    kept = next(one for one in opened.viewer.layers if carried(one).kind != kind)
    place = (gone.scale, gone.translate)
    opened.viewer.layers.remove(gone)
    for layer in (gone, kept):  # the person moves it
        layer.translate = layer.translate + 5.0
    qtbot.mouseClick(opened.file.decode_lr if kind == "lr" else opened.file.decode_hr, LEFT)
    settle(qtbot, opened)
    added = opened.viewer.layers[-1]
    assert added.name == gone.name
    assert carried(added).kind == kind
    assert added.data.dtype == gone.data.dtype
    np.testing.assert_allclose(added.scale, place[0])
    np.testing.assert_allclose(added.translate, place[1] + 5.0)


def test_what_is_in_memory_is_not_decoded_again(qtbot, opened: InrFileWidget) -> None:
    qtbot.mouseClick(opened.file.decode_lr, LEFT)
    settle(qtbot, opened)
    before = opened.viewer.layers[0].data
    qtbot.mouseClick(opened.file.decode_lr, LEFT)
    assert not opened.decoding.running
    assert opened.viewer.layers[0].data is before


def test_cancelled_decoding_changes_nothing(qtbot, opened: InrFileWidget) -> None:
    before = [layer.data for layer in opened.viewer.layers]
    qtbot.mouseClick(opened.file.decode_hr, LEFT)
    assert not opened.file.decode_hr.isEnabled()
    qtbot.mouseClick(opened.file.progress.cancel, LEFT)
    settle(qtbot, opened)
    assert all(layer.data is data for layer, data in zip(opened.viewer.layers, before, strict=True))
    assert opened.file.decode_hr.isEnabled()
    assert not opened.file.progress.isVisible()
    assert opened.file.words.text() == ""


def test_layers_that_go_while_they_are_decoded_do_not_come_back(qtbot, opened: InrFileWidget) -> None:
    qtbot.mouseClick(opened.file.decode_hr, LEFT)
    opened.viewer.layers.clear()
    settle(qtbot, opened)
    assert len(opened.viewer.layers) == 0
    assert "Drop an .inr" in opened.file.words.text()


def test_the_chosen_layer_is_exported(qtbot, opened: InrFileWidget, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *_: tmp_path / "out.npy")
    opened.viewer.layers.selection.clear()
    qtbot.mouseClick(opened.file.export, LEFT)
    qtbot.waitUntil(lambda: not commands.running)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), np.asarray(opened.layer.data))


# Error


def test_error_is_that_of_the_decoded_file_and_follows_the_slider(qtbot, opened, inr, volume) -> None:
    add_layer(opened.viewer, original_layer(volume, "head"))
    measure(qtbot, opened)
    expected = compare_volumes(volume, codec.decompress(inr, device="cpu").voxels)
    for z in (3, 12):
        opened.viewer.dims.set_point(0, opened.original.data_to_world((z, 0, 0))[0])
        qtbot.waitUntil(lambda z=z: table(opened)[0][0] == f"Slice {z}")
        slices = expected.slices
        assert table(opened)[2][0] == "Lanczos\nvs original"
        assert table(opened)[2][1] == f"{slices.psnr[z]:.1f} dB\n{slices.rmse[z]:.0f} HU"
        assert opened.errors.plot.marker.value() == z
    assert table(opened)[-1][1].startswith(f"{expected.psnr:.1f} dB")
    _, curve = opened.errors.plot.curves[0].getData()
    np.testing.assert_allclose(curve, expected.slices.psnr)


def test_lr_slice_is_the_one_that_covers_the_slice_in_view(qtbot, opened, volume) -> None:
    add_layer(opened.viewer, original_layer(volume, "head"))
    measure(qtbot, opened)
    lines_of_lr = set()
    for z in (6, 7):  # two slices share one of the LR
        opened.viewer.dims.set_point(0, opened.original.data_to_world((z, 0, 0))[0])
        qtbot.waitUntil(lambda z=z: table(opened)[0][0] == f"Slice {z}")
        lines_of_lr.add(tuple(table(opened)[1]))
    assert len(lines_of_lr) == 1
    opened.viewer.layers.selection.active = opened.viewer.layers[0]  # the LR: the same slice of the volume
    opened.viewer.dims.set_point(0, opened.original.data_to_world((12, 0, 0))[0])
    qtbot.waitUntil(lambda: table(opened)[0][0] == "Slice 12")


def test_slice_of_nothing_but_padding_is_left_out_of_the_plot(qtbot, opened, volume: Volume) -> None:
    voxels = volume.voxels.copy()
    voxels[4] = volume.padding
    add_layer(opened.viewer, original_layer(replace(volume, voxels=voxels), "head"))
    measure(qtbot, opened)
    _, curve = opened.errors.plot.curves[0].getData()
    assert [z for z, value in enumerate(curve) if math.isnan(value)] == [4]


def test_without_an_original_there_is_a_word_and_no_button(opened: InrFileWidget) -> None:
    assert "Open the original too" in opened.errors.words.text()
    assert not opened.errors.measure.isEnabled()


@pytest.mark.parametrize(
    ("shape", "word"),
    [((16, 64, 60), "16 × 64 × 60 voxels"), ((64, 64), "single image")],
    ids=["another size", "2D"],
)
def test_layer_that_is_not_the_original_gets_a_clear_word(qtbot, opened, shape, word: str) -> None:
    opened.viewer.add_image(np.zeros(shape), contrast_limits=(0, 1))
    qtbot.mouseClick(opened.errors.measure, LEFT)
    assert word in opened.errors.words.text()
    assert not opened.measuring.running


def test_layer_as_large_as_the_original_is_offered_first(qtbot, opened, volume: Volume) -> None:
    opened.viewer.add_image(np.zeros((16, 64, 60)), contrast_limits=(0, 1))
    original = add_layer(opened.viewer, original_layer(volume, "head"))
    opened.viewer.layers.remove(opened.viewer.layers[2])
    assert opened.original is original


def test_figures_go_with_their_original(qtbot, opened, volume: Volume) -> None:
    original = add_layer(opened.viewer, original_layer(volume, "head"))
    measure(qtbot, opened)
    assert opened.errors.table.isVisible()
    opened.viewer.layers.remove(original)
    assert not opened.errors.table.isVisible()
    assert "Open the original too" in opened.errors.words.text()


def test_cancelled_measuring_shows_no_figures(qtbot, opened, volume: Volume) -> None:
    add_layer(opened.viewer, original_layer(volume, "head"))
    qtbot.mouseClick(opened.errors.measure, LEFT)
    qtbot.mouseClick(opened.file.progress.cancel, LEFT)
    settle(qtbot, opened)
    assert not opened.errors.measured
    assert opened.errors.measure.isEnabled()


# The widget itself


def test_every_control_has_a_tooltip_and_is_reached_by_keyboard(opened: InrFileWidget) -> None:
    controls = [
        control
        for kind in (QAbstractButton, QComboBox, QTreeWidget)
        for control in opened.findChildren(kind)
        if type(control) is not QAbstractButton  # the corner of a table, never seen
        and not isinstance(control.window(), QMenu)  # pyqtgraph's own, which is switched off
    ]
    assert len(controls) >= 10
    for control in controls:
        assert control.toolTip(), control
        assert control.focusPolicy() & Qt.FocusPolicy.TabFocus, control


def test_widget_fits_in_a_narrow_dock(qtbot, opened, volume: Volume) -> None:
    add_layer(opened.viewer, original_layer(volume, "head with a name that is longer than there is room for"))
    measure(qtbot, opened)
    for section in (opened.file, opened.contents, opened.errors):
        assert section.minimumSizeHint().width() <= 340


def test_tree_shows_every_line_of_what_is_unfolded(opened: InrFileWidget) -> None:
    tree = opened.contents.tree
    tree.expandAll()
    last = tree.topLevelItem(tree.topLevelItemCount() - 1)
    bottom = tree.visualItemRect(last.child(last.childCount() - 1)).bottom()
    assert bottom <= tree.viewport().height()
    tree.collapseAll()
    assert tree.visualItemRect(last).bottom() <= tree.viewport().height()
    assert tree.height() < bottom


def test_widget_taken_out_of_the_window_leaves_nothing_behind(qtbot, window: Viewer, path: Path) -> None:
    dock, widget = window.window.add_plugin_dock_widget(PLUGIN, "INR file")
    window.open(str(path), plugin=PLUGIN)
    settle(qtbot, widget)
    gone = weakref.ref(widget)
    window.window.remove_dock_widget(dock)
    del dock, widget
    qtbot.wait(50)
    gc.collect()
    assert gone() is None
    window.theme = "light"
    window.add_image(np.zeros((4, 8, 8)), contrast_limits=(0, 1))  # nobody answers, nothing breaks


# Without a network


@pytest.mark.parametrize("padding", [None, 7.0])
def test_volume_of_a_single_value_is_shown_and_measured(qtbot, window: Viewer, padding, tmp_path) -> None:
    flat = Volume.from_array(np.full((6, 8, 9), 7, np.int16), padding=padding)
    write_inr(compress(flat, None, max_error=0, device="cpu"), tmp_path / "flat.inr")
    _, widget = window.window.add_plugin_dock_widget(PLUGIN, "INR file")
    (layer,) = window.open(str(tmp_path / "flat.inr"), plugin=PLUGIN)
    settle(qtbot, widget)
    assert any("7 to 7" in value for value in lines(widget.contents.tree).values())
    qtbot.mouseClick(widget.file.decode_exact, LEFT)
    settle(qtbot, widget)
    np.testing.assert_array_equal(layer.data, flat.voxels)
    add_layer(window, original_layer(flat, "flat"))
    measure(qtbot, widget)
    assert not [one for one in notification_manager.records if one.severity != "info"]
