from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_inr_volume.core.errors import InrFileError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.io.inr_file import read_inr, read_model, write_inr
from napari_inr_volume.plugin.layers import Carried, add_layer, carried, hr_layer, lr_layer, original_layer
from napari_inr_volume.plugin.writers import save_inr, write_layer, write_layers

PLUGIN = "napari-inr-volume"


@pytest.fixture
def fitted(viewer: ViewerModel, make_inr) -> list[Image]:
    """Original, LR fit and reconstruction, as after a fit."""
    inr = make_inr()
    original = add_layer(viewer, original_layer(head_phantom(inr.geometry.shape), "head"))
    lr = np.zeros(inr.lr_shape, np.float32)
    hr = np.zeros(inr.geometry.shape, np.int16)
    return [
        original,
        add_layer(viewer, lr_layer(lr, "head [LR fit]", inr, over=original)),
        add_layer(viewer, hr_layer(hr, "head [Lanczos]", inr, over=original)),
    ]


@pytest.mark.parametrize("selected", [[1], [2], [0, 1], [1, 2], [0, 1, 2]], ids=str)
def test_any_selection_with_one_network_is_saved(viewer, fitted, make_inr, tmp_path, selected) -> None:
    viewer.layers.selection = [fitted[index] for index in selected]
    path = tmp_path / "head.inr"
    assert viewer.layers.save(str(path), selected=True, plugin=PLUGIN) == [str(path)]
    assert read_inr(path) == make_inr()


def test_original_alone_has_nothing_to_save_and_says_to_press_fit(viewer, fitted, tmp_path) -> None:
    viewer.layers.selection = [fitted[0]]
    with pytest.raises(InrFileError, match=r"'head' carries no fitted network.*press Fit"):
        viewer.layers.save(str(tmp_path / "head.inr"), selected=True, plugin=PLUGIN)
    assert list(tmp_path.iterdir()) == []


def test_layers_of_others_have_nothing_to_save() -> None:
    meta = Image(np.zeros((4, 5, 6))).as_layer_data_tuple()[1]
    with pytest.raises(InrFileError, match="these layers carry no fitted network"):
        write_layers("x.inr", [(None, meta, "image"), (None, {"name": "b"}, "image")])


def test_different_networks_are_not_saved_as_one(make_inr, tmp_path: Path) -> None:
    layers = [
        (
            None,
            {"name": name, "metadata": {"inr_volume": Carried(kind="hr", inr=make_inr(seed=seed))}},
            "image",
        )
        for name, seed in (("first", 0), ("second", 1))
    ]
    with pytest.raises(InrFileError, match="'first' and 'second' carry different networks"):
        write_layers(str(tmp_path / "x.inr"), layers)


def test_suffix_is_appended_when_missing(make_inr, tmp_path: Path) -> None:
    meta = {"name": "x", "metadata": {"inr_volume": Carried(kind="hr", inr=make_inr())}}
    name = tmp_path / "head [LR fit 41.2 dB]"  # what napari's dialog proposes
    assert write_layer(str(name), None, meta) == [f"{name}.inr"]
    assert read_inr(Path(f"{name}.inr")) == make_inr()


def test_file_that_the_person_did_not_name_is_not_replaced(make_inr, tmp_path: Path) -> None:
    (tmp_path / "x.inr").write_bytes(b"precious")
    with pytest.raises(InrFileError, match=r"'x\.inr' is there already; to replace it"):
        save_inr(make_inr(), tmp_path / "x")
    assert (tmp_path / "x.inr").read_bytes() == b"precious"
    save_inr(make_inr(), tmp_path / "x.inr")
    assert read_inr(tmp_path / "x.inr") == make_inr()


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_writer_is_offered_for_one_layer_and_for_several(plugins, count: int) -> None:
    offered = list(plugins.iter_compatible_writers(["image"] * count))
    assert [writer.filename_extensions for writer in offered] == [[".inr"]]


def test_writer_is_not_offered_for_other_layers(plugins) -> None:
    assert list(plugins.iter_compatible_writers(["labels"])) == []
    assert list(plugins.iter_compatible_writers(["image", "labels"])) == []


@pytest.mark.parametrize("what", ["inr_path", "sr_inr_path"])
def test_what_is_opened_can_be_saved_again_byte_by_byte(
    viewer, request: pytest.FixtureRequest, tmp_path: Path, what: str
) -> None:
    path = request.getfixturevalue(what)
    viewer.open(str(path), plugin=PLUGIN)
    again = tmp_path / "again.inr"
    viewer.layers.save(str(again), plugin=PLUGIN)
    assert again.read_bytes() == path.read_bytes()


def test_network_is_saved_without_the_model_where_its_file_has_gone_or_is_another(
    viewer, sr_inr_path: Path, make_inr, tmp_path: Path
) -> None:
    (layer, _) = viewer.open(str(sr_inr_path), plugin=PLUGIN)
    held = carried(layer)
    write_inr(make_inr(seed=1), sr_inr_path)
    save_inr(held.inr, tmp_path / "again.inr", held.opened)
    assert read_inr(tmp_path / "again.inr") == held.inr
    sr_inr_path.unlink()
    save_inr(held.inr, tmp_path / "again.inr", held.opened)
    assert (read_inr(tmp_path / "again.inr"), read_model(tmp_path / "again.inr")) == (held.inr, None)
