"""Units of length, however spelt, and what is assumed where a file tells no distances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..core.volume import Triple

# Of OME, in which capitals count: Mm is not mm.
PREFIXES = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "": 0,
    "d": -1, "c": -2, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip
EXACT = {f"{prefix}m": 10.0 ** (power + 3) for prefix, power in PREFIXES.items()} | {"Å": 1e-7, "A": 1e-7}
# Of people, in whose spelling they do not.
SPELT = {
    "mm": 1.0, "millimeter": 1.0, "cm": 10.0, "centimeter": 10.0, "dm": 100.0, "decimeter": 100.0,
    "m": 1e3, "meter": 1e3, "km": 1e6, "kilometer": 1e6,
    "um": 1e-3, "micron": 1e-3, "micrometer": 1e-3, "mum": 1e-3, "nm": 1e-6, "nanometer": 1e-6,
    "pm": 1e-9, "picometer": 1e-9, "å": 1e-7, "a": 1e-7, "ang": 1e-7, "angstrom": 1e-7, "ångström": 1e-7,
    "in": 25.4, "inch": 25.4, "inche": 25.4, '"': 25.4, "thou": 0.0254, "mil": 0.0254, "li": 25.4 / 12,
    "pt": 25.4 / 72, "point": 25.4 / 72, "pc": 25.4 / 6, "ft": 304.8, "foot": 304.8, "feet": 304.8,
    "yd": 914.4, "yard": 914.4, "mi": 1609344.0, "mile": 1609344.0,
}  # fmt: skip

DEFAULT_DPI = (1, 72, 96)  # dots per inch that programs write of a picture without a resolution


def in_mm(unit: Any, *, exact: bool = False) -> float | None:
    """Return how many mm a unit of length is, or None if it is not a length, such as pixels.

    Both signs for micro count, also escaped as ImageJ writes them, and British and American spelling.
    `exact` means as in OME: Mm is a megametre, not a mistyped millimetre.
    """
    text = str(unit).strip().strip("\0").replace("\\u00B5", "u").replace("\\u00b5", "u")
    text = text.replace("\N{MICRO SIGN}", "u").replace("\N{GREEK SMALL LETTER MU}", "u")
    text = text.replace("\N{ANGSTROM SIGN}", "Å")
    if exact and text in EXACT:
        return EXACT[text]
    text = text.casefold().replace("metre", "meter").rstrip(".")
    return SPELT.get(text, SPELT.get(text.removesuffix("s")))


def length(value: Any, unit: Any = "mm", *, exact: bool = False) -> float | None:
    """Return a distance in mm, or None if no voxel could have it, or the unit is not one of length."""
    millimetres = in_mm(unit, exact=exact)
    try:
        number = float(value) * (millimetres or 0.0)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def plausible(y: float | None, x: float | None) -> tuple[float | None, float | None]:
    """Return the sizes of a picture's pixels in mm, None for both if they are a screen's and not measured."""
    dots = [25.4 / size for size in (y, x) if size]
    if any(abs(dots_per_inch - default) < 0.5 for dots_per_inch in dots for default in DEFAULT_DPI):
        return None, None
    return y, x


def completed(sizes: Sequence[float | None]) -> tuple[Triple, tuple[str, ...]]:
    """Return the spacing (z, y, x) in mm, with 1 mm where it is not known, and the note that says so."""
    z, y, x = (1.0 if size is None else size for size in sizes)
    missing = [axis for axis, size in zip("zyx", sizes, strict=True) if size is None]
    if not missing:
        return (z, y, x), ()
    along = "" if len(missing) == 3 else f" along {' and '.join(missing)}"
    return (z, y, x), (f"1 mm assumed{along}, the file gives no spacing{' there' if along else ''}",)
