"""What a volume's values are in: Hounsfield units, what its source names, or nothing that is known."""

from __future__ import annotations

import reprlib

from .errors import VolumeError

Units = str  # HU, RAW, or a name such as "Bq/ml"
HU, RAW = "HU", "raw"
LEAST_GREY = -200  # below it, values are not grey levels but HU
MAX_UNITS = 32  # characters of a name


def is_units(value: object) -> bool:
    """Return whether something can be the name of units: a short printable text."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_UNITS:
        return False
    return value.isprintable() and value == value.strip()


def check_units(value: object) -> None:
    """Raise VolumeError for what cannot be the name of units."""
    if not is_units(value):
        raise VolumeError(
            f"units must be {HU!r}, {RAW!r} or a name of at most {MAX_UNITS} printable characters, got"
            f" {reprlib.repr(value)}"
        )


def guess_units(lowest: float) -> Units:
    """Return the units of values of which only the lowest is known, which may be NaN.

    They are HU if it lies below -200: the air in a CT is -1000, while grey levels, counts and MR are not
    negative.
    """
    return HU if lowest < LEAST_GREY else RAW


def suffix(units: Units) -> str:
    """Return what follows a number in these units: ` HU`, or nothing where they are not known."""
    return "" if units == RAW else f" {units}"


def within(max_error: float, units: Units) -> str:
    """Return in words how far voxels may be off at most: `lossless`, or such as `within ±2 HU`."""
    return f"within ±{max_error:g}{suffix(units)}" if max_error else "lossless"
