"""How a network's weights become the bytes in a file, and back. A coding is an entry in `CODINGS`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.errors import FitError, InrFileError

Weights = Mapping[str, NDArray[np.float32]]
Shapes = Mapping[str, tuple[int, ...]]  # as `SirenConfig.shapes`: the order is the order in the file


@dataclass(frozen=True)
class Coding:
    """The two ways of a coding. What both must hold is checked by those who call them.

    `decode` raises InrFileError on a payload that cannot be right, before it allocates what the
    shapes ask for.
    """

    encode: Callable[[Weights, Shapes], bytes]
    decode: Callable[[bytes, Shapes], dict[str, NDArray[np.float32]]]


def encode_weights(weights: Weights, shapes: Shapes, coding: str = "fp16") -> bytes:
    """Return the weights as bytes.

    Raises FitError on weights that are not those of `shapes`, not finite, or too large for the coding.
    """
    if set(weights) != set(shapes):
        raise FitError(
            f"the network has the tensors {sorted(weights)}, its settings ask for {sorted(shapes)}"
        )
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            raise FitError(f"tensor {name} has shape {weights[name].shape}, its settings ask for {shape}")
        if not np.isfinite(weights[name]).all():
            raise FitError(f"the fit diverged: tensor {name} holds NaN or infinity; lower the learning rate")
    return _find(coding).encode(weights, shapes)


def decode_weights(payload: bytes, shapes: Shapes, coding: str) -> dict[str, NDArray[np.float32]]:
    """Return the weights that `payload` holds, by the names and in the order of `shapes`.

    Raises InrFileError on an unknown coding, on a payload of the wrong length, and on weights that
    are not finite.
    """
    weights = _find(coding).decode(payload, shapes)
    for name, values in weights.items():
        if not np.isfinite(values).all():
            raise InrFileError(f"the weights are damaged: tensor {name} holds NaN or infinity")
    return weights


def _find(name: str) -> Coding:
    if name not in CODINGS:
        raise InrFileError(
            f"the weights are coded as {name!r}, which this version does not know"
            f" (it knows {', '.join(CODINGS)}); update napari-inr-volume"
        )
    return CODINGS[name]


def _encode_fp16(weights: Weights, shapes: Shapes) -> bytes:
    """IEEE 754 binary16, little endian, tensor after tensor, the last index fastest."""
    largest = float(np.finfo(np.float16).max)
    for name in shapes:
        found = float(np.abs(weights[name]).max())
        if found > largest:  # not clamped: such a network has diverged, and would decode to something else
            raise FitError(
                f"tensor {name} holds {found:g}, more than fp16's {largest:g}; fit with a lower rate"
            )
    return b"".join(weights[name].astype("<f2").tobytes() for name in shapes)


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


CODINGS: dict[str, Coding] = {"fp16": Coding(_encode_fp16, _decode_fp16)}
