"""What all panels have in common: how they end."""

from __future__ import annotations

import pytest
from napari.components import ViewerModel
from qtpy.compat import isalive
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication

from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.plugin.job import Job
from napari_inr_volume.plugin.layers import add_layer, original_layer
from napari_inr_volume.widgets.batch import BatchWidget
from napari_inr_volume.widgets.codec_comparison import CodecComparisonWidget
from napari_inr_volume.widgets.compress import CompressWidget
from napari_inr_volume.widgets.inr_info import InrFileWidget
from napari_inr_volume.widgets.panel import Panel

pytestmark = pytest.mark.gui

PANELS = [CompressWidget, BatchWidget, CodecComparisonWidget, InrFileWidget]


def delete(qtbot, panel: Panel) -> None:
    jobs = panel.findChildren(Job)
    panel.close()
    panel.deleteLater()
    QApplication.sendPostedEvents(panel, QEvent.Type.DeferredDelete)
    qtbot.waitUntil(lambda: not any(job.at_work for job in jobs))


@pytest.mark.parametrize("kind", PANELS)
def test_a_viewer_goes_on_without_the_panel(qtbot, settings, kind: type[Panel]) -> None:
    viewer = ViewerModel()
    panel = kind(viewer)
    delete(qtbot, panel)
    layer = add_layer(viewer, original_layer(head_phantom((8, 16, 16)), "head"))
    viewer.dims.set_point(0, 3)
    viewer.theme = "light"
    viewer.layers.remove(layer)
    assert not isalive(panel)
