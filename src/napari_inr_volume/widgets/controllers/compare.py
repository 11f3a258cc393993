"""The last fit against its original: arrangements of the layers, saving."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from qtpy.QtCore import QObject

from ...core.errors import InrError
from ...core.words import in_bytes, in_ratio
from ...plugin import dialogs
from ...plugin.compare import Arrangement
from ...plugin.fit_layers import FitLayers
from ...plugin.job import Job
from ...plugin.notices import file_name, show_error, show_info
from ...plugin.work import measure as work
from ...plugin.writers import save_inr
from ..compare_section import NO_FIT, CompareSection
from .state import PanelState


class CompareController(QObject):
    """Shows the fit beside its original."""

    def __init__(self, state: PanelState, section: CompareSection, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.section = section
        self.arrangement = Arrangement(state.viewer)
        self.subtracting = Job(self)
        section.mode_chosen.connect(self.arrange)
        section.opacity_changed.connect(self._set_opacity)
        section.save_wanted.connect(self.save)
        state.changed.connect(self.show_possible)
        self.subtracting.finished.connect(self._subtracted)
        self.subtracting.failed.connect(show_error)

    def show_possible(self) -> None:
        """Offer what can be compared now, and show how large the file is, if there is one."""
        fitted, applying = self.state.fitted, self.state.applying.running
        done = fitted is not None and fitted.inr is not None
        self.section.show_possible(done, fitted is not None and fitted.hr is not None and not applying)
        lost = fitted is None or fitted.error is None
        if self.section.mode == "difference" and lost and not self.subtracting.running:
            self.section.choose("off")
        if fitted is None:
            self.section.sizes.setText(NO_FIT)
        elif fitted.inr is not None:
            self.section.sizes.setText(size_words(fitted))

    def make_way(self) -> None:
        """Stop comparing: the layers are about to change."""
        self.subtracting.drop()
        self.section.choose("off")

    def arrange(self) -> None:
        """Show the layers as the chosen mode says; a difference that is not there yet is computed first."""
        fitted, mode = self.state.fitted, self.section.mode
        if fitted is None or mode == "off":
            self.arrangement.show("off", [], None if fitted is None else fitted.error)
        elif mode == "difference" and fitted.error is None:
            if fitted.hr is not None:
                self.subtracting.start(work.difference, fitted.volume, fitted.hr.data)
        else:
            self.arrangement.show(mode, fitted.shown, fitted.error, self.section.opacity.value() / 100)

    def _subtracted(self, error: NDArray[Any]) -> None:
        fitted = self.state.fitted
        if fitted is not None and fitted.hr is not None:
            fitted.show_difference(error)
            self.arrange()

    def _set_opacity(self, opacity: float) -> None:
        fitted = self.state.fitted
        if fitted is not None and self.section.mode == "overlay" and len(fitted.shown) > 1:
            fitted.shown[-1].opacity = opacity

    def save(self) -> None:
        """Ask where to save the network, and save it."""
        fitted = self.state.fitted
        if fitted is None or fitted.inr is None:
            return
        name = f"{file_name(fitted.name)}.inr"
        path = dialogs.ask_where_to_save("Save .inr", name, ["Fitted network (*.inr)"], self.section.window())
        if path is None:
            return
        try:
            path = save_inr(fitted.inr, path)
        except InrError as error:
            show_error(str(error))
        else:
            show_info(f"Saved {path.name}: {in_bytes(path.stat().st_size)}.")


def size_words(fitted: FitLayers) -> str:
    """Return the file's size and ratio; the ratio with the super-resolution model too, if there is one."""
    assert fitted.inr is not None
    source, size = fitted.inr.source_bytes, fitted.file_bytes
    words = f".inr {in_bytes(size)}, {in_ratio(source / size)}"
    if fitted.inr.exact is not None:
        exact = fitted.inr.exact.nbytes
        words = f"{words}: preview {in_bytes(size - exact)}, exact layer {in_bytes(exact)}"
    if not fitted.model_bytes:
        return words
    return f"{words} (with the model {in_ratio(source / (size + fitted.model_bytes))})"
