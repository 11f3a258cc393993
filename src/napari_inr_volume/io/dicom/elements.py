"""Elements of a DICOM header, parsed: text made printable, numbers that are numbers, or None."""

from __future__ import annotations

import math
from typing import Any

from pydicom import Dataset

from ...core.text import printable


def value_of(dataset: Dataset, keyword: str) -> Any:
    """Return the value of an element; None if it is missing or not valid."""
    try:
        return dataset.get(keyword)
    except Exception:  # pydicom converts what is stored when it is asked for
        return None


def numbers_of(value: Any, count: int) -> tuple[float, ...] | None:
    """Return the finite numbers of a value, or None if there are not `count` of them."""
    if value is None or isinstance(value, str | bytes):
        return None
    values = list(value) if hasattr(value, "__iter__") else [value]
    try:
        numbers = tuple(float(number) for number in values)
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def whole_of(dataset: Dataset, keyword: str) -> int | None:
    """Return the whole number of an element, or None if it is missing or anything else."""
    found = numbers_of(value_of(dataset, keyword), 1)
    return int(found[0]) if found is not None and found[0].is_integer() else None


def text_of(dataset: Dataset, keyword: str) -> str:
    """Return an element as printable text, empty if it is not there."""
    return joined(value_of(dataset, keyword))


def texts_of(dataset: Dataset, keyword: str) -> list[str]:
    """Return the texts of an element of several values."""
    return joined(value_of(dataset, keyword)).split(", ")


def joined(value: Any) -> str:
    """Return a value as one printable text, its parts with commas between them."""
    parts = [value] if value is None or isinstance(value, str | bytes) else value
    parts = parts if hasattr(parts, "__iter__") else [parts]
    return printable(", ".join(str(part).strip() for part in parts if part is not None))


def seconds(text: str) -> float | None:
    """Return the seconds since midnight of a DICOM time (HHMMSS.F) or date and time (YYYYMMDDHHMMSS.F)."""
    digits = text.partition(".")[0].partition("+")[0].partition("-")[0].replace(":", "")
    clock = digits[8:14] if len(digits) >= 14 else digits[:6]
    if len(clock) != 6 or not clock.isdecimal():
        return None
    fraction = text.partition(".")[2]
    whole = int(clock[:2]) * 3600 + int(clock[2:4]) * 60 + int(clock[4:])
    return whole + (float(f"0.{fraction}") if fraction.isdecimal() else 0.0)
