"""The row that says what a file keeps of the voxels: a preview alone, all to within a bound, or all."""

from __future__ import annotations

from typing import Any, Literal, get_args

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QSpinBox, QWidget

from ..core.units import HU, suffix
from .elided import ElidedBox
from .settings_form import let_shrink

Kept = Literal["preview", "within", "lossless"]
USUAL_ERROR, LARGEST_ERROR = 2, 9999  # of a voxel that is kept within a bound, in the volume's units


class KeptRow(QWidget):
    """Gives `max_error`; emits `edited` when the person changed it."""

    edited = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.kept = ElidedBox(
            "What the file keeps. preview: only the network. within: the network and an exact layer, whose"
            " voxels are off by at most the number on the right. lossless: network and exact layer that"
            " gives every voxel as it was. Preset and target are those of the network, the preview."
        )
        self.kept.addItems(get_args(Kept))
        self.bound = QSpinBox()
        self.bound.setRange(1, LARGEST_ERROR)
        self.bound.setValue(USUAL_ERROR)
        self.bound.setPrefix("±")
        self.bound.setToolTip("How far any voxel of the exact layer may be off, in the units of the volume.")
        self.bound.setAccessibleName("largest error")
        let_shrink(self.bound)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.kept, 1)
        row.addWidget(self.bound, 1)
        self.show_units(HU)
        self.show_max_error(None)
        self.kept.activated.connect(self._choose)
        self.bound.valueChanged.connect(self.edited)

    @property
    def max_error(self) -> float | None:
        """How far a voxel of the exact layer may be off, in the volume's units; None: no such layer."""
        kept = self.kept.currentText()
        return None if kept == "preview" else 0.0 if kept == "lossless" else float(self.bound.value())

    def show_max_error(self, max_error: float | None) -> None:
        """Set it without signalling an edit."""
        kept: Kept = "preview" if max_error is None else "within" if max_error else "lossless"
        self.kept.setCurrentText(kept)
        if max_error:
            self.bound.blockSignals(True)
            self.bound.setValue(round(max_error))
            self.bound.blockSignals(False)
        self.bound.setVisible(kept == "within")

    def show_units(self, units: str) -> None:
        """Say in which units a voxel may be off."""
        self.bound.setSuffix(suffix(units))

    def _choose(self) -> None:
        self.bound.setVisible(self.kept.currentText() == "within")
        self.edited.emit()


def max_error_from(value: Any) -> float | None:
    """Return the largest error that was remembered, or None if it is not sound."""
    whole = isinstance(value, int | float) and value in range(LARGEST_ERROR + 1)
    return float(value) if whole else None
