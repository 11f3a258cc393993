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

# Decoding costs, in counts looked at, all counts of a piece's bound and COUNTS_A_NUMBER for each number.
# Networks of up to 64 features come within LEAST_WORK whatever they hold; wider ones have bytes for what they
# need, unless nearly all rows have a large bound and hardly a number other than zero, which no fit makes.
COUNTS_A_NUMBER = 32
LEAST_WORK = 2**26
WORK_A_BYTE = 512


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
        """Count symbols twice, and once for each neighbour, so that nearby symbols become more likely."""
        low = int(symbols.min())  # of 65,537 counts most are far from any of the symbols
        found = self.more * np.bincount(symbols - low)
        end = low + len(found)
        self.counts[low:end] += 2 * found
        self.counts[low + 1 : end + 1] += found[: len(self.counts) - low - 1]
        self.counts[max(low - 1, 0) : end - 1] += found[low == 0 :]


class _Models:
    """The counts of steps, of bounds, and of numbers within each bound."""

    def __init__(self) -> None:
        self.steps = _Counts(STEP_CODES[1] - STEP_CODES[0] + 1, flat=True)
        self.bounds = _Counts(len(BOUNDS), flat=True)
        self.numbers: dict[int, _Counts] = {}

    def within(self, bound: int) -> _Counts:
        """Return the counts of numbers within +- a bound."""
        if bound not in self.numbers:  # setdefault would make counts for each row
            self.numbers[bound] = _Counts(2 * bound + 1)
        return self.numbers[bound]


def encode(tensors: Sequence[Quantised]) -> bytes:
    """Return the tensors as bytes: the same tensors give the same bytes."""
    encoder, models = stream.queue.RangeEncoder(), _Models()

    def put(symbols: NDArray[np.int32], counts: _Counts) -> None:
        encoder.encode(symbols, counts.model)
        counts.add(symbols)

    for tensor in tensors:
        for numbers, step in zip(tensor.numbers, tensor.steps, strict=True):
            index = _bound_index(numbers)
            put(np.array([step - STEP_CODES[0]], np.int32), models.steps)
            put(np.array([index], np.int32), models.bounds)
            for start in range(0, len(numbers) if BOUNDS[index] else 0, CHUNK):
                put(numbers[start : start + CHUNK] + BOUNDS[index], models.within(BOUNDS[index]))
    return _as_bytes(encoder, [tensor.numbers.shape for tensor in tensors])


def decode(payload: bytes, shapes: Sequence[tuple[int, int]]) -> list[Quantised]:
    """Return tensors of these (rows, columns). Raises InrFileError on bytes that `encode` did not make."""
    if len(payload) % WORD or len(payload) < _least_bytes(shapes):
        raise InrFileError(
            f"the coded weights take {len(payload)} bytes; this network needs a multiple of {WORD}, and at"
            f" least {_least_bytes(shapes)}"
        )
    words = np.frombuffer(payload, "<u4").astype(np.uint32)
    decoder, encoder, models = stream.queue.RangeDecoder(words), stream.queue.RangeEncoder(), _Models()
    work = LEAST_WORK + WORK_A_BYTE * len(payload)

    def take(count: int, counts: _Counts) -> NDArray[np.int32]:
        model = counts.model
        symbols: NDArray[np.int32] = decoder.decode(model, count)
        encoder.encode(symbols, model)  # here, as a second model would take as long as all else
        counts.add(symbols)
        return symbols

    tensors = []
    try:
        for rows, columns in shapes:
            tensor = Quantised(np.zeros((rows, columns), np.int32), np.zeros(rows, np.int32))
            for numbers, step in zip(tensor.numbers, tensor.steps[:, np.newaxis], strict=True):
                step[:] = take(1, models.steps) + STEP_CODES[0]
                index = int(take(1, models.bounds)[0])
                for start in range(0, columns if index else 0, CHUNK):
                    part = numbers[start : start + CHUNK]
                    work -= 2 * BOUNDS[index] + COUNTS_A_NUMBER * len(part)
                    if work < 0:
                        raise InrFileError(
                            f"the coded weights take {len(payload)} bytes, too few for what they would"
                            " decode to; the file is damaged, or was made to take very long to decode"
                        )
                    part[:] = take(len(part), models.within(BOUNDS[index])) - BOUNDS[index]
                if index != _bound_index(numbers):
                    raise InrFileError(
                        "the coded weights are damaged: the bound of a row is not the smallest that fits"
                    )
            tensors.append(tensor)
    except (AssertionError, ValueError) as error:  # of constriction, on bytes that no encoder makes
        raise InrFileError("the coded weights are damaged: they do not decode") from error
    if _as_bytes(encoder, shapes) != payload:
        raise InrFileError("the coded weights are damaged: once decoded, they do not code to the same bytes")
    return tensors


def _bound_index(numbers: NDArray[np.int32]) -> int:
    """Return the index of the least bound that none of a row's numbers passes."""
    return int(np.searchsorted(BOUNDS, np.abs(numbers).max()))


def _as_bytes(encoder: stream.queue.RangeEncoder, shapes: Sequence[tuple[int, ...]]) -> bytes:
    """Return what was coded, as long as a payload of these shapes is at least."""
    payload: bytes = encoder.get_compressed().astype("<u4").tobytes()
    return payload.ljust(_least_bytes(shapes), b"\0")


def _least_bytes(shapes: Sequence[tuple[int, ...]]) -> int:
    """Return how long a payload is at least, in whole words."""
    weights = sum(rows * columns for rows, columns in shapes)
    return -(-weights // (WEIGHTS_A_BYTE * WORD)) * WORD
