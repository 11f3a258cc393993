"""Whole numbers in place of exp, log and division, the same on every machine.

They come from correctly rounded decimal arithmetic, not from a machine's own floating point.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]

PARTS = 64  # of a level, in which predictions and residuals are counted
MIXED = 3  # logistic distributions that are mixed
OCTAVE = 16  # steps of a scale that doubles
OCTAVES = 32  # more than the residuals of any linear weights add up to
LEAST_SCALE = PARTS // 4  # added to each residual's magnitude
REACH = 16  # of a network's inputs and features, in units of the scale
FEATURE = REACH * PARTS - 1  # the largest that a network's inputs and features can be
CENTRE_BITS = 8  # fractions of a scale, in which a component's centre is given
SIGMOID_STEPS = 64  # of the logistic distribution's table, a scale
TOTAL_BITS = 28  # of a cumulative count
WEIGHT_BITS = 15  # of a component's weight
WEIGHT_STEPS = 32  # of a component's log weight that is smaller by a factor e


class Tables(NamedTuple):
    """Of a network with a number of residuals; all int64."""

    means: Whole  # by scale index: the mean magnitude of the residuals, in parts of a level
    inverse: Whole  # by scale index: 2^16 PARTS / means
    logs: Whole  # by scale index: OCTAVE log2(means)
    steepness: Whole  # by OCTAVE log2 of a component's scale in parts: steps of `sigmoid` a part, times 2^20
    sigmoid: Whole  # 2^28 times the logistic function, from -REACH to REACH
    weights: Whole  # 2^15 exp(-i / WEIGHT_STEPS)


@cache
def tables(residuals: int) -> Tables:
    """Return the tables of a network that looks at so many residuals."""
    with localcontext() as context:
        context.prec = 40
        log2 = Decimal(2).ln()
        sums = [
            (Decimal(OCTAVE + part) + Decimal("0.5")) * 2**octave
            for octave in range(OCTAVES)
            for part in range(OCTAVE)
        ]
        means = [max(_whole(each / residuals), 1) for each in sums]
        inverse = [_whole(Decimal(2**16 * PARTS) / each) for each in means]
        logs = [_whole(OCTAVE * Decimal(each).ln() / log2) for each in means]
        steepness = [
            _whole(2**20 * SIGMOID_STEPS / (log2 * each / OCTAVE).exp()) for each in range(OCTAVE * 24)
        ]
        half = REACH * SIGMOID_STEPS
        sigmoid = [
            _whole(2**TOTAL_BITS / (1 + (Decimal(-each) / SIGMOID_STEPS).exp()))
            for each in range(-half, half + 1)
        ]
        weights = [_whole(2**WEIGHT_BITS * (Decimal(-each) / WEIGHT_STEPS).exp()) for each in range(512)]
    made = (np.array(each, np.int64) for each in (means, inverse, logs, steepness, sigmoid, weights))
    return Tables(*made)


def _whole(value: Decimal) -> int:
    return int((value + Decimal("0.5")).to_integral_value("ROUND_FLOOR"))
