"""Nothing in a panel asks for more width than there is, whatever the names in it and the theme."""

from __future__ import annotations

import pytest
from napari import Viewer
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QHelpEvent
from qtpy.QtWidgets import QAbstractButton, QApplication, QDoubleSpinBox, QScrollArea, QWidget

from napari_inr_volume.plugin.layers import add_layer, original_layer
from napari_inr_volume.widgets.panel import Panel
from napari_inr_volume.widgets.section import Section

pytestmark = [pytest.mark.gui, pytest.mark.slow]

NARROW = 300  # pixels
LONG_NAME = "1.3.6.1.4.1.14519.5.2.1.3320.3273 CT Abdomen 5.0 B30f venous " + "and so on " * 12
PANELS = ["Compress (INR)", "INR file", "Codec comparison", "Batch"]


def too_wide(panel: Panel) -> list[str]:
    """Return what of a panel is cut off at the right, or asks for more than its share."""
    scroll = panel.findChild(QScrollArea)
    viewport, content = scroll.viewport(), scroll.widget()
    found = [] if content.width() <= viewport.width() else [f"content: {content.minimumSizeHint().width()}"]
    for widget in filter(QWidget.isVisible, content.findChildren(QWidget)):
        if widget.parentWidget() is None or not content.isAncestorOf(widget):
            continue
        right = widget.mapTo(content, QPoint(widget.width(), 0)).x()
        cut = isinstance(widget, QAbstractButton) and not isinstance(widget.parentWidget(), Section)
        if right > viewport.width() or (cut and widget.width() < widget.minimumSizeHint().width()):
            found.append(f"{type(widget).__name__} {widget.objectName()}: {right}")
    return found


@pytest.fixture
def narrow(qtbot, window: Viewer, volume, request) -> Panel:
    """A panel at its narrowest, of a volume with a very long name."""
    dock, panel = window.window.add_plugin_dock_widget("napari-inr-volume", request.param)
    add_layer(window, original_layer(volume, LONG_NAME))
    for section in panel.findChildren(Section):
        section.heading.setChecked(True)
    window.window._qt_window.resizeDocks([dock], [NARROW], Qt.Orientation.Horizontal)
    qtbot.waitUntil(lambda: panel.width() == NARROW)
    return panel


@pytest.mark.parametrize("narrow", PANELS, indirect=True)
def test_nothing_is_cut_off_in_a_narrow_panel(qtbot, window: Viewer, narrow: Panel) -> None:
    for theme in ("dark", "light", "dark"):
        window.theme = theme
        QApplication.processEvents()
        assert too_wide(narrow) == [], theme


@pytest.mark.parametrize("narrow", PANELS[:1], indirect=True)
@pytest.mark.parametrize(("kind", "value"), [("psnr", 36.0), ("bytes", 1000.0), ("ratio", 1000.0)])
def test_the_value_of_a_target_is_seen_whole(qtbot, narrow: Panel, kind: str, value: float) -> None:
    section = narrow.settings
    section.target_kind.setCurrentIndex(section.target_kind.findData(kind))
    section.target_kind.activated.emit(section.target_kind.currentIndex())
    box: QDoubleSpinBox = section.target_value
    box.setValue(value)
    qtbot.waitUntil(box.isVisible)
    words = box.lineEdit()
    assert words.fontMetrics().horizontalAdvance(box.text()) <= words.width()
    assert too_wide(narrow) == []


@pytest.mark.parametrize("narrow", PANELS[:1], indirect=True)
def test_a_name_that_is_too_long_is_whole_in_the_tooltip(qtbot, narrow: Panel) -> None:
    box = narrow.source.layers
    middle = box.rect().center()
    QApplication.sendEvent(box, QHelpEvent(QHelpEvent.Type.ToolTip, middle, box.mapToGlobal(middle)))
    assert box.toolTip().startswith(LONG_NAME.strip())
    assert LONG_NAME.strip() in narrow.fit.heading.toolTip()
    assert "…" in narrow.fit.heading.text()
