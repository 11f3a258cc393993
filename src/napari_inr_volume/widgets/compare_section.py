"""The panel's last part: comparing the original with the result, and saving that."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QRadioButton,
    QWidget,
)
from superqt import QLabeledSlider

from ..plugin.compare import Mode
from .figure_table import FiguresView
from .section import Section, TextLine

MODES: tuple[tuple[Mode, str, str], ...] = (
    ("off", "Off", "The layers as you arrange them yourself."),
    (
        "side by side",
        "Side by side",
        "Original, LR fit and reconstruction in one row, zoomed alike.",
    ),
    ("overlay", "Overlay", "The reconstruction over the original, as opaque as the slider says."),
    ("difference", "Difference", "Reconstruction minus original, on a colour scale symmetric about 0."),
)
NO_FIT = "Fit a volume to see the figures."


class CompareSection(Section):
    """Ways to look at the error, and its figures."""

    mode_chosen = Signal()
    opacity_changed = Signal(float)
    save_wanted = Signal()

    def __init__(self) -> None:
        super().__init__("Compare", "See what the fit and the reconstruction lost.")
        self._modes = QButtonGroup(self)
        self._buttons: dict[Mode, QRadioButton] = {}
        grid = QGridLayout()
        for index, (mode, words, tooltip) in enumerate(MODES):
            button = QRadioButton(words)
            self._buttons[mode] = button
            button.setToolTip(tooltip)
            self._modes.addButton(button)
            grid.addWidget(button, index // 2, index % 2)
        self.button("off").setChecked(True)
        self.body.addLayout(grid)

        self.opacity = QLabeledSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setValue(50)
        self.opacity.setToolTip("Opacity of the reconstruction over the original, in percent.")
        self.opacity_row = QWidget()
        row = QHBoxLayout(self.opacity_row)
        row.setContentsMargins(0, 0, 0, 0)
        label = QLabel("Opacity (%)")
        label.setBuddy(self.opacity)
        row.addWidget(label)
        row.addWidget(self.opacity, 1)
        self.opacity_row.hide()
        self.body.addWidget(self.opacity_row)

        self.figures = FiguresView()
        self.body.addWidget(self.figures)
        self.sizes = TextLine(NO_FIT)
        self.sizes.setToolTip(
            "Size of the .inr; ratio of the source's stored pixels to it; and that ratio with the bytes of"
            " the super-resolution model counted too, where one is used."
        )
        self.body.addWidget(self.sizes)
        self.save = QPushButton("Save .inr...")
        self.save.setToolTip(
            "Save the fitted network as an .inr file, which decodes to the LR fit and the reconstruction."
        )
        self.body.addWidget(self.save)
        self._modes.buttonToggled.connect(self._toggled)
        self.opacity.valueChanged.connect(lambda percent: self.opacity_changed.emit(percent / 100))
        self.save.clicked.connect(self.save_wanted)
        self.show_nothing()
        self.show_possible(False)

    @property
    def mode(self) -> Mode:
        """How to look at it."""
        return next(mode for mode, button in self._buttons.items() if button.isChecked())

    def button(self, mode: Mode) -> QRadioButton:
        """Return the button of a mode."""
        return self._buttons[mode]

    def choose(self, mode: Mode) -> None:
        """Choose a mode, as a person would."""
        self._buttons[mode].setChecked(True)

    def show_possible(self, fitted: bool, reconstructed: bool = False) -> None:
        """Enable what can be compared, and saving."""
        for mode, button in self._buttons.items():
            button.setEnabled(fitted and (mode != "difference" or reconstructed))
        self.save.setEnabled(fitted)
        if not self.button(self.mode).isEnabled():
            self.button("off").setChecked(True)

    def show_nothing(self) -> None:
        """Show that there is no fit."""
        self.figures.show_nothing()
        self.sizes.setText(NO_FIT)

    def _toggled(self, _: QRadioButton, checked: bool) -> None:
        if checked:
            self.opacity_row.setVisible(self.mode == "overlay")
            self.mode_chosen.emit()
