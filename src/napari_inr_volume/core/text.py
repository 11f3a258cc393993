"""Text from files, made fit to be shown: what a header says must not steer a terminal."""

from __future__ import annotations

MAX_TEXT = 200  # characters of a name


def printable(text: str) -> str:
    """Return `text` with all that does not print (ESC, line ends, marks that turn the direction) escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )
