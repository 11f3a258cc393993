"""Quantised tensors as bytes: range coding (constriction) with counts that follow what was coded.

Each row is coded as its step, its bound (all its numbers lie within +- it) and its numbers. The counts by
which a row's numbers are coded are those of the rows before it with the same bound, so no table is stored.
All counts are whole numbers and nothing depends on how a machine rounds: docs/format.md, "quantised".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from constriction import stream
from numpy.typing import NDArray

from ..core.errors import InrFileError
from .quantise import LARGEST, STEP_CODES, Quantised

# A row's numbers lie within one of these, about half an octave apart.
BOUNDS = (0, 1, 2, 3, *(n << octave for octave in range(13) for n in (4, 6)), LARGEST)
CHUNK = 4_096  # numbers coded by the same counts at most
WORD = 4  # bytes
WEIGHTS_A_BYTE = 64  # at most: so a short payload cannot ask for a large network


class _Counts:
    """How often each of `size` symbols is expected; a triangle around the middle at first."""

    def __init__(self, size: int, *, flat: bool = False) -> None:
        half = size // 2
        self.counts = np.ones(size) if flat else half + 1.0 - np.abs(np.arange(size) - half)
        self.more = 1 + half // 8  # so that some dozens of symbols weigh as much as the triangle

    @property
    def model(self) -> stream.model.Categorical:
        """As the coder takes it."""
        return stream.model.Categorical(self.counts, perfect=False)

    def add(self, symbols: NDArray[np.int32]) -> None:
        """Count symbols twice, and once for each neighbour, so that what is near comes to be expected."""
        found = self.more * np.bincount(symbols, minlength=len(self.counts)).astype(np.float64)
        self.counts += 2 * found
        self.counts[1:] += found[:-1]
        self.counts[:-1] += found[1:]


class _Models:
    """The counts of steps, of bounds, and of numbers within each bound."""

    def __init__(self) -> None:
        self.steps = _Counts(STEP_CODES[1] - STEP_CODES[0] + 1, flat=True)
        self.bounds = _Counts(len(BOUNDS), flat=True)
        self.numbers: dict[int, _Counts] = {}

    def within(self, bound: int) -> _Counts:
        """Return the counts of numbers within +- a bound."""
        return self.numbers.setdefault(bound, _Counts(2 * bound + 1))


def encode(tensors: Sequence[Quantised]) -> bytes:
    """Return the tensors as bytes: the same tensors give the same bytes."""
    encoder, models = stream.queue.RangeEncoder(), _Models()

    def put(symbols: NDArray[np.int32], counts: _Counts) -> None:
        encoder.encode(symbols, counts.model)
        counts.add(symbols)

    for tensor in tensors:
        for numbers, step in zip(tensor.numbers, tensor.steps, strict=True):
            index = int(np.searchsorted(BOUNDS, np.abs(numbers).max()))
            put(np.array([step - STEP_CODES[0]], np.int32), models.steps)
            put(np.array([index], np.int32), models.bounds)
            for start in range(0, len(numbers) if BOUNDS[index] else 0, CHUNK):
                put(numbers[start : start + CHUNK] + BOUNDS[index], models.within(BOUNDS[index]))
    payload: bytes = encoder.get_compressed().astype("<u4").tobytes()
    return payload.ljust(_least_bytes([tensor.numbers.shape for tensor in tensors]), b"\0")


def _least_bytes(shapes: Sequence[tuple[int, ...]]) -> int:
    """Return how long a payload is at least, in whole words."""
    weights = sum(rows * columns for rows, columns in shapes)
    return -(-weights // (WEIGHTS_A_BYTE * WORD)) * WORD


def decode(payload: bytes, shapes: Sequence[tuple[int, int]]) -> list[Quantised]:
    """Return tensors of these (rows, columns). Raises InrFileError on bytes that `encode` did not make."""
    if len(payload) % WORD or len(payload) < _least_bytes(shapes):
        raise InrFileError(
            f"the coded weights take {len(payload)} bytes; this network needs a multiple of {WORD}, and at"
            f" least {_least_bytes(shapes)}"
        )
    words = np.frombuffer(payload, "<u4").astype(np.uint32)
    decoder, models = stream.queue.RangeDecoder(words), _Models()

    def take(count: int, counts: _Counts) -> NDArray[np.int32]:
        symbols: NDArray[np.int32] = decoder.decode(counts.model, count)
        counts.add(symbols)
        return symbols

    tensors = []
    try:
        for rows, columns in shapes:
            tensor = Quantised(np.zeros((rows, columns), np.int32), np.zeros(rows, np.int32))
            for row in range(rows):
                tensor.steps[row] = take(1, models.steps)[0] + STEP_CODES[0]
                bound = BOUNDS[take(1, models.bounds)[0]]
                for start in range(0, columns if bound else 0, CHUNK):
                    part = tensor.numbers[row, start : start + CHUNK]
                    part[:] = take(len(part), models.within(bound)) - bound
            tensors.append(tensor)
    except (AssertionError, ValueError) as error:  # of constriction, on bytes that no encoder makes
        raise InrFileError("the coded weights are damaged: they do not decode") from error
    if encode(tensors) != payload:
        raise InrFileError("the coded weights are damaged: they are not what their decoded form codes to")
    return tensors
