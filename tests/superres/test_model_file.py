"""Weights files: round trip, identity, and a clear error for everything that is not one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from napari_inr_volume.core.errors import InrError, ModelError
from napari_inr_volume.superres import model_file
from napari_inr_volume.superres.factors import FACTORS
from napari_inr_volume.superres.model_file import available_models, load_weights, save_weights
from napari_inr_volume.superres.srdensenet import SRDenseNet

TRAINING = "three chests, 1,500 steps"


@pytest.fixture(scope="module")
def network() -> SRDenseNet:
    torch.manual_seed(0)
    return SRDenseNet()


@pytest.fixture(scope="module")
def file(network: SRDenseNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "ct.safetensors"
    save_weights(path, network, training=TRAINING)
    return path


def packed(tensors: dict[str, torch.Tensor], **model: object) -> bytes:
    """Return a weights file that says what it is told to say."""
    return save(
        tensors,
        metadata={"model": json.dumps({"architecture": "srdensenet", "factor": 4, "training": ""} | model)},
    )


def test_fp32_weights_come_back_unchanged(network: SRDenseNet, tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", network, training=TRAINING, half=False)
    loaded, _ = load_weights(tmp_path / "w.safetensors")
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_fp16_weights_come_back_rounded_as_fp32(network: SRDenseNet, file: Path) -> None:
    loaded, _ = load_weights(file)
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.half().float())


def test_a_file_says_what_it_is(file: Path) -> None:
    _, info = load_weights(file)
    assert (info.architecture, info.factor, info.training) == ("srdensenet", 4, TRAINING)
    assert info.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert info.size == file.stat().st_size


def test_saving_returns_what_loading_finds(network: SRDenseNet, tmp_path: Path) -> None:
    saved = save_weights(tmp_path / "w.safetensors", network, training="éclair\n")
    assert load_weights(tmp_path / "w.safetensors")[1] == saved


def test_words_of_a_file_are_made_fit_to_be_shown(network: SRDenseNet) -> None:
    tensors = {name: tensor.half() for name, tensor in network.state_dict().items()}
    _, info = load_weights(packed(tensors, training="\x1b[2J three\nchests"))
    assert info.training == r"\x1b[2J three\nchests"


def test_bytes_and_path_give_the_same(file: Path) -> None:
    assert load_weights(file.read_bytes())[1] == load_weights(file)[1]


@pytest.mark.slow
def test_the_same_weights_give_the_same_bytes_in_every_process(file: Path, tmp_path: Path) -> None:
    script = (
        "import sys, pathlib\n"
        "from napari_inr_volume.superres.model_file import load_weights, save_weights\n"
        "network, info = load_weights(pathlib.Path(sys.argv[1]))\n"
        "save_weights(pathlib.Path(sys.argv[2]), network, training=info.training)\n"
    )
    copy = tmp_path / "copy.safetensors"
    subprocess.run([sys.executable, "-c", script, str(file), str(copy)], check=True)
    assert copy.read_bytes() == file.read_bytes()


def test_loading_draws_no_random_numbers(file: Path) -> None:
    before = torch.get_rng_state()
    load_weights(file)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_expected_hash_is_accepted_and_another_refused(file: Path) -> None:
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    load_weights(file, sha256)
    with pytest.raises(ModelError, match="is not 000000000000, the one asked for"):
        load_weights(file, "0" * 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"architecture": "edsr"}, "is for edsr x4; only srdensenet and span", id="other architecture"
        ),
        pytest.param({"factor": 3}, "is for srdensenet x3; only .* x2 or x4, can", id="other factor"),
        pytest.param({"factor": None}, "damaged or not a weights file", id="no factor"),
        pytest.param({"factor": math.inf}, "damaged or not a weights file", id="an infinite factor"),
        pytest.param({"factor": 4.0}, "damaged or not a weights file", id="a factor with a fraction"),
        pytest.param({"factor": 10**4_000}, r"is for srdensenet x10+\.\.\.0+; only", id="a large factor"),
        pytest.param({"architecture": ["span"]}, "damaged or not", id="an architecture of a list"),
        pytest.param(
            {"architecture": "\x1b[2J" + "x" * 9999}, r"is for \\x1b\[2Jx{36} x4; only", id="escapes"
        ),
        pytest.param({"training": 3}, "damaged or not a weights file", id="training of a number"),
    ],
)
def test_another_model_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_weights(packed({}, **change))


@pytest.mark.parametrize("edit", ["missing", "extra", "transposed"])
def test_other_tensors_are_refused(network: SRDenseNet, edit: str) -> None:
    tensors = {name: tensor.half() for name, tensor in network.state_dict().items()}
    if edit == "missing":
        del tensors["bottleneck.bias"]
    elif edit == "extra":
        tensors["more"] = torch.zeros(1)
    else:
        tensors["bottleneck.weight"] = tensors["bottleneck.weight"].transpose(0, 1).contiguous()
    with pytest.raises(ModelError, match="names or shapes"):
        load_weights(packed(tensors))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(network: SRDenseNet, value: float) -> None:
    tensors = {name: tensor.half() for name, tensor in network.state_dict().items()}
    tensors["low_level.bias"] = torch.full_like(tensors["low_level.bias"], value)
    with pytest.raises(ModelError, match=r"low_level\.bias holds NaN or infinity"):
        load_weights(packed(tensors))


def test_integer_weights_are_refused(network: SRDenseNet) -> None:
    tensors = {name: tensor.to(torch.int8) for name, tensor in network.state_dict().items()}
    with pytest.raises(ModelError, match="only fp16 and fp32"):
        load_weights(packed(tensors))


def test_weights_too_large_for_fp16_are_not_saved(tmp_path: Path) -> None:
    network = SRDenseNet()
    torch.nn.init.constant_(network.low_level.bias, 1e6)
    with pytest.raises(ModelError, match="numbers too large for torch"):
        save_weights(tmp_path / "w.safetensors", network, training="")
    assert not list(tmp_path.iterdir())
    save_weights(tmp_path / "w.safetensors", network, training="", half=False)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x80\x04pickle", id="pickle"),
        pytest.param((2**63).to_bytes(8, "little") + b"{}", id="huge header"),
        pytest.param((2).to_bytes(8, "little") + b"{}", id="no metadata"),
        pytest.param(save({}, metadata={"model": "[" * 100_000}), id="deep metadata"),
        pytest.param(save({}, metadata={"model": "3"}), id="metadata is a number"),
        pytest.param(save({}, metadata={"model": "9" * 5_000}), id="metadata is a long number"),
        pytest.param(save({}, metadata={"model": " " * model_file.MAX_HEADER}), id="much metadata"),
    ],
)
def test_what_is_no_weights_file_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="damaged or not a weights file"):
        load_weights(data)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_ends_in_an_error_of_ours(file: Path, data: st.DataObject) -> None:
    whole = file.read_bytes()
    header = int.from_bytes(whole[:8], "little") + 8
    if data.draw(st.booleans(), label="cut"):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1), label="length")]
    else:
        place = data.draw(st.integers(0, header - 1), label="place")
        bit = 1 << data.draw(st.integers(0, 7), label="bit")
        damaged = whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :]
    with pytest.raises(ModelError):
        load_weights(damaged, hashlib.sha256(whole).hexdigest())
    with contextlib.suppress(
        ModelError
    ):  # without a hash some damage goes unseen: nothing else may be raised
        load_weights(damaged)


def test_a_file_larger_than_allowed_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as huge:
        huge.truncate(2**40)  # a hole: takes no disk
    with pytest.raises(ModelError, match="too many for weights"):
        load_weights(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read the weights file"):
        load_weights(tmp_path / "none.safetensors")
    with pytest.raises(ModelError, match="cannot read the weights file"):
        load_weights(tmp_path)
    with pytest.raises(ModelError, match=r"weights file a\\x00b: embedded null byte"):
        load_weights(Path("a\0b"))


def test_saving_where_there_is_no_folder_is_an_error_of_ours(network: SRDenseNet, tmp_path: Path) -> None:
    with pytest.raises(InrError, match="cannot save"):
        save_weights(tmp_path / "none" / "w.safetensors", network, training="")


def test_shipped_models_are_named_after_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_file, "SHIPPED", tmp_path)
    for name in ("b-x4.safetensors", "a-x4.safetensors", "a-x2.safetensors", "a.safetensors", "a-x4.md"):
        (tmp_path / name).touch()
    assert available_models(4) == {"a": tmp_path / "a-x4.safetensors", "b": tmp_path / "b-x4.safetensors"}
    assert available_models(2) == {"a": tmp_path / "a-x2.safetensors"}


@pytest.mark.parametrize(
    ("name", "factor"), [(name, factor) for factor in FACTORS for name in available_models(factor)]
)
def test_a_shipped_model_loads_and_says_what_it_was_trained_on(name: str, factor: int) -> None:
    network, info = load_weights(available_models(factor)[name])
    assert (network.architecture, network.factor, info.factor) == (name, factor, factor)
    assert info.training
