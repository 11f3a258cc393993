"""What must be said of the file of a CT that is smaller than is accepted for diagnosis."""

from __future__ import annotations

from .units import HU

DIAGNOSTIC = (5, 15)  # lossy ratios accepted for diagnosis: German, Canadian and UK guidance


def advice(ratio: float, units: str) -> str | None:
    """Return the words for a ratio (stored pixels over bytes of the file) beyond those, or None.

    The ratios are those of CT, so nothing is said of values in other units than HU.
    """
    least, most = DIAGNOSTIC
    if units != HU or ratio <= most:
        return None
    return f"Preview quality, not for diagnosis: the ratios accepted for that are {least}:1 to {most}:1."
