"""Building blocks of the panel: sections that collapse, rows, wrapped lines of text.

Text from files is shown by a `TextLine`, or goes through `notices.plain`.
"""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ..core.advice import advice
from ..core.text import printable
from ..plugin.notices import plain

BESIDE_HEADING = 40  # pixels of the arrow and the edges
FRAMED = "font-weight: bold; border: 1px solid palette(mid); padding: 3px;"  # style of what must be seen


class Section(QWidget):
    """A heading that shows and hides what is below it; add that to `body`, a vertical layout."""

    def __init__(self, title: str, tooltip: str, *, expanded: bool = True) -> None:
        super().__init__()
        self._title, self._subject = title, ""
        self.heading = QToolButton()
        self.heading.setText(title)
        self._tooltip = tooltip
        self.heading.setToolTip(tooltip)
        self.heading.setCheckable(True)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.heading.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._content = QWidget()
        self.body = QVBoxLayout(self._content)
        self.body.setContentsMargins(4, 0, 4, 6)
        self.body.setSpacing(4)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.heading)
        layout.addWidget(self._content)
        self.heading.toggled.connect(self.set_expanded)
        self.heading.setChecked(expanded)
        self.set_expanded(expanded)

    def set_expanded(self, expanded: bool) -> None:
        """Show or hide what is below the heading."""
        self.heading.setArrowType(Qt.ArrowType.DownArrow if expanded else Qt.ArrowType.RightArrow)
        self._content.setVisible(expanded)

    def show_subject(self, name: str) -> None:
        """Say in the heading of which volume this is; nothing if the name is empty."""
        self._subject = name
        self.heading.setToolTip(f"{plain(name)}\n\n{self._tooltip}" if name else self._tooltip)
        self._show_heading()

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802, of Qt
        """Let the name in the heading take the width that there is."""
        super().resizeEvent(event)
        self._show_heading()

    def _show_heading(self) -> None:
        metrics, words = self.heading.fontMetrics(), self._title
        if self._subject:
            words = f"{self._title}: "
            room = self.width() - metrics.horizontalAdvance(words) - BESIDE_HEADING
            name = printable(self._subject)
            words += metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, room).replace("&", "&&")
        self.heading.setText(words)


class TextLine(QLabel):
    """A label that wraps, takes no more width than there is, and shows text from files as it is written."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setText(text)

    def setText(self, text: str | None) -> None:  # noqa: N802
        """Show lines of text, what does not print in them escaped."""
        super().setText("\n".join(printable(line) for line in (text or "").split("\n")))


class CancelBar(QWidget):
    """How far work has come, and a button that ends it; hidden until there is some."""

    def __init__(self, meaning: str, cancelling: str, words: str = "Cancel") -> None:
        super().__init__()
        self.bar = QProgressBar()
        self.bar.setToolTip(meaning)
        self.cancel = QPushButton(words)
        self.cancel.setToolTip(cancelling)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel)
        self.hide()

    def show_progress(self, done: int, total: int) -> None:
        """Show how far it has come; a total of 0 means that it is not known yet."""
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.show()


def labelled(words: str, box: QWidget, *buttons: QWidget) -> QHBoxLayout:
    """Return a row: words, the box that they name, which takes the room, and buttons."""
    label = QLabel(words)
    label.setBuddy(box)
    row = QHBoxLayout()
    row.addWidget(label)
    row.addWidget(box, 1)
    for button in buttons:
        row.addWidget(button)
    return row


class AdviceLine(QLabel):
    """A framed line of what must be said of a ratio; hidden where nothing must."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.setStyleSheet(FRAMED)
        self.setToolTip("A fitted network loses detail. Look at the difference before you rely on it.")
        self.show_words(None)

    def show_ratio(self, ratio: float, units: str) -> None:
        """Say what must be said of this ratio, of a volume in these units."""
        self.show_words(advice(ratio, units))

    def show_words(self, words: str | None) -> None:
        """Show words, or hide."""
        self.setText(words or "")
        self.setVisible(words is not None)
