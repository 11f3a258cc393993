"""The bytes in a file, and the weights that they stand for. A coding is an entry in `CODINGS`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ..core.errors import FitError, InrFileError
from . import range_coding
from .quantise import Weights, from_rows, row_shape

Shapes = Mapping[str, tuple[int, ...]]  # as `SirenConfig.shapes`: the order is the order in the file

QUANTISED = "quantised"  # what is written


def encode_fp16(weights: Weights, shapes: Shapes) -> bytes:
    """Return weights as IEEE 754 binary16, little endian, tensor after tensor, the last index fastest.

    Files held these before weights were quantised. Raises FitError on weights that are not those of
    `shapes`, not finite, or too large.
    """
    if set(weights) != set(shapes):
        raise FitError(
            f"the network has the tensors {sorted(weights)}, its settings ask for {sorted(shapes)}"
        )
    largest = float(np.finfo(np.float16).max)
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            raise FitError(f"tensor {name} has shape {weights[name].shape}, its settings ask for {shape}")
        found = float(np.abs(weights[name]).max())
        if not found <= largest:  # also catches nan; not clamped: such a network has diverged
            raise FitError(
                f"the fit diverged: tensor {name} holds {found:g}, fp16 at most {largest:g}; lower the"
                " learning rate"
            )
    return b"".join(weights[name].astype("<f2").tobytes() for name in shapes)


def decode_weights(payload: bytes, shapes: Shapes, coding: str) -> dict[str, NDArray[np.float32]]:
    """Return the weights that `payload` holds, by the names and in the order of `shapes`.

    Raises InrFileError on an unknown coding, on a payload of the wrong length or that no network codes
    to, before what the shapes ask for is allocated, and on weights that are not finite.
    """
    if coding not in CODINGS:
        raise InrFileError(
            f"the weights are coded as {coding!r}, which this version does not know"
            f" (it knows {', '.join(CODINGS)}); update napari-inr-volume"
        )
    weights = CODINGS[coding](payload, shapes)
    for name, values in weights.items():
        if not np.isfinite(values).all():
            raise InrFileError(f"the weights are damaged: tensor {name} holds NaN or infinity")
    return weights


def _decode_fp16(payload: bytes, shapes: Shapes) -> dict[str, NDArray[np.float32]]:
    expected = 2 * sum(math.prod(shape) for shape in shapes.values())
    if len(payload) != expected:
        raise InrFileError(f"the weights take {len(payload)} bytes, this network needs {expected} as fp16")
    weights: dict[str, NDArray[np.float32]] = {}
    start = 0
    for name, shape in shapes.items():
        count = math.prod(shape)
        values = np.frombuffer(payload, "<f2", count=count, offset=start)
        weights[name] = values.astype(np.float32).reshape(shape)
        start += 2 * count
    return weights


def _decode_quantised(payload: bytes, shapes: Shapes) -> dict[str, NDArray[np.float32]]:
    rows = [row_shape(name, shape) for name, shape in shapes.items()]
    tensors = range_coding.decode(payload, rows)
    # Each tensor goes as its weights are made: a large network is not held twice.
    return {name: from_rows(name, tensors.pop(0).values, shape) for name, shape in shapes.items()}


CODINGS: dict[str, Callable[[bytes, Shapes], dict[str, NDArray[np.float32]]]] = {
    QUANTISED: _decode_quantised,
    "fp16": _decode_fp16,
}
