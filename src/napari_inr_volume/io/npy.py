"""NumPy's files: one array in an `.npy`, or in an `.npz` beside its spacing. Nothing is ever unpickled.

numpy would allocate what a header claims, so the header is read and checked against the bytes first.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.lib import format as npy_format

from ..core.errors import SourceError
from ..core.source import Source
from ..core.text import printable
from ..core.volume import Triple, Volume, triple
from .lengths import completed
from .payload import check_claim, read_voxels
from .values import Voxels, geometry_of, guess_meaning, rescaled


def read_npy(path: Path) -> Volume:
    """Read one array (z, y, x), with voxels of 1 mm."""
    with path.open("rb") as file:
        stored = _array(file, path.stat().st_size, path, packed=False)
    return _volume(stored, None)


def read_npz(path: Path) -> Volume:
    """Read one array, or of several the one named `voxels`; `spacing` beside it is in mm (z, y, x)."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        stored = _member(archive, members[_voxels_name(list(members), path)], path)
        spacing = _member(archive, members["spacing"], path) if "spacing" in members else None
    return _volume(stored, None if spacing is None else _spacing(spacing, path))


def write_npy(source: Source, planes: Iterable[Voxels], path: Path) -> None:
    """Write the voxels alone. See `volumes.write_volume`."""
    head = {
        "descr": npy_format.dtype_to_descr(source.dtype),
        "fortran_order": False,
        "shape": source.geometry.shape,
    }
    with path.open("wb") as file:
        npy_format.write_array_header_1_0(file, head)
        for plane in planes:
            file.write(plane.tobytes())


def _volume(stored: Voxels, spacing: Triple | None) -> Volume:
    voxels = rescaled(stored)
    if voxels.ndim != 3 or voxels.size == 0:
        return Volume.from_array(voxels)  # which says what is wrong
    units, padding = guess_meaning(voxels)
    sizes, notes = completed(spacing or (None, None, None))
    return Volume(
        voxels=voxels,
        geometry=geometry_of(voxels, np.diag([*sizes[::-1], 1.0])),
        units=units,
        padding=padding,
        found=("NumPy",),
        notes=notes,
    )


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> Voxels:
    with archive.open(member) as file:
        packed = member.compress_type != zipfile.ZIP_STORED
        return _array(cast(BinaryIO, file), member.compress_size, path, packed=packed)


def _array(file: BinaryIO, stored: int, path: Path, *, packed: bool) -> Voxels:
    """Return the array in an open file of `stored` bytes, which may be packed."""
    version = npy_format.read_magic(file)
    if version not in ((1, 0), (2, 0)):  # 3.0 is for the names of fields
        raise _no_numbers(path)
    read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject or dtype.kind not in "biufc":
        raise _no_numbers(path)
    if math.prod(shape):
        check_claim(path, shape or (1,), dtype.itemsize, stored, packed=packed)
    voxels = read_voxels(file, shape[::-1] if fortran else shape, dtype, path)
    return voxels.T if fortran else voxels


def _no_numbers(path: Path) -> SourceError:
    return SourceError(
        f"'{path.name}' is not a plain array of numbers (pickled objects are never loaded);"
        " save one with numpy.save"
    )


def _voxels_name(names: list[str], path: Path) -> str:
    arrays = [name for name in names if name != "spacing"]
    if "voxels" not in arrays and len(arrays) != 1:
        raise SourceError(
            f"'{path.name}' holds the arrays {printable(', '.join(names)) or 'none'};"
            " name the volume's 'voxels', or save it alone"
        )
    return "voxels" if "voxels" in arrays else arrays[0]


def _spacing(values: Any, path: Path) -> Triple:
    if np.shape(values) != (3,) or values.dtype.kind not in "iuf":
        raise SourceError(f"'spacing' in '{path.name}' must be three numbers in mm (z, y, x), got {values!r}")
    return triple(values)
