"""For the widget Batch: volumes found in files and folders, and compressed in processes of their own."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..job import Control

if TYPE_CHECKING:
    from ...batch import Ended
    from ...batch_report import Row
    from ...io.studies import Studies, Study
    from ...records import Request

SPARED = 1  # core that is left to napari


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a file or folder holds."""

    root: Path  # to which names of studies are relative
    studies: Studies


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A volume, and what is to become of it."""

    study: Study
    root: Path
    folder: Path  # of the output, which lies in it as the source does in `root`
    request: Request
    begun: Request | None = None  # what it was interrupted with
    replace: bool = False  # an .inr that is there

    @property
    def output(self) -> Path:
        """The file to write."""
        return self.folder / f"{self.study.name}.inr"


@dataclass(frozen=True)
class Progress:
    """How far one of those wanted has come."""

    wanted: Wanted
    words: str
    done: int
    total: int


@dataclass(frozen=True)
class Result:
    """What became of one of those wanted."""

    wanted: Wanted
    row: Row


def find(control: Control, path: Path) -> Found:
    """Find the volumes in a file or folder; reads headers only, and reports Done."""
    from ...io.studies import find_studies, folder_of

    return Found(root=folder_of(path), studies=find_studies(path, control.on_progress))


def compress(control: Control, wanted: Sequence[Wanted], at_once: int) -> None:
    """Compress volumes, so many at once; reports Progress, and a Result for each.

    What is stopped keeps its state beside its output, and is resumed when it is wanted again.
    """
    from contextlib import closing
    from dataclasses import replace

    from ...batch import Ended, run_tasks
    from ...batch_task import Task

    tasks: list[Task] = []
    of: dict[Path, Wanted] = {}
    for one in wanted:
        control.check()
        refusal = _refusal(one, of)
        if refusal is not None:
            control.report(Result(one, _row(one, reason=refusal)))
            continue
        of[one.output] = one
        tasks.append(Task(study=one.study, output=one.output, request=one.request))
    at_once = max(1, min(at_once, len(tasks)))
    threads = max(1, ((os.cpu_count() or 1) - SPARED) // at_once)
    began: dict[Path, float] = {}

    def stopped() -> bool:
        control.check()
        return control.stop.is_set()

    with closing(run_tasks([replace(task, threads=threads) for task in tasks], at_once, stopped)) as running:
        for told in running:
            one = of[told.task.output]
            now = time.perf_counter()
            if isinstance(told, Ended):
                seconds = round(now - began.get(one.output, now), 1)
                control.report(Result(one, _row(one, told, seconds)))
            else:
                began.setdefault(one.output, now)
                control.report(Progress(one, told.words, told.done, told.total))


def _refusal(one: Wanted, others: dict[Path, Wanted]) -> str | None:
    """Return why a volume is not compressed, if it is not; forget the state of other settings."""
    from ...core.errors import InrError
    from ...io.inr_file import looks_like_inr
    from ...outputs import Kept

    if one.output in others:
        return f"another volume in this list becomes {one.output.name} too; save one of them elsewhere"
    try:
        if one.output.exists() and not looks_like_inr(one.output):
            return f"{one.output.name} is there and is no .inr; move it away, or save elsewhere"
        if one.output.exists() and not one.replace:
            return f"{one.output.name} is there already; check 'Replace', or save elsewhere"
        if one.begun is not None and one.begun != one.request:
            Kept(one.output).forget()
        one.request.check()
    except (InrError, OSError) as error:
        return str(error)
    return None


def _row(one: Wanted, ended: Ended | None = None, seconds: float = 0.0, reason: str = "") -> Row:
    from ...batch_report import DONE, row_of

    if ended is None:
        return row_of(one.study, one.root, one.request, status="refused", reason=reason)
    output = str(one.output) if ended.outcome.status == DONE else ""
    return row_of(one.study, one.root, one.request, ended, output=output, seconds=seconds)


def save_table(control: Control, path: Path, rows: Sequence[Row]) -> None:
    """Write the table as CSV."""
    from ...batch_report import write_table

    write_table(path, rows)
