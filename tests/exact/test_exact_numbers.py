"""The whole numbers of the exact layer: contexts, tables, counts, networks and their bytes."""

from __future__ import annotations

import tracemalloc
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from napari_inr_volume.core.errors import InrFileError
from napari_inr_volume.exact.contexts import BORDER, FIRST, LAG, LATER, LEAD, Contexts
from napari_inr_volume.exact.counts import TOTAL, below
from napari_inr_volume.exact.network import LARGEST_SUM, UNITS, Layer, from_bytes, sizes, to_bytes
from napari_inr_volume.exact.tables import (
    FEATURE,
    MIXED,
    OCTAVE,
    PARTS,
    REACH,
    SIGMOID_STEPS,
    WEIGHT_BITS,
    WEIGHT_STEPS,
    tables,
)

RESIDUALS = sorted({len(FIRST.residuals), len(LATER.residuals)})


@pytest.mark.parametrize("contexts", [FIRST, LATER])
def test_contexts_are_coded_in_earlier_waves(contexts: Contexts) -> None:
    for offsets in (contexts.values, contexts.residuals):
        assert len(set(offsets)) == len(offsets)
        for z, y, x in offsets:
            assert max(abs(y), abs(x)) <= BORDER
            assert z in ((0,) if contexts is FIRST else (0, -1, -2))
            if z == 0:
                assert x + LAG * y < 0
            elif z == -1:
                assert x + LAG * y < LEAD


@pytest.mark.parametrize("residuals", RESIDUALS)
def test_tables_are_what_they_say(residuals: int) -> None:
    made = tables(residuals)
    assert all(table.dtype == np.int64 for table in made)
    means = made.means.astype(float)
    for rising in (made.means, made.logs, made.sigmoid):
        assert (np.diff(rising) >= 0).all()
    for falling in (made.inverse, made.steepness, made.weights):
        assert (np.diff(falling) <= 0).all()
        assert falling.min() >= 0
    assert made.means.min() >= 1
    assert np.abs(made.inverse - 2**16 * PARTS / means).max() <= 0.5
    assert np.abs(made.logs - OCTAVE * np.log2(means)).max() <= 0.5 + 1e-9
    scales = 2 ** (np.arange(len(made.steepness)) / OCTAVE)
    assert np.allclose(made.steepness, 2**20 * SIGMOID_STEPS / scales, rtol=1e-9, atol=0.5)
    at = np.arange(-REACH * SIGMOID_STEPS, REACH * SIGMOID_STEPS + 1) / SIGMOID_STEPS
    assert np.allclose(made.sigmoid, TOTAL / (1 + np.exp(-at)), rtol=0, atol=0.6)
    assert (made.sigmoid + made.sigmoid[::-1] - TOTAL <= 1).all()
    steps = np.arange(len(made.weights))
    assert np.allclose(made.weights, 2**WEIGHT_BITS * np.exp(-steps / WEIGHT_STEPS), rtol=0, atol=0.6)


def test_scales_reach_as_far_as_any_residuals_do() -> None:
    for contexts in (FIRST, LATER):
        most = len(contexts.values) * 2**15 * 2**16 // PARTS + PARTS * 2**16
        assert most < 2**31
        largest = len(contexts.residuals) * (most + PARTS)
        scale = largest.bit_length() - OCTAVE.bit_length()  # octaves
        assert (scale + 1) * OCTAVE <= len(tables(len(contexts.residuals)).means)


@njit
def _allbelow(made: Any, mixture: Any, levels: Any) -> Any:
    counts = np.empty(levels + 1, np.int64)
    for level in range(levels + 1):
        counts[level] = below(made, mixture, level, levels)
    return counts


