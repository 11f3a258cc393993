"""A network's weights as whole numbers: in each row of a tensor, weight = number * step of the row.

How large a step may be follows from what it costs. With S the mean square of the output's derivative by
a weight, rounding that weight to a step s adds S s^2 / 12 to the mean squared error. The bytes are spent best
where every weight adds the same ("reverse water-filling", Cover and Thomas 2006, section 10.3.3): steps
s = noise / sqrt(S), with one number, the noise, for the whole network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Weights = Mapping[str, NDArray[np.float32]]

PER_OCTAVE = 4  # steps between a power of two and the next, so a float32 holds each of them exactly
STEP_CODES = (-256, 255)  # 2^-64 to 1.75 * 2^63
LARGEST = 2**15  # numbers lie within +- this


@dataclass(frozen=True, eq=False)
class Quantised:
    """One tensor, as its rows (see `Layout`)."""

    numbers: NDArray[np.int32]  # (rows, columns)
    steps: NDArray[np.int32]  # (rows): step codes, see `step_sizes`

    @property
    def values(self) -> NDArray[np.float32]:
        """The weights, (rows, columns)."""
        return (self.numbers * step_sizes(self.steps)[:, np.newaxis]).astype(np.float32)


@dataclass(frozen=True)
class Layout:
    """How a tensor is coded: as rows, each with a step of its own.

    What a row is, the tensor declares: weights that are alike in size and in what their rounding costs.
    """

    shape: tuple[int, ...]  # one or two axes
    by_columns: bool = False  # of a matrix: its columns are the rows

    @property
    def size(self) -> int:
        """How many numbers the tensor holds."""
        return math.prod(self.shape)

    @property
    def row_shape(self) -> tuple[int, int]:
        """How many rows there are, and how long they are. A vector is one row."""
        first, second = self.shape if len(self.shape) == 2 else (1, *self.shape)
        return (second, first) if self.by_columns else (first, second)

    def rows(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the tensor's values as (rows, columns)."""
        return values.T if self.by_columns else np.atleast_2d(values)

    def tensor(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the tensor whose rows these are, the inverse of `rows`."""
        return np.ascontiguousarray(rows.T if self.by_columns else rows).reshape(self.shape)


Layouts = Mapping[str, Layout]  # of a network's tensors, by name, in the order in the file


def step_sizes(codes: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return the steps that these codes stand for: (4 + code mod 4) / 4 * 2^(code div 4), exactly."""
    octave, part = np.divmod(codes, PER_OCTAVE)
    sizes: NDArray[np.float64] = np.ldexp(1.0 + part / PER_OCTAVE, octave)
    return sizes


def step_codes(sizes: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return the codes of the largest steps that are not above these sizes."""
    mantissa, exponent = np.frexp(np.maximum(sizes, np.finfo(np.float64).tiny))  # mantissa in [0.5, 1)
    codes = PER_OCTAVE * (exponent - 1) + np.floor((2 * mantissa - 1) * PER_OCTAVE).astype(np.int64)
    codes = np.clip(codes, *STEP_CODES)
    return np.asarray(codes, dtype=np.int32)


def choose_steps(
    rows: NDArray[np.float32], sensitivity: NDArray[np.float64], noise: float
) -> NDArray[np.int32]:
    """Return the step codes (rows) of a tensor at this noise.

    `sensitivity` (rows) is the mean square of the output's derivative by a weight of the row.
    """
    largest = np.abs(rows).max(axis=1).astype(np.float64)
    sizes = noise / np.sqrt(np.maximum(sensitivity, np.finfo(np.float64).tiny))
    # Not so small that numbers grow too large, nor larger than what makes zeros of all.
    return step_codes(np.clip(sizes, 2 * largest / LARGEST, 4 * largest))


def quantise(rows: NDArray[np.float32], steps: NDArray[np.int32]) -> Quantised:
    """Return the nearest whole numbers of steps, halves to even."""
    numbers = np.rint(rows / step_sizes(steps)[:, np.newaxis])
    return Quantised(np.clip(numbers, -LARGEST, LARGEST).astype(np.int32), steps)
