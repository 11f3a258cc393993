"""The figures of the last fit: measured in the background, the slice in view first, while the fit is used."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal
from superqt.utils import QSignalThrottler

from ...plugin.figures_file import save_figures
from ...plugin.fit_layers import FitLayers
from ...plugin.job import Done
from ...plugin.notices import show_error
from ...plugin.work import measure as work
from ..figure_table import FiguresView
from .state import PanelState

SCROLL_DELAY_MS = 80  # while scrolling, the figures follow this often
REFRESH_DELAY_MS = 250  # while the LR fills, its layer is drawn this often


class FiguresController(QObject):
    """Decodes the LR into its layer, measures, and shows the figures of the slice in view."""

    measured = Signal()  # all figures of the fit are there
    took = Signal(FitLayers, float)  # seconds that all of them took
    restored_otherwise = Signal()  # the reconstruction that is shown is not what measured best

    def __init__(self, state: PanelState, view: FiguresView, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.view = view
        self._fit: FitLayers | None = None  # that is being measured
        self._cancelled: FitLayers | None = None  # whose figures a person does not wait for
        self._scrolls, self._refreshes = QSignalThrottler(parent=self), QSignalThrottler(parent=self)
        self._scrolls.setTimeout(SCROLL_DELAY_MS)
        self._scrolls.triggered.connect(self.show_figures)
        self._refreshes.setTimeout(REFRESH_DELAY_MS)
        self._refreshes.triggered.connect(self._refresh)
        view.cancel_wanted.connect(self.cancel)
        view.measure_wanted.connect(self._measure_rest)
        view.save_wanted.connect(self._save)
        state.session_changed.connect(self._session_changed)
        state.changed.connect(self.show_figures)
        state.measuring.reported.connect(self._reported)
        state.measuring.finished.connect(self._finished)
        state.measuring.failed.connect(show_error)
        state.measuring.ended.connect(self._ended)

    def scrolled(self) -> None:
        """Let the figures follow the slice in view."""
        self._scrolls.throttle()

    def show_figures(self) -> None:
        """Show the figures of the slice in view: a look-up."""
        fitted = self.state.fitted
        if fitted is None:
            if not self.state.measuring.running:
                self.view.show_nothing()
            return
        found = fitted.comparisons.get("lanczos")
        window = self.state.find_window(fitted.volume) if found is None else found.window
        self.view.table.show_regions(fitted.volume.units, None if window.name == "full" else window)
        self.view.table.show_figures(fitted.slice_words, fitted.volume_words, fitted.lines())
        self.view.show_possible(bool(fitted.compared))
        if not self.state.measuring.running:
            left = fitted.inr is not None and not fitted.measured and not self.state.fitting.running
            self.view.show_idle(complete=not left)

    def _save(self) -> None:
        """Save the figures that there are."""
        fitted = self.state.fitted
        if fitted is not None and fitted.inr is not None:
            sizes = fitted.file_bytes, fitted.model_bytes
            save_figures(fitted.name, fitted.inr, *sizes, fitted.compared, self.view.window())

    def _session_changed(self) -> None:
        """Measure what is left of the fit that is shown now; the one before waits until it is shown again."""
        self.make_way()
        self.measure()

    def make_way(self) -> None:
        """Stop measuring: another fit begins."""
        self.state.measuring.forget()

    def measure(self) -> None:
        """Measure what is not measured yet of the last fit, unless that was cancelled."""
        fitted = self.state.fitted
        if fitted is None or fitted.decoding is None or fitted.lr is None:
            return
        if fitted is self._cancelled or (fitted.measured and fitted.lr_filled):
            return
        window = self.state.find_window(fitted.volume)
        question = id(fitted), window, tuple(map(id, fitted.decoding.upscalers))
        self._fit = fitted
        if not self.state.measuring.running:
            self.state.measuring.forget()  # what was found out may be cleared since
        self.state.measuring.control.z = fitted.z
        self.state.measuring.ask(
            question,
            work.measure_fit,
            fitted.volume,
            fitted.decoding,
            None if fitted.lr_filled else fitted.lr.data,
            window=window,
        )

    def measure_anew(self) -> None:
        """Measure through another window."""
        fitted = self.state.fitted
        if fitted is not None and fitted.inr is not None:
            fitted.comparisons = {}
            self._cancelled = None
            self.show_figures()
            self.measure()

    def cancel(self) -> None:
        """Measure no more; the LR is decoded to its end all the same."""
        self._cancelled = self._fit
        self.state.measuring.stop()
        self.view.show_idle(complete=True)

    def _measure_rest(self) -> None:
        self._cancelled = None
        self.state.measuring.forget()
        self.measure()

    def _reported(self, record: object) -> None:
        fitted = self._fit
        if fitted is None or fitted is not self.state.fitted:
            return
        if isinstance(record, Done):
            if not self.state.measuring.control.stop.is_set():
                self.view.show_progress(record.done, record.total)
        elif isinstance(record, work.FiguresSoFar):
            fitted.show_figures(record.measured)
            self.show_figures()
        elif isinstance(record, work.LrSlice):
            if record.z == int(fitted.z / fitted.settings.factor[0]):
                self._refresh()
            else:
                self._refreshes.throttle()

    def _refresh(self) -> None:
        fitted = self._fit
        if fitted is not None and fitted.lr is not None:
            fitted.lr.refresh(thumbnail=False, extent=False)

    def _finished(self, found: work.FitMeasured | None) -> None:
        fitted = self._fit
        if fitted is None or fitted is not self.state.fitted:
            return
        fitted.lr_filled = True
        if fitted.lr is not None:
            fitted.lr.refresh()
        if found is None:
            return
        fitted.show_measured(found)
        if found.seconds is not None:
            self.took.emit(fitted, found.seconds)
        self.measured.emit()
        self.check_restored()

    def check_restored(self) -> None:
        """Have the reconstruction made anew if the whole volume speaks for another upscaler."""
        fitted = self.state.fitted
        if fitted is None or fitted.inr is None or fitted.hr is None or fitted.exact or not fitted.measured:
            return
        if not self.state.applying.running and fitted.upscaler != fitted.inr.upscaler.name:
            self.restored_otherwise.emit()

    def _ended(self) -> None:
        self._fit = None
        self.state.changed.emit()
