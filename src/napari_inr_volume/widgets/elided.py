"""A list to choose from that takes no more width than there is."""

from __future__ import annotations

from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QPaintEvent
from qtpy.QtWidgets import QComboBox, QSizePolicy, QStyle, QStyleOptionComboBox, QStylePainter

from ..plugin.notices import plain

MARGIN = 8  # pixels that a style may leave beside the words


class ElidedBox(QComboBox):
    """Draws its words without their middle where they are too long, and has the whole in its tooltip."""

    def __init__(self, meaning: str) -> None:
        super().__init__()
        self.meaning = meaning
        self.setToolTip(meaning)
        self.setMinimumContentsLength(4)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def event(self, event: QEvent | None) -> bool:
        """Say what is chosen in the tooltip, before it is shown."""
        if event is not None and event.type() == QEvent.Type.ToolTip:
            chosen = plain(self.currentText())
            self.setToolTip(f"{chosen}\n\n{self.meaning}" if chosen else self.meaning)
        return bool(super().event(event))

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802, of Qt
        """Draw it: the end of a name, with its PSNR, says as much as its beginning."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        field = self.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, self
        )
        middle = Qt.TextElideMode.ElideMiddle
        words = option.currentText or self.placeholderText()
        option.currentText = self.fontMetrics().elidedText(words, middle, field.width() - MARGIN)
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
