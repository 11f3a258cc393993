"""An index of an array, as NumPy takes it."""

from __future__ import annotations

from typing import Any


def each_axis(key: Any, count: int) -> tuple[Any, ...]:
    """Return an index of each of so many axes, with all that the key leaves out. Raises IndexError."""
    parts = list(key) if isinstance(key, tuple) else [key]
    at = next((number for number, part in enumerate(parts) if part is Ellipsis), len(parts))
    rest = parts[at + 1 :]
    parts = [*parts[:at], *[slice(None)] * (count - at - len(rest)), *rest]
    if len(parts) != count or any(part is None for part in parts):
        raise IndexError(f"an array of {count} axes was indexed with {key!r}")
    return tuple(parts)
