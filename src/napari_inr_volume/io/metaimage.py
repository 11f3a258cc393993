"""MetaImage (.mha, .mhd with its data file), read by SimpleITK, which indexes (x, y, z) in LPS mm as we do.

For a file that is cut off SimpleITK prints to the terminal and gives no useful reason. So the header is
read here first, and what it claims is checked against the bytes in the file.
"""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import SourceError
from ..core.extras import extra
from ..core.text import printable
from ..core.volume import Volume
from .detached import data_file
from .lengths import completed, length
from .payload import CHUNK, check_claim, check_fits
from .values import geometry_of, guess_meaning

HEADER = 1 << 16  # bytes read for a header, at most
LAST = "ElementDataFile"  # the field with which every header ends
LONGEST = 499  # bytes of a value: ITK takes the rest of a longer one for the next line
LONGEST_FOREIGN = 32_767  # of a field that ITK does not know
KNOWN = (
    *("Comment", "ObjectType", "ObjectSubType", "NDims", "Name", "ID", "ParentID", "Color"),
    *("AcquisitionDate", "BinaryData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB", "CompressedData"),
    *("CompressedDataSize", "DistanceUnits", "AnatomicalOrientation", "DimSize"),
    *("HeaderSize", "Modality", "ImagePosition", "SequenceID", "ElementMin", "ElementMax", "ElementType"),
    *("ElementNumberOfChannels", "ElementNBits", "ElementToIntensityFunctionSlope"),
    *("ElementToIntensityFunctionOffset", LAST),
)
VECTORS = ("ElementSpacing", "ElementSize", "Offset", "Position", "Origin", "CenterOfRotation")
MATRICES = ("TransformMatrix", "Rotation", "Orientation")
WIDTHS = {  # bytes of each type; ITK takes long for 4
    "met_char": 1, "met_uchar": 1, "met_short": 2, "met_ushort": 2, "met_int": 4, "met_uint": 4,
    "met_long": 4, "met_ulong": 4, "met_long_long": 8, "met_ulong_long": 8, "met_float": 4, "met_double": 8,
}  # fmt: skip


