"""NRRD in and out, header and voxels in one file or apart (.nhdr).

The axes run from the fastest, x, to the slowest, z. Our own files keep units, padding and uneven slice
positions as a key/value pair, which other programs pass over. pynrrd reads the header; the voxels we read
ourselves, held to what the header claims.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import SourceError
from ..core.source import Source
from ..core.text import printable
from ..core.units import is_units
from ..core.volume import Geometry, Volume
from .detached import data_file
from .nrrd_place import find_affine, find_axes
from .payload import check_claim, read_start, read_voxels, skip
from .values import Voxels, geometry_of, guess_meaning, rescaled

HEADER = 1 << 20  # bytes read for a header, at most
NOTES = "napari-inr-volume"  # the key under which our own files keep what NRRD has no field for
ENCODINGS = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
ENCODINGS |= dict.fromkeys(("text", "txt", "ascii"), "text")
WIDTHS = {"char": 1, "short": 2, "short int": 2, "int": 4, "longlong": 8, "long long": 8, "long long int": 8}
WIDTHS |= {"int8": 1, "int16": 2, "int32": 4, "int64": 8}  # bytes of whole numbers, by name
TYPES = {"f4": "float", "f8": "double"}  # our names of whole numbers are NRRD's too


def read_nrrd(path: Path) -> Volume:
    """Read a NRRD file of three axes, or a header with its data file beside it.

    Raises SourceError for more axes, several channels, or voxels that are missing or in another folder.
    """
    with path.open("rb") as file:
        start = io.BytesIO(read_start(file, HEADER))
    fields = _fields(start, path)
    axes = find_axes(fields, path)
    stored = _voxels(fields, path, start.tell())
    shape = [fields["sizes"][axis] for axis in axes[::-1]]
    voxels = rescaled(stored.reshape(shape))
    if len(axes) < 3:
        return Volume.from_array(voxels)  # which says what is wrong
    affine, notes = find_affine(fields, axes, path)
    geometry = geometry_of(voxels, affine)
    units, padding = guess_meaning(voxels)
    own = _own_notes(fields)
    if own:
        units, padding = own["units"], None if own["padding"] is None else float(own["padding"])
        if own["slice_positions_mm"] is not None:
            positions = tuple(float(position) for position in own["slice_positions_mm"])
            geometry = Geometry(**{**vars(geometry), "slice_positions": positions})
    return Volume(
        voxels=voxels,
        geometry=geometry,
        units=units,
        padding=padding,
        source_bytes=stored.nbytes,
        found=("NRRD",),
        notes=notes,
    )


def write_nrrd(source: Source, planes: Iterable[Voxels], path: Path) -> None:
    """Write voxels as one NRRD file, compressed by gzip. See `volumes.write_volume`."""
    geometry, dtype = source.geometry, source.dtype
    if dtype == np.float16:  # which NRRD does not know
        dtype = np.dtype(np.float32)
    columns = geometry.affine[:3, 2::-1]  # mm (LPS) from voxel to voxel along x, y, z
    notes = {
        "units": source.units,
        "padding": source.padding,
        "slice_positions_mm": geometry.slice_positions,
    }
    lines = (
        "NRRD0004",
        f"type: {TYPES.get(dtype.str[1:], dtype.name)}",
        "dimension: 3",
        "space: left-posterior-superior",
        "sizes: " + " ".join(str(length) for length in geometry.shape[::-1]),
        "space directions: " + " ".join(_vector(column) for column in columns.T),
        "kinds: domain domain domain",
        "endian: little",
        "encoding: gzip",
        'space units: "mm" "mm" "mm"',
        f"space origin: {_vector(geometry.origin)}",
        f"{NOTES}:={json.dumps(notes)}",
    )
    with path.open("wb") as file:
        file.write(("\n".join(lines) + "\n\n").encode("ascii"))
        # without a name or a time, so that the same volume gives the same bytes
        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
            for plane in planes:
                packed.write(plane.astype(dtype.newbyteorder("<"), copy=False).tobytes())


def _fields(start: io.BytesIO, path: Path) -> dict[str, Any]:
    """Return the fields of a header, by their names in small letters without spaces; leaves it behind them.

    Raises SourceError for what every header must have.
    """
    import nrrd

    fields = {name.lower().replace(" ", ""): value for name, value in nrrd.read_header(start).items()}
    if missing := [name for name in ("type", "dimension", "sizes", "encoding") if name not in fields]:
        raise SourceError(
            f"'{path.name}' is not a complete NRRD file: its header has no {' or '.join(missing)}"
        )
    fields["sizes"] = [int(length) for length in fields["sizes"]]
    if len(fields["sizes"]) != fields["dimension"]:
        raise SourceError(
            f"'{path.name}' has {fields['dimension']} axes, but sizes {fields['sizes']}; repair its header"
        )
    return fields


def _voxels(fields: dict[str, Any], path: Path, offset: int) -> Voxels:
    """Return the stored array, slowest axis first; it begins at `offset`, or has a file of its own."""
    encoding = ENCODINGS.get(str(fields["encoding"]).lower())
    if encoding is None:
        raise SourceError(
            f"'{path.name}' is encoded as {printable(fields['encoding'])}; save it raw, gzip, bzip2 or text"
        )
    dtype, shape = _dtype(fields, encoding, path), fields["sizes"][::-1]
    name = fields.get("datafile")
    if name is not None:
        if str(name).split()[0] == "LIST" or "%" in str(name):
            raise SourceError(f"'{path.name}' keeps its voxels in several files; save it as one .nrrd file")
        path, offset = data_file(path, str(name)), 0
    lines, skipped = int(fields.get("lineskip", 0)), int(fields.get("byteskip", 0))
    size, packed = path.stat().st_size, encoding in ("gzip", "bzip2")
    itemsize = 1 if encoding == "text" else dtype.itemsize  # a digit at least
    check_claim(path, shape, itemsize, size - offset, packed=packed, skipped=max(skipped, 0))
    with path.open("rb") as file:
        file.seek(offset)
        for _ in range(min(lines, size)):
            file.readline(size)
        if encoding == "text":
            return _numbers(file.read(), shape, dtype, path)
        if skipped < 0 and not packed:  # -1: the voxels are the end of the file
            file.seek(size - int(np.prod(shape)) * dtype.itemsize)
        stream: Any = file
        if encoding == "gzip":
            stream = gzip.GzipFile(fileobj=file)
        elif encoding == "bzip2":
            stream = bz2.BZ2File(file)
        skip(stream, skipped)
        return read_voxels(stream, shape, dtype, path)


def _dtype(fields: dict[str, Any], encoding: str, path: Path) -> Any:
    """Return the type of the stored numbers. Raises SourceError for an unknown type or byte order."""
    name = " ".join(str(fields["type"]).lower().split())
    if name in TYPES.values():
        dtype = np.dtype(np.float32 if name == "float" else np.float64)
    else:
        base = name.removesuffix("_t").removeprefix("signed ")
        whole = base.removeprefix("unsigned ").removeprefix("u")
        if whole not in WIDTHS:
            raise SourceError(
                f"'{path.name}' holds values of type {printable(name)}; save whole numbers, float or double"
            )
        dtype = np.dtype(f"{'u' if whole != base else 'i'}{WIDTHS[whole]}")
    if dtype.itemsize == 1 or encoding == "text":
        return dtype
    endian = str(fields.get("endian")).lower()
    if endian == "little":
        return dtype.newbyteorder("<")
    if endian == "big":
        return dtype.newbyteorder(">")
    raise SourceError(f"'{path.name}' does not say whether its endian is little or big; repair its header")


def _numbers(text: bytes, shape: Sequence[int], dtype: Any, path: Path) -> Voxels:
    numbers = np.fromstring(text, dtype, sep=" ")
    if numbers.size != np.prod(shape):
        raise SourceError(
            f"'{path.name}' claims {np.prod(shape)} numbers and holds {numbers.size}; copy it again"
        )
    return numbers.reshape(shape)


def _own_notes(fields: dict[str, Any]) -> dict[str, Any] | None:
    """Return what our own writer left, or None of a file by another program."""
    try:
        notes = json.loads(fields.get(NOTES, ""))
    except ValueError:
        return None
    whole = isinstance(notes, dict) and {"padding", "slice_positions_mm"} <= notes.keys()
    return notes if whole and is_units(notes.get("units")) else None


def _vector(numbers: Any) -> str:
    return f"({','.join(repr(float(number)) for number in numbers)})"
