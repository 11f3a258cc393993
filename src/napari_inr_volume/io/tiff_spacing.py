"""How large a TIFF's voxels are: of OME, ImageJ and our own notes, else of the resolution of its pages."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

from .lengths import in_mm, length, plausible

Sizes = tuple[float | None, float | None, float | None]  # mm along z, y, x; None where it is not known

MM_OF_UNIT = {2: 25.4, 3: 10.0}  # by the TIFF tag ResolutionUnit; 1 is none


def json_notes(file: Any) -> dict[str, Any]:
    """Return the notes in the first ImageDescription of an open TiffFile, empty if that is not JSON."""
    try:
        notes = json.loads(file.pages.first.description)
    except ValueError:
        return {}
    return notes if isinstance(notes, dict) else {}


def imagej_calibration(file: Any) -> tuple[float, float]:
    """Return slope and offset of ImageJ's grey values; signed 16-bit stacks are stored 32768 higher."""
    imagej = file.imagej_metadata or {}
    if imagej.get("cf") != 0:  # 0 is a straight line
        return 1.0, 0.0
    return float(imagej.get("c1", 1)), float(imagej.get("c0", 0))


def find_sizes(file: Any, notes: dict[str, Any]) -> Sizes:
    """Return the sizes of the voxels of an open TiffFile, whose own JSON notes are given."""
    own = notes.get("spacing_mm", notes.get("spacing"))
    if isinstance(own, list):  # "spacing" alone is also tifffile's and ImageJ's word for that of z
        z, y, x = (float(size) for size in own)  # as it is: Geometry says what is wrong with it
        return z, y, x
    if file.is_ome and any(sizes := _ome_sizes(file.ome_metadata)):
        return sizes
    named = file.imagej_metadata if file.is_imagej else notes
    if named and in_mm(named.get("unit")):
        return _named_sizes(file.pages.first, named)
    return (None, *page_sizes(file.pages.first))


def page_sizes(page: Any) -> tuple[float | None, float | None]:
    """Return the mm along y and x that a page's resolution, in pixels per inch or centimetre, tells."""
    unit = MM_OF_UNIT.get(page.tags.valueof("ResolutionUnit", 2))
    if unit is None:
        return None, None
    y, x = (_pixel(page, axis, unit) for axis in "YX")
    return plausible(y, x)


def _ome_sizes(xml: str) -> Sizes:
    """Return the PhysicalSize of the first image of OME-XML, whose units are micrometres if not named."""
    for element in ElementTree.fromstring(xml).iter():
        if element.tag.rpartition("}")[2] == "Pixels":
            z, y, x = (
                length(
                    element.get(f"PhysicalSize{axis}"),
                    element.get(f"PhysicalSize{axis}Unit", "µm"),
                    exact=True,
                )
                for axis in "ZYX"
            )
            return z, y, x
    return None, None, None


def _named_sizes(page: Any, named: dict[str, Any]) -> Sizes:
    """Return the sizes in ImageJ's way: pixels per unit in the page, the distance of slices by name.

    ImageJ leaves out a distance of 1, and may name a unit of y and z of their own.
    """
    unit = named["unit"]
    spacing = named.get("spacing", 1)
    z = abs(spacing) if isinstance(spacing, int | float) else None
    y_mm, z_mm = in_mm(named.get("yunit", unit)), in_mm(named.get("zunit", unit))
    return (
        length(z * z_mm) if z and z_mm else None,
        _pixel(page, "Y", y_mm),
        _pixel(page, "X", in_mm(unit)),
    )


def _pixel(page: Any, axis: str, unit: float | None) -> float | None:
    """Return the mm of a pixel along an axis, given those of the unit in which the page counts its pixels."""
    units, pixels = page.tags.valueof(f"{axis}Resolution", (0, 0))[::-1]
    return length(unit * units / pixels) if unit and pixels else None
