"""The panel's fourth part: restore the in-plane resolution."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QPushButton

from ..core.text import printable
from ..superres.catalogue import title_of
from .elided import ElidedBox
from .section import CancelBar, Section, TextLine, labelled

OWN = "own"  # the entry that asks for a weights file
ENTRIES = (
    (
        "auto",
        "auto",
        "What restores some slices of this volume best: SPAN or Lanczos, and on a GPU SRDenseNet for 4 x 4 in"
        " the plane. Lanczos for factors other than 4 x 4 and 2 x 2, and where the network's weights are"
        " missing.",
    ),
    (
        "srdensenet",
        title_of("srdensenet"),
        "The paper's network, trained on CT slices; half a second or more per slice on a CPU.",
    ),
    (
        "span",
        f"{title_of('span')} (small)",
        "A small network, trained on the same slices; on a CPU less than a tenth of a second per slice for"
        " 4 x 4, some tenths for 2 x 2.",
    ),
    (
        "lanczos",
        title_of("lanczos"),
        "Plain resampling, for any factor: what every network is compared with.",
    ),
    (
        OWN,
        "Own weights...",
        "Choose a weights file (.safetensors), such as the command inr-volume train-sr writes.",
    ),
)


class ReconstructSection(Section):
    """Chooses the upscaler and applies it."""

    apply_wanted = Signal()
    exact_wanted = Signal()
    cancel_wanted = Signal()
    own_wanted = Signal()  # weights of the person's own
    upscaler_chosen = Signal()

    def __init__(self) -> None:
        super().__init__("Reconstruct", "Apply super-resolution to the LR fit, slice by slice.")
        self.upscalers = ElidedBox("With what the LR fit is restored.")
        for name, words, tooltip in ENTRIES:
            self._insert(self.upscalers.count(), words, name, tooltip)
        self._chosen = "auto"
        self._show_tooltip()
        self.apply = QPushButton("&Apply")
        self.apply.setToolTip("Add the reconstruction (HR) as a layer, starting at the slice in view.")
        self.exact = QPushButton("E&xact")
        self.exact.setToolTip("Add the voxels of the exact layer as a layer: what the file gives back.")
        self.body.addLayout(labelled("Ups&caler", self.upscalers, self.apply, self.exact))
        self.progress = CancelBar(
            "Slices restored, from the one in view outwards; their figures follow under Compare.",
            "Stop; the layer is removed.",
        )
        self.body.addWidget(self.progress)
        self.words = TextLine()
        self.body.addWidget(self.words)
        self.words.hide()
        self.upscalers.activated.connect(self._activated)
        self.apply.clicked.connect(self.apply_wanted)
        self.exact.clicked.connect(self.exact_wanted)
        self.progress.cancel.clicked.connect(self.cancel_wanted)
        self.show_idle(False)

    @property
    def upscaler(self) -> str:
        """Name of the upscaler or path of its weights file, as `find_upscaler` takes it."""
        return self._chosen

    @property
    def own(self) -> Path | None:
        """The weights file of the person's own that is offered, if any."""
        index = self._own_index()
        return None if index is None else Path(self.upscalers.itemData(index))

    def show_upscaler(self, name: str) -> None:
        """Choose an upscaler; one that is not offered is taken for auto."""
        self.upscalers.setCurrentIndex(max(0, self.upscalers.findData(name)))
        self._chosen = str(self.upscalers.currentData())
        self._show_tooltip()

    def show_own(self, path: Path, tooltip: str) -> None:
        """Offer a weights file, in place of an earlier one."""
        chosen = self._chosen == str(self.own)
        self.drop_own()
        self._insert(self.upscalers.findData(OWN), printable(path.name), str(path), tooltip)
        if chosen:
            self.show_upscaler(str(path))

    def drop_own(self) -> None:
        """Offer no weights file any more; if it was chosen, auto is."""
        index = self._own_index()
        if index is not None:
            self.upscalers.removeItem(index)
            self.show_upscaler(self._chosen)

    def show_missing(self, names: list[str]) -> None:
        """Say which networks cannot be used because their weights are missing."""
        for name in names:
            index = self.upscalers.findData(name)
            self.upscalers.model().item(index).setEnabled(False)
            self.upscalers.setItemText(index, f"{title_of(name)} (no weights)")
        if names:
            titles = " and ".join(title_of(name) for name in names)
            missing = f"The weights of {titles} are missing from this installation."
            self.show_words(f"{self.words.text()} {missing}".strip())

    def show_words(self, words: str) -> None:
        """Say something, or nothing."""
        self.words.setText(words)
        self.words.setVisible(bool(words))

    def show_idle(self, possible: bool, exact: bool = False) -> None:
        """Offer to apply, if there is a fit, and to decode its exact layer, if it has one."""
        self.progress.hide()
        self.apply.setEnabled(possible)
        self.exact.setEnabled(possible)
        self.exact.setVisible(exact)
        self.upscalers.setEnabled(True)

    def show_progress(self, done: int, total: int) -> None:
        """Show how far it has come."""
        self.apply.setEnabled(False)
        self.exact.setEnabled(False)
        self.upscalers.setEnabled(False)
        self.progress.show_progress(done, total)

    def _activated(self) -> None:
        """Take the choice made; what asks for a file leaves the earlier one until there is a sound one."""
        chosen = str(self.upscalers.currentData())
        if chosen == OWN:
            self.show_upscaler(self._chosen)
            self.own_wanted.emit()
        else:
            self.show_upscaler(chosen)
            self.show_words("")
            self.upscaler_chosen.emit()

    def _own_index(self) -> int | None:
        index = self.upscalers.findData(OWN) - 1
        return None if self.upscalers.itemData(index) == "lanczos" else index

    def _insert(self, index: int, words: str, name: str, tooltip: str) -> None:
        self.upscalers.insertItem(index, words, name)
        self.upscalers.setItemData(index, tooltip, Qt.ItemDataRole.ToolTipRole)

    def _show_tooltip(self) -> None:
        """Say what the list is for, and what is chosen."""
        chosen = self.upscalers.itemData(self.upscalers.currentIndex(), Qt.ItemDataRole.ToolTipRole)
        self.upscalers.meaning = (
            "What restores the in-plane resolution: a trained network, or plain Lanczos. It is named in the"
            f" .inr, so that others decode the same voxels.\n\n{self.upscalers.currentText()}: {chosen}"
        )
        self.upscalers.setToolTip(self.upscalers.meaning)
