"""Upscalers: where voxels come to lie, what tiles may change, and which upscaler is chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from napari_inr_volume.core.errors import ModelError
from napari_inr_volume.core.resample import resample_plane
from napari_inr_volume.superres import model_file
from napari_inr_volume.superres.model_file import ModelInfo, load_weights, save_weights
from napari_inr_volume.superres.srdensenet import SRDenseNet
from napari_inr_volume.superres.upscale import LanczosUpscaler, SrDenseNetUpscaler, find_upscaler

CPU = torch.device("cpu")
INFO = ModelInfo(architecture="srdensenet", factor=4, training="none", sha256="f" * 64, size=5)
TILE_TOLERANCE = 1e-5  # of the intensity range, as SrDenseNetUpscaler states it


def random_network(seed: int = 0) -> SRDenseNet:
    """A network that adds something, of the size of the intensities."""
    torch.manual_seed(seed)
    network = SRDenseNet()
    torch.nn.init.normal_(network.reconstruction.weight, std=0.02)
    return network


@pytest.fixture(scope="module")
def network() -> SRDenseNet:
    return random_network()


@pytest.fixture
def no_shipped_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A package without weights, to which a test may add some; returns their folder."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(model_file, "SHIPPED", folder)
    return folder


def random_lr(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


# Lanczos


@given(
    length=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    factor=st.tuples(st.floats(1, 6), st.floats(1, 6)),
    value=st.floats(0, 1, width=32),
)
@settings(max_examples=30, deadline=None)
def test_flat_slices_stay_flat(length: tuple[int, int], factor: tuple[float, float], value: float) -> None:
    h, w = (int(np.ceil(n / f)) for n, f in zip(length, factor, strict=True))
    hr = LanczosUpscaler(factor)(np.full((2, h, w), value, dtype=np.float32), length)
    assert hr.shape == (2, *length)
    assert hr.dtype == np.float32
    np.testing.assert_allclose(hr, value, atol=1e-6)


def test_lr_voxel_k_lies_at_its_place_on_the_hr_grid() -> None:
    lr = np.zeros((1, 1, 9), dtype=np.float32)
    lr[0, 0, 4] = 1.0
    hr = LanczosUpscaler((4.0, 4.0))(lr, (4, 36))
    centre = np.sum(hr[0, 0] * np.arange(36)) / np.sum(hr[0, 0])
    assert centre == pytest.approx((4 + 0.5) * 4 - 0.5, abs=1e-4)


def test_an_lr_that_hangs_over_the_end_is_cropped_there() -> None:
    lr = random_lr(1, 5, 5)
    whole = LanczosUpscaler((4.0, 4.0))(lr, (20, 20))
    np.testing.assert_array_equal(LanczosUpscaler((4.0, 4.0))(lr, (18, 17)), whole[:, :18, :17])


# SRDenseNet


def test_a_fresh_network_gives_exactly_lanczos() -> None:
    lr = random_lr(2, 6, 7)
    hr = SrDenseNetUpscaler(SRDenseNet(), INFO, CPU)(lr, (23, 28))
    np.testing.assert_array_equal(hr, LanczosUpscaler((4.0, 4.0))(lr, (23, 28)))


def test_a_network_adds_its_output_to_lanczos(network: SRDenseNet) -> None:
    lr = random_lr(2, 6, 7)
    hr = SrDenseNetUpscaler(network, INFO, CPU)(lr, (22, 27))
    with torch.inference_mode():
        added = network(torch.from_numpy(lr)[:, None])[:, 0, :22, :27].numpy()
    lanczos = np.stack([resample_plane(plane, (22, 27), (0.25, 0.25)) for plane in lr])
    assert np.abs(added).max() > 0.1
    np.testing.assert_allclose(hr, lanczos + added, atol=TILE_TOLERANCE)


@pytest.mark.parametrize("shape", [(3, 150), (150, 3)], ids=["wide", "high"])
def test_tile_size_moves_no_voxel_beyond_the_tolerance(network: SRDenseNet, shape: tuple[int, int]) -> None:
    lr, hr_shape = random_lr(1, *shape), (4 * shape[0] - 1, 4 * shape[1] - 3)
    whole = SrDenseNetUpscaler(network, INFO, CPU, tile=150)(lr, hr_shape)
    for tile in (64, 37):
        tiled = SrDenseNetUpscaler(network, INFO, CPU, tile=tile)(lr, hr_shape)
        np.testing.assert_allclose(tiled, whole, rtol=0, atol=TILE_TOLERANCE)


def test_tiles_meet_on_both_axes(network: SRDenseNet) -> None:
    lr = random_lr(1, 10, 11)
    whole = SrDenseNetUpscaler(network, INFO, CPU)(lr, (40, 44))
    tiled = SrDenseNetUpscaler(network, INFO, CPU, tile=6)(lr, (40, 44))
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=TILE_TOLERANCE)


class HungryNetwork(SRDenseNet):
    """Runs out of memory on more than so many voxels, as a small GPU would."""

    def __init__(self, most: int, message: str = "CUDA out of memory. Tried to allocate 2 GiB") -> None:
        super().__init__()
        self.most, self.message = most, message
        self.sizes: list[tuple[int, ...]] = []

    def restore(self, features: Tensor) -> Tensor:
        self.sizes.append(tuple(features.shape[2:]))
        if features.shape[2] * features.shape[3] > self.most:
            raise RuntimeError(self.message)
        return super().restore(features)


def test_tiles_shrink_until_memory_suffices_and_stay_so() -> None:
    network = HungryNetwork(most=4 * 40)
    lr = random_lr(2, 4, 70)
    upscaler = SrDenseNetUpscaler(network, INFO, CPU, tile=128)
    hr = upscaler(lr, (16, 280))
    np.testing.assert_array_equal(hr, LanczosUpscaler((4.0, 4.0))(lr, (16, 280)))
    assert upscaler.tile == 32
    assert [width for _, width in network.sizes] == [70, 65] + 2 * [33, 34, 7]


def test_too_little_memory_for_any_tile_is_an_error_of_ours() -> None:
    upscaler = SrDenseNetUpscaler(HungryNetwork(most=1), INFO, CPU, tile=64)
    with pytest.raises(ModelError, match="ran out of memory at tiles of 32 voxels; choose the CPU or"):
        upscaler(random_lr(1, 4, 4), (16, 16))


def test_another_failure_of_the_device_is_an_error_of_ours() -> None:
    upscaler = SrDenseNetUpscaler(HungryNetwork(most=1, message="device lost\nmore"), INFO, CPU)
    with pytest.raises(ModelError, match=r"SRDenseNet failed on cpu: device lost$"):
        upscaler(random_lr(1, 4, 4), (16, 16))


# The choice


@pytest.mark.usefixtures("no_shipped_models")
def test_auto_is_lanczos_as_long_as_no_weights_ship() -> None:
    upscaler = find_upscaler("auto", (4.0, 4.0))
    assert (upscaler.name, upscaler.sha256, upscaler.model_bytes) == ("lanczos", None, 0)


@pytest.mark.usefixtures("no_shipped_models")
def test_srdensenet_without_weights_is_refused_in_words() -> None:
    with pytest.raises(ModelError, match="no trained SRDenseNet weights ship with this version; use the"):
        find_upscaler("srdensenet", (4.0, 4.0))


def test_auto_is_srdensenet_once_weights_ship(no_shipped_models: Path, network: SRDenseNet) -> None:
    info = save_weights(no_shipped_models / "ct.safetensors", network, training="chests")
    for name in ("auto", "srdensenet"):
        upscaler = find_upscaler(name, (4.0, 4.0), device="cpu")
        assert (upscaler.name, upscaler.sha256, upscaler.model_bytes) == (
            "srdensenet",
            info.sha256,
            info.size,
        )


def test_shipped_weights_are_found_by_their_hash(no_shipped_models: Path, network: SRDenseNet) -> None:
    save_weights(no_shipped_models / "a.safetensors", network, training="chests")
    second = save_weights(no_shipped_models / "b.safetensors", network, training="heads")
    assert find_upscaler("srdensenet", (4.0, 4.0), sha256=second.sha256).sha256 == second.sha256
    for name in ("auto", "srdensenet"):
        with pytest.raises(ModelError, match="SRDenseNet 000000000000 does not ship with this version"):
            find_upscaler(name, (4.0, 4.0), sha256="0" * 64)


@pytest.mark.usefixtures("no_shipped_models")
def test_a_weights_file_is_applied_and_its_hash_checked(network: SRDenseNet, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    info = save_weights(path, network, training="mine")
    lr = random_lr(1, 5, 5)
    upscaler = find_upscaler("auto", (4.0, 4.0), model_path=path, device="cpu")
    assert upscaler.sha256 == info.sha256
    expected = SrDenseNetUpscaler(load_weights(path)[0], info, CPU)(lr, (20, 20))
    np.testing.assert_array_equal(upscaler(lr, (20, 20)), expected)
    with pytest.raises(ModelError, match="the one asked for"):
        find_upscaler("srdensenet", (4.0, 4.0), model_path=path, sha256="0" * 64)


@pytest.mark.parametrize("factor", [(2.0, 2.0), (4.0, 3.0), (1.0, 1.0)])
def test_srdensenet_is_refused_and_auto_is_lanczos_for_other_factors(
    factor: tuple[float, float], no_shipped_models: Path, network: SRDenseNet
) -> None:
    save_weights(no_shipped_models / "ct.safetensors", network, training="chests")
    assert find_upscaler("auto", factor).name == "lanczos"
    with pytest.raises(ModelError, match="restores a factor of 4 x 4 in the plane, not"):
        find_upscaler("srdensenet", factor)


def test_an_unknown_upscaler_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ModelError, match="no upscaler 'bicubic'; choose one of auto, lanczos, srdensenet"):
        find_upscaler("bicubic", (4.0, 4.0))
