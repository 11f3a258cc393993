"""The fit: started, stopped, paused and resumed; what it reports goes into the viewer through `FitLayers`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

from qtpy.QtCore import QObject, Signal

from ...core.choices import Device
from ...core.errors import InrError
from ...core.units import within
from ...core.words import in_bytes, with_decibels
from ...plugin import unsaved
from ...plugin.activity import ActivityBar
from ...plugin.fit_layers import FitLayers
from ...plugin.job import Done, LatestJob
from ...plugin.kept_fits import Kept
from ...plugin.notices import sentence, show_error, show_info, show_warning
from ...plugin.settings import preferences
from ...plugin.work import exact, source
from ...plugin.work import fit as work
from ...target import PRESET
from ..fit_section import Course, FitSection
from .settings import SettingsController
from .state import PanelState

if TYPE_CHECKING:
    from napari.layers import Image

    from ...fields.base import FitState
    from ...inr_volume import InrVolume

BUSY = "A fit is running. Stop it, or wait until it has ended."
NO_VOLUME = "Choose a volume first: a 3D image layer, or a CT folder."


class FitController(QObject):
    """Fits the volume that the state says, and shows how far it is."""

    started = Signal()
    progressed = Signal(int)  # percent of the steps
    usable = Signal()  # there is a network, to be measured, restored and saved
    ended = Signal()

    def __init__(
        self,
        state: PanelState,
        section: FitSection,
        settings: SettingsController,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.state = state
        self.section = section
        self.settings = settings
        self.recalling = LatestJob(self)  # a fit of the volume that was stopped before, or not saved
        self._kept: Kept | InrVolume | None = None  # what it found
        self._queued: Image | None = None  # the layer to fit as soon as what that needs is known
        self._before: Course | None = None  # what was shown before
        self._shown: FitLayers | None = None
        self._courses: WeakKeyDictionary[FitLayers, Course] = WeakKeyDictionary()  # of the other fits
        self._bar = ActivityBar(self)
        section.fit_wanted.connect(self.start)
        section.take_back.connect(self._take_back)
        settings.predicted.connect(self._known)
        settings.predicted.connect(self.show_possible)
        state.session_changed.connect(self._session_changed)
        state.changed.connect(self._known)
        section.continue_wanted.connect(self.resume)
        section.stop_wanted.connect(state.fitting.stop)
        section.pause_wanted.connect(self._pause)
        state.volume_changed.connect(self._volume_changed)
        state.changed.connect(self.show_possible)
        state.fitting.reported.connect(self._reported)
        state.fitting.finished.connect(self._finished)
        state.fitting.failed.connect(section.show_words)
        state.fitting.failed.connect(show_error)
        state.fitting.ended.connect(self._ended)
        self.recalling.finished.connect(self._recalled)

    def show_possible(self) -> None:
        """Offer what can be done now."""
        if not self.state.fitting.running and self._queued is None:
            fitted = self.state.fitted
            stopped = fitted is not None and (fitted.state is not None or fitted.lacks_exact)
            self.section.show_idle(self._refusal(), stopped or self._kept is not None)

    def _refusal(self) -> str | None:
        """Return why there can be no fit; None if there can be one, now or soon."""
        if self.state.volume is None and not self.state.awaited:
            return NO_VOLUME
        return self.settings.refusal

    def start(self) -> None:
        """Fit the chosen volume with the settings shown, now or as soon as it has been looked at.

        A second fit at a time is refused with a word.
        """
        layer, volume, settings = self.state.layer, self.state.volume, self.settings
        refusal = BUSY if self.state.fitting.running else self._refusal()
        if refusal is not None:
            show_info(refusal)
        elif layer is None or volume is None or (settings.has_target and settings.plan is None):
            if self._queued is None:
                self._queued, self._before = layer, self.section.course()
                self.section.show_waiting()
        else:
            request = settings.request(self.state.find_window(volume))
            self._begin(FitLayers(self.state.viewer, layer, volume, request, settings.plan))

    def _known(self) -> None:
        """Begin the fit that waits, if what it needs is known by now; take it back if it cannot be."""
        if self._queued is None:
            return
        refusal, known = self._refusal(), not self.settings.has_target or self.settings.plan is not None
        if refusal is not None or self._queued is not self.state.layer:
            self._take_back()
            if refusal is not None:
                show_info(refusal)
        elif self.state.volume is not None and known:
            self._queued = self._before = None
            self.start()

    def _take_back(self) -> None:
        """Do not fit what waited to be fitted."""
        self._queued = None
        self.section.show_course(self._before)
        self.show_possible()

    def _session_changed(self) -> None:
        """Show the course of the fit that is shown now, and keep that of the one before."""
        if self._shown is not None:
            self._courses[self._shown] = self.section.course()
        self._shown = self.state.fitted
        self.section.show_course(None if self._shown is None else self._courses.get(self._shown))

    def resume(self) -> None:
        """Resume the fit that was stopped last, as it was begun; what it had by then keeps its layers."""
        stopped = self.state.fitted
        if self.state.fitting.running:
            return
        if stopped is None or (stopped.state is None and not stopped.lacks_exact):
            self._resume_kept()
            return
        if stopped.state is None:
            self._add_exact(stopped)
            return
        self.settings.section.show_settings(stopped.settings)
        window = self.state.find_window(stopped.volume)
        request = replace(stopped.request, device=cast(Device, stopped.state.device), window=window)
        again = FitLayers(self.state.viewer, stopped.source, stopped.volume, request, stopped.plan)
        self._begin(again, stopped.state)

    def _add_exact(self, fitted: FitLayers) -> None:
        """Make the exact layer of a fit that has ended without it."""
        self.started.emit()
        max_error = fitted.request.max_error
        self.state.fitting.start(exact.add_exact, fitted.volume, fitted.inr, max_error, keep=True)
        self.section.show_running()
        self.state.changed.emit()

    def _resume_kept(self) -> None:
        """Resume a fit of the chosen volume that was stopped before napari was closed."""
        layer, volume, kept = self.state.layer, self.state.volume, self._kept
        if kept is None or layer is None or volume is None:
            return
        if isinstance(kept, Kept):
            self.settings.section.show_settings(kept.settings)
        request = replace(self.settings.request(self.state.find_window(volume)), target=PRESET, models=None)
        settings = kept.settings if isinstance(kept, Kept) else replace(request.settings, factor=kept.factor)
        request = replace(request, settings=settings)
        self._begin(FitLayers(self.state.viewer, layer, volume, request), kept)

    def _begin(self, fitted: FitLayers, resume: FitState | Kept | InrVolume | None = None) -> None:
        self.started.emit()
        self._kept = None
        self.state.fitting.start(
            work.fit,
            fitted.volume,
            fitted.request,
            seconds_per_preview=preferences().preview_interval,
            resume=resume,
            keep=True,
        )
        self._show_begun(fitted, continued=resume is not None)

    def _show_begun(self, fitted: FitLayers, *, continued: bool) -> None:
        """Show a fit, or the next try for a target."""
        self._bar.begin(f"Fitting {fitted.name}", fitted.settings.fit.all_steps)
        control = self.state.fitting.control
        control.z, control.cut = fitted.z, fitted.cut
        before = self.section.course()
        self.state.set_fitted(fitted)
        if continued:
            self.section.show_course(before)
        self.section.show_running()

    def _pause(self, paused: bool) -> None:
        if paused:
            self.state.fitting.control.paused.set()
        else:
            self.state.fitting.control.paused.clear()

    def _reported(self, record: object) -> None:
        fitted = self.state.fitted
        assert fitted is not None
        if isinstance(record, work.FitReport):
            self._show_report(fitted, record)
        elif isinstance(record, work.NextTry):
            self.started.emit()  # what is done with the smaller one ends
            larger = FitLayers(fitted.viewer, fitted.source, fitted.volume, fitted.request, record.plan)
            self._show_begun(larger, continued=False)
            self.section.show_words(
                f"Reached {record.reached:.1f} of {fitted.request.target.value:.1f} dB;"
                " fitting a larger network next."
            )
        elif isinstance(record, work.NotKept):
            show_warning(
                "The fit continues, but its state cannot be saved, so it cannot be resumed later:"
                f" {record.reason}."
            )
        elif isinstance(record, work.Fitted):
            self._show_fitted(fitted, record)
        elif isinstance(record, work.FitOutcome):
            fitted.missed = None if record.missed is None else sentence(record.missed)
            fitted.show_measured(record.found)
            self.show_measured()
        elif isinstance(record, exact.ExactReport):
            if not self.state.fitting.control.stop.is_set():  # or it was on its way
                self.section.show_exact(record)
        elif isinstance(record, exact.ExactAdded):
            fitted.set_exact(record.inr)
            self._show_end(fitted)
            self.state.changed.emit()
        elif (
            isinstance(record, Done) and not self.state.fitting.control.stop.is_set()
        ):  # or it was on its way
            self.section.show_measuring(record.done, record.total)

    def _show_report(self, fitted: FitLayers, report: work.FitReport) -> None:
        if report.preview is not None:
            fitted.show_preview(report.preview)
            self.state.fitting.control.shown.set()
        if self.state.fitting.control.paused.is_set():
            return  # it was on its way when the fit was paused
        self.section.show_report(report)
        self.settings.keep_speed(fitted, report.step / report.steps, report.seconds)
        self._bar.show(report.step)
        self.progressed.emit(100 * report.step // report.steps)

    def _show_fitted(self, fitted: FitLayers, record: work.Fitted) -> None:
        """Let the fit be used; unless its PSNR is the target, it is measured meanwhile."""
        fitted.missed = None
        try:
            fitted.show_fitted(record)
        except InrError as error:  # no memory for a layer of the LR
            show_error(str(error))
        if fitted.request.target.kind != "psnr":
            self._show_end(fitted)
            self.usable.emit()
        self.state.changed.emit()

    def show_measured(self) -> None:
        """Say what the figures of the last fit are, unless a fit is running."""
        fitted = self.state.fitted
        if fitted is not None and (not self.state.fitting.running or fitted.request.target.kind == "psnr"):
            self._show_end(fitted)
        self.state.changed.emit()

    def _show_end(self, fitted: FitLayers) -> None:
        """Report the result of a fit, and of the exact layer if one was wanted."""
        inr = fitted.inr
        assert inr is not None
        psnr = "" if inr.quality is None else f", LR PSNR {with_decibels(inr.quality.lr_psnr, 1)}"
        lines = [fitted.missed or f"Done: {inr.fit.steps:,} steps kept{psnr}"]
        if fitted.choice is not None:
            lines.append(sentence(fitted.choice))
        if inr.exact is not None:
            bound = within(inr.exact.max_error, inr.units)
            lines.append(f"Exact layer: {in_bytes(inr.exact.nbytes)}, {bound}")
        elif fitted.lacks_exact and not self.state.fitting.running:
            resumed = "" if fitted.state is None else "resume the fit and "
            lines.append(f"There is no exact layer yet. Press Continue to {resumed}add it.")
        self.section.show_words("\n".join(lines))

    def _finished(self, _: object) -> None:
        if self.state.fitted is not None:
            self._show_end(self.state.fitted)

    def _ended(self) -> None:
        self._bar.end()
        fitted = self.state.fitted
        if fitted is not None and fitted.inr is None:  # it failed, or was stopped too early
            fitted.drop_preview()
            self.state.fitted = self._shown = None  # what went wrong stays in sight
        self.state.forget_removed()
        self.ended.emit()
        self.usable.emit()

    def _volume_changed(self) -> None:
        self._kept = None
        self.recalling.forget()
        if self.state.volume is not None:
            self.recalling.ask(object(), source.recall, self.state.volume)

    def _recalled(self, found: tuple[str, Kept | InrVolume | None]) -> None:
        """Offer a fit of the volume that is kept, unless it was fitted again by now."""
        _, kept = found
        fitted = self.state.fitted
        if kept is None or (fitted is not None and fitted.volume is self.state.volume):
            return
        self._kept = kept
        if fitted is None:
            self.section.show_words(kept.words if isinstance(kept, Kept) else unsaved.WORDS)
        self.show_possible()
