"""Every kind of field, and every preset, by name. No torch here."""

from __future__ import annotations

from ..core.errors import FitError
from .settings import Settings
from .siren import presets

PRESETS: dict[str, Settings] = {**presets.PRESETS}


def find_preset(name: str) -> Settings:
    """Return the preset of this name. Raises FitError, with the names there are, for another."""
    if name not in PRESETS:
        raise FitError(f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
