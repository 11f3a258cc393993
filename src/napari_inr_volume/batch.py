"""Many volumes, one after another or side by side, each in a process of its own.

    tasks -> as many processes as there are workers and memory -> Outcome, one for each task

A volume that cannot be read, a fit that fails and a process that dies end one task and no other.
"""

from __future__ import annotations

import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from .core.errors import InrError, VolumeError
from .core.memory import OUT_OF_MEMORY, available

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from .core.volume import Volume
    from .inr_volume import InrVolume
    from .io.studies import Study
    from .records import Record, Request

BASE_MEMORY = 700_000_000  # bytes of a process that fits or decodes, whatever the volume
MEMORY_A_BYTE = 6  # beside them, for each byte of the source's voxels
SECONDS_PER_LOOK = 0.2  # at whether to stop

AGAIN = "start it again to continue"

Status = Literal["done", "refused", "failed", "interrupted"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A volume, and the file that it becomes."""

    study: Study
    output: Path
    request: Request | None  # None: the file is there, and only verified
    skip_broken: bool = False
    verify: bool = False  # decode the file and hold it against the source
    force: bool = False  # replace a file of any kind
    threads: int = 1

    @property
    def memory(self) -> int:
        """Bytes that it takes, about."""
        return BASE_MEMORY + MEMORY_A_BYTE * self.study.source_bytes


@dataclass(frozen=True, kw_only=True)
class Verified:
    """A file as it decodes, against its source."""

    holds: bool  # what the file says of itself
    largest_error: float | None  # of any voxel of an exact layer, in the volume's units
    psnr: float | None  # dB (range) of a file without one


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a task."""

    status: Status
    reason: str = ""  # why it is not done
    source_bytes: int = 0
    file_bytes: int = 0
    psnr: float | None = None  # dB (range) of the reconstruction by the network; None without one
    max_error: float | None = None  # that an exact layer promises; None without one
    verified: Verified | None = None
    notes: tuple[str, ...] = ()  # what was assumed of the source, left out or missed


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
    tasks: Sequence[Task], workers: int, stopped: Callable[[], bool] = lambda: False
) -> Generator[Working | Ended]:
    """Do all tasks, at most `workers` at once and only as many as there is memory for; yields what happens.

    `stopped` is asked a few times a second. Once it says so, those at work end, with their state kept beside
    their outputs, and no more are begun; all of these end as `interrupted`, and are resumed when they are run
    again. If it raises, or the generator is closed, those at work are ended at once.
    """
    waiting, running = deque(tasks), list[_Process]()
    try:
        while waiting or running:
            if stopped():
                for process in running:
                    process.ask_to_stop()
                for task in waiting:
                    yield Ended(task, Outcome(status="interrupted", reason="it was not begun"))
                waiting.clear()
            while waiting and len(running) < workers and _fits(waiting[0], running):
                running.append(_Process(waiting.popleft()))
            wait([process.pipe for process in running], timeout=SECONDS_PER_LOOK)
            for process in list(running):
                yield from process.told()
                if process.outcome is not None:
                    running.remove(process)
                    yield Ended(process.task, process.outcome)
    finally:
        for process in running:
            process.end()


def _fits(task: Task, running: Sequence[_Process]) -> bool:
    """Whether there is memory for one more task. The first is always begun: it says itself what it lacks."""
    return not running or task.memory <= available()


class _Process:
    """A task at work."""

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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal's Ctrl-C the parent hears too
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    pipe.send(_outcome(task, _Reporter(pipe), stop))


