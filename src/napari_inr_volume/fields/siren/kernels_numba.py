"""The step's element-wise work on a CPU: sine and cosine together, in one pass over a chunk (Numba).

Arguments of sines come in turns, so that reducing them takes one floor: sin(2 pi t) with t brought
to [-0.5, 0.5) and a minimax polynomial in its square, which the compiler turns into vector
instructions. bfloat16 numbers are the upper halves of float32 ones, and travel as uint16.

The error of sine and cosine is below 3e-7 beside what float32 makes of t itself. What is stored in
bfloat16 is rounded by up to 2e-3, so shorter polynomials do, with errors of 2.6e-4 and 4.1e-5. Every
function says what it does in `kernels_torch`, whose namesakes compute the same.
"""

# ruff: noqa: D103 - what each function does stands in kernels_torch

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from ...compute.jit import kernel

RADIANS = 2 * math.pi

Floats = NDArray[np.float32]
Stored = NDArray[Any]  # float32, or bfloat16 as uint16

_RADIANS = np.float32(RADIANS)
_HALF = np.float32(0.5)
# Minimax on t^2 in [0, 0.25]: sin(2 pi t) / t within 5e-9, cos(2 pi t) within 1.1e-8.
_S0, _S1, _S2, _S3, _S4, _S5, _S6 = (
    np.float32(value)
    for value in (
        6.2831853026,
        -41.341700417,
        81.605131955,
        -76.703025077,
        42.026002011,
        -14.900113476,
        3.2384933,
    )
)
_C0, _C1, _C2, _C3, _C4, _C5, _C6 = (
    np.float32(value)
    for value in (
        0.99999998917,
        -19.739204532,
        64.939118977,
        -85.450165431,
        60.167831108,
        -25.96831,
        6.529606,
    )
)
# The same for what is stored in bfloat16: sin(2 pi t) within 2.6e-4, cos(2 pi t) within 4.1e-5.
_BS0, _BS1, _BS2, _BS3 = (
    np.float32(value) for value in (6.27863537, -41.09372805, 77.93032888, -56.08634802)
)
_BC0, _BC1, _BC2, _BC3, _BC4 = (
    np.float32(value) for value in (0.99995979, -19.73104158, 64.67342886, -82.40353575, 45.64652727)
)
# Not "reassoc": it would let the compiler undo the reduction. Not "nnan", "ninf": divergence must show.
_FAST = {"contract", "nsz", "arcp"}


@intrinsic  # type: ignore[untyped-decorator]
def _widen(typing: Any, stored: Any) -> Any:
    """Return a stored number as float32."""
    if stored == types.float32:
        return types.float32(stored), lambda context, builder, signature, arguments: arguments[0]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.zext(arguments[0], ir.IntType(32))
        return builder.bitcast(builder.shl(bits, ir.Constant(ir.IntType(32), 16)), ir.FloatType())

    return types.float32(stored), generate


@intrinsic  # type: ignore[untyped-decorator]
def _narrow(typing: Any, number: Any, like: Any) -> Any:
    """Return float32 as it is stored where `like` came from; ties in bfloat16 round away from 0."""
    if like == types.float32:
        return types.float32(number, like), lambda context, builder, signature, arguments: arguments[0]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        bits = builder.add(builder.bitcast(arguments[0], word), ir.Constant(word, 0x8000))
        return builder.trunc(builder.lshr(bits, ir.Constant(word, 16)), ir.IntType(16))

    return types.uint16(number, like), generate


@njit(inline="always")  # type: ignore[untyped-decorator]
def _reduced(t: Any) -> Any:
    return t - np.floor(t + _HALF)


@njit(inline="always")  # type: ignore[untyped-decorator]
def _sine(t: Any) -> Any:
    r = _reduced(t)
    u = r * r
    return r * (_S0 + u * (_S1 + u * (_S2 + u * (_S3 + u * (_S4 + u * (_S5 + u * _S6))))))


@njit(inline="always")  # type: ignore[untyped-decorator]
def _cosine(t: Any) -> Any:
    r = _reduced(t)
    u = r * r
    return _C0 + u * (_C1 + u * (_C2 + u * (_C3 + u * (_C4 + u * (_C5 + u * _C6)))))


@njit(inline="always")  # type: ignore[untyped-decorator]
def _short_sine(t: Any) -> Any:
    r = _reduced(t)
    u = r * r
    return r * (_BS0 + u * (_BS1 + u * (_BS2 + u * _BS3)))


@njit(inline="always")  # type: ignore[untyped-decorator]
def _short_cosine(t: Any) -> Any:
    r = _reduced(t)
    u = r * r
    return _BC0 + u * (_BC1 + u * (_BC2 + u * (_BC3 + u * _BC4)))


def _sine_for(t: Any, like: Any) -> Any:
    """Return the sine, as exactly as what is stored where `like` came from can hold."""
    raise NotImplementedError  # compiled code only


def _cosine_for(t: Any, like: Any) -> Any:
    """Return the cosine, as exactly as what is stored where `like` came from can hold."""
    raise NotImplementedError


@overload(_sine_for, inline="always")  # type: ignore[untyped-decorator]
def _choose_sine(t: Any, like: Any) -> Any:
    sine = _sine if like == types.float32 else _short_sine

    def chosen(t: Any, like: Any) -> Any:  # names and annotations as above, or Numba refuses
        return sine(t)

    return chosen


@overload(_cosine_for, inline="always")  # type: ignore[untyped-decorator]
def _choose_cosine(t: Any, like: Any) -> Any:
    cosine = _cosine if like == types.float32 else _short_cosine

    def chosen(t: Any, like: Any) -> Any:
        return cosine(t)

    return chosen


def view(tensor: torch.Tensor) -> Stored:
    """Return the tensor's memory as an array."""
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


