"""Long work off the UI thread: a `Job` runs one piece of it in a napari thread worker.

    panel --start--> Job --create_worker--> _run(work, control)    in a thread
      ^               |                        |
      +--- signals ---+<------- yielded -------+-- control.report(record)

Work is a plain function whose first argument is a `Control`: through it the panel stops it, and it reports.
It never touches a layer. Whatever happens in it, the worker's generator ends by returning: superqt swallows
a RuntimeError (which torch's out-of-memory is), and napari keeps what a worker holds that was quit.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any

from napari.qt.threading import GeneratorWorker, create_worker
from qtpy.QtCore import QObject, Signal

from ..core.errors import InrError
from .notices import OUT_OF_MEMORY

SECONDS_PER_REPORT = 0.25  # each has the window drawn anew


Cut = tuple[int, int]  # axis that a slice lies across, and its number


@dataclass(frozen=True)
class Done:
    """How far countable work has come."""

    done: int
    total: int


class Cancelled(BaseException):  # it is no error, which libraries and `except Exception` would swallow
    """Raised inside work that is to be dropped; never leaves this module."""


class Control:
    """What the panel and a piece of work share while it runs. Thread-safe."""

    def __init__(self) -> None:
        self.stop = Event()  # end with what there is
        self.drop = Event()  # end with nothing, and at once
        self.paused = Event()
        self.shown = Event()  # the last preview is in the viewer; no other is made before
        self.z = 0  # slice of the original that is in view
        self.cut: Cut | None = None  # what of the original is in view, in whichever direction
        self.renew()

    def renew(self) -> None:
        """Reset it for the next piece of work, which reports to somebody else."""
        for event in (self.stop, self.drop, self.paused):
            event.clear()
        self.shown.set()
        self.report: Callable[[object], None] = lambda record: None
        self._told = 0.0

    def check(self) -> None:
        """Raise Cancelled if the work is to be dropped."""
        if self.drop.is_set():
            raise Cancelled

    def on_progress(self, done: int, total: int) -> None:
        """Report how many of how many are done, a few times a second; raises Cancelled."""
        self.check()
        if self.is_time(last=done == total):
            self.report(Done(done, total))

    def is_time(self, *, last: bool) -> bool:
        """Return whether to report again: a few times a second, and the last."""
        now = time.perf_counter()
        if now - self._told < SECONDS_PER_REPORT and not last:
            return False
        self._told = now
        return True

    def wait_while_paused(self) -> float:
        """Return the seconds that were waited."""
        started = time.perf_counter()
        while self.paused.is_set() and not (self.stop.is_set() or self.drop.is_set()):
            time.sleep(0.02)
        return time.perf_counter() - started


class Job(QObject):
    """Runs one piece of work at a time. All signals come on the UI thread, `ended` last and always."""

    reported = Signal(object)  # a record of the work's own
    finished = Signal(object)  # what the work returned
    failed = Signal(str)  # a sentence a person can act on
    ended = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.control = Control()
        self._worker: _JobWorker | None = None
        self.destroyed.connect(self.control.drop.set)  # nobody is left to be told of the end

    @property
    def running(self) -> bool:
        """Whether work is under way."""
        return self._worker is not None

    @property
    def at_work(self) -> bool:
        """Whether its thread is; unlike `running`, also true to say once the window is gone."""
        return self._worker is not None and self._worker.is_running

    def start(self, work: Callable[..., object], *args: Any, **kwargs: Any) -> bool:
        """Run `work(control, *args, **kwargs)` in a thread. Returns False if the job is busy."""
        if self._worker is not None:
            return False
        self.control.renew()
        self._worker = create_worker(
            _run, work, self.control, args, kwargs, _worker_class=_JobWorker, _start_thread=False
        )
        self._worker.control = self.control
        self.control.report = self._worker.yielded.emit
        self._worker.yielded.connect(self._on_yielded)
        self._worker.returned.connect(self._on_returned)
        self._worker.start()
        return True

    def stop(self) -> None:
        """Ask the work to end with what it has."""
        self.control.stop.set()

    def drop(self) -> None:
        """Ask the work to end with nothing."""
        self.control.drop.set()

    def _on_yielded(self, record: object) -> None:
        if record is not None and not self.control.drop.is_set():
            self.reported.emit(record)

    def _on_returned(self, outcome: _Outcome) -> None:
        late = outcome.cancelled or self.control.drop.is_set()
        self._worker = None
        self.control.renew()
        if not late:
            if outcome.error is None:
                self.finished.emit(outcome.result)
            else:
                self.failed.emit(outcome.error)
        self._come_to_rest()

    def _come_to_rest(self) -> None:
        self.ended.emit()


class LatestJob(Job):
    """Answers the latest question that it was asked: a late answer to an earlier one is never heard.

    A question is whatever its answer depends on; work that finds the answer begins when work for an earlier
    question has ended. `ended` comes when nothing is left to do.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._question: Hashable = None
        self._answer: Any = None
        self._next: Callable[[], bool] | None = None  # starts the work for the latest question
        self.finished.connect(self._keep)  # before anybody else hears of it
        self.failed.connect(self._clear)

    def ask(self, question: Hashable, work: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Have `work(control, *args, **kwargs)` find the answer, unless it is known or being looked for."""
        if question == self._question:
            return
        self.forget()
        self._question = question
        self._next = partial(self.start, work, *args, **kwargs)
        if not self.running:
            self._come_to_rest()

    def answer_to(self, question: Hashable) -> Any:
        """Return the answer, or None if it is not known or another question was asked since."""
        return self._answer if question == self._question else None

    def drop(self) -> None:
        """Ask the work to end with nothing; an answer that is known stays so."""
        if self.running:
            self._clear()
            super().drop()

    def forget(self) -> None:
        """Forget question and answer too."""
        self.drop()
        self._clear()

    def _keep(self, answer: object) -> None:
        self._answer = answer

    def _clear(self, _: object = None) -> None:
        self._question = self._answer = self._next = None

    def _come_to_rest(self) -> None:
        begin, self._next = self._next, None
        if begin is not None:
            begin()
        elif not self.running:
            self.ended.emit()


class _JobWorker(GeneratorWorker):
    """A worker that ends its generator when it is to quit, as when the window closes."""

    control: Control

    def quit(self) -> None:
        self.control.drop.set()


@dataclass(frozen=True)
class _Outcome:
    result: object = None
    error: str | None = None
    cancelled: bool = False


def _run(
    work: Callable[..., object], control: Control, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Generator[None, None, _Outcome]:
    """Do the work; a generator because napari frees the arguments of those only."""
    yield
    try:
        return _Outcome(result=work(control, *args, **kwargs))
    except Cancelled:
        return _Outcome(cancelled=True)
    except Exception as error:
        # A dropped fit ends with an error, of which nobody needs to hear.
        words = _in_words(error)
        _forget_frames(error)
        return _Outcome(cancelled=True) if control.drop.is_set() else _Outcome(error=words)
    finally:
        _free_gpu()


def _in_words(error: Exception) -> str:
    if isinstance(error, InrError):
        return str(error)
    if isinstance(error, MemoryError):
        return OUT_OF_MEMORY
    if isinstance(error, RuntimeError):
        from ..compute.device import out_of_memory

        if out_of_memory(error):
            return "the device ran out of memory; choose the CPU under Advanced, or close other programs"
    traceback.print_exception(error)  # a bug: the person sees one line, the console shows it all
    return f"this should not have happened, please report it: {type(error).__name__}: {error}"


def _forget_frames(error: BaseException | None) -> None:
    """Free what the frames of an error and of its causes hold: voxels, networks."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _free_gpu() -> None:
    # Absent too while another thread imports torch.
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_initialized():
        cuda.empty_cache()
