"""The part of the widget INR file that chooses an `.inr`, and decodes it whole."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton

from .layer_box import LayerBox
from .section import CancelBar, Section, TextLine, labelled

NO_FILE = (
    "Drop an .inr on napari, or open one here. To try it without data: File > Open Sample > INR Volume >"
    " CT head phantom as .inr."
)


class FileSection(Section):
    """Chooses among the layers of `.inr` files, opens one, and decodes it whole."""

    open_wanted = Signal()
    decode_wanted = Signal(str)
    export_wanted = Signal()
    cancel_wanted = Signal()

    def __init__(self) -> None:
        super().__init__("INR file", "Which .inr to inspect, and how much of it to decode.")
        self.layers = LayerBox(
            "A layer that was decoded from an .inr, or fitted here. Follows the layer list.", "last"
        )
        self.open = QPushButton("&Open .inr...")
        self.open.setToolTip("Open an .inr: its LR fit and its reconstruction become layers.")
        self.body.addLayout(labelled("La&yer", self.layers))
        self.decode_lr = QPushButton("Decode &LR")
        self.decode_hr = QPushButton("Decode &HR")
        self.decode_exact = QPushButton("Decode e&xact")
        buttons = (
            (self.decode_lr, "LR fit"),
            (self.decode_hr, "reconstruction"),
            (self.decode_exact, "exact layer"),
        )
        for button, what in buttons:
            button.setToolTip(
                f"Decode all slices of the {what} into memory, in the background, so that scrolling and 3D"
                " need not wait. Adds a layer of it if there is none."
            )
        row = QHBoxLayout()
        row.addWidget(self.open)
        row.addWidget(self.decode_lr)
        row.addWidget(self.decode_hr)
        self.body.addLayout(row)
        self.view = TextLine()  # what is in view, and how good it is
        below = QHBoxLayout()
        below.addWidget(self.decode_exact)
        self.export = QPushButton("&Export...")
        self.export.setToolTip(
            "Write the layer above as NIfTI, NRRD, TIFF, NumPy or OME-Zarr, as it decodes."
        )
        self.export.clicked.connect(self.export_wanted)
        below.addWidget(self.export)
        self.body.addLayout(below)
        self.body.addWidget(self.view)  # in a row of its own: beside buttons a long word is cut off
        self.show_view("")
        self.progress = CancelBar("Slices done.", "Stop; nothing is changed.", "&Cancel")
        self.body.addWidget(self.progress)
        self.words = TextLine(NO_FILE)
        self.body.addWidget(self.words)
        self.open.clicked.connect(self.open_wanted)
        self.decode_lr.clicked.connect(lambda: self.decode_wanted.emit("lr"))
        self.decode_hr.clicked.connect(lambda: self.decode_wanted.emit("hr"))
        self.decode_exact.clicked.connect(lambda: self.decode_wanted.emit("exact"))
        self.progress.cancel.clicked.connect(self.cancel_wanted)

    def show_words(self, words: str) -> None:
        """Say something, or nothing."""
        self.words.setText(words)
        self.words.setVisible(bool(words))

    def show_view(self, words: str) -> None:
        """Say what is in view: decoded already, or something coarser still."""
        self.view.setText(words)
        self.view.setVisible(bool(words))

    def show_possible(self, free: bool, exact: bool = False) -> None:
        """Offer to decode, if there is something and nothing is being done."""
        for button in (self.decode_lr, self.decode_hr, self.decode_exact, self.export):
            button.setEnabled(free)
        self.decode_exact.setVisible(exact)
