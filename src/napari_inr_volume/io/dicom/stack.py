"""How the images of a DICOM series lie on top of each other: slices in, order and geometry out.

Order and distances come from ImagePositionPatient alone; file names, InstanceNumber, SliceLocation
and SliceThickness are too often wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...core.errors import SourceError
from ...core.volume import Geometry, triple
from .header import Slice

SAME_PLACE = 1e-3  # mm; origins closer than this are one
SIDEWAYS = 0.25  # pixels by which an origin may lie beside the line through the first and the last
REGULAR = 0.02  # of the mean distance by which a slice may leave the regular grid
ALIKE = 0.1  # of a step by which the next may differ and count as equal
GAP = 1.2  # times the common step, and those beside it, from which a step that few others have is a gap
SHORT = 1.75  # times the common step: gaps shorter than that are gaps only where they are few
FEW = 0.25  # of all steps
OUTLIER = 2.0  # times the next longest step, where no step is common
CHANGED_PLAN = 3  # so many equal steps in a row are a change of the scan plan, fewer a gap


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The images of a series in the order of the volume's z axis."""

    planes: tuple[tuple[Slice, ...], ...]  # one a position; more than one slice where files are copies
    geometry: Geometry
    notes: tuple[str, ...] = ()  # what was assumed


def stack(slices: Sequence[Slice], *, gaps_allowed: bool = False) -> Stack:
    """Put the slices of one acquisition on top of each other, along the normal of their planes.

    A tilted gantry gives a z axis that is not the normal (the stack is sheared, the voxels stay as
    measured); irregular distances are kept as `slice_positions`. Raises SourceError, naming the slices, if
    their grids differ, if some lie beside the others, or if slices are missing, unless gaps are allowed.
    """
    first = slices[0]
    for other in slices:
        _refuse_unplaced(other)
        _refuse_unlike(first, other)
    along_row, down_column = _axes(first)
    normal = np.cross(along_row, down_column)
    planes = _group_planes(slices, normal)
    origins = np.array([plane[0].position for plane in planes])
    between_rows, between_columns = first.pixel_spacing or (1.0, 1.0)
    thickness = first.traits.thickness
    z_axis, distance, positions = normal, thickness if thickness and thickness > 0 else 1.0, None
    notes: tuple[str, ...] = ()
    if len(planes) == 1:
        known = "taken from SliceThickness" if thickness and thickness > 0 else "assumed"
        notes = (f"a single slice, its {distance:g} mm along z {known}",)
    if len(planes) > 1:
        heads = [plane[0] for plane in planes]
        z_axis, along = _line(heads, origins, SIDEWAYS * min(between_rows, between_columns))
        if not gaps_allowed:
            _refuse_gaps(heads, along)
        distance = float(along[-1]) / (len(along) - 1)
        even = distance * np.arange(len(along))
        positions = along if np.abs(along - even).max() > REGULAR * distance else None
    direction = np.stack([z_axis, down_column, along_row], axis=1) + 0.0  # no minus zero
    geometry = Geometry(
        shape=(len(planes), *first.size),
        spacing=(distance, between_rows, between_columns),
        origin=triple(origins[0]),
        direction=(triple(direction[0]), triple(direction[1]), triple(direction[2])),
        slice_positions=None if positions is None else tuple(positions.tolist()),
    )
    return Stack(planes=planes, geometry=geometry, notes=notes)


def _refuse_unplaced(image: Slice) -> None:
    for name, value in (
        ("ImagePositionPatient (three numbers)", image.position),
        ("ImageOrientationPatient (six numbers)", image.orientation),
        ("PixelSpacing (two numbers)", image.pixel_spacing),
    ):
        if value is None:
            raise SourceError(
                f"{image} has no usable {name}, so where its voxels lie is unknown; export the series again"
            )
    if min(image.pixel_spacing or (0.0,)) <= 0:
        raise SourceError(f"{image} has PixelSpacing {image.pixel_spacing}; both must be above 0 mm")


def _refuse_unlike(first: Slice, other: Slice) -> None:
    """Raise SourceError if two slices of an acquisition cannot be planes of one volume."""
    for name, one, two in (
        ("rows x columns", first.size, other.size),
        ("RescaleType", first.rescale_type, other.rescale_type),
        ("FrameOfReferenceUID", first.frame_of_reference, other.frame_of_reference),
    ):
        if one != two:
            raise SourceError(_unlike(first, other, name, one, two))
    for name, near, far, tolerance in (
        ("PixelSpacing", first.pixel_spacing, other.pixel_spacing, 1e-4),
        ("ImageOrientationPatient", first.orientation, other.orientation, 1e-3),
    ):
        if not np.allclose(np.array(near), np.array(far), rtol=0, atol=tolerance):
            raise SourceError(_unlike(first, other, name, near, far))


