"""The reconstruction of the last fit, and with which network it is made."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal
from superqt.utils import QSignalThrottler

from ...core.errors import InrError
from ...plugin import dialogs
from ...plugin.job import Done, Job, LatestJob
from ...plugin.notices import plain, sentence, show_error, show_warning
from ...plugin.work import reconstruct as work
from ...superres.catalogue import title_of
from ..reconstruct_section import ReconstructSection
from .state import PanelState

if TYPE_CHECKING:
    from ...inr_volume import InrVolume
    from ...plugin.fit_layers import FitLayers
    from ...plugin.work.measure import Decoding
    from ...superres.model_file import ModelInfo

REFRESH_DELAY_MS = 250  # while a reconstruction fills, its layer is drawn this often


class ReconstructController(QObject):
    """Applies the chosen upscaler to the fit."""

    upscaler_changed = Signal()
    own_taken = Signal()  # weights of the person's own are offered: to be remembered
    started = Signal()
    ended = Signal()

    def __init__(self, state: PanelState, section: ReconstructSection, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.section = section
        self.checking, self.counting = LatestJob(self), Job(self)
        self._checked = Path()  # the weights file that is being checked
        self._fit: FitLayers | None = None  # that is being reconstructed
        self._chosen = False  # whether it is the choice, once it is sound
        self._refreshes = QSignalThrottler(parent=self)
        self._refreshes.setTimeout(REFRESH_DELAY_MS)
        self._refreshes.triggered.connect(self._refresh)
        section.apply_wanted.connect(self.apply)
        section.exact_wanted.connect(self.decode_exact)
        section.cancel_wanted.connect(state.applying.drop)
        section.own_wanted.connect(self._choose_own)
        section.upscaler_chosen.connect(self.upscaler_changed)
        state.changed.connect(self.show_possible)
        state.applying.reported.connect(self._reported)
        state.applying.finished.connect(self._finished)
        state.applying.failed.connect(show_error)
        state.applying.ended.connect(self._ended)
        self.checking.finished.connect(self._take_own)
        self.checking.failed.connect(self._refuse_own)
        self.counting.finished.connect(section.show_missing)
        self.counting.start(work.missing_weights)

    def show_possible(self) -> None:
        """Offer to apply, if there is a fit."""
        if not self.state.applying.running:
            fitted = self.state.fitted
            done = fitted is not None and fitted.inr is not None
            exact = fitted is not None and fitted.inr is not None and fitted.inr.exact is not None
            self.section.show_idle(done, exact)

    def recall_own(self, path: Path) -> None:
        """Offer the weights file that was used last, as soon as it is known to be sound."""
        self.section.show_own(path, "Being checked...")
        self._check(path, chosen=False)

    def _choose_own(self) -> None:
        path = dialogs.ask_file(
            "Choose your own weights", ["Weights of a network (*.safetensors)"], self.section.window()
        )
        if path is not None:
            self._check(path, chosen=True)

    def _check(self, path: Path, *, chosen: bool) -> None:
        """Look in the background whether a weights file can be used."""
        self._checked, self._chosen = path, chosen
        self.checking.ask(object(), work.check_weights, path)

    def _take_own(self, info: ModelInfo) -> None:
        """Offer the weights file that was checked; one that was asked for just now is the choice."""
        path = self._checked
        words = f"{title_of(info.architecture)}, trained on: {plain(info.training)}"
        self.section.show_own(path, f"{words}\nSHA-256 {info.sha256}\n{plain(str(path))}")
        if self._chosen:
            self.section.show_upscaler(str(path))
            self.section.show_words("")
            self.upscaler_changed.emit()
        self.own_taken.emit()

    def _refuse_own(self, words: str) -> None:
        """Say why a weights file cannot be used; the earlier choice stays, or if it was this one, auto."""
        if self.section.upscaler == str(self._checked):
            words += "; the upscaler is auto instead"
        if self.section.own == self._checked:
            self.section.drop_own()
        self.section.show_words(f"{words}.")
        show_warning(f"{words}.")

    def apply(self) -> None:
        """Make the reconstruction, in a layer that fills from the slice in view outwards."""
        fitted, wanted = self.state.fitted, self.section.upscaler
        if fitted is None or fitted.decoding is None:
            return
        known = fitted.wanted == wanted
        if not known and self._possible():
            self.state.measuring.forget()  # by the earlier upscaler
        self._start(
            partial(
                work.reconstruct,
                device=self.state.device(),
                upscaler=wanted,
                upscalers=fitted.decoding.upscalers if known else (),
                or_lanczos=fitted.request.planned,  # the target chose the factor
            ),
            fitted.decoding,
        )

    def decode_exact(self) -> None:
        """Show the voxels of the exact layer in place of the reconstruction."""
        fitted = self.state.fitted
        if fitted is not None and fitted.inr is not None and fitted.inr.exact is not None:
            window = self.state.find_window(fitted.volume)
            self._start(partial(work.decode_exact, window=window), fitted.inr)

    def _possible(self) -> bool:
        fitted = self.state.fitted
        return fitted is not None and fitted.inr is not None and not self.state.applying.running

    def _start(self, do: Callable[..., object], decodes: Decoding | InrVolume) -> None:
        fitted = self.state.fitted
        if fitted is None or not self._possible():
            return
        self.started.emit()
        try:
            voxels = fitted.start_reconstruction()
        except InrError as error:
            show_error(str(error))
            self.state.changed.emit()
            self.ended.emit()
            return
        self._fit = fitted
        self.state.applying.start(do, fitted.volume, decodes, voxels)
        self.state.applying.control.z = fitted.z
        self.section.show_progress(0, len(voxels))
        self.state.changed.emit()

    def _reported(self, record: Done | int) -> None:
        fitted = self._fit
        if isinstance(record, Done):
            self.section.show_progress(record.done, record.total)
        elif fitted is not None and record == fitted.z:
            self._refresh()
        else:
            self._refreshes.throttle()

    def _refresh(self) -> None:
        if self._fit is not None and self._fit.hr is not None:
            self._fit.hr.refresh(thumbnail=False, extent=False)

    def _finished(self, result: work.Reconstruction) -> None:
        fitted = self._fit
        if fitted is None or fitted is not self.state.fitted:
            return
        fitted.set_reconstruction(result)
        self.section.show_words("" if fitted.choice is None or result.exact else sentence(fitted.choice))

    def _ended(self) -> None:
        fitted, self._fit = self._fit, None
        if fitted is not None and fitted.upscaler is None:  # it failed, or was cancelled
            fitted.drop_reconstruction()
        self.state.changed.emit()
        self.ended.emit()
