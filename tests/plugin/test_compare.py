"""Original, LR fit and reconstruction against each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image

from napari_inr_volume import compress
from napari_inr_volume.core.metrics import compare_volumes
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.inr_volume import InrVolume, UpscalerRef
from napari_inr_volume.plugin import compare
from napari_inr_volume.plugin.job import Control
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


def test_difference_layer_has_symmetric_limits_and_lies_over_the_original() -> None:
    over = Image(np.zeros((4, 8, 8)), scale=(2, 0.5, 0.5), translate=(1, 2, 3), units=("mm",) * 3)
    error = np.random.default_rng(0).normal(-20, 5, (4, 8, 8)).astype(np.float32)
    layer = Image(error, **compare.difference_layer(error, "difference", over)[1])
    low, high = layer.contrast_limits
    assert low == -high
    assert high > 20
    np.testing.assert_allclose(layer.data_to_world((1, 2, 3)), over.data_to_world((1, 2, 3)))
    assert layer.colormap.name == "PiYG"


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


def test_overlay_lays_the_reconstruction_over_the_original(model: ViewerModel) -> None:
    compare.Arrangement(model).show("overlay", roles(model), None, opacity=0.3)
    assert visible(model) == ["original", "reconstruction"]
    assert model.layers["reconstruction"].opacity == 0.3
    assert not model.canvas.grid.enabled


def test_difference_is_shown_alone(model: ViewerModel) -> None:
    compare.Arrangement(model).show("difference", roles(model), model.layers["difference"])
    assert visible(model) == ["difference"]


def test_off_brings_everything_back_but_the_difference(model: ViewerModel) -> None:
    arrangement = compare.Arrangement(model)
    model.layers["other"].visible = False
    model.layers["LR fit"].opacity = 0.8
    for mode in ("side by side", "overlay", "difference"):
        arrangement.show(mode, roles(model), model.layers["difference"])
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
