"""The panel's last part: comparing the original with the result, and saving that."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QButtonGroup,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QRadioButton,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)
from superqt import QLabeledSlider

from ..core.words import DASH, in_decibels, in_error, in_ssim
from ..plugin.compare import Figures, Mode
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
COLUMNS = (
    ("PSNR", "PSNR in dB; peak: the intensity range of the original."),
    ("8 bit", "PSNR in dB; peak 255, on grey levels through the window chosen under Source."),
    ("SSIM", "Structural similarity, from 0 to 1."),
    ("RMSE", "Root mean square error in the units of the volume, HU for CT."),
)


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

        self.table = FigureTable()
        self.body.addWidget(self.table)
        self.sizes = TextLine("Fit a volume to see the figures.")
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
        self.table.show_figures("Slice", [("LR fit", None, None), ("Lanczos", None, None)])
        self.sizes.setText("Fit a volume to see the figures.")

    def _toggled(self, _: QRadioButton, checked: bool) -> None:
        if checked:
            self.opacity_row.setVisible(self.mode == "overlay")
            self.mode_chosen.emit()


class FigureTable(QTableWidget):
    """Figures of the slice in view and of the volume, a line for each of LR fit, Lanczos and network."""

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS) + 1)
        self.setHorizontalHeaderLabels(["", *(name for name, _ in COLUMNS)])
        for column, (_, tooltip) in enumerate(COLUMNS, start=1):
            self.horizontalHeaderItem(column).setToolTip(tooltip)
        self.verticalHeader().hide()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setShowGrid(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        header.setMinimumSectionSize(30)

    def show_figures(self, slice_words: str, lines: list[tuple[str, Figures | None, Figures | None]]) -> None:
        """Show (name, figures of the slice, of the volume); None is being computed, or not there."""
        rows: list[tuple[str, Figures | None] | str] = [slice_words]
        rows += [(name, in_slice) for name, in_slice, _ in lines]
        rows += ["Volume", *((name, whole) for name, _, whole in lines)]
        self.setRowCount(len(rows))
        for row, content in enumerate(rows):
            heading = isinstance(content, str)
            cells = [content, *[""] * len(COLUMNS)] if isinstance(content, str) else _cells(*content)
            for column, words in enumerate(cells):
                item = QTableWidgetItem(words)
                if heading:
                    font = item.font()
                    font.setBold(True)
                    item.setFont(font)
                side = Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft
                item.setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(row, column, item)
            self.setRowHeight(row, self.fontMetrics().height() + 4)
        header = self.horizontalHeader().sizeHint().height()
        self.setFixedHeight(header + sum(self.rowHeight(row) for row in range(len(rows))) + 4)


def _cells(name: str, figures: Figures | None) -> list[str]:
    if figures is None:
        return [f"  {name}", *[DASH] * len(COLUMNS)]
    return [
        f"  {name}",
        in_decibels(figures.psnr),
        in_decibels(figures.psnr_8bit),
        in_ssim(figures.ssim),
        in_error(figures.rmse),
    ]