def _unlike(first: Slice, other: Slice, name: str, one: object, two: object) -> str:
    return (
        f"the images of the series do not fit together: {name} is {one} in {first} and {two} in {other};"
        " give the files of one stack"
    )


def _axes(image: Slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the unit vectors along a row (x) and down a column (y) of an image."""
    cosines = np.array(image.orientation).reshape(2, 3)
    lengths = np.linalg.norm(cosines, axis=1)
    if np.abs(lengths - 1).max() > 1e-2 or abs(float(cosines[0] @ cosines[1])) > 1e-2:
        raise SourceError(
            f"{image} has ImageOrientationPatient {image.orientation}, which is not a pair of perpendicular"
            " unit vectors"
        )
    along_row, down_column = cosines / lengths[:, np.newaxis]
    return along_row, down_column


def _group_planes(slices: Sequence[Slice], normal: NDArray[np.float64]) -> tuple[tuple[Slice, ...], ...]:
    """Sort the slices along the normal, and put those of one position together."""
    height = {image: float(np.array(image.position) @ normal) for image in slices}
    ordered = sorted(slices, key=lambda image: (height[image], image.path))
    planes: list[list[Slice]] = []
    for image in ordered:
        if not planes or height[image] - height[planes[-1][0]] > SAME_PLACE:
            planes.append([image])
            continue
        twin = planes[-1][0]
        if not np.allclose(np.array(image.position), np.array(twin.position), rtol=0, atol=SAME_PLACE):
            raise SourceError(
                f"{twin} and {image} lie in one plane, side by side; give the files of one stack"
            )
        planes[-1].append(image)
    return tuple(tuple(plane) for plane in planes)


def _line(
    heads: Sequence[Slice], origins: NDArray[np.float64], tolerance: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the unit vector from the first to the last origin, and each origin's place on it in mm."""
    chord = origins[-1] - origins[0]
    z_axis = chord / np.linalg.norm(chord)
    along = np.round((origins - origins[0]) @ z_axis, 9)  # the subtraction leaves 0.9999999999999929 mm
    aside = np.linalg.norm(origins - origins[0] - along[:, np.newaxis] * z_axis, axis=1)
    if aside.max() > tolerance:
        worst = int(aside.argmax())
        raise SourceError(
            f"{heads[worst]} lies {aside[worst]:.2f} mm beside the line through the other slices' origins;"
            f" up to {tolerance:.2f} mm (a quarter of a pixel) is allowed"
        )
    return z_axis, along


def _refuse_gaps(heads: Sequence[Slice], along: NDArray[np.float64]) -> None:
    """Raise SourceError if slices are missing: a step, or two in a row, is longer than the others are.

    Distances that are uneven all over, or that change for a whole run of slices, are as scanned; a step
    between two plans may be anything between their steps.
    """
    steps = np.diff(along).tolist()
    common = sorted(steps)[(len(steps) - 1) // 2]
    runs: list[tuple[int, int]] = []  # where equal steps begin and end
    for place, step in enumerate(steps):
        if runs and abs(step - steps[runs[-1][0]]) <= ALIKE * steps[runs[-1][0]]:
            runs[-1] = (runs[-1][0], place + 1)
        else:
            runs.append((place, place + 1))
    gaps: list[int] = []
    if sum(abs(step - common) <= ALIKE * common for step in steps) * 2 < len(steps):
        longest = int(np.argmax(steps))
        others = steps[:longest] + steps[longest + 1 :]
        if others and steps[longest] > OUTLIER * max(others):
            gaps = [longest]
    else:
        for start, end in runs:
            beside = [steps[place] for place in (start - 1, end) if 0 <= place < len(steps)]
            longer = steps[start] > GAP * max([common, *beside])
            if longer and end - start < CHANGED_PLAN:
                gaps += range(start, end)
        if len(gaps) > FEW * len(steps) and all(steps[gap] < SHORT * common for gap in gaps):
            gaps = []
    if gaps:
        pairs = ", ".join(f"{heads[gap]} and {heads[gap + 1]}" for gap in gaps[:3])
        more = f" and {len(gaps) - 3} more gaps" if len(gaps) > 3 else ""
        raise SourceError(
            f"slices are missing between {pairs}{more}, which lie {steps[gaps[0]]:.4g} mm apart"
            f" where the others have {common:.4g} mm; add the missing files, or give those of one side"
        )
