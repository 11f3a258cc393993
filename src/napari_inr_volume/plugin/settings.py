"""What the plugin remembers in napari's settings: preferences, and what the panel was last set to.

The manifest declares them under `configurations`; napari checks them, shows them under Preferences and
saves them in a file of the plugin's own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.choices import Device

PLUGIN = "napari-inr-volume"
OWN_WEIGHTS = "own_weights"  # key of what was last used: the path of a weights file


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """What a person chose under Preferences; the defaults are the manifest's."""

    device: Device = "auto"  # where to fit and decode
    preset: str = "default"  # that the panel starts with
    preview_interval: float = 0.5  # seconds between previews of a running fit, at least


def preferences() -> Preferences:
    """Return the preferences, or their defaults where napari does not know the plugin."""
    stored = _stored()
    if stored is None:
        return Preferences()
    fit = stored.fit
    return Preferences(device=fit.device, preset=fit.preset, preview_interval=fit.preview_interval)


def load_last_used() -> dict[str, Any]:
    """Return what `remember` was last given; empty if nothing was, or if it cannot be read."""
    stored = _stored()
    try:
        used = json.loads(stored.panel.last_used) if stored is not None else {}
    except (ValueError, RecursionError):
        used = {}
    return used if isinstance(used, dict) else {}


def remember(used: dict[str, Any]) -> None:
    """Keep what the panel is set to, in JSON types, for the next time; napari saves it at once."""
    stored = _stored()
    if stored is not None:
        stored.panel.last_used = json.dumps(used)


def own_weights() -> Path | None:
    """Return the weights file of the person's own that was chosen last, if one was; it may be gone."""
    path = load_last_used().get(OWN_WEIGHTS)
    return Path(path) if isinstance(path, str) and path else None


def _stored() -> Any:
    """Return napari's settings of this plugin, or None if napari does not know it."""
    from napari.settings import get_plugin_settings

    return get_plugin_settings().get(PLUGIN)
