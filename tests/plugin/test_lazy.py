from __future__ import annotations

import gc
import weakref
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image
from numpy.typing import NDArray

from napari_inr_volume import codec
from napari_inr_volume.core import memory
from napari_inr_volume.core.errors import InrError
from napari_inr_volume.decode import LrDecoder
from napari_inr_volume.inr_volume import UpscalerRef
from napari_inr_volume.plugin import contents
from napari_inr_volume.plugin.jobs import Control
from napari_inr_volume.plugin.layers import add_layer, carried, hr_layer, lr_layer
from napari_inr_volume.plugin.lazy import SliceCache, hr_array, inr_layers, lr_array, stutters
from napari_inr_volume.superres.catalogue import TITLES
from napari_inr_volume.superres.model_file import NETWORKS, ModelInfo
from napari_inr_volume.superres.upscale import LanczosUpscaler, NetworkUpscaler

Plane = NDArray[np.int16]


def plane_of(z: int) -> Plane:
    return np.full((4, 5), z, np.int16)


PLANE_BYTES = plane_of(0).nbytes


class Counting(LanczosUpscaler):
    """Lanczos that remembers how many slices it restored."""

    slices = 0

    def __call__(self, lr: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
        self.slices += len(lr)
        return super().__call__(lr, shape)


# The cache


def test_slice_is_decoded_once_while_it_is_kept() -> None:
    slices = SliceCache(plane_of)
    assert slices(3) is slices(3)
    assert slices.decoded == 1


@given(asked=st.lists(st.integers(0, 9)), kept=st.integers(0, 4))
def test_cache_keeps_the_slices_asked_for_last_and_no_more_bytes_than_stated(
    asked: list[int], kept: int
) -> None:
    slices = SliceCache(plane_of, limit=kept * PLANE_BYTES)
    latest: OrderedDict[int, None] = OrderedDict()
    decoded = 0
    for z in asked:
        decoded += z not in latest
        latest[z] = None
        latest.move_to_end(z)
        while len(latest) > kept:
            latest.popitem(last=False)
        np.testing.assert_array_equal(slices(z), plane_of(z))
        assert slices.decoded == decoded


def test_kept_slice_cannot_be_changed_by_who_looks_at_it() -> None:
    with pytest.raises(ValueError, match="read-only"):
        SliceCache(plane_of)(0)[0, 0] = 7


def test_threads_asking_for_the_same_slices_decode_each_once() -> None:
    slices = SliceCache(plane_of)
    asked = [z % 7 for z in range(700)]
    with ThreadPoolExecutor(8) as pool:
        for z, plane in zip(asked, pool.map(slices, asked), strict=True):
            np.testing.assert_array_equal(plane, plane_of(z))
    assert slices.decoded == 7


def test_kept_slice_does_not_wait_for_one_being_decoded() -> None:
    started, go_on = Event(), Event()

    def decode(z: int) -> Plane:
        if z == 1:
            started.set()
            assert go_on.wait(10)
        return plane_of(z)

    slices = SliceCache(decode)
    slices(0)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(slices, 1)
        assert started.wait(10)
        assert slices(0)[0, 0] == 0  # would never come if it waited
        assert not slow.done()
        go_on.set()


def test_slice_that_could_not_be_decoded_is_tried_again() -> None:
    attempts = []

    def decode(z: int) -> Plane:
        attempts.append(z)
        if len(attempts) == 1:
            raise InrError("no memory")
        return plane_of(z)

    slices = SliceCache(decode)
    with pytest.raises(InrError, match="no memory"):
        slices(0)
    assert slices(0)[0, 0] == 0


# The arrays


def test_reconstruction_looked_at_is_the_one_decompressed(make_inr) -> None:
    inr = make_inr()
    lazy = hr_array(LrDecoder(inr, "cpu"), LanczosUpscaler(inr.factor[1:]))
    assert lazy.dtype == np.int16
    np.testing.assert_array_equal(lazy.compute(), codec.decompress(inr, device="cpu").voxels)


@pytest.mark.parametrize("factor", [(1.0, 4.0, 4.0), (4.0, 4.0, 4.0), (2.5, 1.5, 3.0)], ids=str)
def test_lr_looked_at_is_the_one_fitted(make_inr, factor) -> None:
    decoder = LrDecoder(make_inr(factor=factor), "cpu")
    lazy = lr_array(decoder)
    assert lazy.shape == decoder.inr.lr_shape
    np.testing.assert_allclose(lazy.compute(), decoder.fitted(), rtol=0, atol=1e-2)  # HU; batches round


def test_part_of_the_reconstruction_decodes_its_slices_alone(make_inr) -> None:
    inr = make_inr()
    upscaler = Counting(inr.factor[1:])
    lazy = hr_array(LrDecoder(inr, "cpu"), upscaler)
    lazy[5, 3:7, 2:4].compute()
    lazy[2].compute()
    assert upscaler.slices == 2


def test_out_of_memory_while_scrolling_says_what_to_do(make_inr) -> None:
    class NoMemory(LanczosUpscaler):
        def __call__(self, lr, shape):
            raise torch.OutOfMemoryError("CUDA out of memory")

    inr = make_inr()
    lazy = hr_array(LrDecoder(inr, "cpu"), NoMemory(inr.factor[1:]))
    with pytest.raises(InrError, match="cpu ran out of memory while decoding a slice; close"):
        lazy[0].compute()


# In a viewer


def scrolled(viewer: ViewerModel, *slices: int) -> None:
    for z in slices:
        viewer.dims.set_current_step(0, z)


def test_scrolling_decodes_only_what_is_seen(make_inr, viewer: ViewerModel) -> None:
    inr = make_inr(shape=(40, 30, 37))
    upscaler = Counting(inr.factor[1:])
    decoder = LrDecoder(inr, "cpu")
    add_layer(viewer, lr_layer(lr_array(decoder), "LR", inr))
    add_layer(viewer, hr_layer(hr_array(decoder, upscaler), "HR", inr))
    assert viewer.dims.current_step[0] == 19
    assert upscaler.slices == 1  # the slice in view: not for contrast, not for thumbnails
    scrolled(viewer, 7, 39, 0)
    assert upscaler.slices == 4
    scrolled(viewer, 39, 19, 7)
    assert upscaler.slices == 4


def test_looking_at_a_layer_otherwise_decodes_nothing_more(make_inr, viewer: ViewerModel) -> None:
    inr = make_inr()
    upscaler = Counting(inr.factor[1:])
    layer = add_layer(viewer, hr_layer(hr_array(LrDecoder(inr, "cpu"), upscaler), "HR", inr))
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
    upscaler = LanczosUpscaler(inr.factor[1:])
    layer = add_layer(viewer, hr_layer(hr_array(LrDecoder(inr, "cpu"), upscaler), "HR", inr))
    scrolled(viewer, 6)
    world = layer.data_to_world((6, 20, 30))
    viewer.dims.set_point(0, world[0])
    assert layer.get_value(world, world=True) == voxels[6, 20, 30]


def test_layer_that_is_gone_frees_what_was_decoded(make_inr) -> None:
    """Without a viewer: napari's own keeps the layer that was removed last."""
    inr = make_inr()
    decoder = LrDecoder(inr, "cpu")
    voxels, arguments, _ = hr_layer(hr_array(decoder, LanczosUpscaler(inr.factor[1:])), "HR", inr)
    layer = Image(voxels, **arguments)
    alive = weakref.ref(decoder)
    del decoder, voxels, layer
    gc.collect()
    assert alive() is None


# The layers


def test_layers_of_an_inr_are_named_with_its_figures(make_inr) -> None:
    lr, hr = inr_layers(LrDecoder(make_inr(), "cpu"), LanczosUpscaler((4, 4)), "head")
    assert [lr[1]["name"], hr[1]["name"]] == ["head [LR fit 41.2 dB]", "head [Lanczos 37.9 dB]"]
    assert [lr[0].shape, hr[0].shape] == [(9, 8, 10), (9, 30, 37)]


def test_layers_of_an_inr_without_figures_have_names_without_them(make_inr) -> None:
    layers = inr_layers(LrDecoder(make_inr(quality=None), "cpu"), LanczosUpscaler((4, 4)), "x")
    assert [layer[1]["name"] for layer in layers] == ["x [LR fit]", "x [Lanczos]"]


def test_layers_carry_the_network_to_be_saved_again(make_inr, viewer: ViewerModel) -> None:
    inr = make_inr()
    layers = inr_layers(LrDecoder(inr, "cpu"), LanczosUpscaler((4, 4)), "head")
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
    _, hr = inr_layers(LrDecoder(inr, "cpu"), network(info, make_network), "x")
    assert hr[1]["name"] == f"x [{TITLES[architecture]} 37.9 dB]"


def test_layer_restored_by_lanczos_instead_has_the_figure_of_lanczos(make_inr) -> None:
    inr = make_inr(upscaler=UpscalerRef(name="srdensenet", sha256="ab" * 32))
    _, hr = inr_layers(LrDecoder(inr, "cpu"), LanczosUpscaler((4, 4)), "x")
    assert hr[1]["name"] == "x [Lanczos 36.5 dB]"  # what the file says of Lanczos, not of SRDenseNet


@pytest.mark.parametrize("factor", [4, 2])
def test_scrolling_waits_for_srdensenet_and_span_from_x2_on_a_cpu_and_for_nothing_else(
    make_inr, make_weights, make_network, tmp_path, factor: int
) -> None:
    decoder = LrDecoder(make_inr(factor=(1.0, factor, factor)), "cpu")
    slow = {
        name: stutters(decoder, network(make_weights(tmp_path / "w.safetensors", name), make_network))
        for name in NETWORKS
    }
    assert slow == {"srdensenet": True, "span": factor == 2}
    assert not stutters(decoder, LanczosUpscaler((factor, factor)))


def test_file_larger_than_memory_is_shown_slice_by_slice_and_not_decoded_whole(
    make_inr, viewer: ViewerModel, monkeypatch
) -> None:
    inr = make_inr(shape=(400, 256, 256))
    decoder = LrDecoder(inr, "cpu")
    monkeypatch.setattr(memory, "available", lambda: 20_000_000)
    lr, hr = (add_layer(viewer, layer) for layer in inr_layers(decoder, LanczosUpscaler((4, 4)), "huge"))
    assert np.asarray(lr.data[150]).shape == (64, 64)
    assert np.asarray(hr.data[150]).shape == (256, 256)
    with pytest.raises(InrError, match=r"the whole volume, 400 x 256 x 256 int16, needs 52\.4 MB"):
        contents.decode(Control(), inr, "hr", None, None, "cpu")
