"""What the plugin remembers: preferences, and what the panel was last set to.

The manifest declares the preferences under `configurations`; napari checks them, shows them under
Preferences and saves them in a file of the plugin's own. The panel's are in a file beside that, since
nobody edits them as text.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.atomic import atomic_write
from ..core.choices import Device
from ..core.errors import InrError

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
    path = _panel_file()
    try:
        used = {} if path is None else json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        used = {}
    return used if isinstance(used, dict) else {}


def remember(used: dict[str, Any]) -> None:
    """Keep what the panel is set to, in JSON types, for the next time; what cannot be kept is not."""
    path = _panel_file()
    if path is not None:
        with suppress(InrError, OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as new:
                new.write_text(json.dumps(used), "utf-8")


def own_weights() -> Path | None:
    """Return the weights file of the person's own that was chosen last, if one was; it may be gone."""
    path = load_last_used().get(OWN_WEIGHTS)
    return Path(path) if isinstance(path, str) and path else None


def _stored() -> Any:
    """Return napari's settings of this plugin, or None if napari does not know it."""
    from napari.settings import get_plugin_settings

    return get_plugin_settings().get(PLUGIN)


def _panel_file() -> Path | None:
    """Return the file beside napari's own that holds what the panel was set to; None if napari keeps none."""
    stored = _stored()
    path = None if stored is None else stored.config_path
    return None if path is None else Path(path).with_name(f"{PLUGIN}-panel.json")
