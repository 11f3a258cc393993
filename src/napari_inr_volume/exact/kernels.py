"""The inner loops of the exact layer: contexts, network, counts and range coder, in whole numbers only.

The network's sums are of float32, which holds every whole number up to 2^24: `Layer.check` makes sure that
none goes beyond, so they come out the same in any order, on any machine. What is coded, and in which order,
is decided by one function for both ways, so they cannot disagree.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compute.jit import kernel
from .contexts import BORDER, LAG
from .network import Net
from .tables import (
    CENTRE_BITS,
    FEATURE,
    LEAST_SCALE,
    MIXED,
    OCTAVE,
    PARTS,
    REACH,
    SIGMOID_STEPS,
    TOTAL_BITS,
    WEIGHT_BITS,
)

TILE = 64  # voxels of a wave that pass through the network together
TOTAL = 1 << TOTAL_BITS
LEAST_STATE = 1 << 31  # of the range coder: from here to 2^63
FARTHEST = 1 << 24  # parts of a level, of a centre

# Where a coder stands, in an array of whole numbers.
CODED, STATE, WORD, SAME, OTHER, FAILED = range(6)

_exact = kernel({"contract", "reassoc", "nsz"})


class Work(NamedTuple):
    """Memory for one tile."""

    place: Any  # int64 (TILE), in a slab's memory
    predicted: Any  # int64 (TILE), parts of a level
    scale: Any  # int64 (TILE), index into the tables
    inputs: Any  # float32 (inputs, TILE)
    first: Any  # float32 (features, TILE)
    second: Any
    output: Any  # float32 (3 MIXED, TILE)
    mixture: Any  # int64 (3 MIXED): centres, steepness, weights of one voxel


def work(net: Net) -> Work:
    """Return memory for tiles of a network."""
    sizes = [net.weights1.shape[1], len(net.weights1), len(net.weights2), len(net.weights3)]
    whole = [np.zeros(TILE, np.int64) for _ in range(3)]
    exact = [np.zeros((n, TILE), np.float32) for n in sizes]
    return Work._make([*whole, *exact, np.zeros(3 * MIXED, np.int64)])


@_exact
def _same_around(net: Any, values: Any, at: Any) -> Any:
    """Return whether all values that are looked at are the same."""
    first = values[at + net.values[0]]
    for k in range(1, len(net.values)):  # noqa: SIM110, which numba does not know
        if values[at + net.values[k]] != first:
            return False
    return True


@_exact
def _predict(net: Any, values: Any, at: Any) -> Any:
    """Return the linear prediction, in parts of a level."""
    total = 0
    for k in range(len(net.values)):
        total += net.linear[k] * int(values[at + net.values[k]])
    return (total + 32) >> 6


@_exact
def _scale_index(net: Any, residuals: Any, at: Any) -> Any:
    """Return how far predictions were off around here, as an index into the tables."""
    total = LEAST_SCALE * len(net.residuals)
    for k in range(len(net.residuals)):
        total += abs(int(residuals[at + net.residuals[k]]))
    octave = 0
    while total >= 2 * OCTAVE:
        total >>= 1
        octave += 1
    return octave * OCTAVE + total - OCTAVE


@_exact
def _look(net: Any, tables: Any, values: Any, residuals: Any, tile: Any, count: Any) -> Any:
    """Fill the network's inputs for the first `count` places of a tile."""
    n, r = len(net.values), len(net.residuals)
    for j in range(count):
        at, predicted, index = tile.place[j], tile.predicted[j], tile.scale[j]
        inverse = tables.inverse[index]
        farthest = REACH * tables.means[index]
        for k in range(n):
            away = (int(values[at + net.values[k]]) << 6) - predicted
            away = min(max(away, -farthest), farthest)
            tile.inputs[k, j] = min(max((away * inverse) >> 16, -FEATURE), FEATURE)
        for k in range(r):
            away = int(residuals[at + net.residuals[k]])
            away = min(max(away, -farthest), farthest)
            scaled = min(max((away * inverse) >> 16, -FEATURE), FEATURE)
            tile.inputs[n + k, j] = scaled
            tile.inputs[n + r + k, j] = abs(scaled)
        tile.inputs[n + 2 * r, j] = min(max(4 * index - 768, -FEATURE), FEATURE)


@_exact
def _dense(
    weights: Any, bias: Any, scale: Any, inputs: Any, output: Any, columns: Any, low: Any, high: Any
) -> Any:
    """Pass whole numbers (inputs, columns) through a layer; inputs come in fours."""
    for o in range(len(weights)):
        row = output[o]
        for j in range(columns):
            row[j] = bias[o]
        for i in range(0, weights.shape[1], 4):
            w0, w1, w2, w3 = weights[o, i], weights[o, i + 1], weights[o, i + 2], weights[o, i + 3]
            x0, x1, x2, x3 = inputs[i], inputs[i + 1], inputs[i + 2], inputs[i + 3]
            for j in range(columns):
                row[j] += w0 * x0[j] + w1 * x1[j] + w2 * x2[j] + w3 * x3[j]
        for j in range(columns):
            row[j] = min(max(np.floor(row[j] * scale[o]), low), high)


