"""What a first layer and a first fit would load on the UI thread, loaded before in the background."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

from ..job import Control

# napari imports xarray with its first layer, if there is one.
NEEDED = "xarray", "napari_inr_volume.session", "napari_inr_volume.planning", "napari_inr_volume.measuring"


def load(control: Control) -> None:
    """Import what is needed soon."""
    for name in NEEDED:
        control.check()
        with suppress(ImportError):
            import_module(name)
