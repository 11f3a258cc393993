"""The row that says what a file is to be: as large as the preset makes it, or of a size, ratio or PSNR."""

from __future__ import annotations

import math

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QWidget

from ..target import Target, TargetKind
from .elided import ElidedBox
from .settings_form import let_shrink

WIDEST_VALUE, STEPPERS = "1000.0 kB", 44  # what the box of a target must show; pixels of its buttons

# Words, suffix, unit, least, most and usual value of each kind of target.
TARGETS: dict[TargetKind, tuple[str, str, float, float, float, float]] = {
    "preset": ("none", "", 1.0, 0.0, 0.0, 0.0),
    "bytes": ("file size", " kB", 1e3, 0.1, 1e6, 30.0),
    "ratio": ("ratio", ":1", 1.0, 1.0, 1e6, 1000.0),
    "psnr": ("PSNR", " dB", 1.0, 5.0, 150.0, 36.0),
}


class TargetRow(QWidget):
    """Gives `target`; emits `edited` when the person changed it."""

    edited = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._filling = False
        self.kind = ElidedBox(
            "Ask for a file size, a ratio or a PSNR of the reconstruction (peak: the intensity range). A"
            " short look at the volume then chooses factor, hidden features and bits per weight; the preset"
            " gives the steps and everything else."
        )
        for kind, (words, *_) in TARGETS.items():
            self.kind.addItem(words, kind)
        self.value = QDoubleSpinBox()
        self.value.setDecimals(1)
        self.value.setAccessibleName("target")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.kind, 1)
        row.addWidget(self.value, 1)
        let_shrink(self.value, self.fontMetrics().horizontalAdvance(WIDEST_VALUE) + STEPPERS)
        self.show_target(Target())
        self.kind.activated.connect(self._choose)
        self.value.valueChanged.connect(self._value_edited)

    @property
    def target(self) -> Target:
        """What the file is to be."""
        kind: TargetKind = self.kind.currentData()
        _, _, unit, *_ = TARGETS[kind]
        return Target(kind=kind, value=unit * self.value.value())

    def show_target(self, target: Target) -> None:
        """Set the target without signalling an edit."""
        self._filling = True
        self.kind.setCurrentIndex(list(TARGETS).index(target.kind))
        _, suffix, unit, low, high, usual = TARGETS[target.kind]
        self.value.setSuffix(suffix)
        self.value.setRange(low, high)
        self.value.setValue(target.value / unit if target.kind != "preset" else usual)
        self.value.setVisible(target.kind != "preset")
        self._filling = False

    def choose_size(self, size: int) -> None:
        """Ask for a file of this size in bytes, as the box rounds it up, as a person would."""
        _, _, unit, *_ = TARGETS["bytes"]
        tenths = 10 ** self.value.decimals()
        self.show_target(Target(kind="bytes", value=unit * math.ceil(size / unit * tenths) / tenths))
        self.edited.emit()

    def _choose(self) -> None:
        kind: TargetKind = self.kind.currentData()
        _, _, unit, *_, usual = TARGETS[kind]
        self.show_target(Target(kind=kind, value=unit * usual))
        self.edited.emit()

    def _value_edited(self) -> None:
        if not self._filling:
            self.edited.emit()
