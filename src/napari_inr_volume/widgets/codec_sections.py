"""The sections of the widget Codec comparison: what to compare, and the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
)

from ..classical import by_bound
from ..classical.by_bound import Bounded
from ..classical.by_bytes import CODECS, missing
from ..core.words import in_bytes, in_decibels, in_figures, in_ratio
from ..plugin.work import bounded, rivals
from ..plugin.work.rivals import Rival
from .elided import ElidedBox
from .layer_box import LayerBox
from .plot import RatePlot
from .section import Section, TextLine

USUAL = ("jpeg2000", "hevc", "av1")  # checked at first, where they are here
NO_FILE = "Fit a volume, or open an .inr together with its original, to compare it with other codecs."
NO_ORIGINAL = "Open the original of this .inr too, a volume of {} x {} x {} voxels."


class ChoiceSection(Section):
    """Which `.inr`, which original, which codecs, which slices."""

    compare_wanted = Signal()
    cancel_wanted = Signal()

    def __init__(self) -> None:
        super().__init__("Compare", "An .inr beside other codecs, within the same bytes or the same bound.")
        self.files = LayerBox("A layer that was decoded from an .inr, or fitted here.", otherwise="last")
        self.originals = LayerBox("The layer that the .inr was made from; the other codecs encode it.")
        form = QFormLayout()
        for words, box in (("La&yer", self.files), ("Ori&ginal", self.originals)):
            label = QLabel(words)
            label.setBuddy(box)
            form.addRow(label, box)
        self.same = ElidedBox(
            "Bound: the exact layer beside codecs that keep every voxel within the same bound. Bytes: the"
            " preview beside codecs that get as many bytes."
        )
        self.same_label = QLabel("At the &same")
        self.same_label.setBuddy(self.same)
        form.addRow(self.same_label, self.same)
        form.addRow(self._slices())
        self.body.addLayout(form)
        self.codecs = self._add_boxes(
            {
                name: (codec.label, missing(codec), codec.setting, name in USUAL)
                for name, codec in CODECS.items()
            }
        )
        at_bound = {name: by_bound.BOUNDED[name] for name in bounded.NAMES}
        self.bounded = self._add_boxes(
            {
                name: (codec.label, by_bound.missing(codec), codec.ways[0].setting, True)
                for name, codec in at_bound.items()
            }
        )
        self.compare = QPushButton("&Compare")
        self.compare.setToolTip("Encode and decode in the background; the reconstructions become layers.")
        self.cancel = QPushButton("Cance&l")
        self.cancel.setToolTip("Stop; nothing is added.")
        row = QHBoxLayout()
        row.addWidget(self.compare, 1)
        row.addWidget(self.cancel)
        self.body.addLayout(row)
        self.progress = QProgressBar()
        self.progress.hide()
        self.words = TextLine(NO_FILE)
        self.body.addWidget(self.progress)
        self.body.addWidget(self.words)
        self.compare.clicked.connect(self.compare_wanted)
        self.cancel.clicked.connect(self.cancel_wanted)
        self.same.currentIndexChanged.connect(self._show_codecs)
        self.offer_bound(None)

    def _slices(self) -> QHBoxLayout:
        """Return a row: the whole volume, or how many slices."""
        self.all_slices = QCheckBox("Whole volume")
        self.all_slices.setChecked(True)
        self.all_slices.setToolTip(
            "Encode every slice; otherwise only some around the one in view, which is faster."
        )
        self.count = QSpinBox()
        self.count.setRange(1, 9_999)
        self.count.setValue(16)
        self.count.setSuffix(" slices")
        self.count.setEnabled(False)
        self.count.setToolTip(
            "How many slices around the one in view to encode. At the same bytes they get their share of the"
            " file; at the same bound they are extended to whole slabs of the exact layer."
        )
        self.all_slices.toggled.connect(self.count.setDisabled)
        part = QHBoxLayout()
        part.addWidget(self.all_slices)
        part.addWidget(self.count, 1)
        return part

    def _add_boxes(self, codecs: Mapping[str, tuple[str, str | None, str, bool]]) -> dict[str, QCheckBox]:
        """Add a box for each codec: its label, why it is missing or None, how it is run, whether checked."""
        boxes = {}
        for name, (label, why, setting, checked) in codecs.items():
            box = QCheckBox(label)
            box.setEnabled(why is None)
            box.setChecked(why is None and checked)
            box.setToolTip(why or f"Encode the slices with {label}: {setting}.")
            boxes[name] = box
            self.body.addWidget(box)
        return boxes

    @property
    def at_bound(self) -> bool:
        """Whether to compare at the same bound, not at the same bytes."""
        return self.same.currentData() == "bound"

    @property
    def chosen(self) -> list[str]:
        """Names of the codecs that are checked."""
        boxes = self.bounded if self.at_bound else self.codecs
        return [name for name, box in boxes.items() if box.isChecked()]

    def offer_bound(self, words: str | None) -> None:
        """Offer the bound of an exact layer, in words, and choose it; without one there are bytes alone."""
        offered = self.same.itemText(0) if self.same.count() == 2 else None
        wanted = None if words is None else f"bound: {words}"
        if self.same.count() and offered == wanted:
            return
        self.same.clear()
        if wanted is not None:
            self.same.addItem(wanted, "bound")
        self.same.addItem("bytes, by the preview", "bytes")
        for widget in (self.same, self.same_label):
            widget.setVisible(wanted is not None)
        self._show_codecs()

    def _show_codecs(self) -> None:
        for boxes, shown in ((self.codecs, not self.at_bound), (self.bounded, self.at_bound)):
            for box in boxes.values():
                box.setVisible(shown)

    def show_running(self, running: bool) -> None:
        """Lock what is being used."""
        for box in (self.files, self.originals, self.same, self.all_slices):
            box.setDisabled(running)
        for name, box in self.codecs.items():
            box.setEnabled(not running and missing(CODECS[name]) is None)
        for name, box in self.bounded.items():
            box.setEnabled(not running and by_bound.missing(by_bound.BOUNDED[name]) is None)
        self.count.setEnabled(not running and not self.all_slices.isChecked())
        self.cancel.setEnabled(running)
        self.progress.setVisible(running)
        if running:
            self.progress.setRange(0, 0)


class ResultSection(Section):
    """A sentence, curves if bytes were the same, and a table."""

    AT_BYTES = ("", "bytes", "ratio", "PSNR", "seconds")
    AT_BOUND = ("", "bytes", "bits/voxel", "ratio", "max error")

    def __init__(self) -> None:
        super().__init__(
            "Result",
            "PSNR in dB (peak: the intensity range of the original), padding left out. Max error in the units"
            " of the original, on every voxel.",
        )
        self.words = TextLine()
        self.plot = RatePlot()
        self.table = QTableWidget(0, len(self.AT_BYTES))
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        vertical, horizontal = self.table.verticalHeader(), self.table.horizontalHeader()
        assert vertical is not None
        assert horizontal is not None
        vertical.hide()
        horizontal.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        horizontal.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for widget in (self.words, self.plot, self.table):
            self.body.addWidget(widget)
        self.show_rivals([], 1)

    def show_rivals(self, found: list[Rival], source_bytes: int, words: str = "") -> None:
        """Show what was found so far."""
        self.words.setText(words)
        self.words.setVisible(bool(words))
        self.plot.show_curves(
            [
                (rival.label, [(source_bytes / size, value) for size, value in rival.points])
                for rival in found
                if rival.points
            ]
        )
        rows, tips = list[tuple[str, ...]](), list[str]()
        for rival in found:
            if rival.failed:
                continue
            fitted = rival.label == rivals.OURS
            seconds = f"{rival.seconds[1]:.1f}" if fitted else "{:.1f} / {:.1f}".format(*rival.seconds)
            cells = (rival.label, in_bytes(rival.size), in_ratio(source_bytes / rival.size))
            rows.append((*cells, in_decibels(rival.psnr), seconds))
            tips.append(
                "Seconds: decoding alone; it was fitted before."
                if fitted
                else f"{rival.setting}. Seconds: encoding / decoding."
            )
        self._show_table(self.AT_BYTES, rows, tips)
        self.plot.setVisible(bool(found))

    def show_bounded(self, found: Sequence[Bounded], source_bytes: int, voxels: int, words: str = "") -> None:
        """Show what was found so far at a bound."""
        self.words.setText(words)
        self.words.setVisible(bool(words))
        self.plot.hide()
        rows, tips = list[tuple[str, ...]](), list[str]()
        for one in found:
            cells = (one.label, in_bytes(one.size), f"{8 * one.size / voxels:.3f}")
            rows.append((*cells, in_ratio(source_bytes / one.size), in_figures(one.max_error)))
            coding = "" if one.label == bounded.OURS else f"{one.encode_seconds:.1f} s to encode, "
            tips.append(f"{one.setting}; {coding}{one.decode_seconds:.1f} s to decode.")
        self._show_table(self.AT_BOUND, rows, tips)

    def _show_table(self, header: Sequence[str], rows: list[tuple[str, ...]], tips: list[str]) -> None:
        self.table.setHorizontalHeaderLabels(header)
        self.table.setRowCount(len(rows))
        for row, (cells, tip) in enumerate(zip(rows, tips, strict=True)):
            for column, text in enumerate(cells):
                item = QTableWidgetItem(text)
                item.setToolTip(tip)
                if column:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.table.setItem(row, column, item)
        self.table.setVisible(bool(rows))
        self.table.resizeRowsToContents()  # a long name takes two lines
        top = self.table.horizontalHeader()
        assert top is not None
        self.table.setFixedHeight(
            top.sizeHint().height() + sum(self.table.rowHeight(row) for row in range(len(rows))) + 4
        )
