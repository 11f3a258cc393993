"""The table of the widget Batch: a row for each volume, with what is asked of it and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QSizePolicy, QTableWidget, QTableWidgetItem

from ..batch_report import DONE, Row, in_words, result_in_words
from ..io.studies import Study
from ..plugin.notices import plain
from ..plugin.work.batch import Found, Wanted

if TYPE_CHECKING:
    from ..records import Request

COLUMNS = (
    ("Volume", "What will be compressed, by its place in the folder that was added."),
    ("Asked for", "Preset, target and what the file keeps. Select rows to change theirs."),
    ("Result", "How far it is, and what became of it. Double-click to open the .inr that was made."),
)
WAITING = "waiting"
HEIGHT = 260  # pixels
SHARES = 0.3, 0.24  # of the width, of the first columns; the rest is the result's
LINES, PADDING = 4, 8  # of a row at most; pixels


@dataclass(eq=False)
class Queued:
    """A volume in the table."""

    study: Study
    found: Found
    request: Request
    begun: Wanted | None = None  # as it was last begun
    row: Row | None = None  # what became of it then

    @property
    def waiting(self) -> bool:
        """Whether it is to be compressed yet, or again."""
        return self.row is None or self.row.status != DONE


class BatchTable(QTableWidget):
    """Shows `queued`, a row each, in the order in which they were added."""

    open_wanted = Signal(object)  # Queued

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self.queued: list[Queued] = []
        self.setHorizontalHeaderLabels([name for name, _ in COLUMNS])
        for column, (_, tooltip) in enumerate(COLUMNS):
            self.horizontalHeaderItem(column).setToolTip(tooltip)
        self.verticalHeader().hide()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(HEIGHT)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        header.setStretchLastSection(True)
        self.cellDoubleClicked.connect(lambda at, _: self.open_wanted.emit(self.queued[at]))

    def resizeEvent(self, event: QResizeEvent | None) -> None:  # noqa: N802, of Qt
        """Give the result the most room."""
        super().resizeEvent(event)
        for column, share in enumerate(SHARES):
            self.setColumnWidth(column, int(share * self.viewport().width()))
        for at in range(len(self.queued)):
            self._fit_height(at)

    @property
    def chosen(self) -> list[Queued]:
        """Those that are selected."""
        return [self.queued[at] for at in sorted({index.row() for index in self.selectedIndexes()})]

    def add(self, queued: Queued) -> None:
        """Add a row."""
        self.queued.append(queued)
        at = self.rowCount()
        self.insertRow(at)
        for column in range(len(COLUMNS)):
            self.setItem(at, column, QTableWidgetItem())
        study = queued.study
        self._fill(at, 0, study.name, f"{study.title}\n{queued.found.root / study.name}")
        self.show_request(queued)
        self.show_words(queued, WAITING)

    def remove(self, queued: Queued) -> None:
        """Take a row out."""
        at = self.queued.index(queued)
        del self.queued[at]
        self.removeRow(at)

    def show_request(self, queued: Queued) -> None:
        """Show what is asked of a volume."""
        self._fill(self.queued.index(queued), 1, in_words(queued.request))

    def show_words(self, queued: Queued, words: str) -> None:
        """Show how far a volume is."""
        self._fill(self.queued.index(queued), 2, words)

    def show_result(self, queued: Queued) -> None:
        """Show what became of a volume."""
        if queued.row is not None:
            more = f"\n{queued.row.notes}" if queued.row.notes else ""
            words = result_in_words(queued.row)
            self._fill(self.queued.index(queued), 2, words, f"{words}{more}")

    def _fill(self, at: int, column: int, words: str, tooltip: str = "") -> None:
        item = self.item(at, column)
        if item.text() != words:
            item.setText(words)
            item.setToolTip("\n".join(map(plain, (tooltip or words).split("\n"))))
            self._fit_height(at)

    def _fit_height(self, at: int) -> None:
        """Let a row have the lines that its words need, up to some."""
        most = LINES * self.fontMetrics().lineSpacing() + PADDING
        self.setRowHeight(at, min(self.sizeHintForRow(at), most))
