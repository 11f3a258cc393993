"""The inner loops of the exact layer: contexts, network, and the order of voxels, in whole numbers only.

The network's sums are of float32, which holds every whole number up to 2^24: `Layer.check` makes sure that
none goes beyond; those before it are of float64, and below 2^53. So they come out the same in any order, on
any machine. What is coded, and in which order, is decided by one function for both ways, so they cannot
disagree.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .contexts import BORDER, LAG
from .counts import CODED, STATE, TOTAL, advance, below, code_same, exact, find, mix
from .network import Net
from .tables import FEATURE, LEAST_SCALE, MIXED, PARTS

TILE = 192  # voxels of a wave that pass through the network together
EXPONENT = (1023 + 4) << 4  # the leading bits of 16.0, as those of a float64 begin


class Work(NamedTuple):
    """Memory for one tile."""

    place: Any  # int64 (TILE), in a slab's memory
    values: Any  # int32 (values, TILE), the context
    residuals: Any  # int32 (residuals, TILE)
    predicted: Any  # float64 (TILE), whole parts of a level
    total: Any  # float64 (TILE), of the residuals' magnitudes
    bits: Any  # int64 (TILE), the same memory
    scale: Any  # int64 (TILE), index into the tables
    inverse: Any  # float64 (TILE), of the scale
    inputs: Any  # float32 (inputs, TILE)
    first: Any  # float32 (features, TILE)
    second: Any
    output: Any  # float32 (3 MIXED and more, TILE)
    mixture: Any  # int64 (3 MIXED): centres, steepness, weights of one voxel


def work(net: Net) -> Work:
    """Return memory for tiles of a network."""
    total = np.zeros(TILE)
    inputs, first, second, output = (
        np.zeros((n, TILE), np.float32)
        for n in (net.weights1.shape[1], len(net.weights1), len(net.weights2), len(net.weights3))
    )
    return Work(
        place=np.zeros(TILE, np.int64),
        values=np.zeros((len(net.values), TILE), np.int32),
        residuals=np.zeros((len(net.residuals), TILE), np.int32),
        predicted=np.zeros(TILE),
        total=total,
        bits=total.view(np.int64),
        scale=np.zeros(TILE, np.int64),
        inverse=np.zeros(TILE),
        inputs=inputs,
        first=first,
        second=second,
        output=output,
        mixture=np.zeros(3 * MIXED, np.int64),
    )


@exact
def _same_around(net: Any, values: Any, at: Any) -> Any:
    """Return whether all values that are looked at are the same."""
    first = values[at + net.values[0]]
    for k in range(1, len(net.values)):  # noqa: SIM110, which numba does not know
        if values[at + net.values[k]] != first:
            return False
    return True


@exact
def _predict(net: Any, tile: Any, count: Any) -> Any:
    """Find the linear predictions of the first `count` voxels of a tile."""
    predicted = tile.predicted
    for j in range(count):
        predicted[j] = 32.0
    for k in range(len(net.values)):
        row, weight = tile.values[k], net.linear[k]
        for j in range(count):
            predicted[j] += weight * row[j]
    for j in range(count):
        predicted[j] = np.floor(predicted[j] / 64)


@exact
def _scale(net: Any, tables: Any, tile: Any, count: Any) -> Any:
    """Find how far predictions were off around each voxel of a tile."""
    total = tile.total
    for j in range(count):
        total[j] = LEAST_SCALE * len(net.residuals)
    for k in range(len(net.residuals)):
        row = tile.residuals[k]
        for j in range(count):
            total[j] += abs(np.float64(row[j]))
    for j in range(count):
        index = (tile.bits[j] >> 48) - EXPONENT  # of a float64: its octave, and four bits within that
        tile.scale[j] = index
        tile.inverse[j] = tables.inverse[index] / 65536


@exact
def _gather(offsets: Any, memory: Any, place: Any, rows: Any, count: Any) -> Any:
    """Fetch what lies at offsets from each place, a row for each offset."""
    for k in range(len(offsets)):
        row, offset = rows[k], offsets[k]
        for j in range(count):
            row[j] = memory[place[j] + offset]


@exact
def _look(net: Any, tables: Any, values: Any, residuals: Any, tile: Any, count: Any) -> Any:
    """Find predictions, scales and the network's inputs for the first `count` places of a tile."""
    n, r = len(net.values), len(net.residuals)
    low, high = np.float64(-FEATURE), np.float64(FEATURE)
    _gather(net.values, values, tile.place, tile.values, count)
    _gather(net.residuals, residuals, tile.place, tile.residuals, count)
    _predict(net, tile, count)
    _scale(net, tables, tile, count)
    predicted, inverse = tile.predicted, tile.inverse
    for k in range(n):
        row, scaled = tile.values[k], tile.inputs[k]
        for j in range(count):
            scaled[j] = min(max(np.floor((64.0 * row[j] - predicted[j]) * inverse[j]), low), high)
    for k in range(r):
        row, scaled, size = tile.residuals[k], tile.inputs[n + k], tile.inputs[n + r + k]
        for j in range(count):
            scaled[j] = min(max(np.floor(row[j] * inverse[j]), low), high)
        for j in range(count):
            size[j] = abs(scaled[j])
    last = tile.inputs[n + 2 * r]
    for j in range(count):
        last[j] = min(max(4 * tile.scale[j] - 768, -FEATURE), FEATURE)


