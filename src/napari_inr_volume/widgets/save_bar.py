"""What stands below the sections, always in sight: the fit that is shown, and the button that saves it."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from .section import TextLine

NOTHING = "Nothing to save yet: fit a volume first."


class SaveBar(QWidget):
    """Emits `wanted` when the person saves."""

    wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.sizes = TextLine()
        self.sizes.setToolTip(
            "Size of the .inr; ratio of the source's stored pixels to it; and that ratio with the bytes of"
            " the super-resolution model counted too, where one is used."
        )
        self.button = QPushButton("Save .inr...")
        self.button.setToolTip(
            "Save the fitted network as an .inr file, which decodes to the LR fit and the reconstruction."
        )
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 0, 6, 6)
        column.setSpacing(4)
        column.addWidget(self.sizes)
        column.addWidget(self.button)
        self.button.clicked.connect(self.wanted)
        self.show_words(NOTHING)
        self.show_possible(False)

    def show_words(self, words: str) -> None:
        """Say what would be saved."""
        self.sizes.setText(words)

    def show_possible(self, fitted: bool) -> None:
        """Enable saving."""
        self.button.setEnabled(fitted)
