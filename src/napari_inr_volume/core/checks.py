"""Settings checked against their limits: the error names the setting, what is allowed and what was given."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

from .errors import FitError


def check_whole(name: str, value: object, low: int, high: int) -> None:
    """Raise FitError unless a value is a whole number in this range."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise FitError(f"{name} must be a whole number from {low:,} to {high:,}, got {reprlib.repr(value)}")


def check_number(name: str, value: object, low: float, high: float) -> None:
    """Raise FitError unless a value is a number in this range."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise FitError(f"{name} must be a number from {low:g} to {high:g}, got {reprlib.repr(value)}")


def check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    """Raise FitError unless a value is one of these words."""
    if value not in allowed:
        raise FitError(f"{name} must be one of {tuple(allowed)}, got {reprlib.repr(value)}")
