"""Where the voxels of a NIfTI or Analyze header lie: sform, qform, or what is assumed without them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SourceError
from .values import places_voxels

MILLIMETRES = {1: 1e3, 2: 1.0, 3: 1e-3}  # by NIfTI's code of a unit of length: metre, mm, micron
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # and back

Affine = NDArray[np.float64]


def find_affine(
    header: Any, sizes: NDArray[Any], shape: tuple[int, ...], path: Path
) -> tuple[Affine, tuple[str, ...]]:
    """Return the matrix (4, 4) from (x, y, z, 1) to LPS in mm, and in phrases what was assumed.

    The sform counts before the qform, as nibabel has it; one that is not set, or places no voxels, does not
    count beside one that does. Where neither is set, the voxels are laid around the origin by their sizes
    alone. `shape` is x, y, z, and `sizes` are the pixdim along them as stored: nibabel has put right those in
    the header. Raises SourceError for what is set but places no voxels.
    """
    scale, notes = _unit(header)
    sform, qform = _sform(header), None
    why_not = ""
    try:
        qform = _qform(header, sizes)
    except ValueError as error:  # also nibabel's HeaderDataError
        why_not = str(error)
    if sform is not None:
        affine = sform
        if qform is not None and (apart := _apart(sform, qform, shape)) > 1:
            notes.append(f"sform used; the qform differs from it by up to {apart:.3g} voxels off")
        elif why_not:
            notes.append("sform used; the qform is damaged")
    elif qform is not None:
        affine = qform
        notes += _repaired(sizes)
    elif why_not:
        raise SourceError(f"'{path.name}' has no sform, and its qform places no voxels: {why_not}; repair it")
    elif _is_set(header, "sform_code"):
        rows = header.get_sform()[:3].tolist()
        raise SourceError(f"'{path.name}' has an sform that places no voxels, {rows}; repair it")
    else:
        affine = header.get_base_affine()
        notes += _repaired(sizes)
        notes.insert(0, "its orientation is not known and was assumed, the header gives none")
        if not places_voxels(affine):
            raise SourceError(
                f"'{path.name}' has voxels of {_in_words(sizes)} mm, and no sform or qform; repair its header"
            )
    affine = RAS_TO_LPS @ affine
    affine[:3] *= scale
    return affine, tuple(notes)


def _unit(header: Any) -> tuple[float, list[str]]:
    """Return the mm of the header's unit of length, and the notes on it."""
    if "xyzt_units" not in header:  # of Analyze, in mm by its definition
        return 1.0, []
    millimetres = MILLIMETRES.get(int(header["xyzt_units"]) & 7)
    if millimetres is None:
        return 1.0, ["mm assumed, the header names no unit of length"]
    return millimetres, []


def _is_set(header: Any, code: str) -> bool:
    """Return whether a header, which may be one of Analyze, has a code above 0."""
    return code in header and header[code] > 0


def _sform(header: Any) -> Affine | None:
    """Return the sform if it is set and places voxels."""
    if not _is_set(header, "sform_code"):
        return None
    affine: Affine = header.get_sform()
    return affine if places_voxels(affine) else None


def _qform(header: Any, sizes: NDArray[Any]) -> Affine | None:
    """Return the qform if it is set. Raises ValueError for one that places no voxels."""
    if not _is_set(header, "qform_code"):
        return None
    numbers = [float(header[name]) for name in ("quatern_b", "quatern_c", "quatern_d")]
    if not np.isfinite(numbers).all() or sum(number**2 for number in numbers) > 1 + 1e-3:
        raise ValueError(f"its quaternion is {numbers}, more than 1 long")
    affine: Affine = header.get_qform()
    if not places_voxels(affine) or not sizes.all():
        raise ValueError(f"its voxels are {_in_words(sizes)} mm")
    return affine


def _apart(first: Affine, second: Affine, shape: tuple[int, ...]) -> float:
    """Return how far two affines put one voxel of a volume apart at most, in voxels' shortest edges."""
    corners = np.array([[*corner, 1] for corner in itertools.product(*((0, length - 1) for length in shape))])
    distances = np.linalg.norm((corners @ (first - second).T)[:, :3], axis=1)
    return float(distances.max() / np.linalg.norm(first[:3, :3], axis=0).min())


def _repaired(sizes: NDArray[Any]) -> list[str]:
    """Return the notes on voxel sizes that nibabel has put right: 0 became 1, and a minus was dropped."""
    if not sizes.all():
        return ["1 mm assumed where the header gives a voxel size of 0"]
    return ["negative voxel sizes were read as positive"] if (sizes < 0).any() else []


def _in_words(sizes: NDArray[Any]) -> str:
    return " x ".join(f"{float(size):g}" for size in sizes)
