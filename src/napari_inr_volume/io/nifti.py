"""NIfTI in and out. It indexes (x, y, z) in RAS+ millimetres; our volumes are (z, y, x) in LPS.

Pairs (.hdr and .img) are read too, and Analyze 7.5, from which NIfTI came, with its scaling by SPM.
"""

from __future__ import annotations

import gzip
import io
import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SourceError
from ..core.source import Source
from ..core.units import Units, is_units
from ..core.volume import Volume
from .nifti_place import RAS_TO_LPS, find_affine
from .payload import CHUNK, check_claim, read_start, read_voxels, skip
from .values import Voxels, geometry_of, guess_meaning, rescaled

WRITER = "napari-inr-volume"  # marks the comment in which our own files keep units and padding
HEADER = 4 * CHUNK  # bytes read for a header and its extensions, at most


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI-1 or -2 file, or either file of a pair. Any orientation is kept; nothing is resampled.

    Raises SourceError for several time points or channels, or an affine that places no voxels.
    """
    header_path, data_path = _files(path)
    header, sizes, kind = _header(header_path)
    if getattr(header, "is_single", False):
        data_path = header_path
    elif data_path == header_path:
        raise SourceError(f"'{path.name}' is half of a pair; name it .hdr, beside its .img")
    stored, axes = _voxels(header, data_path)
    slope, intercept = _scaling(header)
    voxels = rescaled(stored, slope, intercept)
    if axes < 3:
        return Volume.from_array(voxels.reshape(voxels.shape[3 - axes :]))  # which says what is wrong
    affine, notes = find_affine(header, sizes, voxels.shape[::-1], path)
    units, padding = _own_meaning(header) or guess_meaning(voxels)
    return Volume(
        voxels=voxels,
        geometry=geometry_of(voxels, affine),
        units=units,
        padding=padding,
        source_bytes=stored.nbytes,
        found=(kind,),
        notes=notes,
    )


def write_nifti(source: Source, planes: Iterable[Voxels], path: Path) -> None:
    """Write voxels as NIfTI-1, compressed if the name ends in .gz. See `volumes.write_volume`."""
    import nibabel

    geometry, dtype = source.geometry, source.dtype
    if dtype == np.float16:  # which NIfTI does not know
        dtype = np.dtype(np.float32)
    affine = RAS_TO_LPS @ geometry.affine[:, [2, 1, 0, 3]]
    image: Any = nibabel.Nifti1Image(  # type: ignore[no-untyped-call]
        np.broadcast_to(dtype.type(0), geometry.shape[::-1]), affine, dtype=dtype
    )
    image.set_sform(affine, code="scanner")
    axes = np.array(geometry.direction)
    if np.allclose(axes.T @ axes, np.eye(3), atol=1e-4):  # a quaternion has no shear
        image.set_qform(affine, code="scanner")
    image.header.set_xyzt_units("mm")
    if geometry.slice_positions is not None:
        image.header["descrip"] = b"irregular slice distances: the spacing along z is their mean"
    notes = json.dumps({"writer": WRITER, "units": source.units, "padding": source.padding})
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", notes.encode()))
    image.header.set_slope_inter(1, 0)
    with nibabel.openers.ImageOpener(str(path), "wb") as file:
        image.header.write_to(file)
        file.write(bytes(int(image.header.get_data_offset()) - file.tell()))
        for plane in planes:
            file.write(plane.astype(dtype, copy=False).tobytes())


def _files(path: Path) -> tuple[Path, Path]:
    """Return the files that hold the header and the voxels: the same one, or a pair's .hdr and .img.

    Either may be compressed. Raises SourceError if the partner is missing.
    """
    packed = ".gz" if path.suffix.lower() == ".gz" else ""
    stem = path.with_suffix("") if packed else path
    if stem.suffix.lower() not in (".hdr", ".img"):
        return path, path
    wanted = ".img" if stem.suffix.lower() == ".hdr" else ".hdr"
    names = {f"{stem.stem}{wanted}{end}".lower() for end in ("", ".gz")}
    partners = sorted(other for other in path.parent.iterdir() if other.name.lower() in names)
    exact = [other for other in partners if other.name == f"{stem.stem}{wanted}{packed}"]
    if not partners:
        raise SourceError(f"'{path.name}' is half of a pair, and its '{stem.stem}{wanted}' is missing")
    partner = (exact or partners)[0]
    return (path, partner) if wanted == ".img" else (partner, path)


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb"))


def _header(path: Path) -> tuple[Any, NDArray[Any], str]:
    """Return nibabel's header of a file, its voxel sizes as stored, and what kind of file it is."""
    from nibabel import analyze, nifti1, nifti2, spm2analyze

    with _open(path) as stream:
        start = read_start(stream, HEADER)
    kinds: dict[str, tuple[Any, ...]] = {
        "NIfTI": (nifti1.Nifti1PairHeader if start[344:347] == b"ni1" else nifti1.Nifti1Header,),
        "NIfTI-2": (nifti2.Nifti2PairHeader if start[4:7] == b"ni2" else nifti2.Nifti2Header,),
        "Analyze 7.5": (spm2analyze.Spm2AnalyzeHeader, analyze.AnalyzeHeader),
    }
    for words, classes in kinds.items():
        for header in classes:
            if header.may_contain_header(start):
                stored = header(start[: header.sizeof_hdr], check=False)["pixdim"][1:4]
                with warnings.catch_warnings():  # nibabel's hope for the best
                    warnings.filterwarnings("ignore", "Extension size", UserWarning)
                    return header.from_fileobj(io.BytesIO(start)), stored, words
    raise SourceError(
        f"'{path.name}' is not a NIfTI or Analyze file, or its header is damaged; copy it again"
    )


def _voxels(header: Any, path: Path) -> tuple[Voxels, int]:
    """Return the stored voxels (z, y, x), and how many of these axes the file has."""
    shape = tuple(int(length) for length in header.get_data_shape())
    if max(shape[3:], default=1) > 1:
        raise SourceError(
            f"'{path.name}' holds more axes than x, y, z: {shape}; extract one time point or channel"
        )
    offset, dtype = int(header.get_data_offset()), header.get_data_dtype()
    size = (*shape[:3], 1, 1, 1)[2::-1]
    packed = path.suffix.lower() == ".gz"
    check_claim(path, size, dtype.itemsize, path.stat().st_size, packed=packed, skipped=offset)
    with _open(path) as stream:
        skip(stream, offset)
        return read_voxels(stream, size, dtype, path), min(len(shape), 3)


def _scaling(header: Any) -> tuple[float, float]:
    """Return slope and intercept. A slope of 0, NaN or infinity means that there is no scaling."""
    slope, intercept = getattr(header, "get_slope_inter", lambda: (None, None))()
    return (1.0 if slope is None else float(slope)), (0.0 if intercept is None else float(intercept))


def _own_meaning(header: Any) -> tuple[Units, float | None] | None:
    """Return the units and padding that our own writer left in a comment, or None."""
    for extension in getattr(header, "extensions", ()):
        try:
            notes = json.loads(extension.get_content())
        except (TypeError, ValueError):  # someone else's
            continue
        if isinstance(notes, dict) and notes.get("writer") == WRITER and is_units(notes.get("units")):
            padding = notes.get("padding")
            return notes["units"], None if padding is None else float(padding)
    return None
