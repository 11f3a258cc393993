"""Weights to bytes and back: every coding in `CODINGS` must pass, registering is enough to be tested."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_inr_volume.coding.weights import CODINGS, decode_weights, encode_fp16
from napari_inr_volume.core.errors import FitError, InrFileError
from napari_inr_volume.inr.config import SirenConfig

SIREN = SirenConfig(layers=2, hidden_features=5)
SHAPES = SIREN.shapes


def random_weights(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("coding", CODINGS)
@given(layers=st.integers(1, 4), width=st.integers(1, 12), seed=st.integers(0, 99))
def test_decoded_weights_have_names_order_shapes_and_values(
    coding: str, layers: int, width: int, seed: int
) -> None:
    shapes = SirenConfig(layers=layers, hidden_features=width).shapes
    weights = random_weights(shapes, seed)
    decoded = decode_weights(encode_fp16(weights, shapes, coding), shapes, coding)
    assert list(decoded) == list(shapes)
    for name, shape in shapes.items():
        assert decoded[name].shape == shape
        assert decoded[name].dtype == np.float32
        assert decoded[name].flags.writeable  # torch warns of arrays that are not
        np.testing.assert_allclose(decoded[name], weights[name], atol=2**-11)


@pytest.mark.parametrize("coding", CODINGS)
def test_what_was_decoded_is_coded_to_the_same_bytes(coding: str) -> None:
    payload = encode_fp16(random_weights(SHAPES), SHAPES, coding)
    assert encode_fp16(decode_weights(payload, SHAPES, coding), SHAPES, coding) == payload


@pytest.mark.parametrize("coding", CODINGS)
def test_the_order_of_the_mapping_does_not_matter(coding: str) -> None:
    weights = random_weights(SHAPES)
    turned = dict(reversed(weights.items()))
    assert encode_fp16(turned, SHAPES, coding) == encode_fp16(weights, SHAPES, coding)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(coding: str, bad: float) -> None:
    weights = random_weights(SHAPES)
    weights["sine.1.bias"][2] = bad
    with pytest.raises(FitError, match=r"diverged: tensor sine\.1\.bias"):
        encode_fp16(weights, SHAPES, coding)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_payload_of_the_wrong_length_is_refused(coding: str) -> None:
    payload = encode_fp16(random_weights(SHAPES), SHAPES, coding)
    for wrong in (b"", payload[:-1], payload + b"\0", payload * 2):
        with pytest.raises(InrFileError):
            decode_weights(wrong, SHAPES, coding)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_payload_is_refused_before_large_shapes_are_allocated(coding: str) -> None:
    with pytest.raises(InrFileError):
        decode_weights(b"\0" * 64, {"sine.0.weight": (2**30, 2**20)}, coding)


def test_fp16_is_little_endian_tensor_after_tensor() -> None:
    shapes = {"b": (1, 2), "a": (1,)}
    weights = {"a": np.array([-2.0], np.float32), "b": np.array([[1.0, 0.5]], np.float32)}
    assert encode_fp16(weights, shapes) == bytes.fromhex("003c 0038 00c0")


def test_fp16_refuses_a_weight_that_would_become_infinite() -> None:
    weights = random_weights(SHAPES)
    weights["linear.weight"][0, 3] = -65_520
    with pytest.raises(FitError, match=r"linear\.weight holds 65520, more than fp16's 65504"):
        encode_fp16(weights, SHAPES, "fp16")


@pytest.mark.parametrize("bits", [0x7E00, 0x7C00], ids=["nan", "infinity"])
def test_fp16_refuses_a_payload_with_a_number_that_is_not_finite(bits: int) -> None:
    payload = encode_fp16(random_weights(SHAPES), SHAPES)[:-2] + bits.to_bytes(2, "little")
    with pytest.raises(InrFileError, match=r"linear\.bias holds NaN or infinity"):
        decode_weights(payload, SHAPES, "fp16")


def test_an_unknown_coding_is_refused_with_the_known_ones_named() -> None:
    with pytest.raises(InrFileError, match=r"'ans', which this version does not know \(it knows fp16"):
        decode_weights(b"", SHAPES, "ans")


def test_weights_of_another_network_are_refused() -> None:
    weights = random_weights(SirenConfig(layers=2, hidden_features=6).shapes)
    with pytest.raises(FitError, match=r"sine\.0\.weight has shape \(6, 3\), its settings ask for \(5, 3\)"):
        encode_fp16(weights, SHAPES)
    with pytest.raises(FitError, match="the network has the tensors"):
        encode_fp16(random_weights(SirenConfig(layers=3, hidden_features=5).shapes), SHAPES)
