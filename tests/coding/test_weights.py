"""Payloads decode to the weights that were coded, and what cannot be a payload is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_inr_volume.coding.quantise import Layout, quantise, step_codes
from napari_inr_volume.coding.range_coding import encode as encode_quantised
from napari_inr_volume.coding.weights import CODINGS, decode_weights, encode_fp16
from napari_inr_volume.core.errors import FitError, InrFileError
from napari_inr_volume.fields.siren.config import SirenConfig

SIREN = SirenConfig(layers=2, hidden_features=5)
LAYOUTS = SIREN.layouts


def random_weights(layouts: dict[str, Layout], seed: int = 0) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(-1, 1, layout.shape).astype(np.float32) for name, layout in layouts.items()}


def payload_of(coding: str, weights: dict[str, NDArray[np.float32]], layouts: dict[str, Layout]) -> bytes:
    if coding == "fp16":
        return encode_fp16(weights, layouts)
    rows = [layouts[name].rows(weights[name]) for name in layouts]
    return encode_quantised([quantise(row, step_codes(np.full(len(row), 2**-11))) for row in rows])


@pytest.mark.parametrize("coding", CODINGS)
@given(layers=st.integers(2, 4), width=st.integers(1, 12), seed=st.integers(0, 99))
def test_decoded_weights_have_names_order_shapes_and_values(
    coding: str, layers: int, width: int, seed: int
) -> None:
    layouts = SirenConfig(layers=layers, hidden_features=width).layouts
    weights = random_weights(layouts, seed)
    decoded = decode_weights(payload_of(coding, weights, layouts), layouts, coding)
    assert list(decoded) == list(layouts)
    for name, layout in layouts.items():
        assert decoded[name].shape == layout.shape
        assert decoded[name].dtype == np.float32
        assert decoded[name].flags.writeable  # torch warns of arrays that are not
        np.testing.assert_allclose(decoded[name], weights[name], atol=2**-11)


@pytest.mark.parametrize("coding", CODINGS)
def test_what_was_decoded_is_coded_to_the_same_bytes(coding: str) -> None:
    payload = payload_of(coding, random_weights(LAYOUTS), LAYOUTS)
    assert payload_of(coding, decode_weights(payload, LAYOUTS, coding), LAYOUTS) == payload


def test_the_order_of_the_mapping_does_not_matter() -> None:
    weights = random_weights(LAYOUTS)
    turned = dict(reversed(weights.items()))
    assert encode_fp16(turned, LAYOUTS) == encode_fp16(weights, LAYOUTS)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 70_000])
def test_weights_that_fp16_cannot_hold_are_refused(bad: float) -> None:
    weights = random_weights(LAYOUTS)
    weights["sine.1.bias"][2] = bad
    with pytest.raises(FitError, match=r"diverged: tensor sine\.1\.bias"):
        encode_fp16(weights, LAYOUTS)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_payload_of_the_wrong_length_is_refused(coding: str) -> None:
    payload = payload_of(coding, random_weights(LAYOUTS), LAYOUTS)
    for wrong in (b"", payload[:-1], payload[:-4], payload + b"\0", payload + bytes(4)):
        with pytest.raises(InrFileError, match="weights"):
            decode_weights(wrong, LAYOUTS, coding)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_short_payload_cannot_make_us_allocate_what_the_shapes_ask_for(coding: str) -> None:
    with pytest.raises(InrFileError, match="this network needs"):
        decode_weights(b"\0" * 64, {"sine.0.weight": Layout((2**30, 2**20))}, coding)


def test_fp16_is_little_endian_in_the_order_of_the_shapes() -> None:
    layouts = {"b": Layout((2,)), "a": Layout((1,))}
    weights = {"a": np.array([-2.0], np.float32), "b": np.array([1.0, 0.5], np.float32)}
    assert encode_fp16(weights, layouts) == bytes.fromhex("003c 0038 00c0")


@pytest.mark.parametrize("bits", [0x7C00, 0xFC00, 0x7E00], ids=["inf", "-inf", "nan"])
def test_a_payload_of_infinities_is_damaged(bits: int) -> None:
    payload = encode_fp16(random_weights(LAYOUTS), LAYOUTS)[:-2] + bits.to_bytes(2, "little")
    with pytest.raises(InrFileError, match=r"damaged: tensor linear\.bias"):
        decode_weights(payload, LAYOUTS, "fp16")


def test_an_unknown_coding_is_named() -> None:
    with pytest.raises(InrFileError, match="'ans', which this version does not know"):
        decode_weights(b"", LAYOUTS, "ans")


def test_weights_of_another_network_are_refused() -> None:
    weights = random_weights(LAYOUTS)
    weights.pop("linear.bias")
    with pytest.raises(FitError, match="its settings ask for"):
        encode_fp16(weights, LAYOUTS)
    with pytest.raises(FitError, match="its settings ask for"):
        encode_fp16(random_weights(SirenConfig(layers=3, hidden_features=5).layouts), LAYOUTS)
