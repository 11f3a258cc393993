"""The sections of the widget Batch: which volumes, what to make of them, where, and the run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QFormLayout, QHBoxLayout, QLabel, QProgressBar, QPushButton, QSpinBox

from ..core.choices import Device
from ..fields.constant import NO_NETWORK
from ..fields.registry import PRESETS, find_preset
from ..plugin.work.batch import SPARED
from .batch_table import BatchTable
from .elided import ElidedBox
from .kept_row import KeptRow
from .section import CancelBar, Section, TextLine
from .settings_form import let_shrink
from .target_row import TargetRow

if TYPE_CHECKING:
    from ..records import Request

EMPTY = "Add a folder of DICOM series or volume files, or single files; all in and below it is found."
ONLY_EXACT = "no network"  # the preset of files that hold the exact voxels alone


class QueueSection(Section):
    """The volumes, and the buttons that add and remove some."""

    add_wanted = Signal()
    remove_wanted = Signal()
    cancel_wanted = Signal()

    def __init__(self) -> None:
        super().__init__("Volumes", "What will be compressed, each in a process of its own.")
        self.add = QPushButton("&Add...")
        self.add.setToolTip(
            "Add a file, or a folder with every DICOM series and volume file in and below it. Only headers"
            " are read now."
        )
        self.remove = QPushButton("&Remove")
        self.remove.setToolTip("Take the selected rows out of the list. Files that were made stay.")
        row = QHBoxLayout()
        row.addWidget(self.add)
        row.addWidget(self.remove)
        self.body.addLayout(row)
        self.looking = CancelBar("Files looked at.", "Stop looking; nothing is added.")
        self.looking.bar.setFormat("looking for volumes, %p %")
        self.body.addWidget(self.looking)
        self.words = TextLine(EMPTY)
        self.body.addWidget(self.words)
        self.table = BatchTable()
        self.body.addWidget(self.table)
        self.add.clicked.connect(self.add_wanted)
        self.remove.clicked.connect(self.remove_wanted)
        self.looking.cancel.clicked.connect(self.cancel_wanted)


class RequestSection(Section):
    """What to make of the selected volumes, or of all; emits `edited`."""

    edited = Signal()

    def __init__(self) -> None:
        super().__init__("Settings", "Of the selected rows; of all rows if none is selected.")
        self.of = TextLine()
        self.preset = ElidedBox(
            "fast and default differ in the steps, quality has a finer LR too; the paper's take hours."
            " With 'no network' a file holds the exact voxels alone."
        )
        self.preset.addItems([*PRESETS, ONLY_EXACT])
        self.target_row = TargetRow()
        self.kept = KeptRow()
        form = QFormLayout()
        for words, buddy, box in (
            ("&Preset", self.preset, self.preset),
            ("&Target", self.target_row.kind, self.target_row),
            ("&Keep", self.kept.kept, self.kept),
        ):
            label = QLabel(words)
            label.setBuddy(buddy)
            form.addRow(label, box)
        self.body.addWidget(self.of)
        self.body.addLayout(form)
        self.preset.activated.connect(self._preset_chosen)
        self.target_row.edited.connect(self.edited)
        self.kept.edited.connect(self._kept_chosen)

    def show_of(self, selected: int, rows: int) -> None:
        """Say whose settings these are."""
        if not rows:
            words = "For the volumes that you add."
        elif selected:
            words = f"Of the selected {f'{selected} rows' if selected > 1 else 'row'}."
        else:
            words = "Of all rows; select some to change only theirs."
        self.of.setText(words)

    def request(self, device: Device) -> Request:
        """Return what is set."""
        from ..records import Request

        if self.preset.currentText() == ONLY_EXACT:
            bound = self.kept.max_error
            return Request(settings=NO_NETWORK, upscaler="lanczos", device=device, max_error=bound)
        return Request(
            settings=find_preset(self.preset.currentText()),
            target=self.target_row.target,
            device=device,
            max_error=self.kept.max_error,
        )

    def show_request(self, request: Request) -> None:
        """Show what is asked of a volume, without signalling an edit."""
        preset = request.settings.preset
        self.preset.setCurrentText(preset if preset in PRESETS else ONLY_EXACT)
        self.target_row.show_target(request.target)
        self.kept.show_max_error(request.max_error)
        self._show_possible()

    def _show_possible(self) -> None:
        self.target_row.setEnabled(self.preset.currentText() != ONLY_EXACT)

    def _preset_chosen(self) -> None:
        if self.preset.currentText() == ONLY_EXACT and self.kept.max_error is None:
            self.kept.show_max_error(0.0)
        self._show_possible()
        self.edited.emit()

    def _kept_chosen(self) -> None:
        if self.preset.currentText() == ONLY_EXACT and self.kept.max_error is None:
            self.preset.setCurrentText("default")  # a file must hold something
        self._show_possible()
        self.edited.emit()


class RunSection(Section):
    """Where the files go, how many at once; start and stop, and the table as a file."""

    start_wanted = Signal()
    stop_wanted = Signal()
    folder_wanted = Signal()
    table_wanted = Signal()

    def __init__(self) -> None:
        super().__init__("Run", "Where the files are saved, and how many volumes are compressed at once.")
        self.folder: Path | None = None  # None: beside the sources
        self.place = ElidedBox("Where the .inr files are saved. In a folder they lie as the sources do.")
        self.place.addItems(["beside the sources", "in a folder..."])
        self.at_once = QSpinBox()
        self.at_once.setRange(1, max(1, os.cpu_count() or 1))
        self.at_once.setValue(max(1, (os.cpu_count() or 1) - SPARED))
        self.at_once.setToolTip("Volumes compressed at once; never more than there is memory for.")
        let_shrink(self.at_once)
        self.replace = QCheckBox("Re&place .inr files that are there")
        self.replace.setToolTip("Otherwise a volume whose .inr is there already is left out.")
        form = QFormLayout()
        for words, box in (("Sa&ve", self.place), ("At &once", self.at_once)):
            label = QLabel(words)
            label.setBuddy(box)
            form.addRow(label, box)
        self.body.addLayout(form)
        self.body.addWidget(self.replace)
        self.start = QPushButton("&Start")
        self.start.setToolTip("Compress every volume that is not done yet, in the background.")
        self.stop = QPushButton("S&top")
        self.stop.setToolTip("Stop. What is done stays; Start goes on from where a volume was stopped.")
        self.save = QPushButton("Table as &CSV...")
        self.save.setToolTip("Save the table: sizes, ratios, PSNR, bounds, times, and why a volume failed.")
        row = QHBoxLayout()
        for button in (self.start, self.stop, self.save):
            row.addWidget(button)
        self.body.addLayout(row)
        self.bar = QProgressBar()
        self.bar.setToolTip("Volumes done, refused or failed, of those that were started.")
        self.bar.setFormat("%v of %m volumes")
        self.bar.hide()
        self.body.addWidget(self.bar)
        self.words = TextLine()
        self.words.hide()
        self.body.addWidget(self.words)
        self.place.activated.connect(self._place_chosen)
        self.start.clicked.connect(self.start_wanted)
        self.stop.clicked.connect(self.stop_wanted)
        self.save.clicked.connect(self.table_wanted)

    def show_folder(self, folder: Path | None) -> None:
        """Show where the files are saved; None is beside the sources."""
        self.folder = folder
        if folder is not None:
            self.place.setItemText(1, f"in {folder}")
        self.place.setCurrentIndex(0 if folder is None else 1)

    def show_words(self, words: str) -> None:
        """Say something, or nothing."""
        self.words.setText(words)
        self.words.setVisible(bool(words))

    def _place_chosen(self, index: int) -> None:
        if index:
            self.folder_wanted.emit()
        else:
            self.show_folder(None)
