"""TIFF stacks in and out: the voxels in the pages, all else as JSON in the first ImageDescription.

`{"spacing_mm": [z, y, x], "origin_mm": [x, y, z], "direction": [[..], [..], [..]], "units": "HU",
"padding": -2000, "slice_positions_mm": [..], "slope": 1, "offset": -1024}`: every key may be missing. The
values are stored * slope + offset, which in our own files is the stored values themselves. Of other programs'
files, ImageJ's voxel size and calibration are understood.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from ..core.errors import SourceError
from ..core.volume import Geometry, Units, Volume
from .values import Voxels, guess_meaning, only_grey, rescaled, triple

MILLIMETRES = {"mm": 1.0, "millimeter": 1.0, "cm": 10.0, "inch": 25.4, "m": 1e3, "meter": 1e3}
MILLIMETRES |= dict.fromkeys(
    ("micron", "microns", "um", "µm", "\\u00B5m"), 1e-3
)  # the last as ImageJ writes it


def read_tiff(path: Path) -> Volume:
    """Read a stack of equal grey pages. See `volumes.read_volume` for the errors."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        stored = read_pages(file, path)
        notes = _imagej_notes(file) if file.is_imagej else _json_notes(file.pages.first.description)
    voxels = rescaled(stored, float(notes.get("slope", 1)), float(notes.get("offset", 0)))
    if voxels.ndim != 3:
        return Volume.from_array(voxels)  # which says what is wrong
    units, padding = guess_meaning(voxels)
    if notes.get("units") in get_args(Units):
        units, padding = notes["units"], None
    if notes.get("padding") is not None:
        padding = float(notes["padding"])
    return Volume(
        voxels=voxels,
        geometry=_geometry(voxels, notes),
        units=units,
        padding=padding,
        source_bytes=stored.nbytes,
    )


def write_tiff(volume: Volume, path: Path) -> None:
    """Write a volume as an uncompressed stack of slices. See `volumes.write_volume`."""
    import tifffile

    geometry = volume.geometry
    notes: dict[str, Any] = {
        "spacing_mm": geometry.spacing,
        "origin_mm": geometry.origin,
        "direction": geometry.direction,
        "units": volume.units,
    }
    if volume.padding is not None:
        notes["padding"] = volume.padding
    if geometry.slice_positions is not None:
        notes["slice_positions_mm"] = geometry.slice_positions
    tifffile.imwrite(
        path,
        volume.voxels,
        photometric="minisblack",
        metadata={"axes": "ZYX", **notes},
        resolution=(10 / geometry.spacing[2], 10 / geometry.spacing[1]),  # pixels a centimetre along x, y
        resolutionunit="CENTIMETER",
    )


def read_pages(file: Any, path: Path) -> Voxels:
    """Return the only stack in an open TiffFile: (z, y, x), or (y, x) of a single page.

    Raises SourceError for pages of several sizes, more axes than three, or anything but grey values.
    """
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
    pixels: Voxels = series.asarray()
    if "S" in series.axes:
        pixels = only_grey(pixels, series.axes.index("S"), path)
    return pixels.reshape([*deep, *lengths[-2:]])


def _json_notes(description: str) -> dict[str, Any]:
    try:
        notes = json.loads(description)
    except ValueError:  # a description for humans
        return {}
    return notes if isinstance(notes, dict) else {}


def _imagej_notes(file: Any) -> dict[str, Any]:
    """Return ImageJ's voxel size, if it is in a unit of length, and its calibration of grey values."""
    imagej = file.imagej_metadata or {}
    notes: dict[str, Any] = {}
    if imagej.get("cf") == 0:  # a straight line; signed 16-bit stacks are stored with c0 = -32768
        notes |= {"slope": imagej.get("c1", 1), "offset": imagej.get("c0", 0)}
    millimetres = MILLIMETRES.get(str(imagej.get("unit")))
    tags = file.pages.first.tags
    if millimetres and "XResolution" in tags and "YResolution" in tags:
        columns, rows = (tags[name].value for name in ("XResolution", "YResolution"))  # (pixels, units)
        if columns[0] and rows[0]:
            z = abs(float(imagej.get("spacing", 1)))
            sizes = (z, rows[1] / rows[0], columns[1] / columns[0])
            notes["spacing_mm"] = [size * millimetres for size in sizes]
    return notes


def _geometry(voxels: Voxels, notes: dict[str, Any]) -> Geometry:
    """Return the geometry of voxels (z, y, x), as far as the notes tell it."""
    z, y, x = voxels.shape
    known: dict[str, Any] = {}
    spacing = notes.get("spacing_mm", notes.get("spacing"))
    if isinstance(spacing, list):  # "spacing" alone is also tifffile's and ImageJ's word for that of z
        known["spacing"] = triple(spacing)
    if "origin_mm" in notes:
        known["origin"] = triple(notes["origin_mm"])
    if "direction" in notes:
        known["direction"] = tuple(triple(row) for row in notes["direction"])
    if "slice_positions_mm" in notes:
        known["slice_positions"] = tuple(float(value) for value in notes["slice_positions_mm"])
    return Geometry(shape=(z, y, x), **known)
