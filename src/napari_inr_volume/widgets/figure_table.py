"""Figures of the slice in view and of the volume: a table, and how far the measuring has come."""

from __future__ import annotations

import math

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QPushButton,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ..core.metrics import Errors, Figures
from ..core.units import HU, RAW, Units, suffix
from ..core.windows import Window
from ..core.words import DASH, in_decibels, in_error, in_ssim
from ..plugin.figures import LR, ORIGINAL, Line
from .section import CancelBar

PEAK = "PSNR in dB above, root mean square error below. The peak of every PSNR is the original's range."
COLUMNS = (
    ("All", f"All measured voxels. {PEAK}"),
    ("Body", f"The patient alone, lungs included: air and table are easy, and flatter. {PEAK}"),
    ("Window", PEAK),
    ("SSIM", "Structural similarity within axial slices, from 0 to 1."),
)
FIGURES_TOOLTIP = (
    "Save the figures of the volume and of every slice measured so far as a table, with bytes, ratio and"
    " settings."
)
BODY, WINDOW = 2, 3  # columns that not every volume has


class FigureTable(QTableWidget):
    """Figures of the slice in view and of the volume, a line for each of LR fit, Lanczos and network."""

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS) + 1)
        self.setHorizontalHeaderLabels(["", *(name for name, _ in COLUMNS)])
        for column, (_, tooltip) in enumerate(COLUMNS, start=1):
            self.horizontalHeaderItem(column).setToolTip(tooltip)
        self._unit = ""
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
        self.show_regions(RAW, None)

    def show_regions(self, units: Units, window: Window | None) -> None:
        """Show the columns that there are for these units, and for a window that is not the full range."""
        self._unit = suffix(units)
        self.setColumnHidden(BODY, units != HU)
        self.setColumnHidden(WINDOW, window is None)
        if window is not None:
            black, white = window.limits
            self.horizontalHeaderItem(WINDOW).setToolTip(
                f"Voxels of the original from {black:g} to {white:g}{self._unit}, the window '{window.name}'."
                f" {PEAK}"
            )

    def show_figures(self, slice_words: str | None, volume_words: str, lines: list[Line]) -> None:
        """Show the figures of a slice, unless there are no words for it, and of the volume."""
        rows: list[tuple[Line, Figures | None] | str] = []
        if slice_words is not None:
            rows += [slice_words, *((line, line.in_slice) for line in lines)]
        rows += [volume_words, *((line, line.whole) for line in lines)]
        self.clearSpans()
        self.setRowCount(len(rows))
        for row, content in enumerate(rows):
            heading = isinstance(content, str)
            cells = [content, *[""] * len(COLUMNS)] if isinstance(content, str) else self._cells(*content)
            for column, words in enumerate(cells):
                item = QTableWidgetItem(words)
                if isinstance(content, str):
                    font = item.font()
                    font.setBold(True)
                    item.setFont(font)
                elif column == 0:
                    item.setToolTip(content[0].tooltip)
                side = Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft
                item.setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(row, column, item)
            if heading:
                self.setSpan(row, 0, 1, len(COLUMNS) + 1)
            self.setRowHeight(row, self.fontMetrics().height() * (1 if heading else 2) + 4)
        header = self.horizontalHeader().sizeHint().height()
        self.setFixedHeight(header + sum(self.rowHeight(row) for row in range(len(rows))) + 4)

    def _cells(self, line: Line, figures: Figures | None) -> list[str]:
        name = f"{line.name}\nvs {line.against}"
        if figures is None:
            return [name, *[DASH] * len(COLUMNS)]
        regions = [self._errors(one) for one in (figures.whole, figures.body, figures.window)]
        return [name, *regions, in_ssim(figures.ssim)]

    def _errors(self, errors: Errors | None) -> str:
        if errors is None or math.isnan(errors.rmse):
            return DASH
        unit = " dB" if math.isfinite(errors.psnr) else ""
        return f"{in_decibels(errors.psnr)}{unit}\n{in_error(errors.rmse)}{self._unit}"


class FiguresView(QWidget):
    """The table; and below it how far the measuring has come, or a button that begins it again."""

    cancel_wanted = Signal()
    measure_wanted = Signal()
    save_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.table = FigureTable()
        self.progress = CancelBar(
            "Slices measured, from the one in view outwards. The fit can be used meanwhile.",
            "Stop measuring. The fit is kept; the figures of the slices measured so far stay.",
        )
        self.progress.bar.setFormat("measuring, %p %")
        self.measure = QPushButton("&Measure the rest")
        self.measure.setToolTip("Measure the slices that are not measured yet, in the background.")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addWidget(self.progress)
        layout.addWidget(self.measure)
        self.save = QPushButton("Figures as CS&V...")
        self.save.setToolTip(FIGURES_TOOLTIP)
        layout.addWidget(self.save)
        self.save.clicked.connect(self.save_wanted)
        self.progress.cancel.clicked.connect(self.cancel_wanted)
        self.measure.clicked.connect(self.measure_wanted)
        self.show_nothing()

    def show_nothing(self) -> None:
        """Show that there is no fit."""
        self.show_idle(complete=True)
        self.show_possible(False)
        self.table.show_regions(RAW, None)
        empty = [
            Line(name=name, against=against, in_slice=None, whole=None)
            for name, against in (("LR fit", LR), ("Lanczos", ORIGINAL))
        ]
        self.table.show_figures("Slice", "Volume", empty)

    def show_possible(self, figures: bool) -> None:
        """Offer to save figures, if there are some."""
        self.save.setEnabled(figures)

    def show_progress(self, done: int, total: int) -> None:
        """Show how far the measuring has come."""
        self.measure.hide()
        self.progress.show_progress(done, total)

    def show_idle(self, *, complete: bool) -> None:
        """Show that nothing is being measured, and whether something is left to be."""
        self.progress.hide()
        self.measure.setVisible(not complete)
