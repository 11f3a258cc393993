from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from napari.components import ViewerModel
from napari.layers import Image
from numpy.typing import NDArray

from napari_inr_volume import codec
from napari_inr_volume.core import memory
from napari_inr_volume.core.errors import InrError
from napari_inr_volume.inr_volume import InrVolume, UpscalerRef
from napari_inr_volume.plugin.job import Control
from napari_inr_volume.plugin.layers import add_layer, carried, hr_layer, lr_layer
from napari_inr_volume.plugin.opened import Opened
from napari_inr_volume.plugin.shown_voxels import ShownVoxels, shown_levels
from napari_inr_volume.plugin.work import inr as contents
from napari_inr_volume.reader import Reader
from napari_inr_volume.superres.catalogue import TITLES
from napari_inr_volume.superres.model_file import NETWORKS
from napari_inr_volume.superres.upscale import LanczosUpscaler, Upscaler


class Counting(LanczosUpscaler):
    """Lanczos that remembers how many slices it restored."""

    slices = 0

    def __call__(self, lr: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
        self.slices += len(lr)
        return super().__call__(lr, shape)


def levels(inr: InrVolume, upscaler: Upscaler | None = None) -> dict[str, ShownVoxels]:
    reader = Reader(inr, upscaler, device="cpu")
    return shown_levels(inr, lambda: reader)


# Without a window, an index waits


def test_reconstruction_looked_at_is_the_one_decompressed(make_inr) -> None:
    inr = make_inr()
    found = levels(inr)["hr"]
    assert found.dtype == np.int16
    np.testing.assert_array_equal(np.asarray(found), codec.decompress(inr, device="cpu").voxels)


@pytest.mark.parametrize("factor", [(1.0, 4.0, 4.0), (4.0, 4.0, 4.0), (2.5, 1.5, 3.0)], ids=str)
def test_lr_looked_at_is_the_one_fitted(make_inr, factor) -> None:
    inr = make_inr(factor=factor)
    found = levels(inr)["lr"]
    assert found.shape == inr.lr_shape
    expected = Reader(inr, device="cpu").read(level="lr")
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=1e-2)  # HU; batches round


def test_part_of_the_reconstruction_decodes_its_slices_alone(make_inr) -> None:
    inr = make_inr()
    upscaler = Counting(inr.factor[1:])
    found = levels(inr, upscaler)["hr"]
    found[5, 3:7, 2:4]
    found[2]
    assert upscaler.slices == 2


def test_out_of_memory_while_decoding_says_what_to_do(make_inr) -> None:
    class NoMemory(LanczosUpscaler):
        def __call__(self, lr, shape):
            raise torch.OutOfMemoryError("CUDA out of memory")

    inr = make_inr()
    with pytest.raises(InrError, match="cpu ran out of memory while decoding; close"):
        levels(inr, NoMemory(inr.factor[1:]))["hr"][0]


def test_scrolling_decodes_only_what_is_seen(make_inr, viewer: ViewerModel) -> None:
    inr = make_inr(shape=(40, 30, 37))
    upscaler = Counting(inr.factor[1:])
    found = levels(inr, upscaler)
    add_layer(viewer, lr_layer(found["lr"], "LR", inr))
    layer = add_layer(viewer, hr_layer(found["hr"], "HR", inr))
    assert viewer.dims.current_step[0] == 19
    for z in (7, 39, 0):
        viewer.dims.set_current_step(0, z)
    layer.contrast_limits = (0, 80)
    layer.colormap = "viridis"
    viewer.layers.selection.active = layer
    layer.as_layer_data_tuple()
    viewer.reset_view()
    assert upscaler.slices == 4  # the slices in view: none for contrast, none for thumbnails


def test_layer_shows_what_was_decoded(make_inr, viewer: ViewerModel) -> None:
    inr = make_inr()
    voxels = codec.decompress(inr, device="cpu").voxels
    layer = add_layer(viewer, hr_layer(levels(inr)["hr"], "HR", inr))
    world = layer.data_to_world((6, 20, 30))
    viewer.dims.set_point(0, world[0])
    assert layer.get_value(world, world=True) == voxels[6, 20, 30]


def test_layer_that_is_gone_frees_what_was_decoded(make_inr) -> None:
    """Without a viewer: napari's own keeps the layer that was removed last."""
    inr = make_inr()
    opened = Opened(inr, None, None, "cpu")
    voxels, arguments, _ = opened.layers("x")[-1]
    layer = Image(voxels, **arguments)
    alive = weakref.ref(opened.reader())
    del opened, voxels, layer
    gc.collect()
    assert alive() is None


# The layers


def test_layers_of_an_inr_are_named_with_its_figures(make_inr) -> None:
    lr, hr = Opened(make_inr(), None, None, "cpu").layers("head")
    assert [lr[1]["name"], hr[1]["name"]] == ["head [LR fit 41.2 dB]", "head [Lanczos 37.9 dB]"]
    assert [lr[0].shape, hr[0].shape] == [(9, 8, 10), (9, 30, 37)]


def test_layers_of_an_inr_without_figures_have_names_without_them(make_inr) -> None:
    layers = Opened(make_inr(quality=None), None, None, "cpu").layers("x")
    assert [layer[1]["name"] for layer in layers] == ["x [LR fit]", "x [Lanczos]"]


def test_layers_carry_the_network_to_be_saved_again(make_inr, viewer: ViewerModel) -> None:
    inr = make_inr()
    held = [carried(add_layer(viewer, layer)) for layer in Opened(inr, None, None, "cpu").layers("head")]
    assert [(each.kind, each.inr) for each in held] == [("lr", inr), ("hr", inr)]


@pytest.mark.parametrize("architecture", NETWORKS)
def test_layer_names_the_network_that_restores_it(make_inr, make_weights, architecture, tmp_path) -> None:
    own = tmp_path / "mine.safetensors"
    info = make_weights(own, architecture)
    inr = make_inr(upscaler=UpscalerRef(name=architecture, sha256=info.sha256))
    opened = Opened(inr, None, own, "cpu")
    before, _ = opened.hr_name("x"), opened.reader()
    assert before == opened.hr_name("x") == f"x [{TITLES[architecture]} 37.9 dB]"


def test_layer_restored_by_lanczos_instead_has_the_figure_of_lanczos(make_inr) -> None:
    opened = Opened(make_inr(upscaler=UpscalerRef(name="srdensenet", sha256="ab" * 32)), None, None, "cpu")
    assert opened.hr_name("x") == "x [SRDenseNet 37.9 dB]"
    opened.reader()
    assert opened.hr_name("x") == "x [Lanczos 36.5 dB]"  # what the file says of Lanczos, not of SRDenseNet
    assert "restored by Lanczos, not by SRDenseNet" in opened.notes[0]


def test_file_larger_than_memory_is_shown_slice_by_slice_and_not_decoded_whole(
    make_inr, viewer: ViewerModel, monkeypatch
) -> None:
    inr = make_inr(shape=(400, 256, 256))
    monkeypatch.setattr(memory, "available", lambda: 20_000_000)
    lr, hr = (add_layer(viewer, layer) for layer in Opened(inr, None, None, "cpu").layers("huge"))
    assert np.asarray(lr.data[150]).shape == (64, 64)
    assert np.asarray(hr.data[150]).shape == (256, 256)
    with pytest.raises(InrError, match=r"the whole volume, 400 x 256 x 256 int16, needs 52\.4 MB"):
        contents.decode(Control(), inr, "hr", None, None, "cpu")
