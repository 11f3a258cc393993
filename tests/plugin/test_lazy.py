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
from napari_inr_volume.inr_volume import UpscalerRef
from napari_inr_volume.plugin.job import Control
from napari_inr_volume.plugin.layers import add_layer, carried, hr_layer, lr_layer
from napari_inr_volume.plugin.lazy import inr_layers, lazy_array, stutters
from napari_inr_volume.plugin.work import inr as contents
from napari_inr_volume.reader import Reader
from napari_inr_volume.superres.catalogue import TITLES
from napari_inr_volume.superres.model_file import NETWORKS, ModelInfo
from napari_inr_volume.superres.upscale import LanczosUpscaler, NetworkUpscaler


class Counting(LanczosUpscaler):
    """Lanczos that remembers how many slices it restored."""

    slices = 0

    def __call__(self, lr: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
        self.slices += len(lr)
        return super().__call__(lr, shape)


# The arrays


def test_reconstruction_looked_at_is_the_one_decompressed(make_inr) -> None:
    inr = make_inr()
    lazy = lazy_array(Reader(inr, device="cpu"), "hr")
    assert lazy.dtype == np.int16
    np.testing.assert_array_equal(lazy.compute(), codec.decompress(inr, device="cpu").voxels)


@pytest.mark.parametrize("factor", [(1.0, 4.0, 4.0), (4.0, 4.0, 4.0), (2.5, 1.5, 3.0)], ids=str)
def test_lr_looked_at_is_the_one_fitted(make_inr, factor) -> None:
    reader = Reader(make_inr(factor=factor), device="cpu")
    lazy = lazy_array(reader, "lr")
    assert lazy.shape == reader.inr.lr_shape
    np.testing.assert_allclose(
        lazy.compute(), reader.read(level="lr"), rtol=0, atol=1e-2
    )  # HU; batches round


def test_part_of_the_reconstruction_decodes_its_slices_alone(make_inr) -> None:
    inr = make_inr()
    upscaler = Counting(inr.factor[1:])
    lazy = lazy_array(Reader(inr, upscaler, device="cpu"), "hr")
    lazy[5, 3:7, 2:4].compute()
    lazy[2].compute()
    assert upscaler.slices == 2


def test_out_of_memory_while_scrolling_says_what_to_do(make_inr) -> None:
    class NoMemory(LanczosUpscaler):
        def __call__(self, lr, shape):
            raise torch.OutOfMemoryError("CUDA out of memory")

    inr = make_inr()
    lazy = lazy_array(Reader(inr, NoMemory(inr.factor[1:]), device="cpu"), "hr")
    with pytest.raises(InrError, match="cpu ran out of memory while decoding; close"):
        lazy[0].compute()


# In a viewer


def scrolled(viewer: ViewerModel, *slices: int) -> None:
    for z in slices:
        viewer.dims.set_current_step(0, z)


def test_scrolling_decodes_only_what_is_seen(make_inr, viewer: ViewerModel) -> None:
    inr = make_inr(shape=(40, 30, 37))
    upscaler = Counting(inr.factor[1:])
    reader = Reader(inr, upscaler, device="cpu")
    add_layer(viewer, lr_layer(lazy_array(reader, "lr"), "LR", inr))
    add_layer(viewer, hr_layer(lazy_array(reader, "hr"), "HR", inr))
    assert viewer.dims.current_step[0] == 19
    assert upscaler.slices == 1  # the slice in view: not for contrast, not for thumbnails
    scrolled(viewer, 7, 39, 0)
    assert upscaler.slices == 4
    scrolled(viewer, 39, 19, 7)
    assert upscaler.slices == 4


def test_looking_at_a_layer_otherwise_decodes_nothing_more(make_inr, viewer: ViewerModel) -> None:
    inr = make_inr()
    upscaler = Counting(inr.factor[1:])
    layer = add_layer(viewer, hr_layer(lazy_array(Reader(inr, upscaler, device="cpu"), "hr"), "HR", inr))
    seen = upscaler.slices
    layer.contrast_limits = (0, 80)
    layer.colormap = "viridis"
    layer.visible = False
    layer.visible = True
    layer.get_value((1, 2, 3))
    viewer.layers.selection.active = layer
    layer.as_layer_data_tuple()
    viewer.reset_view()
    assert upscaler.slices == seen


def test_layer_shows_what_was_decoded(make_inr, viewer: ViewerModel) -> None:
    inr = make_inr()
    voxels = codec.decompress(inr, device="cpu").voxels
    layer = add_layer(viewer, hr_layer(lazy_array(Reader(inr, device="cpu"), "hr"), "HR", inr))
    scrolled(viewer, 6)
    world = layer.data_to_world((6, 20, 30))
    viewer.dims.set_point(0, world[0])
    assert layer.get_value(world, world=True) == voxels[6, 20, 30]


def test_layer_that_is_gone_frees_what_was_decoded(make_inr) -> None:
    """Without a viewer: napari's own keeps the layer that was removed last."""
    inr = make_inr()
    reader = Reader(inr, device="cpu")
    voxels, arguments, _ = hr_layer(lazy_array(reader, "hr"), "HR", inr)
    layer = Image(voxels, **arguments)
    alive = weakref.ref(reader)
    del reader, voxels, layer
    gc.collect()
    assert alive() is None


# The layers


def test_layers_of_an_inr_are_named_with_its_figures(make_inr) -> None:
    lr, hr = inr_layers(Reader(make_inr(), device="cpu"), "head")
    assert [lr[1]["name"], hr[1]["name"]] == ["head [LR fit 41.2 dB]", "head [Lanczos 37.9 dB]"]
    assert [lr[0].shape, hr[0].shape] == [(9, 8, 10), (9, 30, 37)]


def test_layers_of_an_inr_without_figures_have_names_without_them(make_inr) -> None:
    layers = inr_layers(Reader(make_inr(quality=None), device="cpu"), "x")
    assert [layer[1]["name"] for layer in layers] == ["x [LR fit]", "x [Lanczos]"]


def test_layers_carry_the_network_to_be_saved_again(make_inr, viewer: ViewerModel) -> None:
    inr = make_inr()
    layers = inr_layers(Reader(inr, device="cpu"), "head")
    held = [carried(add_layer(viewer, data)) for data in layers]
    assert [(each.kind, each.inr) for each in held] == [("lr", inr), ("hr", inr)]


# The upscaler


def network(info: ModelInfo, make_network) -> NetworkUpscaler:
    return NetworkUpscaler(make_network(info.architecture), torch.device("cpu"), info)


@pytest.mark.parametrize("architecture", NETWORKS)
def test_layer_names_the_network_that_restores_it(
    make_inr, make_weights, make_network, architecture, tmp_path
):
    info = make_weights(tmp_path / "mine.safetensors", architecture)
    inr = make_inr(upscaler=UpscalerRef(name=architecture, sha256=info.sha256))
    _, hr = inr_layers(Reader(inr, network(info, make_network), device="cpu"), "x")
    assert hr[1]["name"] == f"x [{TITLES[architecture]} 37.9 dB]"


def test_layer_restored_by_lanczos_instead_has_the_figure_of_lanczos(make_inr) -> None:
    inr = make_inr(upscaler=UpscalerRef(name="srdensenet", sha256="ab" * 32))
    _, hr = inr_layers(Reader(inr, device="cpu"), "x")
    assert hr[1]["name"] == "x [Lanczos 36.5 dB]"  # what the file says of Lanczos, not of SRDenseNet


@pytest.mark.parametrize("factor", [4, 2])
def test_scrolling_waits_for_srdensenet_and_span_from_x2_on_a_cpu_and_for_nothing_else(
    make_inr, make_weights, make_network, tmp_path, factor: int
) -> None:
    reader = Reader(make_inr(factor=(1.0, factor, factor)), device="cpu")
    slow = {
        name: stutters(reader.by(network(make_weights(tmp_path / "w.safetensors", name), make_network)))
        for name in NETWORKS
    }
    assert slow == {"srdensenet": True, "span": factor == 2}
    assert not stutters(reader)


def test_file_larger_than_memory_is_shown_slice_by_slice_and_not_decoded_whole(
    make_inr, viewer: ViewerModel, monkeypatch
) -> None:
    inr = make_inr(shape=(400, 256, 256))
    reader = Reader(inr, device="cpu")
    monkeypatch.setattr(memory, "available", lambda: 20_000_000)
    lr, hr = (add_layer(viewer, layer) for layer in inr_layers(reader, "huge"))
    assert np.asarray(lr.data[150]).shape == (64, 64)
    assert np.asarray(hr.data[150]).shape == (256, 256)
    with pytest.raises(InrError, match=r"the whole volume, 400 x 256 x 256 int16, needs 52\.4 MB"):
        contents.decode(Control(), inr, "hr", None, None, "cpu")
