"""The bytes in a file, and the weights that they stand for. A coding is an entry in `CODINGS`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..core.errors import FitError, InrFileError
from . import range_coding
from .quantise import Layouts, Weights

QUANTISED = "quantised"  # what is written


def encode_fp16(weights: Weights, layouts: Layouts) -> bytes:
    """Return weights as IEEE 754 binary16, little endian, tensor after tensor, the last index fastest.

    Files held these before weights were quantised. Raises FitError on weights that are not those of
    `layouts`, not finite, or too large.
    """
    if set(weights) != set(layouts):
        raise FitError(
            f"the network has the tensors {sorted(weights)}, its settings ask for {sorted(layouts)}"
        )
    largest = float(np.finfo(np.float16).max)
    for name, layout in layouts.items():
        if weights[name].shape != layout.shape:
            raise FitError(
                f"tensor {name} has shape {weights[name].shape}, its settings ask for {layout.shape}"
            )
        found = float(np.abs(weights[name]).max())
        if not found <= largest:  # also catches nan; not clamped: such a network has diverged
            raise FitError(
                f"the fit diverged: tensor {name} holds {found:g}, fp16 at most {largest:g}; lower the"
                " learning rate"
            )
    return b"".join(weights[name].astype("<f2").tobytes() for name in layouts)


def decode_weights(payload: bytes, layouts: Layouts, coding: str) -> dict[str, NDArray[np.float32]]:
    """Return the weights that `payload` holds, by the names and in the order of `layouts`.

    Raises InrFileError on an unknown coding, on a payload of the wrong length or that no network codes
    to, before what the layouts ask for is allocated, and on weights that are not finite.
    """
    if coding not in CODINGS:
        raise InrFileError(
            f"the weights are coded as {coding!r}, which this version does not know"
            f" (it knows {', '.join(CODINGS)}); update napari-inr-volume"
        )
    weights = CODINGS[coding](payload, layouts)
    for name, values in weights.items():
        if not np.isfinite(values).all():
            raise InrFileError(f"the weights are damaged: tensor {name} holds NaN or infinity")
    return weights


def _decode_fp16(payload: bytes, layouts: Layouts) -> dict[str, NDArray[np.float32]]:
    expected = 2 * sum(layout.size for layout in layouts.values())
    if len(payload) != expected:
        raise InrFileError(f"the weights take {len(payload)} bytes, this network needs {expected} as fp16")
    weights: dict[str, NDArray[np.float32]] = {}
    start = 0
    for name, layout in layouts.items():
        values = np.frombuffer(payload, "<f2", count=layout.size, offset=start)
        weights[name] = values.astype(np.float32).reshape(layout.shape)
        start += 2 * layout.size
    return weights


def _decode_quantised(payload: bytes, layouts: Layouts) -> dict[str, NDArray[np.float32]]:
    tensors = range_coding.decode(payload, [layout.row_shape for layout in layouts.values()])
    # Each tensor goes as its weights are made: a large network is not held twice.
    return {name: layout.tensor(tensors.pop(0).values) for name, layout in layouts.items()}


CODINGS: dict[str, Callable[[bytes, Layouts], dict[str, NDArray[np.float32]]]] = {
    QUANTISED: _decode_quantised,
    "fp16": _decode_fp16,
}
