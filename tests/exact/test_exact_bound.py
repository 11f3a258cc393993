"""Every voxel comes back within the bound, padding and lossless ones bit for bit, whatever the volume."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from exact_layers import PADDING, decoded, head_phantom, layer_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_inr_volume.core.errors import FitError
from napari_inr_volume.core.generators import drain
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.exact.encode import encode_exact
from napari_inr_volume.exact.lattice import find_lattice

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
FLOATS = ("float16", "float32", "float64")


def check(volume: Volume, back: NDArray[Any], max_error: float) -> None:
    """Hold decoded voxels against the promise, without rounding."""
    assert back.dtype == volume.dtype
    assert back.shape == volume.shape
    voxels = volume.voxels
    if max_error == 0:
        assert back.tobytes() == voxels.tobytes()
    padding = voxels == volume.padding
    assert ((back == volume.padding) == padding).all()
    pairs = zip(voxels.ravel().tolist(), back.ravel().tolist(), strict=True)
    assert max(abs(Fraction(a) - Fraction(b)) for a, b in pairs) <= max_error


@st.composite
def volumes(draw: st.DrawFn) -> tuple[Volume, float]:
    """A small volume of any dtype, and a bound."""
    dtype = np.dtype(draw(st.sampled_from(INTEGERS + FLOATS)))
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7)))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if dtype.kind == "f":
        scale = draw(st.sampled_from([1e-6, 1.0, 3000.0, 2.0**14]))
        step = draw(st.sampled_from([0.0, 1.0, 0.25, 0.1, 2.0**-16]))
        values = random.uniform(-scale, scale, shape)
        voxels = (np.rint(values / step) * step if step else values).astype(dtype)
        max_error = draw(st.sampled_from([0.0, 1e-9, 0.01, 0.5, 3.3, 1e308]) | st.floats(0, 2.0**15))
    else:
        limits = np.iinfo(dtype)
        low = draw(st.integers(limits.min, limits.max))
        high = min(low + draw(st.sampled_from([0, 1, 10, 300, 10**5, 2**64])), limits.max)
        voxels = random.integers(low, high, shape, dtype, endpoint=True)
        if draw(st.booleans()):
            voxels[0, 0, 0], voxels[-1, -1, -1] = limits.min, limits.max
        max_error = float(draw(st.sampled_from([0, 1, 2, 5, 100, 2**31, 2**60]) | st.integers(0, 300)))
    if draw(st.booleans()):  # large areas of one value
        voxels[:, : shape[1] // 2] = voxels[0, 0, 0]
    flat = sorted(voxels.ravel().tolist())
    padding = draw(st.sampled_from([None, flat[0], flat[len(flat) // 2], flat[-1], 0, -2000]))
    if padding is not None:
        padding = float(padding) if abs(padding) < 2**53 else None  # which no float tells from its next
    return Volume.from_array(voxels, padding=padding), max_error


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=volumes())
def test_any_volume_keeps_the_bound(networks: Any, drawn: tuple[Volume, float]) -> None:
    volume, max_error = drawn
    check(volume, decoded(layer_of(volume, max_error, networks), volume), max_error)


BLOCK = np.arange(60).reshape(3, 4, 5)
NEGATIVE_ZERO = np.where(BLOCK % 2, np.float32(0), np.float32(-0.0))
LIMITS = np.where(BLOCK % 2, 2**31 - 1, -(2**31)).astype(np.int32)


@pytest.mark.parametrize("max_error", [0, 1, 3])
@pytest.mark.parametrize(
    ("voxels", "padding"),
    [
        pytest.param(np.full((2, 3, 4), 7, np.int16), None, id="all equal"),
        pytest.param(np.full((2, 3, 4), 7, np.int16), 7.0, id="padding alone"),
        pytest.param(np.full((1, 1, 1), -5, np.int8), None, id="one voxel"),
        pytest.param(np.full((1, 1, 1), -5, np.int8), -5.0, id="one voxel of padding"),
        pytest.param(BLOCK.astype(np.uint8), 6.0, id="padding between, from the dtype's smallest"),
        pytest.param((BLOCK + 196).astype(np.uint8), 255.0, id="padding that is the dtype's largest"),
        pytest.param((BLOCK - 30).astype(np.int16), 0.0, id="padding in the middle"),
        pytest.param(BLOCK.astype(np.float32) / 4, 3.25, id="float steps, padding between"),
        pytest.param(NEGATIVE_ZERO, None, id="negative zero"),
        pytest.param(NEGATIVE_ZERO, 0.0, id="negative zero beside padding of zero"),
        pytest.param(LIMITS, None, id="int32 limits"),
        pytest.param(LIMITS, -(2.0**31), id="int32 limits, one of them padding"),
        pytest.param(BLOCK + 2**53, None, id="int64 beyond float64"),
        pytest.param(BLOCK.astype(np.int16)[:, :, :1], None, id="one column"),
        pytest.param(BLOCK.astype(np.int16)[:, :1, :], None, id="one row"),
        pytest.param(BLOCK.astype(">i2"), None, id="big-endian"),
    ],
)
def test_rare_volumes_keep_the_bound(
    networks: Any, voxels: NDArray[Any], padding: float | None, max_error: int
) -> None:
    volume = Volume.from_array(voxels, padding=padding)
    check(volume, decoded(layer_of(volume, max_error, networks), volume), max_error)
    own = drain(encode_exact(volume, max_error))
    check(volume, decoded(own, volume), max_error)


def test_a_bound_wider_than_all_values_is_kept_too(networks: Any) -> None:
    for dtype in ("int16", "uint8", "float32"):
        volume = Volume.from_array((BLOCK % 7).astype(dtype), padding=3.0)
        for max_error in (2.0**40, 2.0**63, 1e300):
            check(volume, decoded(layer_of(volume, max_error, networks), volume), max_error)


@pytest.mark.parametrize(
    ("dtype", "max_error", "shape"),
    [
        ("int16", 0, (5, 29, 31)),
        ("int16", 2, (18, 15, 17)),  # two slabs
        ("float32", 0, (5, 29, 31)),
        pytest.param("int32", 5, (1, 1, 4200), marks=pytest.mark.slow),
        pytest.param("int32", 0, (2, 2100, 1), marks=pytest.mark.slow),
        pytest.param("float64", 0.3, (5, 29, 31), marks=pytest.mark.slow),
    ],
)
def test_an_encoded_volume_keeps_the_bound(dtype: str, max_error: float, shape: tuple[int, int, int]) -> None:
    depth, rows, columns = shape
    image = shape if min(rows, columns) > 1 else (depth, 42, rows * columns // 42)  # a line would be padding
    voxels = head_phantom(image).reshape(shape).astype(dtype)
    volume = Volume.from_array(voxels, padding=PADDING)
    layer = drain(encode_exact(volume, max_error))
    assert layer.features
    assert layer.max_error == max_error
    check(volume, decoded(layer, volume), max_error)
    assert layer.nbytes < 0.75 * volume.voxels.size * 2 + len(layer.networks)


def test_a_large_volume_of_nothing_but_padding_takes_next_to_nothing() -> None:
    volume = Volume.from_array(np.full((5, 29, 31), 9, np.int16), padding=9.0)
    layer = drain(encode_exact(volume, 2))
    check(volume, decoded(layer, volume), 2)
    assert layer.nbytes < 200


def test_floats_of_any_value_come_back_bit_for_bit() -> None:
    voxels = np.random.default_rng(1).normal(size=(5, 29, 31))
    for dtype in (np.float32, np.float64):
        volume = Volume.from_array(voxels.astype(dtype))
        check(volume, decoded(drain(encode_exact(volume)), volume), 0)


@pytest.mark.parametrize("max_error", [-1, math.nan, math.inf, 0.5])
def test_a_bound_that_no_voxel_knows_is_refused(max_error: float) -> None:
    with pytest.raises(FitError, match="largest error"):
        find_lattice(Volume.from_array(BLOCK), max_error)
