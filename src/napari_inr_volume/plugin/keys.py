"""What the keys of the panel Compress do, also from the menus: both open it where it is not open.

napari ignores the keys of a manifest, so the panel binds them to its viewer; the menus name them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from .settings import PLUGIN

if TYPE_CHECKING:
    import napari.viewer

TITLE = "Compress (INR)"  # of the panel, in menus and tabs


class Keyed(Protocol):
    """What a panel does when a key is pressed."""

    def fit_or_stop(self) -> None:
        """Do what its Fit button does."""

    def compare_next(self) -> None:
        """Compare in the next way that is possible."""

    def show_next_window(self) -> None:
        """Show the volume through the next window."""

    def flicker(self) -> None:
        """Show all of the reconstruction and all of the original in turn."""


KEYS = {  # names of what `Keyed` does; as napari spells keys
    "fit_or_stop": "Control-Alt-F",
    "compare_next": "Control-Alt-C",
    "show_next_window": "Control-Alt-W",
    "flicker": "F",
}


def fit_or_stop(viewer: napari.viewer.Viewer) -> None:
    """Fit the chosen volume, or stop the fit that is running."""
    _panel(viewer).fit_or_stop()


def compare_next(viewer: napari.viewer.Viewer) -> None:
    """Compare in the next way that is possible."""
    _panel(viewer).compare_next()


def show_next_window(viewer: napari.viewer.Viewer) -> None:
    """Show the chosen volume through the next window."""
    _panel(viewer).show_next_window()


def flicker(viewer: napari.viewer.Viewer) -> None:
    """Show all of the reconstruction and all of the original in turn."""
    _panel(viewer).flicker()


def _panel(viewer: napari.viewer.Viewer) -> Keyed:
    dock, panel = viewer.window.add_plugin_dock_widget(PLUGIN, TITLE)
    dock.show()
    dock.raise_()  # it may lie behind another
    return cast(Keyed, panel)
