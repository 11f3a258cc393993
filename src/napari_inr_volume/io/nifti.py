"""NIfTI in and out. It indexes (x, y, z) in RAS+ millimetres; our volumes are (z, y, x) in LPS."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SourceError
from ..core.volume import Geometry, Units, Volume
from .values import Voxels, guess_meaning, rescaled, triple

WRITER = "napari-inr-volume"  # marks the comment in which our own files keep units and padding
MILLIMETRES = {"meter": 1e3, "micron": 1e-3}  # of a header whose unit of length is neither mm nor unknown
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # and back


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI-1 or -2 file. Any orientation is kept as it is, in the geometry; nothing is resampled.

    Raises SourceError for several time points or channels, or an affine that places no voxels.
    """
    import nibabel

    with warnings.catch_warnings():  # nibabel's hope for the best; we read the comments we know only
        warnings.filterwarnings("ignore", "Extension size", UserWarning)
        image: Any = nibabel.load(path, mmap=False)
    if max(image.shape[3:], default=1) > 1:
        raise SourceError(
            f"'{path.name}' holds more axes than x, y, z: {image.shape}; extract one time point or channel"
        )
    stored = np.asarray(image.dataobj.get_unscaled()).reshape(image.shape[:3], order="F")
    voxels = rescaled(stored.T, image.dataobj.slope, image.dataobj.inter)  # (z, y, x), contiguous
    if voxels.ndim != 3:
        return Volume.from_array(voxels)  # which says what is wrong
    units, padding = _own_meaning(image.header) or guess_meaning(voxels)
    return Volume(
        voxels=voxels,
        geometry=_geometry(voxels, _affine(image, path)),
        units=units,
        padding=padding,
        source_bytes=stored.nbytes,
    )


def write_nifti(volume: Volume, path: Path) -> None:
    """Write a volume as NIfTI-1, compressed if the name ends in .gz. See `volumes.write_volume`."""
    import nibabel

    geometry, voxels = volume.geometry, volume.voxels
    if voxels.dtype == np.float16:  # which NIfTI does not know
        voxels = voxels.astype(np.float32)
    affine = RAS_TO_LPS @ geometry.affine[:, [2, 1, 0, 3]]
    image: Any = nibabel.Nifti1Image(  # type: ignore[no-untyped-call]
        voxels.T, affine, dtype=voxels.dtype
    )
    image.set_sform(affine, code="scanner")
    axes = np.array(geometry.direction)
    if np.allclose(axes.T @ axes, np.eye(3), atol=1e-4):  # a quaternion has no shear
        image.set_qform(affine, code="scanner")
    image.header.set_xyzt_units("mm")
    if geometry.slice_positions is not None:
        image.header["descrip"] = b"irregular slice distances: the spacing along z is their mean"
    notes = json.dumps({"writer": WRITER, "units": volume.units, "padding": volume.padding})
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", notes.encode()))
    nibabel.save(image, path)


def _affine(image: Any, path: Path) -> NDArray[np.float64]:
    """Return the matrix (4, 4) from (x, y, z, 1) to LPS in mm."""
    affine: NDArray[np.float64] = RAS_TO_LPS @ image.affine
    affine[:3] *= MILLIMETRES.get(image.header.get_xyzt_units()[0], 1.0)
    if not np.isfinite(affine).all() or not affine[:3, :3].any(axis=0).all():
        raise SourceError(
            f"'{path.name}' has an affine that places no voxels, {image.affine[:3].tolist()}; repair it"
        )
    return affine


def _geometry(voxels: Voxels, affine: NDArray[np.float64]) -> Geometry:
    """Return the geometry of voxels (z, y, x) with an affine for (x, y, z)."""
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


def _own_meaning(header: Any) -> tuple[Units, float | None] | None:
    """Return the units and padding that our own writer left in a comment, or None."""
    for extension in header.extensions:
        try:
            notes = json.loads(extension.get_content())
        except (TypeError, ValueError):  # someone else's
            continue
        if (
            isinstance(notes, dict)
            and notes.get("writer") == WRITER
            and notes.get("units") in get_args(Units)
        ):
            padding = notes.get("padding")
            return notes["units"], None if padding is None else float(padding)
    return None
