"""The panel's fourth part: restore the in-plane resolution."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QProgressBar, QPushButton, QWidget

from .section import Section, text_line

UPSCALERS = (
    ("auto", "auto", "SRDenseNet if trained weights ship with this version, else Lanczos."),
    ("srdensenet", "SRDenseNet", "A network trained on CT slices; for factors of 4 x 4 in the plane."),
    ("lanczos", "Lanczos", "Plain resampling, for any factor: what every network must be compared with."),
)


class ReconstructSection(Section):
    """Chooses the upscaler and applies it."""

    apply_wanted = Signal()
    cancel_wanted = Signal()

    def __init__(self) -> None:
        super().__init__("Reconstruct", "Apply super-resolution to the LR fit, slice by slice.")
        self.upscalers = QComboBox()
        for name, words, tooltip in UPSCALERS:
            self.upscalers.addItem(words, name)
            self.upscalers.setItemData(self.upscalers.count() - 1, tooltip, 3)
        self.upscalers.setToolTip(
            "What restores the in-plane resolution: the trained network SRDenseNet, or plain Lanczos. It is"
            " named in the .inr, so that others decode the same voxels."
        )
        self.apply = QPushButton("&Apply")
        self.apply.setToolTip("Make the reconstruction (HR) as a layer, from the slice in view outwards.")
        label = QLabel("Ups&caler")
        label.setBuddy(self.upscalers)
        row = QHBoxLayout()
        row.addWidget(label)
        row.addWidget(self.upscalers, 1)
        row.addWidget(self.apply)
        self.body.addLayout(row)
        self.progress = QWidget()
        self.bar = QProgressBar()
        self.bar.setToolTip("Slices decoded, then measured.")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop applying; the layer is taken away.")
        row = QHBoxLayout(self.progress)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel)
        self.progress.hide()
        self.body.addWidget(self.progress)
        self.words = text_line()
        self.body.addWidget(self.words)
        self.apply.clicked.connect(self.apply_wanted)
        self.cancel.clicked.connect(self.cancel_wanted)
        self.show_idle(False)

    @property
    def upscaler(self) -> str:
        """Name of the upscaler, as `find_upscaler` takes it."""
        return str(self.upscalers.currentData())

    def show_upscaler(self, name: str) -> None:
        """Choose an upscaler."""
        self.upscalers.setCurrentIndex(max(0, self.upscalers.findData(name)))

    def offer_weights(self, shipped: bool) -> None:
        """Say whether SRDenseNet can be used: only with weights that were trained."""
        index = self.upscalers.findData("srdensenet")
        self.upscalers.model().item(index).setEnabled(shipped)
        if not shipped:
            self.upscalers.setItemText(index, "SRDenseNet (no weights)")
            self.words.setText("No trained SRDenseNet weights ship with this version: auto is Lanczos.")
        self.words.setVisible(not shipped)

    def show_idle(self, possible: bool) -> None:
        """Offer to apply, if there is a fit."""
        self.progress.hide()
        self.apply.setEnabled(possible)
        self.upscalers.setEnabled(True)

    def show_progress(self, done: int, total: int) -> None:
        """Show how far it has come."""
        self.apply.setEnabled(False)
        self.upscalers.setEnabled(False)
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.progress.show()
