"""A panel in a real viewer, and a volume in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from napari import Viewer
from napari.utils.notifications import notification_manager
from npe2 import PluginManifest

import napari_inr_volume
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.plugin.layers import add_layer, original_layer
from napari_inr_volume.widgets.compress import CompressWidget

MANIFEST = Path(napari_inr_volume.__file__).parent / "napari.yaml"


@pytest.fixture
def volume() -> Volume:
    return head_phantom((16, 64, 64))


@pytest.fixture
def viewer(make_napari_viewer, npe2pm, plugin_settings) -> Viewer:
    npe2pm.register(PluginManifest.from_file(MANIFEST))
    notification_manager.records.clear()
    return make_napari_viewer(show=True)


@pytest.fixture
def panel(qtbot, viewer: Viewer) -> Iterator[CompressWidget]:
    """The panel as the Plugins menu opens it."""
    _, panel = viewer.window.add_plugin_dock_widget("napari-inr-volume", "Compress (INR)")
    jobs = [value for value in vars(panel).values() if isinstance(value, type(panel.fitting))]
    yield panel
    for job in jobs:
        job.drop()
    qtbot.waitUntil(lambda: not any(job.running for job in jobs), timeout=20_000)


@pytest.fixture
def head(qtbot, panel: CompressWidget, volume: Volume):
    """The phantom's layer, chosen in the panel."""
    layer = add_layer(panel.viewer, original_layer(volume, "head"))
    qtbot.waitUntil(lambda: panel.volume is not None)
    return layer
