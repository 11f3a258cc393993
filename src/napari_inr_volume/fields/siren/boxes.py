"""A volume cut into boxes, cut after cut, each with a share of the blend where boxes overlap. No torch here.

Positions are whole numbers of UNITS of the volume's extent along an axis, from one outer face to the other,
so that a file says exactly where a cut lies. A cut divides a box in two. Near it both halves are fitted, and
the blend goes over from one to the other in a straight line, `margins` wide on either side: the shares of all
boxes add up to 1 everywhere, and there is no seam.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...core.errors import FitError

UNITS = 2**16  # of an axis' extent
MARGIN = 2  # LR voxels on either side of a cut
LEAST = 4 * MARGIN  # LR voxels of a box along an axis that is cut

Cut = tuple[int, int]  # the axis, and the position along it
Cuts = tuple[Cut, ...]
Margins = tuple[int, int, int]  # along z, y, x; at least 1
Range = tuple[int, int]


@dataclass(frozen=True)
class Box:
    """What one network is fitted to: its faces, and the cuts that made it."""

    faces: tuple[Range, Range, Range] = ((0, UNITS), (0, UNITS), (0, UNITS))
    sides: tuple[tuple[Cut, bool], ...] = field(default=())  # a cut, and whether the box lies behind it

    def halves(self, cut: Cut) -> tuple[Box, Box]:
        """Return what lies before a cut, and behind it. Raises ValueError for a cut that is not inside."""
        axis, position = cut
        low, high = self.faces[axis]
        if not low < position < high:
            raise ValueError(f"a cut at {position} does not lie between {low} and {high}")
        halves = []
        for behind, part in enumerate(((low, position), (position, high))):
            z, y, x = (part if index == axis else face for index, face in enumerate(self.faces))
            halves.append(Box((z, y, x), (*self.sides, (cut, bool(behind)))))
        return halves[0], halves[1]

    def reach(self, axis: int, margins: Margins) -> Range:
        """Return from where to where the box is fitted along an axis: its faces, and the margins of cuts."""
        low, high = self.faces[axis]
        return max(low - margins[axis], 0), min(high + margins[axis], UNITS)

    def slices(self, count: int, margins: Margins) -> range:
        """Return which of so many slices, evenly spaced along z, have their middles where it is fitted."""
        low, high = self.reach(0, margins)  # slice k's lies at (k + 1/2) / count of UNITS
        return range(-((UNITS - 2 * low * count) // (2 * UNITS)), (2 * high * count + UNITS) // (2 * UNITS))

    def share(self, axis: int, at: NDArray[np.float64], margins: Margins) -> NDArray[np.float64]:
        """Return what of the blend is this box's along an axis, at these positions: from 0 to 1."""
        share = np.ones_like(at)
        for (cut_axis, position), behind in self.sides:
            if cut_axis == axis:
                over = np.clip((at - position) / (2 * margins[axis]) + 0.5, 0.0, 1.0)
                share *= over if behind else 1 - over
        return share


def boxes_of(cuts: Sequence[Cut]) -> list[Box]:
    """Return the boxes that cuts make, one more than there are cuts.

    The first cut divides the volume, the next ones what lies before it, the last ones what lies behind; the
    same holds for each part, and half of the boxes, rounded down, lie before a cut. Raises ValueError for a
    cut that is not inside the part that it divides.
    """
    rest = iter(cuts)

    def divided(box: Box, count: int) -> Iterator[Box]:
        if count == 1:
            yield box
            return
        before, behind = box.halves(next(rest))
        yield from divided(before, count // 2)
        yield from divided(behind, count - count // 2)

    return list(divided(Box(), len(cuts) + 1))


def most_boxes(shape: Sequence[int]) -> int:
    """Return into how many boxes an LR of this shape (z, y, x) can be cut at most, all of LEAST voxels."""
    return math.prod(max(length // LEAST, 1) for length in shape)


def find_cuts(importance: NDArray[np.float32], count: int, run: int = 1) -> list[tuple[int, int]]:
    """Return cuts into so many boxes that weigh about the same, each LR voxel (z, y, x) by its importance.

    Each is an axis and how many voxels lie before it; they come in the order of `boxes_of`. A part is cut
    along the axis on which that is spread the farthest. One value of the importance may stand for a run of
    voxels along x. Raises FitError if the LR is too small for so many.
    """

    def of(part: NDArray[np.float32], first: tuple[int, int, int], boxes: int) -> Iterator[tuple[int, int]]:
        if boxes == 1:
            return
        axis, before = _cut(part, boxes, run)
        z, y, x = (start + before * (index == axis) for index, start in enumerate(first))
        halves = np.split(part, [before], axis=axis)
        yield axis, first[axis] + before
        yield from of(halves[0], first, boxes // 2)
        yield from of(halves[1], (z, y, x), boxes - boxes // 2)

    lengths = (1, 1, run)
    return [(axis, before * lengths[axis]) for axis, before in of(importance, (0, 0, 0), count)]


def _cut(importance: NDArray[np.float32], boxes: int, run: int) -> tuple[int, int]:
    """Return the first of the cuts into so many boxes: its axis, and the values before it."""
    along = [importance.sum(axis=tuple({0, 1, 2} - {axis}), dtype=np.float64) for axis in range(3)]
    lengths = (1, 1, run)
    for axis in sorted(range(3), key=lambda axis: -lengths[axis] * _spread(along[axis])):
        shape, share = list(importance.shape), np.cumsum(along[axis]) / along[axis].sum()
        for before in np.argsort(np.abs(share - boxes // 2 / boxes), kind="stable") + 1:
            halves = [[*shape[:axis], length, *shape[axis + 1 :]] for length in (before, len(share) - before)]
            for half in halves:
                half[2] = (half[2] - 1) * run + 1  # voxels at least
            room = all(
                half[axis] >= LEAST and most_boxes(half) >= some
                for half, some in zip(halves, (boxes // 2, boxes - boxes // 2), strict=True)
            )
            if room:
                return axis, int(before)
    raise FitError(
        f"{' x '.join(map(str, importance.shape))} LR voxels are too few for {boxes} boxes: one would have"
        f" fewer than {LEAST} along each axis; choose fewer boxes or a smaller factor"
    )


def _spread(weights: NDArray[np.float64]) -> float:
    """Return the standard deviation of where weights lie, in voxels."""
    at = np.arange(len(weights))
    mean = np.average(at, weights=weights)
    return math.sqrt(np.average((at - mean) ** 2, weights=weights))
