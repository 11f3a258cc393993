"""What must be said of a file that is smaller than is accepted for diagnosis."""

from __future__ import annotations

DIAGNOSTIC = (5, 15)  # lossy ratios accepted for diagnosis: German, Canadian and UK guidance


def advice(ratio: float) -> str | None:
    """Return the words for a ratio (stored pixels over bytes of the file) that is beyond them, or None."""
    least, most = DIAGNOSTIC
    if ratio <= most:
        return None
    return f"Preview quality, not for diagnosis: accepted ratios for that are {least}:1 to {most}:1."
