"""What is done of one volume of a batch: read, compressed, verified; and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Literal

from .core.errors import InrError, VolumeError
from .core.memory import OUT_OF_MEMORY
from .core.place import Caller

if TYPE_CHECKING:
    from .core.volume import Volume
    from .inr_volume import InrVolume
    from .io.studies import Study
    from .records import Record, Request

BASE_MEMORY = 700_000_000  # bytes of a process that fits or decodes, whatever the volume
MEMORY_A_BYTE = 6  # beside them, for each byte of the source's voxels
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


def do_task(task: Task, caller: Caller) -> Outcome:
    """Do a task as a piece of work, as a process of its own would."""
    return outcome_of(task, Reporter(caller.tell), caller.gone)


class Reporter:
    """Tells how far a task has come, not too often."""

    def __init__(self, tell: Callable[[str, int, int], None]) -> None:
        self._tell, self._told = tell, ("", -1)

    def __call__(self, words: str, done: int, total: int) -> None:
        """Tell that so much of a total is done, unless it is as good as what was told before."""
        percent = 100 * done // max(total, 1)
        if (words, percent) != self._told:
            self._told = words, percent
            self._tell(words, done, total)


def outcome_of(task: Task, report: Callable[[str, int, int], None], stop: Event) -> Outcome:
    """Do a task; `report` is told how far it has come, `stop` lets it keep where it stands and end."""
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

    torch.get_num_threads()  # a thread that has not asked yet would take a later setting of another
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
    from .io.inr_file import read_model
    from .measuring import exact_error, measure
    from .reader import Reader
    from .superres.upscale import find_restorer

    if volume.shape != inr.geometry.shape:
        return Verified(holds=False, largest_error=None, psnr=None)
    reader = Reader(inr, find_restorer(inr, lambda _: None, weights=[read_model(path)]))
    if inr.exact is None:
        found = measure(volume, reader, on_slices=lambda *at: report("verifying", *at)).reconstruction.psnr
        said = None if inr.quality is None else inr.quality.hr_psnr
        return Verified(holds=said is not None and found >= said - 0.01, largest_error=None, psnr=found)
    largest = exact_error(volume, reader, lambda *at: report("verifying", *at))
    return Verified(holds=largest <= inr.exact.max_error, largest_error=largest, psnr=None)
