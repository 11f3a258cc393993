"""Layers exported from the menu, and labels drawn on the LR that are used on the full grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.notifications import notification_manager

from napari_inr_volume.core.labels import labels_on_grid
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.io.dicom import read_dicom
from napari_inr_volume.io.inr_file import read_inr, write_inr
from napari_inr_volume.io.volumes import read_volume
from napari_inr_volume.plugin import commands, dialogs, exports
from napari_inr_volume.plugin.difference import Difference
from napari_inr_volume.plugin.layers import add_layer, original_layer

pytestmark = pytest.mark.gui

PLUGIN = "napari-inr-volume"
TILTED = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (-1.0, 0.0, 0.0))  # a direction that napari does not know


@pytest.fixture
def opened(viewer: ViewerModel, make_inr, tmp_path: Path) -> ViewerModel:
    """A viewer with an `.inr` whose grid is not axial."""
    notification_manager.records.clear()
    inr = make_inr(shape=(9, 30, 37))
    write_inr(replace(inr, geometry=replace(inr.geometry, direction=TILTED)), tmp_path / "head.inr")
    viewer.open(str(tmp_path / "head.inr"), plugin=PLUGIN)
    return viewer


@pytest.fixture
def exported(qtbot, opened: ViewerModel, tmp_path: Path, monkeypatch) -> Callable[[str], Path]:
    """Export the selected layer; returns the file."""

    def export(name: str) -> Path:
        monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *_: tmp_path / name)
        exports.export_layer(opened)
        qtbot.waitUntil(lambda: not commands.running)
        return tmp_path / name

    return export


def said() -> str:
    return str(notification_manager.records[-1].message)


def drawn(viewer: ViewerModel, number: int) -> Labels:
    """Return new labels over a layer, with something on them."""
    viewer.layers.selection.active = viewer.layers[number]
    exports.new_labels(viewer)
    labels = viewer.layers[-1]
    assert isinstance(labels, Labels)
    labels.data[2:5, 3:6, 4:8] = 7
    return labels


@pytest.mark.parametrize("name", ["out.nii.gz", "out.nrrd", "out.tif"])
@pytest.mark.parametrize("number", [0, 1], ids=["lr", "hr"])
def test_a_layer_of_an_inr_is_exported_as_it_decodes(opened, exported, tmp_path, number: int, name) -> None:
    opened.layers.selection.active = opened.layers[number]
    volume, inr = read_volume(exported(name)), read_inr(tmp_path / "head.inr")
    level = ("lr", "hr")[number]
    geometry = inr.lr_geometry if level == "lr" else inr.geometry
    np.testing.assert_array_equal(volume.read(), np.asarray(opened.layers[number].data))
    np.testing.assert_allclose(volume.geometry.affine, geometry.affine, atol=1e-3)
    assert said() == f"Exported '{opened.layers[number].name}' to {name}."


def test_a_difference_is_exported_where_its_original_lies(opened, exported, tmp_path) -> None:
    hr = opened.layers[1]
    error = np.asarray(hr.data).astype(np.float32) / 10
    opened.layers.selection.active = Difference(opened, error, hr, hr, units="HU").layer
    volume = read_volume(exported("error.nrrd"))
    np.testing.assert_array_equal(volume.read(), error)
    expected = read_inr(tmp_path / "head.inr").geometry
    np.testing.assert_allclose(volume.geometry.affine, expected.affine, atol=1e-6)


def test_labels_drawn_on_the_lr_lie_over_the_full_grid(opened) -> None:
    labels = drawn(opened, 0)
    lr, hr = opened.layers[:2]
    assert labels.data.shape == lr.data.shape
    np.testing.assert_allclose(labels.data_to_world((1, 2, 3)), lr.data_to_world((1, 2, 3)))
    opened.layers.selection.active = labels
    exports.labels_on_full_grid(opened)
    full = opened.layers[-1]
    assert full.data.shape == hr.data.shape
    np.testing.assert_allclose(full.data_to_world((1, 2, 3)), hr.data_to_world((1, 2, 3)))
    for point in ((3, 14, 20), (3, 3, 3), (0, 14, 20)):
        world = hr.data_to_world(point)
        assert full.get_value(world, world=True) == labels.get_value(world, world=True)


@pytest.mark.parametrize("other", [False, True], ids=["as drawn", "other grid"])
@pytest.mark.parametrize("number", [0, 1], ids=["drawn on the lr", "drawn on the hr"])
def test_labels_are_saved_on_either_grid(opened, exported, tmp_path, monkeypatch, number, other) -> None:
    labels, inr = drawn(opened, number), read_inr(tmp_path / "head.inr")
    opened.layers.selection.active = labels
    monkeypatch.setattr(dialogs, "ask_grid", lambda *_: other)
    volume = read_volume(exported("labels.nii.gz"))
    on_lr = (number == 0) != other
    geometry = inr.lr_geometry if on_lr else inr.geometry
    factor = inr.factor if number == 0 else tuple(1 / length for length in inr.factor)
    expected = labels_on_grid(labels.data, geometry.shape, factor) if other else labels.data
    np.testing.assert_array_equal(volume.read(), expected)
    np.testing.assert_allclose(volume.geometry.affine, geometry.affine, atol=1e-3)


def test_who_cancels_the_question_of_the_grid_saves_nothing(opened, exported, tmp_path, monkeypatch) -> None:
    opened.layers.selection.active = drawn(opened, 0)
    monkeypatch.setattr(dialogs, "ask_grid", lambda *_: None)
    assert not exported("labels.nii.gz").exists()


def test_an_original_and_labels_become_dicom_series(qtbot, viewer, tmp_path, monkeypatch) -> None:
    volume = head_phantom((8, 16, 18))
    add_layer(viewer, original_layer(volume, "head"))
    drawn(viewer, 0)
    for number, name in enumerate(("ct", "labels")):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(dialogs, "ask_folder", lambda *_, name=name: tmp_path / name)
        viewer.layers.selection.active = viewer.layers[number]
        exports.export_layer_as_dicom(viewer)
        qtbot.waitUntil(lambda: not commands.running)
        assert len(list((tmp_path / name).iterdir())) == 8
    np.testing.assert_array_equal(read_dicom(tmp_path / "ct").voxels, volume.voxels)


def test_what_was_decoded_becomes_no_dicom_series_that_does_not_say_so(opened) -> None:
    opened.layers.selection.active = opened.layers[1]
    exports.export_layer_as_dicom(opened)
    assert "take Export DICOM series..." in said()


def test_what_cannot_be_exported_is_told_in_words(opened) -> None:
    opened.layers.selection.clear()
    exports.export_layer(opened)
    assert "no single layer is selected" in said()
    opened.layers.selection.active = opened.layers[0]
    exports.labels_on_full_grid(opened)
    assert "is no Labels layer" in said()
    opened.layers.selection.active = opened.add_labels(np.zeros((3, 4, 5), np.uint8))
    exports.labels_on_full_grid(opened)
    assert "does not lie on an LR fit" in said()
