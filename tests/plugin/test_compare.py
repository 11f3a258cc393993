"""Original, LR fit and reconstruction against each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_inr_volume import compress
from napari_inr_volume.core.lowres import low_res
from napari_inr_volume.core.metrics import compare_volumes
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.inr_volume import InrVolume, UpscalerRef
from napari_inr_volume.plugin import compare
from napari_inr_volume.plugin.job import Control
from napari_inr_volume.plugin.layers import is_view
from napari_inr_volume.plugin.looking import go_to, look_at
from napari_inr_volume.plugin.work import measure
from napari_inr_volume.superres.upscale import LanczosUpscaler

pytestmark = pytest.mark.slow  # real fits, windows or processes


@pytest.fixture(scope="module")
def volume() -> Volume:
    return head_phantom((12, 48, 48))


@pytest.fixture(scope="module")
def inr(volume: Volume) -> InrVolume:
    settings = Settings(field=SirenConfig(layers=2, hidden_features=16), fit=FitConfig(steps=60, batch=512))
    return compress(volume, settings, device="cpu", upscaler="lanczos")


# Figures


def test_figures_of_a_slice_are_those_of_that_slice(volume: Volume) -> None:
    decoded = volume.voxels.copy()
    decoded[5] += 10
    comparison = compare_volumes(volume, decoded)
    assert comparison.of_slice(5).whole.rmse == pytest.approx(10.0)
    assert comparison.of_slice(4).whole.rmse == 0.0
    assert comparison.of_slice(99) == comparison.of_slice(11)


def test_another_upscaler_changes_the_name_in_the_file_whose_quality_is_then_not_known(
    inr: InrVolume,
) -> None:
    other = replace(inr, upscaler=UpscalerRef(name="span", sha256="0" * 64))
    changed = measure.named(other, LanczosUpscaler((4, 4)))
    assert (changed.upscaler.name, changed.quality) == ("lanczos", None)
    assert changed.payload == inr.payload
    assert measure.named(inr, LanczosUpscaler((4, 4))) is inr


# The difference


def test_difference_is_reconstruction_minus_original_and_0_in_the_padding(volume: Volume) -> None:
    decoded = np.where(volume.voxels == volume.padding, 500, volume.voxels + 7).astype(np.int16)
    error = measure.difference(Control(), volume, decoded)
    np.testing.assert_array_equal(error, np.where(volume.voxels == volume.padding, 0, 7))


def test_difference_of_the_widest_values_does_not_overflow() -> None:
    voxels = np.full((1, 2, 2), 32767, dtype=np.int16)
    voxels[0, 0, 0] = -32768
    volume = Volume.from_array(voxels)
    error = measure.difference(Control(), volume, voxels[:, ::-1, ::-1])
    assert (error.min(), error.max()) == (-65535, 65535)


def test_difference_of_some_slices_is_from_those_of_the_original(volume: Volume) -> None:
    part = volume.voxels[4:7] + np.array([1, 2, 3], np.int16)[:, None, None]
    error = measure.difference(Control(), volume, part, start=4)
    measured = volume.voxels[4:7] != volume.padding
    assert [np.unique(error[z][measured[z]]).tolist() for z in range(3)] == [[1], [2], [3]]


def test_difference_of_the_lr_is_from_the_downsampled_original(volume: Volume) -> None:
    low = low_res(volume, (1.0, 4.0, 4.0))
    error = measure.lr_difference(Control(), volume, low.voxels + 5, (1.0, 4.0, 4.0))
    assert low.counted is not None
    np.testing.assert_allclose(error, np.where(low.counted, 5, 0), atol=1e-3)


# The viewer


@pytest.fixture
def model() -> ViewerModel:
    viewer = ViewerModel()
    for name in ("original", "other", "LR fit", "reconstruction", "difference"):
        viewer.add_image(np.zeros((4, 8, 8)), name=name)
    return viewer


def roles(viewer: ViewerModel) -> list[Image]:
    return [viewer.layers[name] for name in ("original", "LR fit", "reconstruction")]


def visible(viewer: ViewerModel) -> list[str]:
    return [layer.name for layer in viewer.layers if layer.visible]


def test_side_by_side_stands_in_one_row_in_order_with_names(model: ViewerModel) -> None:
    layers = roles(model)
    compare.Arrangement(model).show("side by side", layers, model.layers["difference"])
    grid = model.canvas.grid
    cells = [grid.position(model.layers.index(layer), model.layers) for layer in layers]
    assert grid.enabled
    assert cells == [(0, 0), (0, 1), (0, 2)]
    assert visible(model) == ["original", "LR fit", "reconstruction"]
    assert all(layer.name_overlay.visible for layer in layers)


def test_wipe_shows_the_reconstruction_left_of_the_edge(model: ViewerModel) -> None:
    original, *_, reconstruction = layers = roles(model)
    reconstruction.data = np.arange(256.0).reshape(4, 8, 8)
    arrangement = compare.Arrangement(model)
    arrangement.show("wipe", layers, share=0.25)
    wipe = arrangement.wipe
    assert wipe is not None
    assert visible(model) == ["original", "left: reconstruction"]
    np.testing.assert_array_equal(wipe.layer.data, reconstruction.data[:, :, :2])
    np.testing.assert_allclose(wipe.layer.data_to_world((1, 2, 1)), reconstruction.data_to_world((1, 2, 1)))
    wipe.move(0.5)
    np.testing.assert_array_equal(wipe.layer.data, reconstruction.data[:, :, :4])
    original.contrast_limits = (0.0, 99.0)
    assert wipe.layer.contrast_limits == [0.0, 99.0]
    model.dims.order = (2, 0, 1)  # from the side, y is across
    np.testing.assert_array_equal(wipe.layer.data, reconstruction.data[:, :4])
    wipe.move(0.0)
    assert visible(model) == ["original"]
    arrangement.show("off", [])
    assert [layer.name for layer in model.layers if is_view(layer)] == []


@pytest.mark.parametrize(("name", "place"), [("CT", "top_left"), ("CT " * 27, "bottom_left")])
def test_the_names_of_a_wipe_do_not_lie_over_each_other(model: ViewerModel, name: str, place: str) -> None:
    layers = roles(model)
    for layer in layers:
        layer.name = f"{name} [{layer.name}]"
    arrangement = compare.Arrangement(model)
    arrangement.show("wipe", layers)
    assert arrangement.wipe is not None
    assert arrangement.wipe.layer.name_overlay.position == place
    assert layers[0].name_overlay.position == "top_right"


def test_the_contrast_of_a_wipe_has_the_range_of_what_it_shows(model: ViewerModel) -> None:
    layers = roles(model)
    layers[-1].contrast_limits_range = (-1024, 3071)
    arrangement = compare.Arrangement(model)
    arrangement.show("wipe", layers)
    assert arrangement.wipe is not None
    assert arrangement.wipe.layer.contrast_limits_range == [-1024, 3071]


def test_3d_stands_side_by_side_from_the_front_and_goes_again(model: ViewerModel) -> None:
    arrangement = compare.Arrangement(model)
    arrangement.show("3D", roles(model), look="skin")
    assert model.dims.ndisplay == 3
    assert visible(model) == ["3D: original", "3D: reconstruction"]
    assert {layer.iso_threshold for layer in model.layers if layer.visible} == {700}  # -300 HU, from -1000
    assert model.canvas.grid.enabled
    np.testing.assert_allclose(model.scene.camera.view_direction, (0, 1, 0), atol=1e-6)
    np.testing.assert_allclose(model.scene.camera.up_direction, (1, 0, 0), atol=1e-6)
    arrangement.show("off", [])
    assert model.dims.ndisplay == 2
    assert len(model.layers) == 5


def test_volume_that_is_not_in_view_comes_into_view(model: ViewerModel) -> None:
    far = [model.add_image(np.ones((4, 8, 8)), name=name, translate=(500, 90, 0)) for name in ("a", "b")]
    model.dims.set_point(0, 1)
    compare.Arrangement(model).show("side by side", far)
    assert 499.5 <= model.dims.point[0] <= 503.5
    assert model.scene.camera.center[1] == pytest.approx(93.5)


def test_difference_is_shown_alone(model: ViewerModel) -> None:
    compare.Arrangement(model).show("difference", roles(model), model.layers["difference"])
    assert visible(model) == ["difference"]


def test_off_brings_everything_back_but_the_difference(model: ViewerModel) -> None:
    arrangement = compare.Arrangement(model)
    model.layers["other"].visible = False
    model.layers["LR fit"].opacity = 0.8
    for mode in ("side by side", "wipe", "difference", "3D"):
        arrangement.show(mode, roles(model), model.layers["difference"])
    assert all(layer.opacity == 1 for layer in model.layers if layer.visible)
    model.layers.remove("reconstruction")
    arrangement.show("off", [], model.layers["difference"])
    assert visible(model) == ["original", "LR fit"]
    assert model.layers["LR fit"].opacity == 0.8
    assert not model.canvas.grid.enabled


def test_linked_layers_take_contrast_and_colormap_of_the_original_and_follow_it(model: ViewerModel) -> None:
    first, second, _ = roles(model)
    first.contrast_limits = (-50.0, 150.0)
    compare.link([first, second])
    assert second.contrast_limits == [-50.0, 150.0]
    first.contrast_limits, first.colormap, second.gamma = (0.0, 80.0), "inferno", 0.7
    assert second.contrast_limits == [0.0, 80.0]
    assert second.colormap.name == "inferno"
    assert first.gamma == 0.7


# Going to a volume


def test_the_slice_in_view_stays_if_the_layer_has_it_and_else_its_middle_is_shown(model: ViewerModel) -> None:
    original, *_ = roles(model)
    (low, high), before = original.extent.world, model.dims.point
    assert not go_to(model, original)
    assert model.dims.point == before
    apart = model.add_image(np.zeros((40, 8, 8)), translate=(high[0] + 10, 0, 0), name="apart")
    model.dims.set_point(0, low[0])
    y = model.dims.point[1]
    assert go_to(model, apart)
    assert abs(model.dims.point[0] - (high[0] + 10 + 19.5)) <= 0.5
    assert model.dims.point[1] == y
    model.dims.set_point(0, high[0] + 10)
    assert go_to(model, apart, anew=True)
    assert abs(model.dims.point[0] - (high[0] + 10 + 19.5)) <= 0.5


def test_what_is_looked_at_is_seen_and_selected(model: ViewerModel) -> None:
    layers = roles(model)
    layers[0].visible = False
    look_at(model, layers[:2])
    assert [layer.name for layer in model.layers][-2:] == [layer.name for layer in layers[:2]]
    assert layers[0].visible
    assert model.layers.selection.active is layers[1]