@exact
def _dense(
    weights: Any, bias: Any, scale: Any, inputs: Any, output: Any, columns: Any, low: Any, high: Any
) -> Any:
    """Pass whole numbers, TILE columns of each, through a layer; inputs and outputs come in fours.

    Memory without rows of its own, at distances that are known, is what makes vectors of the inner loop.
    """
    for o in range(0, len(weights), 4):
        rows = output[o * TILE : (o + 4) * TILE]
        for j in range(columns):
            rows[j], rows[TILE + j] = bias[o], bias[o + 1]
            rows[2 * TILE + j], rows[3 * TILE + j] = bias[o + 2], bias[o + 3]
        for i in range(0, weights.shape[1], 4):
            a0, a1, a2, a3 = weights[o, i], weights[o, i + 1], weights[o, i + 2], weights[o, i + 3]
            b0, b1, b2, b3 = (
                weights[o + 1, i],
                weights[o + 1, i + 1],
                weights[o + 1, i + 2],
                weights[o + 1, i + 3],
            )
            c0, c1, c2, c3 = (
                weights[o + 2, i],
                weights[o + 2, i + 1],
                weights[o + 2, i + 2],
                weights[o + 2, i + 3],
            )
            d0, d1, d2, d3 = (
                weights[o + 3, i],
                weights[o + 3, i + 1],
                weights[o + 3, i + 2],
                weights[o + 3, i + 3],
            )
            x = inputs[i * TILE : (i + 4) * TILE]
            for j in range(columns):
                x0, x1, x2, x3 = x[j], x[TILE + j], x[2 * TILE + j], x[3 * TILE + j]
                rows[j] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                rows[TILE + j] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
                rows[2 * TILE + j] += c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3
                rows[3 * TILE + j] += d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3
        for k in range(4):
            row, shift = rows[k * TILE : (k + 1) * TILE], scale[o + k]
            for j in range(columns):
                row[j] = min(max(np.floor(row[j] * shift), low), high)


@exact
def _forward(net: Any, tile: Any, count: Any) -> Any:
    """Pass a tile's inputs through the network."""
    columns = (count + 7) // 8 * 8
    inputs, first, second = tile.inputs.reshape(-1), tile.first.reshape(-1), tile.second.reshape(-1)
    feature, none, far = np.float32(FEATURE), np.float32(0), np.float32(1 << 15)
    _dense(net.weights1, net.bias1, net.scale1, inputs, first, columns, none, feature)
    _dense(net.weights2, net.bias2, net.scale2, first, second, columns, none, feature)
    _dense(net.weights3, net.bias3, net.scale3, second, tile.output.reshape(-1), columns, -far, far)


