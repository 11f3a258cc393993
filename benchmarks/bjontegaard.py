"""Rate-distortion curves against one another: BD-rate, and the ratio from which on one is ahead.

A curve is points (bytes, PSNR in dB). Source of BD-rate: Bjontegaard 2001, VCEG-M33, with straight lines
between points of the logarithm of the bytes instead of a cubic, which needs more points than some have.
"""

from __future__ import annotations

import numpy as np

Curve = list[tuple[float, float]]  # bytes, PSNR
ALIKE = 1.02  # times the bytes, at most: of such points the best counts
SAMPLES = 200  # along the range that two curves share


def frontier(curve: Curve) -> Curve:
    """Return the points that no other beats, in ALIKE bytes: more bytes, more PSNR, from few to many."""
    best: Curve = []
    for size, psnr in sorted(curve):
        if best and psnr <= best[-1][1]:
            continue
        if best and size <= ALIKE * best[-1][0]:
            best.pop()
        best.append((size, psnr))
    return best


def bd_rate(ours: Curve, theirs: Curve) -> float | None:
    """Return how many more bytes ours takes at the same PSNR, as a share; None without common PSNR."""
    ours, theirs = frontier(ours), frontier(theirs)
    low, high = max(ours[0][1], theirs[0][1]), min(ours[-1][1], theirs[-1][1])
    if low >= high:
        return None
    psnrs = np.linspace(low, high, SAMPLES)
    logs = [
        np.interp(psnrs, [p for _, p in curve], [np.log(s) for s, _ in curve]) for curve in (ours, theirs)
    ]
    return float(np.exp(np.mean(logs[0] - logs[1])) - 1)


def psnr_at(curve: Curve, size: float) -> float | None:
    """Return the PSNR at these bytes, by a straight line in their logarithm; None beyond the curve."""
    curve = frontier(curve)
    if not curve or not curve[0][0] <= size <= curve[-1][0]:
        return None
    return float(np.interp(np.log(size), [np.log(s) for s, _ in curve], [p for _, p in curve]))


def crossover(ours: Curve, theirs: Curve) -> tuple[float | None, bool]:
    """Return the most bytes below which ours is ahead wherever both are, and whether it is ahead anywhere.

    None and True: ahead at all bytes that both curves have; None and False: nowhere.
    """
    ours, theirs = frontier(ours), frontier(theirs)
    low, high = max(ours[0][0], theirs[0][0]), min(ours[-1][0], theirs[-1][0])
    if low >= high:
        return None, ours[-1][0] < theirs[0][0]  # they have nothing as small
    sizes = np.exp(np.linspace(np.log(low), np.log(high), SAMPLES))
    ahead = [(psnr_at(ours, size) or 0.0) - (psnr_at(theirs, size) or 0.0) > 0 for size in sizes[1:-1]]
    if all(ahead):
        return None, True
    first = ahead.index(False)
    if first == 0:
        return None, False
    return float(sizes[1 + first]), True
