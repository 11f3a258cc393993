"""The panel's third part: start, stop, continue and pause a fit, and watch it."""

from __future__ import annotations

from dataclasses import dataclass

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget

from ..core.words import DASH, in_decibels, in_time
from ..plugin.work.exact import ExactReport
from ..plugin.work.fit import FitReport
from .elided import ElidedBox
from .plot import NO_CURVE, Curve, FitPlot
from .section import Section, TextLine, labelled

BAR = 1000  # steps of the progress bar
NOT_FITTED = "Not fitted yet."
FIT_TOOLTIP = "Fit a network to the LR of this volume (downsampled by the factor), in the background."


@dataclass(frozen=True)
class Course:
    """What the section shows of a fit, to be shown again when that is gone back to."""

    words: str
    done: int  # of BAR
    curve: Curve


class FitSection(Section):
    """One button that is Fit, then Stop, then Stopping..., and beside it Pause; Continue after a stop."""

    fit_wanted = Signal()
    take_back = Signal()  # a fit that has not begun
    continue_wanted = Signal()
    stop_wanted = Signal()
    pause_wanted = Signal(bool)
    session_chosen = Signal(int)  # place in the list of fits

    def __init__(self) -> None:
        super().__init__("Fit", "Fit a SIREN to the LR of the volume; stop when it is good enough.")
        self.fit = QPushButton("F&it")
        self.pause = QPushButton("Pa&use")
        self.pause.setCheckable(True)
        self.pause.setToolTip("Pause the fit to free the computer for a while; it resumes where it was.")
        self.go_on = QPushButton("C&ontinue")
        self.go_on.setToolTip(
            "Resume the fit that was stopped, with the settings that it was started with; or add the exact"
            " layer that was stopped."
        )
        self.sessions = ElidedBox(
            "The fits that were made since napari was opened: choose one to go back to it."
        )
        self.session_row = QWidget()
        self.session_row.setLayout(labelled("Sho&wn", self.sessions))
        self.session_row.layout().setContentsMargins(0, 0, 0, 0)
        self.body.addWidget(self.session_row)
        row = QHBoxLayout()
        row.addWidget(self.fit, 2)
        row.addWidget(self.go_on, 1)
        row.addWidget(self.pause, 1)
        self.body.addLayout(row)
        self.bar = QProgressBar()
        self.bar.setRange(0, BAR)
        self.bar.setToolTip("Steps done, of those under Settings; then slices measured; then exact layer.")
        self.body.addWidget(self.bar)
        self.words = TextLine(NOT_FITTED)
        self.body.addWidget(self.words)
        self.plot = FitPlot()
        self.plot.hide()  # there is nothing to see yet
        self.body.addWidget(self.plot)
        self.fit.clicked.connect(self._clicked)
        self.go_on.clicked.connect(self.continue_wanted)
        self.pause.toggled.connect(self._paused)
        self.sessions.activated.connect(self.session_chosen)
        self._running = self._waiting = False
        self.show_sessions([], -1)
        self.show_idle("Choose a volume under Source first.")

    def show_sessions(self, sessions: list[str], shown: int, *, locked: bool = False) -> None:
        """Offer fits to go back to, if there is more to show than the one that is shown; -1 is none."""
        self.sessions.clear()
        self.sessions.addItems(sessions)
        self.sessions.setCurrentIndex(shown)
        self.sessions.setEnabled(not locked)
        self.session_row.setVisible(len(sessions) > (shown >= 0))

    def course(self) -> Course:
        """Return what is shown of the fit."""
        return Course(self.words.text(), self.bar.value(), self.plot.curve)

    def show_course(self, course: Course | None) -> None:
        """Show what was shown of a fit, or that there is none."""
        self.words.setText(NOT_FITTED if course is None else course.words)
        self.bar.setValue(0 if course is None else course.done)
        self.plot.show_curve(NO_CURVE if course is None else course.curve)
        self.plot.setVisible(course is not None and bool(course.curve.steps))

    def show_idle(self, refusal: str | None, stopped: bool = False) -> None:
        """Offer a fit, or say why there can be none; and offer to continue one that was stopped."""
        self._running = self._waiting = False
        self.go_on.setVisible(stopped)
        self.fit.setText("F&it")
        self.fit.setEnabled(refusal is None)
        self.fit.setToolTip(refusal or FIT_TOOLTIP)
        self.pause.setEnabled(False)
        self.pause.setChecked(False)

    def show_waiting(self) -> None:
        """Say that the fit begins when what it needs is known, and offer to take that back."""
        self._waiting = True
        self.fit.setText("&Do not fit")
        self.fit.setToolTip("Take it back: nothing is fitted.")
        self.fit.setEnabled(True)
        self.go_on.setVisible(False)
        self.words.setText("The fit begins as soon as the volume has been looked at.")

    def show_running(self) -> None:
        """Offer to stop. The curve of a fit that is resumed is continued."""
        self._running, self._waiting = True, False
        self.plot.show()
        self.go_on.setVisible(False)
        self.bar.setValue(0)
        self.words.setText("Downsampling the volume...")
        self.fit.setText("&Stop and keep")
        self.fit.setToolTip("Stop the fit now and keep the best result so far.")
        self.fit.setEnabled(True)
        self.pause.setEnabled(True)

    def show_words(self, words: str) -> None:
        """Say something of the fit."""
        self.words.setText(words)

    def show_report(self, report: FitReport) -> None:
        """Show where the fit stands."""
        self.bar.setValue(BAR * report.step // report.steps)
        psnr = in_decibels(report.psnr) if report.psnr > 0 else DASH
        left = "" if report.seconds_left is None else f", {in_time(report.seconds_left)} left"
        self.words.setText(
            f"Step {report.step:,} of {report.steps:,}{left}\nLR PSNR {psnr} dB, loss {report.loss:.1e}"
        )
        self.plot.add(report.step, report.psnr, report.loss)

    def show_stopping(self) -> None:
        """Show that it is stopping."""
        self.fit.setText("Stopping...")
        self.fit.setEnabled(False)
        self.pause.setEnabled(False)

    def show_measuring(self, done: int, total: int) -> None:
        """Show how far the measuring of a fit for a target PSNR has come, and offer to stop at that."""
        self.fit.setText("&Stop and keep")
        self.fit.setToolTip("Keep this fit as it is: no larger one follows if it misses the PSNR.")
        self.fit.setEnabled(True)
        self.pause.setEnabled(False)
        self.bar.setValue(BAR * done // max(total, 1))
        self.words.setText(f"Decoding and measuring: {100 * done // max(total, 1)} %")

    def show_exact(self, report: ExactReport) -> None:
        """Show how far the exact layer has come, and offer to stop it."""
        self.fit.setText("&Stop, keep the preview")
        self.fit.setToolTip("Stop making the exact layer. The fit is kept; Continue adds the layer later.")
        self.fit.setEnabled(True)
        self.pause.setEnabled(False)
        self.bar.setValue(BAR * report.done // report.total)
        self.words.setText(f"Exact layer: {report.words}, {100 * report.done // report.total} %")

    def _clicked(self) -> None:
        if self._running:
            self.show_stopping()
            self.stop_wanted.emit()
        elif self._waiting:
            self.take_back.emit()
        else:
            self.fit_wanted.emit()

    def _paused(self, paused: bool) -> None:
        self.pause.setText("Res&ume" if paused else "Pa&use")
        self.pause_wanted.emit(paused)
        if paused:
            self.words.setText(f"Paused.\n{self.words.text().splitlines()[-1]}")
