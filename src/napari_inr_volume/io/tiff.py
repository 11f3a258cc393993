"""TIFF stacks in and out: the voxels in the pages, all else as JSON in the first ImageDescription.

`{"spacing_mm": [z, y, x], "origin_mm": [x, y, z], "direction": [[..], [..], [..]], "units": "HU",
"padding": -2000, "slice_positions_mm": [..], "slope": 1, "offset": -1024}`: every key may be missing. The
values are stored * slope + offset, which in our own files is the stored values themselves. Of other programs'
files, the voxel sizes of OME and ImageJ, the resolution of the pages and ImageJ's calibration are understood.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..core.errors import SourceError
from ..core.extras import extra
from ..core.source import Source
from ..core.units import is_units
from ..core.volume import Geometry, Triple, Volume, triple
from .lengths import completed
from .payload import check_claim, read_voxels, room_for
from .tiff_spacing import find_sizes, imagej_calibration, json_notes
from .values import Voxels, guess_meaning, meaning_of, only_grey, rescaled


def read_tiff(path: Path) -> Volume:
    """Read a stack of equal grey pages. See `volumes.read_volume` for the errors."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        stored = read_pages(file, path)
        notes = {} if file.is_imagej else json_notes(file)
        slope, offset = (
            imagej_calibration(file) if file.is_imagej else (notes.get("slope", 1), notes.get("offset", 0))
        )
        sizes = find_sizes(file, notes)
        found = "TIFF, OME" if file.is_ome else "TIFF, ImageJ" if file.is_imagej else "TIFF"
    voxels = rescaled(stored, float(slope), float(offset))
    if voxels.ndim != 3:
        return Volume.from_array(voxels)  # which says what is wrong
    units, padding = guess_meaning(voxels)
    if is_units(notes.get("units")):
        units, padding = notes["units"], None
    if notes.get("padding") is not None:
        padding = float(notes["padding"])
    spacing, assumed = completed(sizes)
    return Volume(
        voxels=voxels,
        geometry=_geometry(voxels, spacing, notes),
        units=units,
        padding=padding,
        source_bytes=stored.nbytes,
        found=(found,),
        notes=assumed,
    )


def write_tiff(source: Source, planes: Iterable[Voxels], path: Path) -> None:
    """Write voxels as an uncompressed stack of slices. See `volumes.write_volume`."""
    import tifffile

    geometry = source.geometry
    notes = {"spacing_mm": geometry.spacing, **meaning_of(source)}
    tifffile.imwrite(
        path,
        iter(planes),
        shape=geometry.shape,
        dtype=source.dtype,
        photometric="minisblack",
        metadata={"axes": "ZYX", **notes},
        resolution=(10 / geometry.spacing[2], 10 / geometry.spacing[1]),  # pixels a centimetre along x, y
        resolutionunit="CENTIMETER",
    )


def is_single_page(path: Path) -> bool:
    """Return whether a file is a TIFF of one page; False for one that cannot be read."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            return len(file.pages) == 1
    except Exception:  # which `read_tiff` puts into words
        return False


def read_pages(file: Any, path: Path) -> Voxels:
    """Return the only stack in an open TiffFile: (z, y, x), or (y, x) of a single page.

    Raises SourceError for pages of several sizes, more axes than three, anything but grey values, and for
    pages that are claimed or begun but not all there.
    """
    _refuse_loop(file, path)
    if not file.series:
        raise SourceError(f"'{path.name}' holds no image")
    if len(file.series) > 1:
        sizes = ", ".join(str(series.shape) for series in file.series[:3])
        raise SourceError(f"'{path.name}' holds images of several sizes or kinds ({sizes}); give one stack")
    series, photometric = file.series[0], file.pages.first.photometric.name
    if photometric not in ("MINISBLACK", "RGB"):
        raise SourceError(f"'{path.name}' has {photometric} pixels; export it as grey values, 0 black")
    lengths = [length for axis, length in zip(series.axes, series.shape, strict=True) if axis != "S"]
    deep = [length for length in lengths[:-2] if length > 1] or lengths[:-2][:1]
    if len(deep) > 1:
        raise SourceError(
            f"'{path.name}' holds more axes than z, y, x: {series.axes} {series.shape};"
            " extract one channel or time point"
        )
    _check_whole(series, file, path)
    pixels = _pixels(series, path)
    if "S" in series.axes:
        pixels = only_grey(pixels, series.axes.index("S"), path)
    return pixels.reshape([*deep, *lengths[-2:]])


def _pixels(series: Any, path: Path) -> Voxels:
    """Return a series's pixels. Raises SourceError where they are packed and imagecodecs is missing."""
    if series.dataoffset is not None and not series.is_multifile and series.transform is None:
        with path.open("rb") as stream:
            stream.seek(series.dataoffset)
            dtype = series.dtype.newbyteorder(series.keyframe.parent.byteorder)
            return read_voxels(stream, series.shape, dtype, path)
    try:
        pixels: Voxels = series.asarray(out=room_for(path, series.shape, series.dtype))
    except (KeyError, ValueError):
        with extra("formats", f"'{path.name}', a packed TIFF,", SourceError):
            import imagecodecs  # noqa: F401
        raise
    return pixels


