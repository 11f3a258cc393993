"""`inr-volume batch`: every volume in a tree of folders."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, TaskID

from ..console import Stop, interruptible, print_json, progress_bar, say, slices_bar, tell
from ..core.choices import Device
from ..core.errors import InrError, SourceError
from ..core.words import counted, in_bytes
from .compress import request_of
from .options import (
    ClusterOptions,
    ExactOptions,
    FitOptions,
    RunOptions,
    SchedulerOption,
    SkipBrokenOption,
    TargetOptions,
    UpscalerOptions,
)

if TYPE_CHECKING:
    from ..batch import Ended, Working
    from ..batch_report import Report, Row
    from ..batch_task import Task
    from ..cluster import Cluster
    from ..io.dicom import Broken
    from ..io.studies import Studies, Study
    from ..records import Request

NOT_ALL_DONE = 1  # the exit code where something was refused or failed
WIDTH = 40  # of a name in a progress bar


def batch(
    src: Annotated[
        Path, typer.Argument(metavar="SRC_FOLDER", help="The folder that holds the volumes, at any depth.")
    ],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUT_FOLDER",
            help="The folder for the .inr files, in subfolders as in SRC_FOLDER, and for the report.",
        ),
    ],
    *,
    fit: FitOptions,
    target: TargetOptions,
    exact: ExactOptions,
    upscaling: UpscalerOptions,
    skip_broken: SkipBrokenOption = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Decode every file, those of earlier runs too, and compare it with its source.",
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Volumes at once; by default one for each core. Never more than there is memory for."
        ),
    ] = None,
    scheduler: SchedulerOption = None,
    run: RunOptions,
) -> None:
    """Compress every volume in a folder and all below it.

    Takes the options of compress. A volume that is refused or fails does not stop the others.
    batch-report.csv and batch-report.json in OUT_FOLDER say what became of each. Run the same command again
    to continue after an interruption: what is done is not done again. Exits with 1 if not everything is done.
    """
    from ..batch_report import STEM, Report
    from ..core.atomic import claimed, working_folder

    request = request_of(fit, target, exact, upscaling, run)
    (request if scheduler is None else replace(request, device="cpu")).check()
    _check_apart(src, output)
    src, output = src.absolute(), output.absolute()  # for workers that are started elsewhere
    with ClusterOptions(scheduler=scheduler).place(run.device) as place:
        with slices_bar(f"looking through {src.name}") as on_files:
            found = _found(src, on_files)
        with working_folder(output), claimed(output / STEM):
            report = Report(output)
            report.keep_only(study.name for study in found.studies)
            more = {"skip_broken": skip_broken, "verify": verify, "force": run.force}
            todo = _Batch(src, output, request, report, **more)
            todo.refuse_broken(found.broken)
            todo.do(found.studies, workers or os.cpu_count() or 1, place)
            report.save()
    _print(report, found, run.as_json)
    if any(row.status != "done" for row in report.rows.values()):
        raise typer.Exit(NOT_ALL_DONE if not todo.stop.is_set() else 128 + todo.stop.signal)


def _check_apart(src: Path, output: Path) -> None:
    """Raise InrError if the folders are one, or if files of ours would be among the sources."""
    source, target = src.resolve(), output.resolve()
    if source == target or source in target.parents:
        raise InrError(f"'{output}' lies in '{src}'; choose a folder outside it")
    if output.exists() and not output.is_dir():
        raise InrError(f"'{output}' is a file; give a folder")


def _found(src: Path, on_files: Any) -> Studies:
    from ..io.studies import find_studies

    if not src.is_dir():
        raise SourceError(f"'{src}' is no folder; give the one that holds the volumes")
    found = find_studies(src, on_files)
    if not found.studies and not found.broken:
        raise InrError(f"there is no volume in '{src}' or below it that is read here")
    return found


class _Batch:
    """One run over a folder."""

    def __init__(
        self,
        src: Path,
        output: Path,
        request: Request,
        report: Report,
        *,
        skip_broken: bool,
        verify: bool,
        force: bool,
    ) -> None:
        from ..batch_report import digest

        self.src, self.output, self.request, self.report = src, output, request, report
        self.skip_broken, self.verify, self.force = skip_broken, verify, force
        self.settings = digest((request, skip_broken))
        self.stop = Stop()
        self._began: dict[str, float] = {}  # by name, on the clock of `perf_counter`
        self._bars: dict[str, TaskID] = {}

    def refuse_broken(self, broken: Sequence[Broken]) -> None:
        """Add a row for each file that should be a part of a volume and cannot be read."""
        from ..batch_report import Row

        for one in broken:
            where = one.path.relative_to(self.src).as_posix()
            self.report.rows[where] = Row(
                name=where, title=one.path.name, source=where, status="refused", reason=one.reason
            )

    def do(self, studies: Sequence[Study], workers: int, place: Cluster | None) -> None:
        """Do what is not done yet, and add a row for each."""
        from ..batch import Ended, run_tasks

        tasks = [task for study in studies if (task := self._task(study)) is not None]
        at_once = max(1, min(workers, len(tasks)))
        tasks = [replace(task, threads=max(1, workers // at_once)) for task in tasks]
        if place is not None:
            tasks = [_on(place.device, task) for task in tasks]
        with progress_bar("more") as progress:
            whole = progress.add_task(self.src.name, total=len(tasks), more="")
            with interruptible(self.stop):
                for told in run_tasks(tasks, at_once, self.stop.is_set, place):
                    if isinstance(told, Ended):
                        self._end(told)
                        progress.advance(whole)
                        if (bar := self._bars.pop(told.task.study.name, None)) is not None:
                            progress.remove_task(bar)
                    else:
                        self._show(progress, told)

    def _task(self, study: Study) -> Task | None:
        """Return what there is to do for a volume; None if it is done."""
        from ..batch_report import fingerprint
        from ..batch_task import Task
        from ..outputs import Kept

        output = self.output / f"{study.name}.inr"
        row, now = self.report.rows.get(study.name), (self.settings, fingerprint(study.sources))
        same = row is not None and (row.settings, row.fingerprint) == now
        there = same and row is not None and row.status == "done" and output.is_file()
        if there and not self.verify:
            return None
        if row is not None and not same:
            Kept(output).forget()  # of other settings, or of other voxels
        return Task(
            study=study,
            output=output,
            request=None if there else self.request,
            skip_broken=self.skip_broken,
            verify=self.verify,
            force=self.force,
        )

    def _show(self, progress: Progress, told: Working) -> None:
        from ..batch_task import AGAIN

        study = told.task.study
        if study.name not in self._began:
            self._began[study.name] = time.perf_counter()
            self._bars[study.name] = progress.add_task(f"  {study.name[-WIDTH:]}", total=None, more="")
            if told.task.request is not None:  # for a later run, if this one is killed
                self.report.add(self._row(study, status="interrupted", reason=AGAIN))
        progress.update(self._bars[study.name], completed=told.done, total=told.total, more=told.words)

    def _end(self, ended: Ended) -> None:
        from ..batch_report import result_in_words

        study, now = ended.task.study, time.perf_counter()
        output = f"{study.name}.inr" if ended.outcome.status == "done" else ""
        seconds = round(now - self._began.get(study.name, now), 1)
        row = self._row(study, ended, output=output, seconds=seconds)
        self.report.add(row)
        say(f"{study.name}: {result_in_words(row)}")

    def _row(self, study: Study, ended: Ended | None = None, **more: Any) -> Row:
        """Return a volume's row, which says of what settings and files it is."""
        from ..batch_report import fingerprint, row_of

        same = {"settings": self.settings, "fingerprint": fingerprint(study.sources)}
        return row_of(study, self.src, self.request, ended, **same, **more)


def _on(device: Device, task: Task) -> Task:
    """Return a task to be done on a device that is not here."""
    request = task.request
    return task if request is None else replace(task, request=replace(request, device=device))


def _print(report: Report, found: Studies, as_json: bool) -> None:
    rows = report.rows.values()
    done = [row for row in rows if row.status == "done"]
    source, file = sum(row.source_bytes for row in done), sum(row.file_bytes for row in done)
    if as_json:
        print_json(
            {
                "report": str(report.csv),
                "volumes": len(rows) - len(found.broken),
                "done": len(done),
                "verified": sum(bool(row.verified) for row in done),
                "broken_files": len(found.broken),
                "source_bytes": source,
                "file_bytes": file,
                "skipped_files": found.skipped,
            }
        )
        return
    of = counted(len(rows) - len(found.broken), "volume")
    tell(f"{len(done)} of {of} done: {in_bytes(source)} in {in_bytes(file)}")
    skipped = [f"{count} {why}" for why, count in found.skipped.items()]
    if found.broken:
        skipped.append(f"{len(found.broken)} broken")
    tell(f"files left out: {', '.join(skipped) or 'none'}")
    tell(f"report: {report.csv}")