_kernel = kernel(_FAST)


@_kernel
def find(table: Floats, points: Floats, found: NDArray[np.int64], chance: Floats) -> None:
    length = table.shape[1]
    for n in range(points.shape[0]):
        row = table[found[n]]
        low, high = 0, length - 1  # the last share is above every point
        while low < high:
            middle = (low + high) // 2
            if row[middle] <= points[n]:
                low = middle + 1
            else:
                high = middle
        chance[n] *= row[low] - row[low - 1] if low else row[0]
        found[n] = found[n] * length + low


@_kernel
def gather(
    index: NDArray[np.int64],
    z: Floats,
    y: Floats,
    x: Floats,
    volume: Floats,
    coordinates: Floats,
    voxels: Floats,
) -> None:
    rows, columns = y.shape[0], x.shape[0]
    for n in range(index.shape[0]):
        row = index[n] // columns
        place = row // rows, row % rows, index[n] % columns
        coordinates[n, 0] = z[place[0]]
        coordinates[n, 1] = y[place[1]]
        coordinates[n, 2] = x[place[2]]
        voxels[n] = volume[place]


@_kernel
def shift(index: NDArray[np.int64], plane: int, shifts: Floats, coordinates: Floats) -> None:
    for n in range(index.shape[0]):
        coordinates[n] += shifts[index[n] // plane]


@_kernel
def first(coordinates: Floats, weight: Floats, bias: Floats, features: Stored, cosines: Stored) -> None:
    for n in range(features.shape[0]):
        z, y, x = coordinates[n, 0], coordinates[n, 1], coordinates[n, 2]
        for j in range(features.shape[1]):
            t = weight[0, j] * z + weight[1, j] * y + weight[2, j] * x + bias[j]
            features[n, j] = _narrow(_sine_for(t, features[n, j]), features[n, j])
            cosines[n, j] = _narrow(_cosine_for(t, cosines[n, j]), cosines[n, j])


@_kernel
def first_on_grid(z: Floats, y: Floats, x: Floats, features: Floats) -> None:
    for row in range(y.shape[0]):
        for column in range(x.shape[0]):
            n = row * x.shape[0] + column
            for j in range(features.shape[1]):
                features[n, j] = _sine(z[j] + y[row, j] + x[column, j])


@_kernel
def hidden(product: Stored, bias: Floats, cosines: Stored) -> None:
    for n in range(product.shape[0]):
        for j in range(product.shape[1]):
            t = _widen(product[n, j]) + bias[j]
            product[n, j] = _narrow(_sine_for(t, product[n, j]), product[n, j])
            cosines[n, j] = _narrow(_cosine_for(t, cosines[n, j]), cosines[n, j])


@_kernel
def sine(product: Floats, bias: Floats) -> None:
    for n in range(product.shape[0]):
        for j in range(product.shape[1]):
            product[n, j] = _sine(product[n, j] + bias[j])


@njit(nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _dot(features: Floats, weight: Floats) -> np.float32:
    total = np.float32(0)
    for j in range(weight.shape[0]):
        total += features[j] * weight[j]
    return total


@_kernel
def output(
    product: Stored,
    bias: Floats,
    weight: Floats,
    offset: Floats,
    intensity: Floats,
    sample_weight: Floats,
    scale: float,
    bias_gradient: Floats,
    weight_gradient: Floats,
    offset_gradient: Floats,
    loss: Floats,
) -> None:
    squares, errors = 0.0, 0.0
    width = product.shape[1]
    sines, slopes = np.empty(width, np.float32), np.empty(width, np.float32)
    for n in range(product.shape[0]):
        for j in range(width):
            t = _widen(product[n, j]) + bias[j]
            sines[j] = _sine_for(t, product[n, j])
            slopes[j] = _cosine_for(t, product[n, j]) * weight[j] * _RADIANS
        error = _dot(sines, weight) + offset[0] - intensity[n]
        squares += sample_weight[n] * error * error
        error *= np.float32(scale) * sample_weight[n]
        errors += error
        for j in range(width):
            weight_gradient[j] += error * sines[j]
            delta = error * slopes[j]
            bias_gradient[j] += delta
            product[n, j] = _narrow(delta, product[n, j])
    loss[0] += squares
    offset_gradient[0] += errors


@_kernel
def hidden_back(back: Stored, cosines: Stored, bias_gradient: Floats) -> None:
    for n in range(back.shape[0]):
        for j in range(back.shape[1]):
            delta = _widen(back[n, j]) * _widen(cosines[n, j]) * _RADIANS
            bias_gradient[j] += delta
            cosines[n, j] = _narrow(delta, cosines[n, j])


@_kernel
def first_back(
    back: Stored, cosines: Stored, coordinates: Floats, weight_gradient: Floats, bias_gradient: Floats
) -> None:
    for n in range(back.shape[0]):
        z, y, x = coordinates[n, 0], coordinates[n, 1], coordinates[n, 2]
        for j in range(back.shape[1]):
            delta = _widen(back[n, j]) * _widen(cosines[n, j]) * _RADIANS
            weight_gradient[0, j] += delta * z
            weight_gradient[1, j] += delta * y
            weight_gradient[2, j] += delta * x
            bias_gradient[j] += delta


@_kernel
def shift_back(
    back: Stored, cosines: Stored, weight: Floats, index: NDArray[np.int64], plane: int, gradient: Floats
) -> None:
    delta = np.empty(back.shape[1], np.float32)
    for n in range(back.shape[0]):
        for j in range(back.shape[1]):
            delta[j] = _widen(back[n, j]) * _widen(cosines[n, j]) * _RADIANS
        for axis in range(3):
            gradient[index[n] // plane, axis] += _dot(delta, weight[axis])
