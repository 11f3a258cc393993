"""The available upscalers, for menus and help: names, titles and cost. No torch here."""

from __future__ import annotations

TITLES = {"lanczos": "Lanczos", "srdensenet": "SRDenseNet", "span": "SPAN"}  # by name, as a person reads them
CHOICES = ("auto", *TITLES)  # or the path of your own weights file


def title_of(name: str) -> str:
    """Return an upscaler's name as a person reads it; one that is not in the catalogue keeps its own."""
    return TITLES.get(name, name)