class _Reporter:
    """Sends how far a task has come, not too often."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._told = pipe, ("", -1)

    def __call__(self, words: str, done: int, total: int) -> None:
        percent = 100 * done // max(total, 1)
        if (words, percent) != self._told:
            self._told = words, percent
            self._pipe.send((words, done, total))


def _outcome(task: Task, report: Callable[[str, int, int], None], stop: Event) -> Outcome:
    try:
        report("reading", 0, 1)
        volume = task.study.read(skip_broken=task.skip_broken)
    except (InrError, MemoryError) as error:
        return Outcome(status="refused", reason=str(error) or OUT_OF_MEMORY)
    try:
        return _done(task, volume, report, stop)
    except VolumeError as error:  # what is asked for cannot be done to it
        return Outcome(status="refused", reason=str(error), notes=volume.notes)
    except (InrError, MemoryError) as error:
        interrupted = stop.is_set()
        return Outcome(
            status="interrupted" if interrupted else "failed",
            reason=str(error) or OUT_OF_MEMORY,
            notes=volume.notes,
        )


def _done(task: Task, volume: Volume, report: Callable[[str, int, int], None], stop: Event) -> Outcome:
    import torch  # not before: a volume that cannot be read is refused without

    from .io.inr_file import read_inr

    torch.set_num_threads(task.threads)
    missed = None
    if task.request is not None:
        missed = _compress(task, task.request, volume, report, stop)
        if stop.is_set():
            return Outcome(status="interrupted", reason=AGAIN, notes=volume.notes)
    inr = read_inr(task.output)
    verified = _verify(volume, inr, task.output, report) if task.verify else None
    fails = verified is not None and not verified.holds
    return Outcome(
        status="failed" if fails else "done",
        reason="decoded, it is not what the file says of itself; keep the source" if fails else "",
        source_bytes=inr.source_bytes,
        file_bytes=task.output.stat().st_size,
        psnr=inr.quality.hr_psnr if inr.quality is not None and inr.has_preview else None,
        max_error=None if inr.exact is None else inr.exact.max_error,
        verified=verified,
        notes=(*volume.notes, *filter(None, [missed])),
    )


def _compress(
    task: Task, request: Request, volume: Volume, report: Callable[[str, int, int], None], stop: Event
) -> str | None:
    """Make the file, from where an earlier run was interrupted; returns what of the target was missed."""
    from .core.atomic import claimed
    from .core.generators import drain
    from .fields.state_file import load_state, save_state
    from .io.files import SUFFIX
    from .io.inr_file import looks_like_inr, write_inr
    from .outputs import Kept, Output
    from .session import run

    to = Output(
        path=task.output,
        suffixes=[SUFFIX],
        own=looks_like_inr,
        kind="an .inr",
        sources=task.study.sources,
        force=task.force,
    )
    try:
        task.output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InrError(f"the folder {task.output.parent} cannot be made: {error.strerror}") from error
    kept = Kept(task.output)
    with to.claimed(), claimed(kept.fit):
        running = run(
            volume,
            request,
            stop=stop,
            resume=load_state(kept.fit) if kept.fit.exists() else None,
            keep=lambda state: save_state(state, kept.fit),
            keep_exact=kept.exact,
            on_slices=lambda done, total: report("measuring", done, total),
        )
        made = drain(running, lambda record: _tell(record, report))
        whole = request.max_error is None or made.inr.exact is not None
        if not made.fitted.stopped and whole:
            model = made.fitted.upscaler.weights if request.embed else None
            to.keep(lambda path: write_inr(made.inr, path, model=model or None))
            kept.forget()
            stop.clear()  # what was asked too late to matter
        return made.missed


def _tell(record: Record, report: Callable[[str, int, int], None]) -> None:
    from .exact.encode import Coding
    from .exact.learn import Learning
    from .fields.base import FitProgress
    from .records import Looking

    match record:
        case Looking():
            report("looking for settings", record.done, record.total)
        case FitProgress():
            report("fitting", record.step, record.steps)
        case Learning():
            report("fitting the exact layer", record.step, record.steps)
        case Coding():
            report("coding the exact layer", record.done, record.total)


def _verify(volume: Volume, inr: InrVolume, path: Path, report: Callable[[str, int, int], None]) -> Verified:
    """Decode a file and hold it against its source, voxel by voxel."""
    from .core.metrics import largest_error
    from .io.inr_file import read_model
    from .measuring import measure
    from .reader import Reader
    from .superres.upscale import find_restorer

    if volume.shape != inr.geometry.shape:
        return Verified(holds=False, largest_error=None, psnr=None)
    reader = Reader(inr, find_restorer(inr, lambda _: None, weights=[read_model(path)]))
    if inr.exact is None:
        found = measure(volume, reader, on_slices=lambda *at: report("verifying", *at)).reconstruction.psnr
        said = None if inr.quality is None else inr.quality.hr_psnr
        return Verified(holds=said is not None and found >= said - 0.01, largest_error=None, psnr=found)
    largest = 0.0
    for z, plane in reader.slices("exact"):
        largest = max(largest, largest_error(volume.plane(z), plane))
        report("verifying", z + 1, volume.shape[0])
    return Verified(holds=largest <= inr.exact.max_error, largest_error=largest, psnr=None)
