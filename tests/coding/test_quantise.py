"""Steps are exact, rows belong together, and rounding costs what it is said to cost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_inr_volume.coding.quantise import (
    LARGEST,
    STEP_CODES,
    Layout,
    choose_steps,
    quantise,
    step_codes,
    step_sizes,
)
from napari_inr_volume.fields.siren.config import SirenConfig

matrices = arrays(np.float32, (3, 7), elements=st.floats(-100, 100, width=32))


def test_every_step_is_a_float32_a_quarter_octave_or_less_from_the_next() -> None:
    sizes = step_sizes(np.arange(STEP_CODES[0], STEP_CODES[1] + 1))
    assert np.array_equal(sizes, sizes.astype(np.float32))
    ratios = sizes[1:] / sizes[:-1]
    assert ratios.min() >= 8 / 7
    assert ratios.max() <= 5 / 4
    assert sizes[-STEP_CODES[0]] == 1


@given(st.integers(*STEP_CODES), st.floats(1, 1.12))
def test_a_code_is_that_of_the_largest_step_not_above(code: int, more: float) -> None:
    size = step_sizes(np.array([code]))
    assert step_codes(size * more) == code
    assert step_codes(size * 0.999) == max(code - 1, STEP_CODES[0])


@pytest.mark.parametrize("layout", SirenConfig(layers=3, hidden_features=5).layouts.values())
def test_rows_are_put_back_as_they_were(layout: Layout) -> None:
    values = np.random.default_rng(0).normal(size=layout.shape).astype(np.float32)
    rows = layout.rows(values)
    assert rows.shape == layout.row_shape
    assert np.array_equal(layout.tensor(rows), values)


def test_a_row_of_the_first_layer_is_an_axis() -> None:
    first = SirenConfig(layers=2, hidden_features=4).layouts["sine.0.weight"]
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert np.array_equal(first.rows(values)[1], values[:, 1])


@given(matrices, st.lists(st.integers(-40, 8), min_size=3, max_size=3))
def test_rounding_moves_a_weight_by_half_a_step_at_most(rows: np.ndarray, codes: list[int]) -> None:
    steps = choose_steps(rows, 1 / step_sizes(np.array(codes)) ** 2, 1.0)
    tensor = quantise(rows, steps)
    assert np.abs(tensor.numbers).max() <= LARGEST
    assert (np.abs(tensor.values - rows) <= 0.5 * step_sizes(steps)[:, np.newaxis]).all()
    assert np.array_equal(quantise(tensor.values, steps).numbers, tensor.numbers)


@given(matrices)
def test_a_row_that_costs_nothing_takes_no_bytes(rows: np.ndarray) -> None:
    rows[np.abs(rows) < 2.0**-50] = 0
    assert not quantise(rows, choose_steps(rows, np.zeros(3), 1.0)).numbers.any()


def test_a_row_that_costs_four_times_as_much_gets_half_the_step() -> None:
    rows = np.ones((2, 4), np.float32)
    steps = step_sizes(choose_steps(rows, np.array([1.0, 4.0]), 2.0**-6))
    assert steps[0] == 2 * steps[1] == 2.0**-6
