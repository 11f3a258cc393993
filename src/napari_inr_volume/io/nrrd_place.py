"""Where the voxels of a NRRD header lie: its axes, their directions, and the patient axes these refer to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SourceError
from ..core.text import printable
from .lengths import completed, in_mm, length
from .values import places_voxels

# Where each patient axis that NRRD names points: along which of ours (LPS), and which way.
TO_LPS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
SPATIAL = ("domain", "space", "???", "none")  # kinds of axes that can be x, y or z
UNKNOWN = "its orientation is not known and was assumed, the header gives none"


def find_axes(fields: dict[str, Any], path: Path) -> list[int]:
    """Return which axes are x, y and z, or fewer. Raises SourceError if any other is longer than 1."""
    sizes = fields["sizes"]
    kinds = [str(kind).lower() for kind in fields.get("kinds", ["???"] * len(sizes))]
    directions = _directions(fields, path)
    spatial = [
        axis
        for axis in range(len(sizes))
        if kinds[axis : axis + 1] and kinds[axis] in SPATIAL
        if directions is None or not np.isnan(directions[axis]).all()
    ]
    axes = spatial[:3]
    if any(length > 1 for axis, length in enumerate(sizes) if axis not in axes):
        words = " ".join(fields.get("kinds", ()))
        raise SourceError(
            f"'{path.name}' holds more axes than x, y, z: {sizes}{f' ({printable(words)})' if words else ''};"
            " extract one channel or time point"
        )
    return axes


def find_affine(
    fields: dict[str, Any], axes: list[int], path: Path
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the matrix (4, 4) from (x, y, z, 1) to LPS in mm, and in phrases what was assumed.

    Raises SourceError for directions that place no voxels.
    """
    affine, notes = np.eye(4), []
    directions = _directions(fields, path)
    if directions is None:
        spacing, assumed = _spacing(fields, axes)
        affine[:3, :3] = np.diag(spacing)
        return affine, (UNKNOWN, *assumed)
    affine[:3, :3] = directions[axes].T
    origin = np.ravel(fields.get("spaceorigin", np.full(3, np.nan)))
    if origin.size == 3 and np.isfinite(origin).all():
        affine[:3, 3] = origin
    else:
        notes.append("the first voxel was put at 0, 0, 0, the header gives no place")
    units = [in_mm(unit) for unit in fields.get("spaceunits", ())]
    if len(units) == 3 and all(units):
        affine[:3] *= np.array(units, dtype=np.float64)[:, np.newaxis]
    else:
        notes.append("mm assumed, the header names no unit of length")
    if not places_voxels(affine):
        raise SourceError(
            f"'{path.name}' has space directions that place no voxels, {directions.tolist()}; repair it"
        )
    patient, named = _patient_axes(str(fields.get("space", "")))
    if not named:
        notes.insert(0, "LPS assumed, the header names no patient axes")
    return patient @ affine, tuple(notes)


def _directions(fields: dict[str, Any], path: Path) -> NDArray[np.float64] | None:
    """Return the steps in space along each axis (axes, 3), NaN along those that are not in space."""
    if fields.get("spacedirections") is None:
        return None
    rows = [
        np.full(3, np.nan) if row is None else np.asarray(row, np.float64)
        for row in fields["spacedirections"]
    ]
    if len(rows) != len(fields["sizes"]) or any(row.shape != (3,) for row in rows):
        raise SourceError(
            f"'{path.name}' has no direction of three numbers for every axis; repair its header"
        )
    return np.stack(rows)


def _spacing(fields: dict[str, Any], axes: list[int]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the spacing along x, y and z in mm, of a header without directions, and what was assumed."""
    spacings = list(fields.get("spacings", ()))
    units = list(fields.get("units", ()))
    sizes, unknown = [], False
    for axis in axes:
        millimetres = in_mm(units[axis]) if axis < len(units) else None
        unknown = unknown or not millimetres
        size = length(spacings[axis]) if axis < len(spacings) else None
        sizes.append(size and size * (millimetres or 1.0))
    spacing, assumed = completed(sizes[::-1])
    if unknown and any(sizes):
        assumed = (*assumed, "mm assumed, the header names no unit of length")
    return np.array(spacing[::-1]), assumed


def _patient_axes(space: str) -> tuple[NDArray[np.float64], bool]:
    """Return the matrix (4, 4) to LPS of a space by name, such as right-anterior-superior or RAS.

    And whether it names patient axes: scanner-xyz and 3D-right-handed do not, and count as LPS.
    """
    words = space.upper().split("-")
    letters = "".join(word[0] for word in words if word) if len(words) > 1 else words[0]
    matrix = np.eye(4)
    if len(letters) != 3 or sorted(TO_LPS.get(letter, (3, 0))[0] for letter in letters) != [0, 1, 2]:
        return matrix, False
    matrix[:3, :3] = 0
    for column, letter in enumerate(letters):
        row, sign = TO_LPS[letter]
        matrix[row, column] = sign
    return matrix, True