def _refuse_loop(file: Any, path: Path) -> None:
    """Raise SourceError where the chain of pages comes back to one of them: tifffile would not end."""
    tiff, handle = file.tiff, file.filehandle
    at, seen = 4 if tiff.version == 42 else 8, set[int]()  # of the place of the first page's place
    while True:
        handle.seek(at)
        link = handle.read(tiff.offsetsize)
        page = struct.unpack(tiff.offsetformat, link)[0] if len(link) == tiff.offsetsize else 0
        if page in seen:
            raise SourceError(f"'{path.name}' is damaged: its pages follow one another in a circle")
        seen.add(page)
        handle.seek(page)
        count = handle.read(tiff.tagnosize)
        if not page or len(count) < tiff.tagnosize:
            return
        at = page + tiff.tagnosize + struct.unpack(tiff.tagnoformat, count)[0] * tiff.tagsize


def _check_whole(series: Any, file: Any, path: Path) -> None:
    """Raise SourceError unless every byte of every page lies in its file: tifffile reads zeros otherwise."""
    files = {page.parent for page in series.pages if page is not None} if series.is_multifile else {file}
    for member in files:
        if Path(member.filehandle.dirname).resolve() != path.parent.resolve():
            raise SourceError(f"'{path.name}' has pages in another folder, in '{member.filename}'; join them")
    packed = file.pages.first.compression != 1
    stored = sum(member.filehandle.size for member in files)
    check_claim(path, series.shape, series.dtype.itemsize, stored, packed=packed)
    claimed, there = series.size // series.keyframe.size, len(file.pages)
    if not series.is_multifile and 1 < there < claimed:  # a single one may stand for all, as in large files
        raise SourceError(f"'{path.name}' claims {claimed} pages and has {there}; copy it again")
    for index, page in enumerate(series.pages):
        if page is None or not all(page.dataoffsets) or not all(page.databytecounts):
            raise SourceError(f"'{path.name}' has no pixels for page {index + 1}; copy it again")
        size = page.parent.filehandle.size
        ends = (start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=True))
        if max(ends, default=0) > size or _lacks_bytes(page):
            raise SourceError(f"'{path.name}' is cut off in page {index + 1}; copy it again")


def _lacks_bytes(page: Any) -> bool:
    """Return whether a page that is not packed claims fewer bytes than its pixels need."""
    bits = page.keyframe.size * page.keyframe.bitspersample
    return bool(page.keyframe.compression == 1 and sum(page.databytecounts) * 8 < bits)


def _geometry(voxels: Voxels, spacing: Triple, notes: dict[str, Any]) -> Geometry:
    """Return the geometry of voxels (z, y, x), as far as the notes tell it."""
    z, y, x = voxels.shape
    known: dict[str, Any] = {}
    if "origin_mm" in notes:
        known["origin"] = triple(notes["origin_mm"])
    if "direction" in notes:
        known["direction"] = tuple(triple(row) for row in notes["direction"])
    if "slice_positions_mm" in notes:
        known["slice_positions"] = tuple(float(value) for value in notes["slice_positions_mm"])
    return Geometry(shape=(z, y, x), spacing=spacing, **known)
