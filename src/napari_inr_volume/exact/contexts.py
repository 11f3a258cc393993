"""What the coder of a voxel has seen already: its contexts, in this slice and the two before.

A voxel (y, x) of a slice is coded in wave x + 3 y, so of row y - 1 the voxels up to x + 2 are known by then,
and of each row above it three more.
"""

from __future__ import annotations

from dataclasses import dataclass

Offset = tuple[int, int, int]  # z, y, x

LAG = 3  # waves between a voxel and the one above it
BORDER = 4  # voxels around a slice, so that no context lies outside


def _ahead(radius: int, distance: int) -> list[Offset]:
    """Return what is known of the voxel's own slice, up to a radius and a distance in city blocks."""
    rows = range(-radius, 1)
    columns = range(-radius, radius + 1)
    known = [(0, y, x) for y in rows for x in columns if (y < 0 or x < 0) and abs(y) + abs(x) <= distance]
    return [each for each in known if each[2] < LAG * -each[1]]


def _around(z: int, distance: int) -> list[Offset]:
    """Return the voxels of an earlier slice up to a distance in city blocks."""
    reach = range(-distance, distance + 1)
    return [(z, y, x) for y in reach for x in reach if abs(y) + abs(x) <= distance]


@dataclass(frozen=True)
class Contexts:
    """Where a network looks: at values, and at how far its linear prediction was off."""

    name: str
    values: tuple[Offset, ...]
    residuals: tuple[Offset, ...]

    @property
    def inputs(self) -> int:
        """Numbers that the network is given: values, residuals, their magnitudes, and their scale."""
        return len(self.values) + 2 * len(self.residuals) + 1


# The first slice of a slab knows of no other slice.
FIRST = Contexts(name="first", values=tuple(_ahead(3, 4)), residuals=tuple(_ahead(3, 4)))
LATER = Contexts(
    name="later",
    values=tuple(_ahead(2, 3) + _around(-1, 2) + _around(-2, 1)),
    residuals=tuple(
        _ahead(3, 3)
        + [(0, -2, -2), (0, -2, 2)]
        + [each for each in _around(-1, 3) if max(map(abs, each)) < 3]
        + _around(-2, 1)
    ),
)

# Waves that the slice before has to be ahead by.
LEAD = 1 + max(LAG * y + x for z, y, x in LATER.values + LATER.residuals if z == -1)
