"""The dock Orthogonal views: what the viewer shows, from the front and from the side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.qt import QtViewer
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QSplitter, QVBoxLayout, QWidget

from ..plugin.orthogonal import ORDERS, Mirror
from .section import TextLine

if TYPE_CHECKING:
    from napari.components import ViewerModel

TITLE = "Orthogonal views"
HEIGHT = 300  # pixels that they need at least


class OrthogonalViews(QWidget):
    """Two canvases beside each other. Close it before its viewer's window goes."""

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.mirrors = [Mirror(viewer, side, self) for side in ORDERS]
        self.canvases = [QtViewer(mirror.model) for mirror in self.mirrors]
        split = QSplitter()
        for canvas in self.canvases:
            split.addWidget(canvas)
        self.words = TextLine()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(split, 1)
        layout.addWidget(self.words)
        self.setMinimumHeight(HEIGHT)
        self.mirrors[0].updated.connect(self._say)
        self._say()
        QTimer.singleShot(0, self._fit)  # once it has its size

    def _fit(self) -> None:
        for mirror in self.mirrors if self.canvases else ():
            mirror.update()

    def _say(self) -> None:
        """Say which layers are not shown, and what to do."""
        waiting = self.mirrors[0].waiting
        names = ", ".join(f"'{name}'" for name in waiting)
        self.words.setText(
            f"Not shown from here, since read slice by slice: {names}. Load it into memory first."
        )
        self.words.setVisible(bool(waiting))

    def closeEvent(self, event: QCloseEvent | None) -> None:  # noqa: N802, of Qt
        """End, as when the dock is closed."""
        self._end()
        super().closeEvent(event)

    def changeEvent(self, event: QEvent | None) -> None:  # noqa: N802
        """End when taken out of the dock: napari closes no widget of a dock that it removes."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._end()
            self.deleteLater()

    def _end(self) -> None:
        """Let the viewer go, and end the canvases as napari its own."""
        for mirror in self.mirrors:
            mirror.leave()
        while self.canvases:
            self.canvases.pop().close()


def show_orthogonal_views(viewer: ViewerModel) -> OrthogonalViews | None:
    """Add the dock below the canvas of a viewer with a window, or show it again; None without a window."""
    window = getattr(viewer, "window", None)
    if window is None:
        return None
    there = window.dock_widgets.get(TITLE)
    if isinstance(there, OrthogonalViews):
        there.parentWidget().show()
        return there
    views = OrthogonalViews(viewer)
    window.add_dock_widget(views, name=TITLE, area="bottom", tabify=False)
    return views
