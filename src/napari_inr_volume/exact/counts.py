"""The inner loops that turn a network's outputs into counts, and counts into bytes, in whole numbers only."""

from __future__ import annotations

from typing import Any

from ..compute.jit import kernel
from .tables import (
    CENTRE_BITS,
    MIXED,
    OCTAVE,
    PARTS,
    REACH,
    SIGMOID_STEPS,
    TOTAL_BITS,
    WEIGHT_BITS,
)

TOTAL = 1 << TOTAL_BITS
LEAST_STATE = 1 << 31  # of the range coder: from here to 2^63
FARTHEST = 1 << 24  # parts of a level, of a centre

# Where a coder stands, in an array of whole numbers.
CODED, STATE, WORD, SAME, OTHER, FAILED = range(6)

exact = kernel({"contract", "reassoc", "nsz"})


@exact
def mix(tables: Any, tile: Any, j: Any) -> Any:
    """Make the mixture of voxel j of a tile; return a level near its middle, and a width around that."""
    index, mixture = tile.scale[j], tile.mixture
    predicted, mean = int(tile.predicted[j]), tables.means[index]
    largest, middle, width = -(1 << 20), 0, 0
    for m in range(MIXED):
        centre = predicted + ((int(tile.output[m, j]) * mean) >> CENTRE_BITS)
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


@exact
def below(tables: Any, mixture: Any, level: Any, levels: Any) -> Any:
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


@exact
def find(tables: Any, mixture: Any, slot: Any, levels: Any, near: Any, width: Any) -> Any:
    """Return the level that covers a slot, and the counts below it and the next; looks near a level first."""
    low = min(max(near, 0), levels - 1)
    start = below(tables, mixture, low, levels)
    if start <= slot:
        high = min(low + width, levels)
        end = below(tables, mixture, high, levels)
        while end <= slot:
            low, start, width = high, end, 2 * width
            high = min(low + width, levels)
            end = below(tables, mixture, high, levels)
    else:
        high, end = low, start
        low = max(high - width, 0)
        start = below(tables, mixture, low, levels)
        while start > slot:
            high, end, width = low, start, 2 * width
            low = max(high - width, 0)
            start = below(tables, mixture, low, levels)
    while high - low > 1:
        middle = (low + high) >> 1
        count = below(tables, mixture, middle, levels)
        if count <= slot:
            low, start = middle, count
        else:
            high, end = middle, count
    return low, start, end


@exact
def advance(coder: Any, words: Any, start: Any, count: Any) -> Any:
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


@exact
def code_same(
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
        advance(coder, words, start, width)
    coder[CODED] += 1
    return level


@exact
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