@exact
def _code_tile(
    net: Any,
    tables: Any,
    values: Any,
    residuals: Any,
    tile: Any,
    count: Any,
    stream: Any,
    levels: Any,
    encode: Any,
) -> Any:
    """Code the first `count` voxels of a tile by the network."""
    coder, words, starts, counts = stream
    _look(net, tables, values, residuals, tile, count)
    _forward(net, tile, count)
    for j in range(count):
        at = tile.place[j]
        near, width = mix(tables, tile, j)
        if encode:
            level = int(values[at])
            start = below(tables, tile.mixture, level, levels)
            end = below(tables, tile.mixture, level + 1, levels)
            starts[coder[CODED]], counts[coder[CODED]] = start, end - start
        else:
            slot = coder[STATE] & (TOTAL - 1)
            level, start, end = find(tables, tile.mixture, slot, levels, near, width)
            advance(coder, words, start, end - start)
            values[at] = level
        coder[CODED] += 1
        residuals[at] = PARTS * level - int(tile.predicted[j])


@exact
def code_waves(
    net: Any,
    tables: Any,
    values: Any,
    residuals: Any,
    tile: Any,
    stream: Any,
    shape: Any,
    waves: Any,
    encode: Any,
) -> Any:
    """Code some waves of a slice, from one up to another.

    `values` and `residuals` are a slab's memory, (rows + 2 BORDER) rows of (columns + 2 BORDER) for each
    slice, with those before at negative offsets of the network: so `shape` holds rows, columns, levels, and
    where the slice begins. `stream` is the coder with its words, starts and counts.
    """
    rows, columns, levels, begin = shape
    stride = columns + 2 * BORDER
    coder, words, starts, counts = stream
    for wave in range(waves[0], waves[1]):
        count = 0
        first = max((wave - columns + LAG) // LAG, 0)
        for y in range(first, min(wave // LAG, rows - 1) + 1):
            x = wave - LAG * y
            at = begin + (y + BORDER) * stride + BORDER + x
            if x == 0:
                for k in range(1, BORDER + 1):
                    values[at - k] = values[at - stride]
            if _same_around(net, values, at):
                same = int(values[at + net.values[0]])
                level = code_same(coder, words, starts, counts, int(values[at]), same, levels, encode)
                values[at] = level
                residuals[at] = PARTS * (level - same)
            else:
                tile.place[count] = at
                count += 1
                if count == TILE:
                    _code_tile(net, tables, values, residuals, tile, count, stream, levels, encode)
                    count = 0
        if count:
            _code_tile(net, tables, values, residuals, tile, count, stream, levels, encode)
        y = wave - (columns - 1)
        if y >= 0 and y % LAG == 0:
            at = begin + (y // LAG + BORDER) * stride + BORDER + columns - 1
            for k in range(1, BORDER + 1):
                values[at + k] = values[at]


@exact
def predict_planes(
    net: Any, values: Any, residuals: Any, tile: Any, begin: Any, rows: Any, columns: Any
) -> Any:
    """Fill in how far the linear prediction is off, in part of a plane of a slab's memory."""
    stride = columns + 2 * BORDER
    for y in range(rows):
        for x in range(0, columns, TILE):
            count = min(TILE, columns - x)
            at = begin + (y + BORDER) * stride + BORDER + x
            for j in range(count):
                tile.place[j] = at + j
            _gather(net.values, values, tile.place, tile.values, count)
            _predict(net, tile, count)
            for j in range(count):
                residuals[at + j] = PARTS * int(values[at + j]) - int(tile.predicted[j])


@exact
def sample(
    net: Any, tables: Any, values: Any, residuals: Any, places: Any, tile: Any, inputs: Any, found: Any
) -> Any:
    """Look at samples as the coder does: inputs (samples, inputs), and found (samples, 4).

    `found` gets the level, the prediction and the mean magnitude of residuals, in parts of a level, and 1
    where the network codes the voxel, 0 where all of its context is the same.
    """
    for begin in range(0, len(places), TILE):
        count = min(TILE, len(places) - begin)
        for j in range(count):
            tile.place[j] = places[begin + j]
        _look(net, tables, values, residuals, tile, count)
        for j in range(count):
            at, k = tile.place[j], begin + j
            for i in range(inputs.shape[1]):
                inputs[k, i] = tile.inputs[i, j]
            found[k, 0] = PARTS * int(values[at])
            found[k, 1] = tile.predicted[j]
            found[k, 2] = tables.means[tile.scale[j]]
            found[k, 3] = 0 if _same_around(net, values, at) else 1
