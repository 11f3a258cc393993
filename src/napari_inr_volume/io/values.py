"""What the numbers stored in a file mean, where the file says little about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SourceError
from ..core.scratch import room
from ..core.source import Source
from ..core.units import HU, RAW, Units, guess_units
from ..core.volume import Geometry, triple

Voxels = NDArray[Any]


def rescaled(stored: Voxels, slope: float = 1.0, intercept: float = 0.0) -> Voxels:
    """Return stored * slope + intercept in native byte order, without a copy if nothing changes.

    Integers stay integers where slope and intercept are whole: the smallest of int16, int32 and
    int64 that holds them. Otherwise they become float32, or float64 if that loses digits.
    """
    kind = stored.dtype.kind
    if kind not in "iuf":
        return stored  # Volume says what is wrong with it
    if (slope, intercept) == (1, 0):
        too_wide = kind == "f" and stored.dtype.itemsize > 8  # long double: no library behind us takes it
        native = np.dtype(np.float64) if too_wide else stored.dtype.newbyteorder("=")
        return stored if stored.dtype == native else _each(stored, native, lambda plane: plane)
    if kind != "f" and float(slope).is_integer() and float(intercept).is_integer():
        working: Any = np.int64
        slope, intercept = int(slope), int(intercept)
        ends = [int(end) * slope + intercept for end in (stored.min(), stored.max())]
        dtype: Any = next((kind for kind in (np.int16, np.int32, np.int64) if _holds(kind, ends)), None)
        if dtype is None:  # beyond 64 bits
            working = dtype = np.float64
            slope, intercept = float(slope), float(intercept)
    else:
        working = np.float64
        dtype = np.result_type(stored.dtype, np.float32)
    return _each(stored, dtype, lambda plane: plane.astype(working) * slope + intercept)


def _each(stored: Voxels, dtype: Any, change: Callable[[Voxels], Voxels]) -> Voxels:
    """Return another array of what each slice becomes: no wide copy of the whole."""
    what = f"the volume as {np.dtype(dtype)}"
    values = room(stored.shape, dtype, what, "cut the volume into parts", SourceError)
    for at in np.ndindex(stored.shape[:1]):
        values[at] = change(stored[at])
    return values


def _holds(kind: Any, values: list[int]) -> bool:
    return bool(np.iinfo(kind).min <= min(values) and max(values) <= np.iinfo(kind).max)


def guess_meaning(voxels: Any) -> tuple[Units, float | None]:
    """Return the units and the padding of voxels (z, y, x) without stated units, read a slice at a time.

    Of HU (`core.units.guess_units`), a value below -1024, the least that 12 bits hold, is padding if all
    corners have it.
    """
    if len(voxels.shape) != 3 or 0 in voxels.shape or voxels.dtype.kind not in "if":
        return RAW, None
    low = min(float(np.asarray(voxels[z]).min()) for z in range(voxels.shape[0]))
    if guess_units(low) != HU:
        return RAW, None
    corners = [np.asarray(voxels[z])[np.ix_([0, -1], [0, -1])] for z in (0, voxels.shape[0] - 1)]
    return HU, low if low < -1024 and all((plane == low).all() for plane in corners) else None


def only_grey(pixels: Voxels, axis: int, path: Path) -> Voxels:
    """Return the grey values of pixels with samples along `axis`; alpha is ignored.

    Red, green and blue must be equal: many programs export grey pictures like that. Raises SourceError.
    """
    samples = np.moveaxis(pixels, axis, 0)
    if len(samples) > 2 and not all(np.array_equal(samples[0], other) for other in samples[1:3]):
        raise SourceError(f"'{path.name}' is in colour; export grey values")
    return np.ascontiguousarray(samples[0])


def geometry_of(voxels: Voxels, affine: NDArray[np.float64]) -> Geometry:
    """Return the geometry of voxels (z, y, x) with an affine (4, 4) from (x, y, z, 1) to LPS in mm."""
    z, y, x = voxels.shape
    columns = affine[:3, 2::-1]
    spacing = np.linalg.norm(columns, axis=0)
    rows = columns / spacing
    return Geometry(
        shape=(z, y, x),
        spacing=triple(spacing),
        origin=triple(affine[:3, 3]),
        direction=(triple(rows[0]), triple(rows[1]), triple(rows[2])),
    )


def places_voxels(affine: NDArray[np.float64]) -> bool:
    """Return whether an affine (4, 4) is finite and keeps its three axes apart."""
    if not np.isfinite(affine).all():
        return False
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return bool((lengths > 0).all() and abs(np.linalg.det(affine[:3, :3] / lengths)) > 1e-6)


def meaning_of(source: Source) -> dict[str, Any]:
    """Return what formats with notes of our own keep of a source, beside its spacing: mm, patient axes."""
    geometry = source.geometry
    notes: dict[str, Any] = {
        "origin_mm": geometry.origin,
        "direction": geometry.direction,
        "units": source.units,
    }
    if source.padding is not None:
        notes["padding"] = source.padding
    if geometry.slice_positions is not None:
        notes["slice_positions_mm"] = geometry.slice_positions
    return notes
