"""What must be said of a file: smaller than is accepted for diagnosis, or larger than what it is of."""

from __future__ import annotations

from .units import HU

DIAGNOSTIC = (5, 15)  # lossy ratios accepted for diagnosis: German, Canadian and UK guidance


def advice(ratio: float, units: str) -> str | None:
    """Return the words for a ratio (stored pixels over bytes of the file) beyond those or below 1, or None.

    The ratios for diagnosis are those of CT, so nothing is said of them for values in other units than HU.
    """
    if ratio < 1:
        return "The file is larger than the volume itself: take a smaller network, or ask for fewer bytes."
    least, most = DIAGNOSTIC
    if units != HU or ratio <= most:
        return None
    return f"Preview quality, not for diagnosis: the ratios accepted for that are {least}:1 to {most}:1."
