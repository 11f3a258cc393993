"""Building blocks of the panel: sections that collapse, rows, wrapped lines of text.

Text from files is shown by a `TextLine`, or goes through `notices.plain`.
"""

from __future__ import annotations

from qtpy.QtCore import Qt
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

FRAMED = "font-weight: bold; border: 1px solid palette(mid); padding: 3px;"  # style of what must be seen


class Section(QWidget):
    """A heading that shows and hides what is below it; add that to `body`, a vertical layout."""

    def __init__(self, title: str, tooltip: str, *, expanded: bool = True) -> None:
        super().__init__()
        self.heading = QToolButton()
        self.heading.setText(title)
        self.heading.setToolTip(tooltip)
        self.heading.setCheckable(True)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
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
