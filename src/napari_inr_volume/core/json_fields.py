"""JSON from a file, strictly parsed: each field by name, of the type and in the range asked for."""

from __future__ import annotations

import math
import reprlib
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from .errors import InrFileError
from .text import MAX_TEXT

MAX_WHOLE = 2**63 - 1
MAX_NUMBER = sys.float_info.max  # keeps out infinity, and whole numbers that no float can hold


@dataclass(frozen=True)
class Fields:
    """One JSON object, its fields taken by name; each must be of the type and in the range asked for."""

    values: dict[str, Any]
    where: str
    newer: bool  # written by a later minor version: unknown fields are left aside

    @classmethod
    def of(cls, value: object, where: str, names: str, *, newer: bool) -> Fields:
        """Take a JSON object with these fields, given by name with spaces between, and no others."""
        if not isinstance(value, dict):
            raise InrFileError(f"{where} must be a JSON object, found {reprlib.repr(value)}")
        expected = set(names.split())
        if missing := expected - set(value):
            raise InrFileError(f"{where} lacks {', '.join(sorted(missing))}")
        if (unknown := set(value) - expected) and not newer:
            raise InrFileError(
                f"{where} has fields that the format does not: {reprlib.repr(sorted(unknown))}"
            )
        return cls(value, where, newer)

    def wrong(self, name: str, allowed: str) -> InrFileError:
        """Return the error of a field that is not what it must be."""
        return InrFileError(f"{self.where}.{name} must be {allowed}, found {reprlib.repr(self.values[name])}")

    def fields(self, name: str, names: str) -> Fields:
        """Take a field that is an object itself."""
        return Fields.of(self.values[name], f"{self.where}.{name}", names, newer=self.newer)

    def choice(self, name: str, allowed: Collection[str]) -> Any:
        """Take a field that is one of these texts."""
        value = self.values[name]
        if not isinstance(value, str) or value not in allowed:
            raise InrFileError(
                f"{self.where}.{name} is {reprlib.repr(value)}, which this version does not know"
                f" (it knows {', '.join(allowed)}); update napari-inr-volume"
            )
        return value

    def text(self, name: str) -> str:
        """Take a field that is a printable text."""
        value = self.values[name]
        # Printable, so that showing a name cannot steer a terminal.
        if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or not value.isprintable():
            raise self.wrong(name, f"a text of 1 to {MAX_TEXT} printable characters")
        return value

    def whole(self, name: str, low: int, high: int) -> int:
        """Take a whole number."""
        value = self.values[name]
        if not _is_whole(value, low, high):
            raise self.wrong(name, f"a whole number from {low} to {high}")
        return int(value)

    def whole_numbers(self, name: str, count: int, low: int, high: int) -> tuple[int, ...]:
        """Take so many whole numbers."""
        values = self.values[name]
        if not isinstance(values, list) or len(values) != count:
            raise self.wrong(name, f"{count} whole numbers")
        if not all(_is_whole(value, low, high) for value in values):
            raise self.wrong(name, f"whole numbers from {low} to {high}")
        return tuple(values)

    def number(self, name: str, low: float = -MAX_NUMBER, high: float = MAX_NUMBER) -> float:
        """Take a number."""
        value = self.values[name]
        if not _is_number(value, low, high):
            raise self.wrong(name, f"a number from {low:g} to {high:g}")
        return float(value)

    def optional_number(self, name: str) -> float | None:
        """Take a number or null."""
        return None if self.values[name] is None else self.number(name)

    def numbers(self, name: str, count: int, low: float, high: float) -> tuple[float, ...]:
        """Take so many numbers."""
        return self._row(name, self.values[name], count, low, high)

    def rows(self, name: str, count: int) -> list[tuple[float, ...]]:
        """Rows of a square matrix of cosines."""
        rows = self.values[name]
        if not isinstance(rows, list) or len(rows) != count:
            raise self.wrong(name, f"{count} rows of {count} numbers")
        return [self._row(name, row, count, -1.01, 1.01) for row in rows]

    def decibel(self, name: str) -> float:
        """Take a PSNR; JSON has no infinity."""
        return math.inf if self.values[name] == "inf" else self.number(name)

    def _row(self, name: str, row: object, count: int, low: float, high: float) -> tuple[float, ...]:
        if not isinstance(row, list) or len(row) != count or not all(_is_number(v, low, high) for v in row):
            raise self.wrong(name, f"{count} numbers from {low:g} to {high:g}")
        return tuple(float(value) for value in row)


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
