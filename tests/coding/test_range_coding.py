"""Whole numbers come back exactly, in few bytes, and damage is found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_inr_volume.coding import range_coding
from napari_inr_volume.coding.quantise import LARGEST, STEP_CODES, Quantised
from napari_inr_volume.coding.range_coding import (
    BOUNDS,
    CHUNK,
    COUNTS_A_NUMBER,
    LEAST_WORK,
    WEIGHTS_A_BYTE,
    WORK_A_BYTE,
    decode,
    encode,
)
from napari_inr_volume.core.errors import InrFileError
from napari_inr_volume.fields.siren.config import SirenConfig


def tensor(numbers: np.ndarray, seed: int = 0) -> Quantised:
    steps = np.random.default_rng(seed).integers(*STEP_CODES, size=len(numbers), endpoint=True)
    return Quantised(numbers.astype(np.int32), steps.astype(np.int32))


def equal(first: list[Quantised], other: list[Quantised]) -> bool:
    return all(
        np.array_equal(a.numbers, b.numbers) and np.array_equal(a.steps, b.steps)
        for a, b in zip(first, other, strict=True)
    )


def shapes(tensors: list[Quantised]) -> list[tuple[int, ...]]:
    return [one.numbers.shape for one in tensors]


@given(
    st.lists(
        st.tuples(st.integers(1, 6), st.integers(1, 40), st.integers(0, 15), st.integers(0, 99)),
        min_size=1,
        max_size=5,
    )
)
def test_tensors_come_back_exactly(sizes: list[tuple[int, int, int, int]]) -> None:
    tensors = []
    for rows, columns, octaves, seed in sizes:
        largest = 2**octaves
        numbers = np.random.default_rng(seed).integers(-largest, largest, (rows, columns), endpoint=True)
        tensors.append(tensor(numbers, seed))
    payload = encode(tensors)
    assert equal(decode(payload, shapes(tensors)), tensors)
    assert encode(decode(payload, shapes(tensors))) == payload


def test_bounds_rise_to_the_largest_number() -> None:
    assert list(BOUNDS) == sorted(set(BOUNDS))
    assert BOUNDS[0] == 0
    assert BOUNDS[-1] == LARGEST


def test_numbers_take_about_their_entropy() -> None:
    """Rounded normal numbers, as trained weights nearly are, within 3 % of what they need at least."""
    numbers = np.rint(np.random.default_rng(1).normal(0, 8, (128, 128)))
    found = np.unique(numbers, return_counts=True)[1] / numbers.size
    entropy = -(found * np.log2(found)).sum() * numbers.size / 8  # bytes
    steps = np.full(128, -20, np.int32)
    assert len(encode([Quantised(numbers.astype(np.int32), steps)])) < 1.03 * entropy


def test_long_rows_and_rows_of_zeros_come_back() -> None:
    long = np.random.default_rng(2).integers(-5, 6, (2, CHUNK + 3))
    tensors = [tensor(long), tensor(np.zeros((3, 70)))]
    assert equal(decode(encode(tensors), shapes(tensors)), tensors)


def test_a_payload_has_a_least_length_so_that_it_cannot_ask_for_much_memory() -> None:
    zeros = [Quantised(np.zeros((100, 1000), np.int32), np.zeros(100, np.int32))]
    payload = encode(zeros)
    assert len(payload) >= 100_000 / WEIGHTS_A_BYTE
    with pytest.raises(InrFileError, match="this network needs"):
        decode(payload, [(2**20, 2**20)])


def test_rows_of_a_large_bound_with_nothing_in_them_are_refused_before_they_take_long() -> None:
    numbers = np.zeros((1_500, 8))
    numbers[:, 0] = LARGEST
    payload = encode([tensor(numbers)])
    assert len(payload) < 15_000
    with pytest.raises(InrFileError, match=r"take \d+ bytes, too few for what they would decode to"):
        decode(payload, [numbers.shape])


@pytest.mark.parametrize(("bound", "bits"), [(LARGEST, 14), (64, 5), (1, 1)])
@pytest.mark.parametrize("width", [1, 20, 64, 110, 256, 512, 2048])
def test_networks_of_any_size_have_the_bytes_for_their_work(width: int, bound: int, bits: int) -> None:
    siren = SirenConfig(layers=16, hidden_features=width)
    pieces = sum(layout.row_shape[0] for name, layout in siren.layouts.items())
    work = pieces * 2 * bound + COUNTS_A_NUMBER * siren.parameters
    assert work <= LEAST_WORK + WORK_A_BYTE * bits * siren.parameters // 8


def test_a_row_with_a_larger_bound_than_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = [tensor(np.array([[3, -2, 0, 1]]))]
    with monkeypatch.context() as patched:  # an encoder that is not ours
        patched.setattr(range_coding, "_bound_index", lambda numbers: BOUNDS.index(6))
        payload = encode(tensors)
    with pytest.raises(InrFileError, match="bound of a row"):
        decode(payload, shapes(tensors))


@given(st.lists(st.lists(st.integers(0, 2 * BOUNDS[9]), min_size=1, max_size=20), min_size=1, max_size=5))
def test_counts_are_those_of_the_format(pieces: list[list[int]]) -> None:
    """docs/format.md: each symbol adds 2 k to its own count and k to each neighbour that exists."""
    counts = range_coding._Counts(2 * BOUNDS[9] + 1)
    expected, k = counts.counts.tolist(), 1 + BOUNDS[9] // 8
    for piece in pieces:
        counts.add(np.array(piece, np.int32))
        for symbol in piece:
            for near, times in ((symbol - 1, 1), (symbol, 2), (symbol + 1, 1)):
                if 0 <= near < len(expected):
                    expected[near] += times * k
    assert counts.counts.tolist() == expected


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_changed_bit_gives_other_tensors_or_an_error_of_ours(at: int, bit: int) -> None:
    """In a file the checksum finds it first."""
    tensors = [tensor(np.random.default_rng(3).integers(-9, 10, (8, 16)))]
    changed = bytearray(encode(tensors))
    changed[at % len(changed)] ^= 1 << bit
    try:
        decoded = decode(bytes(changed), shapes(tensors))
    except InrFileError:
        return
    assert not equal(decoded, tensors)
    assert encode(decoded) == changed
