"""Many volumes, one after another or side by side, each in a process of its own or on another machine.

    tasks -> as many processes as there are workers and memory, or pieces at a place -> Outcome, one for each

A volume that cannot be read, a fit that fails and a process that dies end one task and no other.
"""

from __future__ import annotations

import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection, wait
from threading import Event
from types import ModuleType
from typing import TYPE_CHECKING

from .batch_task import Outcome, Reporter, Task, do_task, outcome_of
from .core.memory import available
from .core.place import Pieces, Place

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

SECONDS_PER_LOOK = 0.2  # at whether to stop


@dataclass(frozen=True)
class Working:
    """How far a task has come."""

    task: Task
    words: str
    done: int
    total: int


@dataclass(frozen=True)
class Ended:
    """A task and its outcome."""

    task: Task
    outcome: Outcome


def run_tasks(
    tasks: Sequence[Task],
    workers: int,
    stopped: Callable[[], bool] = lambda: False,
    place: Place | None = None,
) -> Generator[Working | Ended]:
    """Do all tasks, at most `workers` at once and only as many as there is memory for; yields what happens.

    Those that are done at a `place` are as many at once as that does, and each file is the same as here.
    `stopped` is asked a few times a second. Once it says so, those at work end, with their state kept beside
    their outputs, and no more are begun; all of these end as `interrupted`, and are resumed when they are run
    again. If it raises, or the generator is closed, those at work are ended at once.
    """
    waiting, running = deque(tasks), list[_Process | _Piece]()
    with nullcontext() if place is None else place.pieces(fitting=_fitting(tasks)) as pieces:
        try:
            while waiting or running:
                if stopped():
                    for one in running:
                        one.ask_to_stop()
                    for task in waiting:
                        yield Ended(task, Outcome(status="interrupted", reason="it was not begun"))
                    waiting.clear()
                while waiting and _room(waiting[0], running, pieces, workers):
                    task = waiting.popleft()
                    running.append(_Process(task) if pieces is None else _Piece(task, pieces))
                wait([one.pipe for one in running], timeout=SECONDS_PER_LOOK)
                for one in list(running):
                    yield from one.told()
                    if one.outcome is not None:
                        running.remove(one)
                        yield Ended(one.task, one.outcome)
        finally:
            for one in running:
                one.end()


def _fitting(tasks: Sequence[Task]) -> bool:
    """Whether a network is fitted in one of the tasks."""
    return any(task.request is not None and task.request.fits for task in tasks)


def _room(task: Task, running: Sequence[object], pieces: Pieces | None, workers: int) -> bool:
    """Whether one more task can be begun. The first always is: it says itself what memory it lacks."""
    if pieces is not None:
        return len(running) < pieces.at_once
    return len(running) < workers and (not running or task.memory <= available())


class _Piece:
    """A task at work at a place."""

    def __init__(self, task: Task, pieces: Pieces) -> None:
        self.task = task
        self.outcome: Outcome | None = None
        self._pieces = pieces
        self.pipe, self._theirs = Pipe(duplex=False)  # by which others' threads tell this one
        self._future = pieces.submit(do_task, task, on_told=lambda *told: self._theirs.send(told))
        self._future.add_done_callback(lambda _: self._theirs.send(None))

    def told(self) -> Iterator[Working]:
        """Yield what it has sent, and take its outcome, or why there will be none."""
        while self.outcome is None and self.pipe.poll():
            told = self.pipe.recv()
            if told is None:
                self.outcome = self._outcome(self._future)
            else:
                yield Working(self.task, *told)

    def _outcome(self, future: Future[Outcome]) -> Outcome:
        try:
            outcome = future.result()
        except Exception as error:
            reason = str(error) or type(error).__name__
            return Outcome(status="failed", reason="; ".join([reason, *getattr(error, "__notes__", ())]))
        if outcome.status == "done" and not self.task.output.is_file():
            reason = (
                f"the worker wrote {self.task.output} where it is not seen here; give a folder that both see"
            )
            return replace(outcome, status="failed", reason=reason)
        return outcome

    def ask_to_stop(self) -> None:
        """Let it keep where it stands and end."""
        self._pieces.stop()

    def end(self) -> None:
        """Wait for it no more."""
        self._future.cancel()


class _Process:
    """A task at work in a process of its own."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.outcome: Outcome | None = None
        self._asked = False
        context = get_context("spawn")  # a fork would copy threads' locks
        self.pipe, theirs = context.Pipe(duplex=False)
        self._process: SpawnProcess = context.Process(target=_work, args=(task, theirs), daemon=True)
        with _without_main():
            self._process.start()
        theirs.close()

    def told(self) -> Iterator[Working]:
        """Yield what it has sent, and take its outcome, or why there will be none."""
        try:
            while self.outcome is None and self.pipe.poll():
                match self.pipe.recv():
                    case Outcome() as outcome:
                        self.outcome = outcome
                    case (words, done, total):
                        yield Working(self.task, words, done, total)
        except EOFError:
            self._process.join()
            self.outcome = Outcome(status="failed", reason=_ending(self._process.exitcode))
        if self.outcome is not None:
            self._process.join()
            self.pipe.close()

    def ask_to_stop(self) -> None:
        """Let it keep where it stands and end."""
        if not self._asked:
            self._asked = True
            self._process.terminate()

    def end(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.join()


@contextmanager
def _without_main() -> Iterator[None]:
    """Have a process that is started meanwhile not run the caller's script again, as `spawn` does.

    Nothing of it is needed. It may be napari itself, or open a window without asking for `__main__`.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = "; the system ends processes so where memory runs out" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}; start it again"
    return f"its process ended with code {code} and said nothing; start it again"


# In the process of a task


def _work(task: Task, pipe: Connection) -> None:
    """Do a task and send its outcome."""
    stop = Event()

    def send(told: object) -> None:
        try:
            pipe.send(told)
        except OSError:  # the batch was killed: keep where this stands, and free the file for the next run
            stop.set()

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal's Ctrl-C the parent hears too
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    send(outcome_of(task, Reporter(lambda *told: send(told)), stop))
