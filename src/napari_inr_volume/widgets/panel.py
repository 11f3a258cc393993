"""A dock widget made of sections: they stand below each other, and scroll where there is no room."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QDockWidget,
    QFrame,
    QMainWindow,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from .section import Section

WIDTH, USUAL_WIDTH = 300, 360  # pixels that a panel needs at least, and that it asks for


class Panel(QWidget):
    """Sections from top to bottom, in the order of a person's work."""

    _placed = False  # among the other docks, once

    def show_sections(self, *sections: Section, footer: QWidget | None = None) -> None:
        """Lay the sections out; to be called once, when they have all their controls.

        The footer stands below them and does not scroll.
        """
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(6, 6, 6, 6)
        column.setSpacing(6)
        for section in sections:
            column.addWidget(section)
        column.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(content)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll)
        if footer is not None:
            layout.addWidget(footer)
        self.setMinimumWidth(WIDTH)
        for kind in (QAbstractSpinBox, QComboBox):
            for box in content.findChildren(kind):
                box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                box.installEventFilter(self)

    def sizeHint(self) -> QSize:  # noqa: N802, of Qt
        """Ask for the usual width."""
        return QSize(USUAL_WIDTH, super().sizeHint().height())

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """Join the other panels as a tab when first shown: below each other none has a usable height."""
        super().showEvent(event)
        if not self._placed:
            self._placed = True
            QTimer.singleShot(0, self._join)

    def _join(self) -> None:
        dock = self.parentWidget()
        while dock is not None and not isinstance(dock, QDockWidget):
            dock = dock.parentWidget()
        window = None if dock is None else dock.parentWidget()
        if dock is None or dock.isFloating() or not isinstance(window, QMainWindow):
            return
        area = window.dockWidgetArea(dock)
        for other in window.findChildren(QDockWidget):
            beside = other is not dock and not other.isFloating() and window.dockWidgetArea(other) == area
            if beside and other.isVisible() and other.findChild(Panel) is not None:
                window.tabifyDockWidget(other, dock)
                dock.raise_()
                return

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """Let the wheel scroll the panel, not change a value that the mouse happens to be over."""
        assert event is not None
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return bool(super().eventFilter(watched, event))
