"""A context network in whole numbers: what it holds, how a float network is rounded to it, its bytes."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InrFileError
from .contexts import FIRST, LATER, Contexts
from .tables import CENTRE_BITS, FEATURE, MIXED, OCTAVE, PARTS, WEIGHT_STEPS

LINEAR_BITS = 12  # fractions of the linear prediction's weights
LARGEST_LINEAR = 2**15 - 1
LARGEST_SUM = 2**24  # up to which float32 holds every whole number
LARGEST_WEIGHT = 127  # as rounded here; a reader takes 16 bits
LARGEST_SHIFT = 24
FEATURES = (16, 32, 48, 64)  # of both hidden layers, as a file can have them
OUTPUTS = 3 * MIXED
# What an output is worth a unit of the float network: fractions of a scale, steps of its log, of a weight's.
UNITS = np.repeat([2.0**CENTRE_BITS, OCTAVE / np.log(2), WEIGHT_STEPS], MIXED)


class Net(NamedTuple):
    """A network for a slab: where it looks in a slab's memory, and its whole numbers."""

    values: Any  # int64 (n), offsets
    residuals: Any  # int64 (r)
    linear: Any  # float64 (n), whole numbers of 2^-12
    weights1: Any  # float32 (features, inputs), both filled up to a multiple of four
    bias1: Any  # float32 (features)
    scale1: Any  # float32 (features), powers of two
    weights2: Any
    bias2: Any
    scale2: Any
    weights3: Any
    bias3: Any
    scale3: Any