def read_metaimage(path: Path) -> Volume:
    """Read a MetaImage of three axes, or a header with its data file beside it.

    Raises SourceError for more axes, several channels, voxels that are missing or in another folder, and
    without SimpleITK.
    """
    with extra("formats", f"'{path.name}', a MetaImage,", SourceError):
        import SimpleITK
    fields, end = _fields(path)
    lengths = _lengths(fields, path)
    _check_places(fields, len(lengths), path)
    _check_voxels(fields, lengths, end, path)
    sitk: Any = SimpleITK
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        image: Any = sitk.ReadImage(str(path), imageIO="MetaImageIO")
    except RuntimeError as error:
        raise SourceError(f"'{path}' cannot be read: {_reason(error)}") from error
    voxels = sitk.GetArrayFromImage(image).reshape(lengths[2::-1])  # (z, y, x)
    if voxels.ndim < 3:
        return Volume.from_array(voxels)  # which says what is wrong
    steps = np.array(image.GetDirection()).reshape(len(lengths), -1)[:3, :3] * image.GetSpacing()[:3]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = steps, image.GetOrigin()[:3]
    units, padding = guess_meaning(voxels)
    return Volume(
        voxels=voxels,
        geometry=geometry_of(voxels, affine),
        units=units,
        padding=padding,
        found=("MetaImage",),
        notes=_notes(fields),
    )


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields of the header by their names, in which capitals count as for ITK, and its end."""
    with path.open("rb") as file:
        start = file.read(HEADER)
    fields: dict[str, str] = {}
    end = 0
    for line in start.splitlines(keepends=True):
        end += len(line)
        name, separator, value = line.decode("ascii", "replace").partition("=")
        if not separator:
            break
        name, value = name.strip(), value.lstrip().rstrip("\r\n")
        longest = LONGEST if name in (*KNOWN, *VECTORS, *MATRICES) else LONGEST_FOREIGN
        if len(value) > longest:
            raise SourceError(
                f"'{path.name}' has a {printable(name[:40])} of {len(value):,} characters, where {longest:,}"
                " are allowed; repair its header"
            )
        fields[name] = value.strip()
        if name == LAST:
            return fields, end
    raise SourceError(f"'{path.name}' is not a MetaImage, or its header is cut off; copy it again")


def _lengths(fields: dict[str, str], path: Path) -> list[int]:
    """Return the voxels along x, y, z, and any axes of length 1. Raises SourceError for more than these."""
    lengths = [int(number) for number in fields.get("DimSize", "").split()]
    if len(lengths) != int(fields.get("NDims", 0)):
        raise SourceError(
            f"'{path.name}' has {printable(fields.get('NDims', 'no'))} axes, but sizes {lengths};"
            " repair its header"
        )
    if max(lengths[3:], default=1) > 1 or int(fields.get("ElementNumberOfChannels", 1)) > 1:
        channels = fields.get("ElementNumberOfChannels", "1")
        raise SourceError(
            f"'{path.name}' holds more than x, y, z: {lengths} with {printable(channels)} channels;"
            " extract one channel or time point"
        )
    return lengths


def _check_places(fields: dict[str, str], axes: int, path: Path) -> None:
    """Raise SourceError unless sizes and directions have their numbers: ITK reads on into the next line."""
    for name, count in {**dict.fromkeys(VECTORS, axes), **dict.fromkeys(MATRICES, axes**2)}.items():
        numbers = fields.get(name, "0 " * count).split()
        if len(numbers) != count or not all(math.isfinite(float(number)) for number in numbers):
            raise SourceError(
                f"'{path.name}' has the {name} '{printable(fields[name])}', not {count} finite numbers;"
                " repair its header"
            )


def _check_voxels(fields: dict[str, str], lengths: list[int], end: int, path: Path) -> None:
    """Raise SourceError unless all voxels that the header claims are there, in the file or beside it."""
    kind, name = fields.get("ElementType", "none"), fields[LAST]
    if kind.lower() not in WIDTHS:
        raise SourceError(
            f"'{path.name}' holds values of type {printable(kind)}; save whole numbers or floats"
        )
    if not _is_true(fields.get("BinaryData", "True")):
        raise SourceError(f"'{path.name}' keeps its voxels as text; save it in binary")
    if name.upper().startswith("LIST") or "%" in name:
        raise SourceError(f"'{path.name}' keeps its voxels in several files; save it as one .mha file")
    data = path
    if name.upper() != "LOCAL":
        data, end = data_file(path, name), max(int(fields.get("HeaderSize", 0)), 0)
    packed = _is_true(fields.get("CompressedData", "False"))
    width = WIDTHS[kind.lower()]
    stored, needed = data.stat().st_size - end, math.prod(lengths) * width
    check_claim(data, lengths[::-1], width, stored, packed=packed)
    check_fits(data, lengths[::-1], width)
    if packed and "CompressedDataSize" not in fields:  # without it ITK reads something else
        raise SourceError(f"'{path.name}' does not say how long its packed voxels are; save it again")
    size = int(fields.get("CompressedDataSize", stored))
    if packed and (size > stored or _inflated(data, end, size, needed) != needed):
        raise SourceError(f"'{data.name}' is cut off or damaged; copy it again")


def _inflated(path: Path, offset: int, stored: int, limit: int) -> int:
    """Return how many bytes the zlib stream of `stored` bytes at `offset` gives, if it is whole; else 0.

    It stops beyond `limit`.
    """
    inflater, count = zlib.decompressobj(wbits=47), 0  # zlib or gzip
    with path.open("rb") as file:
        file.seek(offset)
        while not inflater.eof and count <= limit:
            chunk = inflater.unconsumed_tail
            if not chunk:
                chunk = file.read(max(min(CHUNK, stored), 0))
                stored -= len(chunk)
            if not chunk:
                return 0
            count += len(inflater.decompress(chunk, CHUNK))
    return count


def _notes(fields: dict[str, str]) -> tuple[str, ...]:
    """Return in phrases what was assumed, or left as it is."""
    sizes = (fields.get("ElementSpacing") or fields.get("ElementSize") or "").split()[:3]
    notes = completed([length(size.lstrip("-")) for size in sizes[::-1]] if len(sizes) == 3 else [None] * 3)[
        1
    ]
    if not set(MATRICES) & fields.keys():
        notes = (*notes, "its orientation is not known and was assumed, the header gives none")
    slope, offset = (fields.get(f"ElementToIntensityFunction{name}", "") for name in ("Slope", "Offset"))
    if (slope or "1", offset or "0") != ("1", "0"):
        words = printable(f"slope {slope or 1} and offset {offset or 0}")
        notes = (*notes, f"its intensity {words} not applied, as by ITK")
    return notes


def _is_true(word: str) -> bool:
    return word[:1] in ("T", "t", "1")


def _reason(error: RuntimeError) -> str:
    """Return what ITK found wrong: the line of its message that says ERROR, without the address."""
    line = next((line for line in str(error).splitlines() if "ERROR" in line), str(error).splitlines()[-1])
    return printable(re.sub(r"^.*ERROR: (?:\w+\(0x[0-9a-f]+\): )?", "", line))
