"""The layer of a difference, and what lies over an original."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_inr_volume.plugin.compare_with import compared, first_slice, short_name, value_at
from napari_inr_volume.plugin.difference import Difference, error_colours
from napari_inr_volume.plugin.layers import lr_layer

PLACE = {"scale": (2, 0.5, 0.5), "translate": (1, 2, 3)}


@pytest.fixture
def model() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def original(model: ViewerModel) -> Image:
    return model.add_image(
        np.arange(256.0).reshape(4, 8, 8), name="head", contrast_limits=(-160, 240), **PLACE
    )


@pytest.fixture
def difference(model: ViewerModel, original: Image) -> Difference:
    error = np.zeros((4, 8, 8), np.int32)
    error[1, 2, 3], error[2, 2, 2] = 40, -900
    restored = Image(original.data, name="head [SPAN 37.9 dB]", **PLACE)
    return Difference(model, error, restored, original, units="HU")


def test_limits_are_a_fifth_of_the_window_and_follow_it(difference: Difference, original: Image) -> None:
    assert difference.layer.contrast_limits == [-50, 50]
    assert difference.layer.contrast_limits_range == [-900, 900]
    original.contrast_limits = (0, 80)
    assert difference.layer.contrast_limits == [-10, 10]
    assert difference.layer.name == "head [SPAN 37.9 dB - original, ±10 HU]"
    assert difference.layer.colorbar.visible


def test_it_lies_over_what_it_is_of_and_is_nothing_to_compare_with(
    model: ViewerModel, difference: Difference, original: Image
) -> None:
    np.testing.assert_allclose(difference.layer.data_to_world((1, 2, 3)), original.data_to_world((1, 2, 3)))
    assert compared(model, original) == []


def test_40_hu_are_seen_in_a_liver_and_0_is_white(difference: Difference) -> None:
    black, white = difference.layer.contrast_limits
    colours = difference.layer.colormap.map(np.array([0, 40, -40]) / (white - black) + 0.5)
    np.testing.assert_allclose(colours[0, :3], 1, atol=0.04)
    assert all(np.abs(colours[0, :3] - colour[:3]).max() > 0.3 for colour in colours[1:])
    assert colours[1, 1] > colours[1, 0]  # too bright: green
    assert colours[2, 0] > colours[2, 1]  # too dark: pink


def test_absolute_is_the_same_for_either_sign_and_keeps_the_values(difference: Difference) -> None:
    difference.show_absolute(True)
    colours = difference.layer.colormap.map(np.array([0.1, 0.9, 0.5]))
    np.testing.assert_allclose(colours[0], colours[1], atol=0.02)
    np.testing.assert_allclose(colours[2, :3], 0, atol=0.02)
    assert difference.layer.data.min() == -900


@pytest.mark.parametrize("absolute", [False, True])
def test_3d_shows_errors_of_both_signs_through_what_has_none(
    model: ViewerModel, difference: Difference, absolute: bool
) -> None:
    difference.show_absolute(absolute)
    model.dims.ndisplay = 3
    alpha = difference.layer.colormap.map(np.array([0.0, 0.5, 1.0]))[:, 3]
    assert alpha[1] == pytest.approx(0, abs=0.01)
    assert alpha[0] == alpha[2] > 0.3
    assert difference.layer.rendering == "translucent"
    model.dims.ndisplay = 2
    assert error_colours(absolute=absolute, in_3d=False) == difference.layer.colormap


# What lies over an original


def test_slices_of_another_codec_are_found_where_they_lie(model: ViewerModel, original: Image) -> None:
    part = model.add_image(np.zeros((2, 8, 8)), scale=PLACE["scale"], translate=(5, 2, 3))
    aside = model.add_image(np.zeros((2, 8, 8)), scale=PLACE["scale"], translate=(5, 2, 3.4))
    finer = model.add_image(np.zeros((4, 8, 8)), scale=(1, 0.5, 0.5), translate=PLACE["translate"])
    assert [first_slice(layer, original) for layer in (part, aside, finer, original)] == [2, None, None, 0]
    assert compared(model, original) == [part]


def test_lr_is_compared_with_its_own_original_alone(model: ViewerModel, original: Image, make_inr) -> None:
    inr = make_inr(shape=(4, 8, 8))
    voxels = np.zeros(inr.lr_shape, np.float32)
    over = model.add_layer(Image(voxels, **lr_layer(voxels, "over", inr, original)[1]))
    model.add_layer(Image(voxels, **lr_layer(voxels, "elsewhere", inr)[1]))
    assert compared(model, original) == [over]


def test_value_is_that_of_the_voxel_under_the_point(model: ViewerModel, original: Image) -> None:
    point = tuple(original.data_to_world((1, 2, 3)))
    original.visible = False  # a hidden layer's picture may be of an earlier slice
    assert value_at(original, point) == original.data[1, 2, 3]
    assert value_at(original, (0.9, 2, 3)) == original.data[0, 0, 0]
    assert value_at(original, (-9, 2, 3)) is None


def test_value_that_must_be_decoded_is_none_unless_it_is_seen(model: ViewerModel) -> None:
    lazy = model.add_image(dask.array.arange(256, chunks=64).reshape(4, 8, 8), contrast_limits=(0, 9))
    model.dims.set_point(0, 1)
    assert value_at(lazy, (1, 2, 3)) == 64 + 16 + 3
    lazy.visible = False
    assert value_at(lazy, (1, 2, 3)) is None


def test_short_name_leaves_the_original_out(original: Image) -> None:
    assert short_name(Image(np.zeros((2, 2)), name="head [SPAN 37.9 dB]"), original) == "SPAN 37.9 dB"
    assert short_name(Image(np.zeros((2, 2)), name="mine"), original) == "mine"
