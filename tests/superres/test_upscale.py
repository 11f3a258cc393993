"""Upscalers: where voxels come to lie, what happens without memory, and which upscaler is chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from napari_inr_volume.coding.weights import encode_fp16
from napari_inr_volume.core.errors import ModelError
from napari_inr_volume.core.volume import Geometry
from napari_inr_volume.fields.siren.config import SirenConfig
from napari_inr_volume.fields.siren.network import Siren
from napari_inr_volume.inr_volume import FitRecord, InrVolume, UpscalerRef
from napari_inr_volume.superres import upscale
from napari_inr_volume.superres.catalogue import TITLES
from napari_inr_volume.superres.factors import FACTORS
from napari_inr_volume.superres.model_file import NETWORKS, ModelInfo
from napari_inr_volume.superres.srdensenet import SRDenseNet
from napari_inr_volume.superres.upscale import LanczosUpscaler, NetworkUpscaler, find_restorer, find_upscaler

CPU = torch.device("cpu")

MakeWeights = Callable[..., ModelInfo]


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


# Memory


class HungryNetwork(SRDenseNet):
    """Runs out of memory on more than so many voxels, as a small GPU would."""

    def __init__(
        self,
        most: int,
        message: str = "CUDA out of memory. Tried to allocate 2 GiB",
        seen: Callable[[int], None] = lambda width: None,
    ) -> None:
        super().__init__()
        self.most, self.message, self.seen = most, message, seen

    def restore(self, features: Tensor) -> Tensor:
        self.seen(features.shape[3])
        if features.shape[2] * features.shape[3] > self.most:
            raise RuntimeError(self.message)
        return super().restore(features)


def test_tiles_shrink_until_memory_suffices_and_stay_so() -> None:
    sizes: list[int] = []  # told by a function: the upscaler keeps a copy of the network
    network = HungryNetwork(most=4 * 40, seen=sizes.append)
    lr = random_lr(2, 4, 70)
    upscaler = NetworkUpscaler(network, CPU, tile=128)
    hr = upscaler(lr, (16, 280))
    np.testing.assert_array_equal(hr, LanczosUpscaler((4.0, 4.0))(lr, (16, 280)))
    assert upscaler.tile == 32
    assert sizes == [70, 65] + 2 * [33, 34, 7]


def test_too_little_memory_for_any_tile_is_an_error_of_ours() -> None:
    upscaler = NetworkUpscaler(HungryNetwork(most=1), CPU, tile=64)
    with pytest.raises(ModelError, match="ran out of memory at tiles of 32 voxels; choose the CPU or"):
        upscaler(random_lr(1, 4, 4), (16, 16))


def test_another_failure_of_the_device_is_an_error_of_ours() -> None:
    upscaler = NetworkUpscaler(HungryNetwork(most=1, message="device lost\nmore"), CPU)
    with pytest.raises(ModelError, match=r"srdensenet failed on cpu: device lost$"):
        upscaler(random_lr(1, 4, 4), (16, 16))


# The choice


def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the choice be made as where there is a GPU; meta is a device of torch that computes nothing."""
    monkeypatch.setattr(upscale, "find_device", lambda name: torch.device("meta"))


