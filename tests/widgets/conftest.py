"""A panel in a real viewer, and a volume in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from napari import Viewer
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.notifications import notification_manager
from npe2 import PluginManifest

import napari_inr_volume
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.plugin import kept_fits
from napari_inr_volume.plugin.job import Job
from napari_inr_volume.plugin.layers import add_layer, original_layer
from napari_inr_volume.widgets.compress import CompressWidget

MANIFEST = Path(napari_inr_volume.__file__).parent / "napari.yaml"


@pytest.fixture
def volume() -> Volume:
    return head_phantom((16, 64, 64))


@pytest.fixture
def settings(npe2pm, plugin_settings) -> None:
    """napari knows the plugin and nothing else, and nothing is remembered."""
    npe2pm.register(PluginManifest.from_file(MANIFEST))
    notification_manager.records.clear()


def drop_jobs(qtbot, jobs: list[Job]) -> None:
    """End what is running; a job whose window is closed already hears no more of its worker."""
    for job in jobs:
        job.drop()
    qtbot.waitUntil(lambda: not any(job.at_work for job in jobs))


@pytest.fixture(autouse=True)
def no_fits_of_others(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Stopped fits are kept in a folder of the test's own."""
    monkeypatch.setattr(kept_fits, "FOLDER", tmp_path_factory.mktemp("data") / "of the plugin" / "fits")


@pytest.fixture
def panel(qtbot, settings) -> Iterator[CompressWidget]:
    """The panel on a viewer without a window.

    A window would crash in some of the tests: with Mesa's software rendering, napari 0.9.2 dies when of two
    images the first is removed and the other drawn.
    """
    panel = CompressWidget(ViewerModel())
    qtbot.addWidget(panel)
    panel.resize(360, 900)
    panel.show()
    jobs = panel.findChildren(Job)
    yield panel
    drop_jobs(qtbot, jobs)


@pytest.fixture
def head(qtbot, panel: CompressWidget, volume: Volume) -> Image:
    """The phantom's layer, chosen in the panel."""
    layer = add_layer(panel.viewer, original_layer(volume, "head"))
    qtbot.waitUntil(lambda: panel.state.volume is not None)
    return layer


@pytest.fixture
def window(make_napari_viewer, settings) -> Viewer:
    """A viewer with a window."""
    return make_napari_viewer(show=True)


@pytest.fixture
def docked(qtbot, window: Viewer, volume: Volume) -> Iterator[CompressWidget]:
    """The panel in a window, as the Plugins menu opens it, with the phantom chosen."""
    _, panel = window.window.add_plugin_dock_widget("napari-inr-volume", "Compress (INR)")
    add_layer(window, original_layer(volume, "head"))
    qtbot.waitUntil(lambda: panel.state.volume is not None)
    jobs = panel.findChildren(Job)
    yield panel
    drop_jobs(qtbot, jobs)