@dataclass(frozen=True, eq=False)
class Layer:
    """Rows of whole numbers: floor((weights @ inputs + bias) / 2^shift)."""

    weights: NDArray[np.int16]  # (outputs, inputs)
    bias: NDArray[np.int32]  # (outputs)
    shift: NDArray[np.uint8]  # (outputs)

    @classmethod
    def rounded(cls, weights: NDArray[Any], bias: NDArray[Any], units: Any = float(PARTS)) -> Layer:
        """Round a float layer, whose outputs count in `units`; its inputs count in `PARTS`."""
        scaled = weights * (np.broadcast_to(units, len(weights))[:, None] / PARTS)
        bias = bias * units
        largest = np.maximum(np.abs(scaled).max(axis=1), 1e-9)
        spread = np.maximum(np.abs(scaled).sum(axis=1) * (FEATURE + 1) + np.abs(bias) + 2, 1e-9)
        room = np.minimum(LARGEST_WEIGHT / largest, (LARGEST_SUM / 2) / spread)
        shift = np.clip(np.floor(np.log2(room)), 0, LARGEST_SHIFT)
        steps = 2.0**shift
        whole = np.clip(np.rint(scaled * steps[:, None]), -(2**15 - 1), 2**15 - 1)
        return cls(
            whole.astype(np.int16),
            np.rint(bias * steps + steps / 2).astype(np.int32),
            shift.astype(np.uint8),
        )

    def check(self) -> None:
        """Raise InrFileError if a sum could pass what float32 holds exactly."""
        weights, bias = self.weights.astype(np.int64), self.bias.astype(np.int64)
        sums = np.abs(weights).sum(axis=1) * (FEATURE + 1) + np.abs(bias)
        if sums.max() >= LARGEST_SUM or self.shift.max() > LARGEST_SHIFT:
            raise InrFileError("the exact layer's network is not one of whole numbers; the file is damaged")

    def for_kernels(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return weights, bias, and what sums are scaled by, with rows and inputs that come in fours."""
        rows, inputs = (-length % 4 for length in self.weights.shape)
        weights = np.pad(self.weights.astype(np.float32), ((0, rows), (0, inputs)))
        scale = (2.0 ** -self.shift.astype(np.float64)).astype(np.float32)
        return weights, np.pad(self.bias.astype(np.float32), (0, rows)), np.pad(scale, (0, rows))


@dataclass(frozen=True, eq=False)
class Network:
    """What predicts a level's distribution from its contexts."""

    contexts: Contexts
    linear: NDArray[np.int16]  # (values), 2^-12; they add up to 2^12
    layers: tuple[Layer, Layer, Layer]

    def net(self, plane: int, row: int, before: int = 2) -> Net:
        """Return it for the kernels, in memory with so many numbers a plane and a row.

        If fewer slices lie `before` than the contexts reach, the first takes the place of the others.
        """
        strides = np.array([plane, row, 1], np.int64)
        values = np.array(self.contexts.values, np.int64)
        values[:, 0] = np.maximum(values[:, 0], -before)
        return Net(
            values @ strides,
            np.array(self.contexts.residuals, np.int64) @ strides,
            self.linear.astype(np.float64),
            *(each for layer in self.layers for each in layer.for_kernels()),
        )


def linear_rounded(weights: NDArray[np.float64]) -> NDArray[np.int16]:
    """Round weights that add up to 1 so that they still do."""
    whole = np.clip(np.rint(weights * 2**LINEAR_BITS), -LARGEST_LINEAR, LARGEST_LINEAR).astype(np.int64)
    whole[np.argmax(whole)] += 2**LINEAR_BITS - whole.sum()
    rounded: NDArray[np.int16] = whole.astype(np.int16)
    return rounded


def to_bytes(networks: Sequence[Network]) -> bytes:
    """Return the whole numbers of the networks for a slab's first slice and for the later ones."""
    whole = []
    for network in networks:
        whole.append(network.linear.astype("<i2").tobytes())
        for layer in network.layers:
            whole += [layer.shift.tobytes(), layer.bias.astype("<i4").tobytes()]
            whole.append(_planes(layer.weights))
    return zlib.compress(b"".join(whole), 9)


def sizes(features: int) -> int:
    """Return the bytes of both networks before they are compressed."""
    return sum(
        2 * len(contexts.values)
        + sum(rows * (5 + 2 * columns) for rows, columns in _shapes(contexts, features))
        for contexts in (FIRST, LATER)
    )


def from_bytes(data: bytes, features: int) -> tuple[Network, Network]:
    """Return both networks. Raises InrFileError for what was not written by `to_bytes`."""
    size = sizes(features)
    try:
        unpacker = zlib.decompressobj()
        whole = unpacker.decompress(data, size + 1)
    except zlib.error as error:
        raise InrFileError("the exact layer's network cannot be unpacked; the file is damaged") from error
    if len(whole) != size or not unpacker.eof or unpacker.unused_data:
        raise InrFileError("the exact layer's network has another size than it declares; the file is damaged")
    at = 0

    def take(dtype: str, count: int) -> NDArray[Any]:
        nonlocal at
        numbers = np.frombuffer(whole, dtype, count, at)
        at += numbers.nbytes
        return numbers

    networks = []
    for contexts in (FIRST, LATER):
        linear = take("<i2", len(contexts.values))
        layers = []
        for rows, columns in _shapes(contexts, features):
            shift, bias = take("u1", rows), take("<i4", rows)
            low, high = take("u1", rows * columns), take("i1", rows * columns)
            weights = (low.astype(np.int16) + (high.astype(np.int16) << 8)).reshape(rows, columns)
            layers.append(Layer(weights, bias, shift))
            layers[-1].check()
        networks.append(Network(contexts, linear, (layers[0], layers[1], layers[2])))
    return networks[0], networks[1]


def _shapes(contexts: Contexts, features: int) -> list[tuple[int, int]]:
    return [(features, contexts.inputs), (features, features), (OUTPUTS, features)]


def _planes(weights: NDArray[np.int16]) -> bytes:
    """Return all low bytes, then all high ones."""
    low = (weights & 0xFF).astype("u1")
    high = (weights >> 8).astype("i1")
    return low.tobytes() + high.tobytes()