@given(
    centres=st.lists(st.integers(-(2**24), 2**24) | st.integers(0, 2**10), min_size=MIXED, max_size=MIXED),
    scales=st.lists(st.integers(0, OCTAVE * 24 - 1), min_size=MIXED, max_size=MIXED),
    cuts=st.lists(st.integers(0, 2**WEIGHT_BITS), min_size=MIXED - 1, max_size=MIXED - 1),
    levels=st.sampled_from([2, 3, 2**16]) | st.integers(2, 2**16),
)
def test_counts_of_any_mixture_rise_from_level_to_level(
    centres: list[int], scales: list[int], cuts: list[int], levels: int
) -> None:
    made = tables(RESIDUALS[0])
    weights = np.diff([0, *sorted(cuts), 2**WEIGHT_BITS])
    mixture = np.concatenate([centres, made.steepness[scales], weights]).astype(np.int64)
    counts = _allbelow(made, mixture, levels)
    assert counts[0] == 0
    assert counts[-1] == TOTAL == 2**28
    assert (np.diff(counts) >= 1).all()


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([0.0, 1e-12, 1e-3, 0.3, 5.0, 30.0]))
def test_rounded_networks_never_pass_what_float32_holds(seed: int, size: float) -> None:
    random = np.random.default_rng(seed)
    for inputs, units in ((LATER.inputs, float(PARTS)), (16, UNITS)):
        outputs = len(UNITS)
        weights, bias = random.normal(0, size, (outputs, inputs)), random.normal(0, 10 * size, outputs)
        layer = Layer.rounded(weights, bias, units)
        layer.check()
        sums = np.abs(layer.weights.astype(np.int64)).sum(axis=1) * FEATURE
        assert (sums + np.abs(layer.bias)).max() < LARGEST_SUM
        wide = np.broadcast_to(units, outputs) / PARTS
        back = layer.weights / 2.0 ** layer.shift[:, None]
        assert np.allclose(back, weights * wide[:, None], rtol=0, atol=0.6 / 2.0 ** layer.shift.min())


def test_networks_come_back_from_their_bytes(networks: Any) -> None:
    data = to_bytes(networks)
    back = from_bytes(data, 16)
    assert to_bytes(back) == data
    for one, other in zip(networks, back, strict=True):
        assert one.contexts is other.contexts
        assert (one.linear == other.linear).all()
        assert one.linear.sum() == 2**12
        for a, b in zip(one.layers, other.layers, strict=True):
            assert (a.weights == b.weights).all()
            assert (a.bias == b.bias).all()
            assert (a.shift == b.shift).all()


def test_bytes_that_are_no_networks_are_refused(networks: Any) -> None:
    data = to_bytes(networks)
    whole = zlib.decompress(data)
    wrong = [b"", data[:-1], data[: len(data) // 2], data + b"\0", b"\0" + data, zlib.compress(whole[:-1])]
    wrong += [zlib.compress(whole + b"\0"), zlib.compress(b"\xff" * sizes(16))]
    for each in wrong:
        with pytest.raises(InrFileError, match="exact layer's network"):
            from_bytes(each, 16)
    with pytest.raises(InrFileError, match="exact layer's network"):
        from_bytes(data, 32)


def test_networks_whose_sums_would_round_are_refused(networks: Any) -> None:
    first, later = networks
    layer = first.layers[1]
    for wrong in (
        replace(layer, weights=np.full_like(layer.weights, 2**15 - 1)),
        replace(layer, weights=np.full_like(layer.weights, -(2**15))),
        replace(layer, bias=np.full_like(layer.bias, 2**24)),
        replace(layer, bias=np.full_like(layer.bias, -(2**31))),
        replace(layer, shift=np.full_like(layer.shift, 25)),
    ):
        changed = replace(first, layers=(first.layers[0], wrong, first.layers[2]))
        with pytest.raises(InrFileError, match="whole numbers"):
            from_bytes(to_bytes((changed, later)), 16)


def test_networks_that_unpack_to_more_are_refused_without_the_memory() -> None:
    bomb = zlib.compress(bytes(50_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(InrFileError, match="size"):
            from_bytes(bomb, 16)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