@_exact
def _forward(net: Any, tile: Any, count: Any) -> Any:
    """Pass a tile's inputs through the network."""
    columns = (count + 7) // 8 * 8
    feature, none, far = np.float32(FEATURE), np.float32(0), np.float32(1 << 15)
    _dense(net.weights1, net.bias1, net.scale1, tile.inputs, tile.first, columns, none, feature)
    _dense(net.weights2, net.bias2, net.scale2, tile.first, tile.second, columns, none, feature)
    _dense(net.weights3, net.bias3, net.scale3, tile.second, tile.output, columns, -far, far)


@_exact
def _mix(tables: Any, tile: Any, j: Any) -> Any:
    """Make the mixture of voxel j of a tile; return a level near its middle, and a width around that."""
    index, mixture = tile.scale[j], tile.mixture
    mean = tables.means[index]
    largest, middle, width = -(1 << 20), 0, 0
    for m in range(MIXED):
        centre = tile.predicted[j] + ((int(tile.output[m, j]) * mean) >> CENTRE_BITS)
        mixture[m] = min(max(centre, -FARTHEST), FARTHEST)
        log = tables.logs[index] + int(tile.output[MIXED + m, j])
        log = min(max(log, 0), len(tables.steepness) - 1)
        mixture[MIXED + m] = tables.steepness[log]
        weight = int(tile.output[2 * MIXED + m, j])
        mixture[2 * MIXED + m] = weight
        if weight > largest:
            largest, middle, width = weight, mixture[m], 1 << (log // OCTAVE)
    total = 0
    for m in range(MIXED):
        less = min(largest - mixture[2 * MIXED + m], len(tables.weights) - 1)
        mixture[2 * MIXED + m] = tables.weights[less]
        total += tables.weights[less]
    rest = 1 << WEIGHT_BITS
    for m in range(1, MIXED):
        mixture[2 * MIXED + m] = (mixture[2 * MIXED + m] << WEIGHT_BITS) // total
        rest -= mixture[2 * MIXED + m]
    mixture[2 * MIXED] = rest
    return middle // PARTS, width // PARTS + 1


@_exact
def _below(tables: Any, mixture: Any, level: Any, levels: Any) -> Any:
    """Return the counts of all levels below this one; each level has at least one of 2^28."""
    if level <= 0:
        return 0
    if level >= levels:
        return TOTAL
    edge = PARTS * level - PARTS // 2
    half = REACH * SIGMOID_STEPS
    total = 0
    for m in range(MIXED):
        steps = (edge - mixture[m]) * mixture[MIXED + m]
        step = steps >> 20
        if step < -half:
            part = tables.sigmoid[0]
        elif step >= half:
            part = tables.sigmoid[2 * half]
        else:
            low = tables.sigmoid[step + half]
            part = low + (((tables.sigmoid[step + half + 1] - low) * (steps & 0xFFFFF)) >> 20)
        total += part * mixture[2 * MIXED + m]
    return level + (((total >> WEIGHT_BITS) * (TOTAL - levels)) >> TOTAL_BITS)


@_exact
def _find(tables: Any, mixture: Any, slot: Any, levels: Any, near: Any, width: Any) -> Any:
    """Return the level that covers a slot; looks around a level near it first."""
    low = min(max(near, 0), levels - 1)
    if _below(tables, mixture, low, levels) <= slot:
        high = low + width
        while high < levels and _below(tables, mixture, high, levels) <= slot:
            low, width = high, 2 * width
            high = low + width
        high = min(high, levels)
    else:
        high, low = low, low - width
        while low > 0 and _below(tables, mixture, low, levels) > slot:
            high, width = low, 2 * width
            low = high - width
        low = max(low, 0)
    while high - low > 1:
        middle = (low + high) >> 1
        if _below(tables, mixture, middle, levels) <= slot:
            low = middle
        else:
            high = middle
    return low


@_exact
def _advance(coder: Any, words: Any, start: Any, count: Any) -> Any:
    """Take a level of these counts off the coder's state."""
    state = coder[STATE]
    state = count * (state >> TOTAL_BITS) + (state & (TOTAL - 1)) - start
    if state < LEAST_STATE:
        if coder[WORD] < len(words):
            state = (state << 32) | int(words[coder[WORD]])
            coder[WORD] += 1
        else:
            coder[FAILED] = 1
            state = LEAST_STATE
    coder[STATE] = state


@_exact
def _code_same(
    coder: Any, words: Any, starts: Any, counts: Any, level: Any, same: Any, levels: Any, encode: Any
) -> Any:
    """Code a voxel all of whose context is the level `same`; return its level."""
    rest = TOTAL - (coder[SAME] * (TOTAL - levels)) // (coder[SAME] + coder[OTHER])
    other = max(rest // (levels - 1), 1)
    count = TOTAL - other * (levels - 1)
    begin = other * same
    if not encode:
        slot = coder[STATE] & (TOTAL - 1)
        if slot < begin:
            level = slot // other
        elif slot < begin + count:
            level = same
        else:
            level = same + 1 + (slot - begin - count) // other
    if level == same:
        start, width = begin, count
        coder[SAME] += 1
    else:
        start = other * level if level < same else begin + count + other * (level - same - 1)
        width = other
        coder[OTHER] += 1
    if encode:
        starts[coder[CODED]], counts[coder[CODED]] = start, width
    else:
        _advance(coder, words, start, width)
    coder[CODED] += 1
    return level


@_exact
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
        near, width = _mix(tables, tile, j)
        if encode:
            level = int(values[at])
        else:
            slot = coder[STATE] & (TOTAL - 1)
            level = _find(tables, tile.mixture, slot, levels, near, width)
            values[at] = level
        start = _below(tables, tile.mixture, level, levels)
        size = _below(tables, tile.mixture, level + 1, levels) - start
        if encode:
            starts[coder[CODED]], counts[coder[CODED]] = start, size
        else:
            _advance(coder, words, start, size)
        coder[CODED] += 1
        residuals[at] = (level << 6) - tile.predicted[j]


@_exact
def code_slice(
    net: Any, tables: Any, values: Any, residuals: Any, tile: Any, stream: Any, shape: Any, encode: Any
) -> Any:
    """Code one slice, wave after wave.

    `values` and `residuals` begin at the slice and are its slab's memory, (rows + 2 BORDER) rows of
    (columns + 2 BORDER), with the slices before it at negative offsets of the network: so `shape` holds rows,
    columns, levels, and where the slice begins. `stream` is the coder with its words, starts and counts.
    """
    rows, columns, levels, begin = shape
    stride = columns + 2 * BORDER
    coder, words, starts, counts = stream
    for wave in range(columns + LAG * (rows - 1)):
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
                level = _code_same(coder, words, starts, counts, int(values[at]), same, levels, encode)
                values[at] = level
                residuals[at] = (level - same) << 6
            else:
                tile.place[count] = at
                tile.predicted[count] = _predict(net, values, at)
                tile.scale[count] = _scale_index(net, residuals, at)
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


@_exact
def write_words(starts: Any, counts: Any, coded: Any, words: Any) -> Any:
    """Write what was coded, last level first; return the coder's last state and the number of words."""
    state = LEAST_STATE
    written = 0
    for i in range(coded - 1, -1, -1):
        start, count = int(starts[i]), int(counts[i])
        if state >= count << 35:
            words[written] = state & 0xFFFFFFFF
            written += 1
            state >>= 32
        state = ((state // count) << TOTAL_BITS) + state % count + start
    return state, written


@_exact
def predict_planes(net: Any, values: Any, residuals: Any, begin: Any, rows: Any, columns: Any) -> Any:
    """Fill in how far the linear prediction is off, in part of a plane of a slab's memory."""
    stride = columns + 2 * BORDER
    for y in range(rows):
        for x in range(columns):
            at = begin + (y + BORDER) * stride + BORDER + x
            residuals[at] = (int(values[at]) << 6) - _predict(net, values, at)


@_exact
def sample(
    net: Any, tables: Any, values: Any, residuals: Any, places: Any, tile: Any, inputs: Any, found: Any
) -> Any:
    """Look at samples as the coder does: inputs (samples, inputs), and found (samples, 4).

    `found` gets the level, the prediction and the mean magnitude of residuals, in parts of a level, and 1
    where the network codes the voxel, 0 where all of its context is the same.
    """
    for k in range(len(places)):
        at = places[k]
        tile.place[0] = at
        tile.predicted[0] = _predict(net, values, at)
        tile.scale[0] = _scale_index(net, residuals, at)
        _look(net, tables, values, residuals, tile, 1)
        for i in range(inputs.shape[1]):
            inputs[k, i] = tile.inputs[i, 0]
        found[k, 0] = int(values[at]) << 6
        found[k, 1] = tile.predicted[0]
        found[k, 2] = tables.means[tile.scale[0]]
        found[k, 3] = 0 if _same_around(net, values, at) else 1