def test_auto_is_span_on_a_cpu_and_srdensenet_on_a_gpu(
    shipped: Path, make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    infos = {name: make_weights(shipped / f"{name}-x4.safetensors", name) for name in NETWORKS}
    upscaler = find_upscaler("auto", (4.0, 4.0), device="cpu")
    assert (upscaler.name, upscaler.sha256) == ("span", infos["span"].sha256)
    on_a_gpu(monkeypatch)
    upscaler = find_upscaler("auto", (4.0, 4.0))
    assert (upscaler.name, upscaler.sha256) == ("srdensenet", infos["srdensenet"].sha256)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_had_by_its_name_with_the_weights_that_ship(
    name: str, shipped: Path, make_weights: MakeWeights
) -> None:
    info = make_weights(shipped / f"{name}-x4.safetensors", name)
    upscaler = find_upscaler(name, (4.0, 4.0), device="cpu")
    assert (upscaler.name, upscaler.sha256, upscaler.weights) == (name, info.sha256, info.data)


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_whose_weights_are_missing_is_refused_and_auto_is_lanczos(name: str) -> None:
    with pytest.raises(ModelError, match=f"weights of {TITLES[name]} are missing .* lanczos"):
        find_upscaler(name, (4.0, 4.0), device="cpu")
    upscaler = find_upscaler("auto", (4.0, 4.0), device="cpu")
    assert (upscaler.name, upscaler.sha256, upscaler.weights) == ("lanczos", None, b"")


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize("suffix", [".safetensors", ".SafeTensors"])
def test_a_weights_file_is_applied_by_its_path(
    suffix: str, make_weights: MakeWeights, tmp_path: Path
) -> None:
    path = tmp_path / f"mine{suffix}"
    info = make_weights(path, "span")
    for name in (path, str(path)):
        upscaler = find_upscaler(name, (4.0, 4.0), device="cpu")
        assert (upscaler.name, upscaler.sha256, upscaler.weights) == ("span", info.sha256, info.data)
    lr = random_lr(1, 5, 5)
    assert np.abs(upscaler(lr, (20, 20)) - LanczosUpscaler((4, 4))(lr, (20, 20))).max() > 0.05


def test_a_weights_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    with pytest.raises(ModelError, match=r"cannot read the weights file .*mine\.safetensors: No such file"):
        find_upscaler(path, (4.0, 4.0))
    path.write_bytes(b"hello")
    with pytest.raises(ModelError, match=r"mine\.safetensors is damaged or not a weights file"):
        find_upscaler(path, (4.0, 4.0))


@pytest.mark.parametrize("factor", [(2.0, 2.0), (4.0, 3.0), (1.0, 1.0)])
def test_networks_are_refused_and_auto_is_lanczos_for_other_factors(
    factor: tuple[float, float], shipped: Path, make_weights: MakeWeights
) -> None:
    path = shipped / "span-x4.safetensors"
    make_weights(path)
    assert find_upscaler("auto", factor).name == "lanczos"
    for name in ("span", path):
        with pytest.raises(ModelError, match=r"^span.* restores a factor of 4 x 4 in the plane, not"):
            find_upscaler(name, factor)
        assert find_upscaler(name, factor, or_lanczos=True).name == "lanczos"


@pytest.mark.parametrize("where", ["cpu", "gpu"])
def test_each_factor_has_weights_of_its_own(
    where: str, shipped: Path, make_weights: MakeWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    for factor in FACTORS:
        make_weights(shipped / f"span-x{factor}.safetensors", "span", seed=factor, factor=factor)
    make_weights(shipped / "srdensenet-x4.safetensors", "srdensenet")
    if where == "gpu":
        on_a_gpu(monkeypatch)
    two, four = (find_upscaler("auto", (factor, factor)) for factor in FACTORS)
    assert (two.name, four.name) == ("span", "span" if where == "cpu" else "srdensenet")
    assert two.sha256 == find_upscaler("span", (2.0, 2.0)).sha256
    assert two.sha256 != find_upscaler("span", (4.0, 4.0)).sha256
    with pytest.raises(ModelError, match=r"^srdensenet restores a factor of 4 x 4 in the plane, not 2 x 2"):
        find_upscaler("srdensenet", (2.0, 2.0))


@pytest.mark.usefixtures("shipped")
def test_weights_of_ones_own_are_for_their_factor(make_weights: MakeWeights, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    make_weights(path, "span", factor=2)
    lr = random_lr(1, 5, 5)
    assert find_upscaler(path, (2.0, 2.0))(lr, (9, 10)).shape == (1, 9, 10)
    with pytest.raises(ModelError, match=r"^mine.safetensors restores a factor of 2 x 2 in the plane, not 4"):
        find_upscaler(path, (4.0, 4.0))


def test_an_unknown_upscaler_is_refused_with_what_there_is() -> None:
    allowed = "choose one of auto, lanczos, srdensenet, span, or a .safetensors file"
    with pytest.raises(ModelError, match=f"no upscaler 'bicubic'; {allowed}"):
        find_upscaler("bicubic", (4.0, 4.0))


# The upscaler that an .inr names


def inr_of(info: ModelInfo | None, factor: tuple[float, float, float] = (1.0, 4.0, 4.0)) -> InrVolume:
    """Return an `.inr` whose upscaler has these weights."""
    siren = SirenConfig(layers=2, hidden_features=2)
    return InrVolume(
        field=siren,
        coding="fp16",
        payload=encode_fp16(Siren(siren, 0).weights(), siren.layouts),
        geometry=Geometry(shape=(2, 8, 8), spacing=(1.0, 1.0, 1.0)),
        factor=factor,
        intensity_range=(0.0, 1.0),
        units="raw",
        dtype="float32",
        padding=None,
        source_bytes=512,
        upscaler=UpscalerRef() if info is None else UpscalerRef(name=info.architecture, sha256=info.sha256),
        fit=FitRecord(preset="default", steps=1, seed=0),
        quality=None,
        software="a test",
    )


def silent(words: str) -> None:
    raise AssertionError(words)


@pytest.fixture
def info(make_weights: MakeWeights, tmp_path: Path) -> ModelInfo:
    """Weights of a person's own, in mine.safetensors."""
    return make_weights(tmp_path / "mine.safetensors", "span", seed=1)


@pytest.mark.parametrize("place", ["embedded", "shipped", "own"])
def test_the_named_weights_are_found_wherever_they_are(
    place: str, info: ModelInfo, shipped: Path, make_weights: MakeWeights, tmp_path: Path
) -> None:
    make_weights(shipped / "span-x4.safetensors", "span", seed=2)
    make_weights(tmp_path / "other.safetensors", "srdensenet", seed=3)
    weights: list[str | Path | bytes | None] = [None, tmp_path / "other.safetensors", tmp_path / "gone"]
    if place == "embedded":
        weights[0] = info.data
    elif place == "shipped":  # whichever network it says it is
        (shipped / "a-x4.safetensors").write_bytes(info.data)
    else:
        weights.append(str(tmp_path / "mine.safetensors"))
    restorer = find_restorer(inr_of(info), silent, weights=weights, device="cpu")
    assert (restorer.name, restorer.sha256, restorer.weights) == ("span", info.sha256, info.data)


def test_lanczos_is_taken_without_a_word_where_the_file_names_it(info: ModelInfo) -> None:
    assert find_restorer(inr_of(None), silent, weights=[info.data], device="cpu").name == "lanczos"


def heard(inr: InrVolume, **where: list[Path | bytes]) -> str:
    """Return the sentence that is said where Lanczos takes the place of what an `.inr` names."""
    said: list[str] = []
    restorer = find_restorer(inr, said.append, device="cpu", **where)
    assert (restorer.name, restorer.sha256) == ("lanczos", None)
    (sentence,) = said
    return sentence


def test_missing_weights_fall_back_to_lanczos_in_a_sentence(
    info: ModelInfo, shipped: Path, make_weights: MakeWeights
) -> None:
    make_weights(shipped / "span-x4.safetensors", "span", seed=2)
    assert heard(inr_of(info)) == (
        "The reconstruction is restored by Lanczos, not by SPAN as the file asks for: no weights with the"
        f" SHA-256 {info.sha256[:12]} are here; give the weights file it was made with."
    )


def test_other_weights_are_as_bad_as_none_and_the_sentence_says_which_they_are(
    info: ModelInfo, make_weights: MakeWeights, tmp_path: Path
) -> None:
    other = make_weights(tmp_path / "other.safetensors", "span", seed=3)
    sentence = heard(inr_of(info), weights=[tmp_path / "other.safetensors"])
    assert f"no weights with the SHA-256 {info.sha256[:12]} are here" in sentence
    assert f"other.safetensors: SHA-256 {other.sha256[:12]} is not {info.sha256[:12]}" in sentence


def test_a_file_that_is_gone_or_damaged_is_said_to_be(info: ModelInfo, tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes(info.data[:-1])
    sentence = heard(inr_of(info), weights=[tmp_path / "gone.safetensors", tmp_path / "mine.safetensors"])
    assert "gone.safetensors: No such file" in sentence
    assert "the file is damaged or another model" in sentence


def test_a_network_of_another_version_falls_back_in_words() -> None:
    unknown = ModelInfo(architecture="edsr", factor=4, training="", sha256="ab" * 32, data=b"")
    assert "not by edsr as the file asks for" in heard(inr_of(unknown))


def test_a_network_on_a_factor_that_it_does_not_restore_falls_back_in_words(info: ModelInfo) -> None:
    sentence = heard(inr_of(info, (1.0, 3.0, 3.0)), weights=[info.data])
    assert sentence.endswith(": networks restore a factor of 2 x 2 or 4 x 4 in the plane, not 3 x 3.")
    sentence = heard(inr_of(info, (1.0, 2.0, 2.0)), weights=[info.data])
    assert sentence.endswith(": these weights restore 4 x 4, not 2 x 2.")


def test_a_name_in_a_file_is_never_taken_for_a_path(info: ModelInfo, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    named = ModelInfo(architecture=str(path), factor=4, training="", sha256=info.sha256, data=b"")
    assert str(path) in heard(inr_of(named))
