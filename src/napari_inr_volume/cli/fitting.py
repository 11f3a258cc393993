"""Shows a session's progress on a terminal, and saves its result. Imports torch."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import typer
from rich.progress import Progress, TaskID

from ..console import Interrupted, Stop, interruptible, progress_bar, say
from ..core.errors import InrError
from ..core.generators import drain
from ..core.place import Place
from ..core.text import printable
from ..core.volume import Volume
from ..core.words import in_bytes
from ..exact.encode import Coding
from ..exact.learn import Learning
from ..fields.base import FitProgress, FitState
from ..fields.state_file import save_state
from ..inr_volume import InrVolume
from ..io.inr_file import write_inr
from ..outputs import Kept, Output
from ..session import Compressed, Fitted, Looking, NotKept, Planned, Record, Request, run
from .files import warn


class Fitting:
    """One run: to an .inr, with files that keep how far it has come."""

    def __init__(self, to: Output, kept: Kept | None = None, *, embed: bool = False) -> None:
        self.to = to
        self.kept = kept  # None: the fit cannot be resumed, and half of it is not wanted
        self.embed = embed  # the upscaler's weights into the .inr
        self.stop = Stop()
        self.resumed = False
        self._written = False  # the state of the fit, by this run
        self._unmeasured = False  # the network is in the file, without figures of its quality
        self._max_error: float | None = None  # of the exact layer that is asked for
        self._inexact = False  # the network is in the file, and the exact layer not yet
        self._coding = False  # the exact layer
        self._bars = ExitStack()
        self._bar: tuple[Progress, TaskID] | None = None

    def run(
        self, volume: Volume, request: Request, before: FitState | None = None, place: Place | None = None
    ) -> Compressed:
        """Compress the volume and save it. Raises typer.Exit if nothing is to be kept of a stopped fit."""
        self.resumed = before is not None
        self._max_error = request.max_error
        keep = None if self.kept is None else self._keep
        with self._bars:
            self._show("looking for settings" if request.planned else "fitting")
            try:
                with interruptible(self.stop):
                    running = run(
                        volume,
                        request,
                        stop=self.stop,
                        resume=before,
                        keep=keep,
                        keep_exact=None if self.kept is None else self.kept.exact,
                        on_slices=self._measuring,
                        place=place,
                    )
                    return drain(running, self._on_record)
            except (InrError, MemoryError, Interrupted) as error:
                self._note_what_is_kept(error)
                raise

    def forget(self) -> None:
        """Remove what was kept."""
        if self.kept is not None:
            self.kept.forget()

    def _on_record(self, record: Record) -> None:
        match record:
            case Looking():
                self._update(record.done, record.total)
            case Planned():
                self._hide()
                _tell_plan(record)
                self.stop.at_once = False
                self._show("fitting")
            case FitProgress():
                words = f"LR {record.psnr:.2f} dB (range)" if record.psnr else ""
                self._update(record.step, record.steps, words)
            case NotKept():
                warn(
                    "the fit continues, but its state cannot be saved, so it cannot be resumed later:"
                    f" {record.reason}"
                )
            case Fitted():
                self._hide()
                self._on_fitted(record)
            case Compressed():
                self._hide()
                if self._unmeasured and record.choice.words:
                    say(record.choice.words)
                self._unmeasured = False
                if not _is_empty(record.inr):
                    self._save(record.inr, record.fitted)
                    self._inexact = self._max_error is not None and record.inr.exact is None
            case Learning() | Coding():
                self._on_exact(record)

    def _on_exact(self, record: Learning | Coding) -> None:
        if isinstance(record, Learning):
            if record.step == 1:
                self._show("fitting the exact layer")
            self._update(record.step, record.steps, f"{record.bits:.2f} bits a voxel")
            return
        if not self._coding:
            self._coding = True
            self._show("coding the exact layer")
        self._update(record.done, record.total)

    def _on_fitted(self, fitted: Fitted) -> None:
        """Save the network before anything else can go wrong; a signal interrupts what comes then."""
        hard = self.stop.is_set() and self.stop.signal != signal.SIGINT
        self.stop.clear()
        self.stop.at_once = True
        if fitted.stopped and self.kept is None:
            raise Interrupted(self.stop.signal)
        if fitted.stopped and not self._wanted(fitted):
            if not self.resumed:
                self.forget()
            raise typer.Exit(128 + self.stop.signal)
        if not _is_empty(fitted.inr):
            self._save(fitted.inr, fitted)
            self._unmeasured = True
        if hard:
            raise Interrupted(self.stop.signal)
        self._show("measuring")

    def _wanted(self, fitted: Fitted) -> bool:
        """Ask whether to save what an interrupted fit reached; without anyone to answer it is saved."""
        assert fitted.result is not None
        assert self.kept is not None
        there = self.kept.fit.exists()
        reached = f"the fit was interrupted at step {fitted.result.steps:,} (LR {fitted.result.psnr:.2f} dB)"
        later = "; --resume can continue it later" if there else ""
        if self.stop.signal != signal.SIGINT or not sys.stdin.isatty():
            say(f"{reached}; saving the best result so far to {self.to.path}{later}")
            return True
        question = f"{reached}{later}; save the best result so far to {self.to.path}?"
        try:
            return typer.confirm(printable(question), default=True, err=True)
        except (Interrupted, typer.Abort):
            if there:
                raise
            return True

    def _save(self, inr: InrVolume, fitted: Fitted) -> None:
        """Save an .inr, whatever signal comes meanwhile; that one ends the run then."""
        model = fitted.upscaler.weights if self.embed and fitted.upscaler.weights else None
        with interruptible() as late:
            self.to.keep(lambda path: write_inr(inr, path, model=model))
        if late.is_set():
            interrupted = Interrupted(late.signal)
            interrupted.add_note(
                _without_figures(self.to.path)
                if inr.quality is None and inr.has_preview
                else f"{self.to.path} is complete"
            )
            raise interrupted

    def _keep(self, state: FitState) -> None:
        assert self.kept is not None
        save_state(state, self.kept.fit)
        self._written = True

    def _note_what_is_kept(self, error: BaseException) -> None:
        """Put on an error what is in files by now."""
        if self._unmeasured:
            error.add_note(_without_figures(self.to.path))
        elif self._inexact:
            error.add_note(f"{self.to.path} is complete but for the exact layer")
        if self.kept is None or not (self._written or self._coding or isinstance(error, Interrupted)):
            return
        match self.kept.there():
            case [fit] if fit == self.kept.fit:
                error.add_note(f"{fit} holds the state of the fit; add --resume to continue it")
            case [*_, exact]:
                error.add_note(f"{exact} holds what is done of the exact layer; add --resume to continue it")

    def _show(self, words: str) -> None:
        """Show a bar, one at a time."""
        self._hide()
        progress = self._bars.enter_context(progress_bar("more"))
        self._bar = progress, progress.add_task(words, total=None, more="")

    def _hide(self) -> None:
        self._bars.close()
        self._bar = None

    def _update(self, done: int, total: int, more: str = "") -> None:
        if self._bar is not None:
            progress, task = self._bar
            progress.update(task, completed=done, total=total, more=more)

    def _measuring(self, done: int, total: int) -> None:
        self._update(done, total)


def _is_empty(inr: InrVolume) -> bool:
    """Whether a file of it would show nothing of the volume: no network, and no exact layer yet."""
    return not inr.has_preview and inr.exact is None


def _tell_plan(planned: Planned) -> None:
    if planned.reached is not None:
        say(f"reached {planned.reached:.2f} dB, short of the target; fitting a larger network next")
    plan = planned.plan
    factor = " x ".join(f"{value:g}" for value in plan.settings.factor)
    say(
        f"factor {factor}, {plan.settings.field.in_words},"
        f" {plan.settings.fit.weight_bits:.1f} bits per weight; expected: at most"
        f" {in_bytes(plan.file_bytes)}, LR about {plan.lr_psnr:.1f} dB,"
        f" reconstruction about {plan.hr_psnr:.1f} dB (range)"
    )


def _without_figures(output: Path) -> str:
    return f"{output} holds the network, but its quality was not measured"
