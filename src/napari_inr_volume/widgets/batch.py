"""The dock widget Batch: many volumes compressed in the background, each in a process of its own."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ..batch_report import DONE, Row, row_of
from ..core.errors import InrError
from ..core.words import counted
from ..plugin import dialogs
from ..plugin.commands import in_background
from ..plugin.job import Done, Job
from ..plugin.notices import show_error, show_info
from ..plugin.settings import PLUGIN, preferences
from ..plugin.work import batch as work
from ..plugin.work.batch import Found, Progress, Result, Wanted
from .batch_sections import EMPTY, QueueSection, RequestSection, RunSection
from .batch_table import WAITING, Queued
from .panel import Panel

if TYPE_CHECKING:
    import napari.viewer


class BatchWidget(Panel):
    """Queue volumes, compress them, save the table."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)  # as in the panel Compress
        self.queue, self.request, self.run = QueueSection(), RequestSection(), RunSection()
        self.show_sections(self.queue, self.request, self.run)
        self.table = self.queue.table
        self.looking, self.running = Job(self), Job(self)
        self._broken: list[Row] = []  # files that should be parts of volumes
        self._at_work: dict[Path, Queued] = {}  # by their outputs
        self._connect()
        self.request.preset.setCurrentText(preferences().preset)
        self._show_possible()

    def _connect(self) -> None:
        self.queue.add_wanted.connect(self._add)
        self.queue.remove_wanted.connect(self._remove)
        self.queue.cancel_wanted.connect(self.looking.drop)
        self.table.itemSelectionChanged.connect(self._selected)
        self.table.open_wanted.connect(self._open)
        self.request.edited.connect(self._edited)
        self.run.folder_wanted.connect(self._choose_folder)
        self.run.start_wanted.connect(self._start)
        self.run.stop_wanted.connect(self._stop)
        self.run.table_wanted.connect(self._save_table)
        self.looking.reported.connect(self._show_looking)
        self.looking.finished.connect(self._found)
        self.looking.ended.connect(self._show_possible)
        self.running.reported.connect(self._told)
        self.running.ended.connect(self._ended)
        for job in (self.looking, self.running):
            job.failed.connect(show_error)

    # The list

    def _add(self) -> None:
        path = dialogs.ask_source("Add to the batch: a folder or a file", self.window())
        if path is not None:
            self.add(path)

    def add(self, path: Path) -> None:
        """Look for volumes in a file or folder, and add those that are not in the list yet."""
        if self.looking.start(work.find, path):
            self.queue.looking.show_progress(0, 0)
            self._show_possible()

    def _show_looking(self, record: Done) -> None:
        self.queue.looking.show_progress(record.done, record.total)

    def _found(self, found: Found) -> None:
        there = {(one.study.sources, one.study.series) for one in self.table.queued}
        new = [one for one in found.studies.studies if (one.sources, one.series) not in there]
        for study in new:
            self.table.add(Queued(study, found, self.request.request(preferences().device)))
        known = {row.source for row in self._broken}
        for one in found.studies.broken:
            if str(one.path) not in known:
                name = one.path.relative_to(found.root).as_posix()
                self._broken.append(
                    Row(
                        name=name,
                        title=one.path.name,
                        source=str(one.path),
                        status="refused",
                        reason=one.reason,
                    )
                )
        self.queue.words.setText(self._summary(found, len(new)))

    def _summary(self, found: Found, new: int) -> str:
        """Say what was found in a file or folder, and what was left out."""
        if not found.studies.studies and not found.studies.broken:
            return f"There is no volume in {found.root.name} that is read here."
        words = [f"{counted(new, 'volume')} added."]
        if old := len(found.studies.studies) - new:
            words.append(f"{counted(old, 'volume')} of the list found again.")
        if skipped := sum(found.studies.skipped.values()):
            words.append(f"{counted(skipped, 'other file')} left out.")
        if broken := found.studies.broken:
            first = f"{broken[0].path.name}: {broken[0].reason}"
            words.append(f"{counted(len(broken), 'broken file')} left out, such as {first}.")
        return " ".join(words)

    def _remove(self) -> None:
        for one in self.table.chosen:
            self.table.remove(one)
        if not self.table.queued:
            self.queue.words.setText(EMPTY)
            self._broken.clear()
        self._show_possible()

    def _selected(self) -> None:
        chosen = self.table.chosen
        if chosen:
            self.request.show_request(chosen[0].request)
        self._show_possible()

    def _edited(self) -> None:
        """Ask for what is set of the selected volumes, or of all; what is done with other settings waits."""
        asked = self.request.request(preferences().device)
        for one in self.table.chosen or self.table.queued:
            if one.request != asked:
                one.request, one.row = asked, None
                self.table.show_request(one)
                self.table.show_words(one, WAITING)
        self._show_possible()

    def _open(self, queued: Queued) -> None:
        """Open the file that a volume became."""
        if queued.row is None or queued.row.status != DONE:
            return
        try:
            self.viewer.open(queued.row.output, plugin=PLUGIN)
        except (InrError, FileNotFoundError) as error:
            show_error(str(error))

    # The run

    def _choose_folder(self) -> None:
        folder = dialogs.ask_folder("Save the .inr files in", self.window())
        self.run.show_folder(folder or self.run.folder)

    def _start(self) -> None:
        wanted = []
        for one in self.table.queued:
            if one.waiting:
                one.begun = Wanted(
                    study=one.study,
                    root=one.found.root,
                    folder=self.run.folder or one.found.root,
                    request=one.request,
                    begun=None if one.begun is None else one.begun.request,
                    replace=self.run.replace.isChecked(),
                )
                wanted.append(one.begun)
                self.table.show_words(one, WAITING)
        if wanted and self.running.start(work.compress, wanted, self.run.at_once.value()):
            self.run.show_words("")
            self.run.bar.setRange(0, len(wanted))
            self.run.bar.setValue(0)
            self.run.bar.show()
            self._show_possible()

    def _stop(self) -> None:
        self.running.stop()
        self.run.show_words("Stopping: what is at work keeps how far it has come...")
        self._show_possible()

    def _told(self, record: Progress | Result) -> None:
        one = next((one for one in self.table.queued if one.begun is record.wanted), None)
        if isinstance(record, Result):
            self.run.bar.setValue(self.run.bar.value() + 1)
        if one is None:
            return
        if isinstance(record, Result):
            one.row = record.row
            self.table.show_result(one)
        else:
            percent = 100 * record.done // max(record.total, 1)
            self.table.show_words(one, f"{record.words}, {percent} %")

    def _ended(self) -> None:
        self.run.bar.hide()
        counts = Counter(WAITING if one.row is None else one.row.status for one in self.table.queued)
        order = (DONE, "refused", "failed", "interrupted", WAITING)
        self.run.show_words(", ".join(f"{counts[name]} {name}" for name in order if counts[name]) + ".")
        self._show_possible()

    def _show_possible(self) -> None:
        """Offer what can be done now."""
        running, rows, chosen = self.running.running, len(self.table.queued), len(self.table.chosen)
        if not self.looking.running:
            self.queue.looking.hide()
        self.queue.add.setEnabled(not self.looking.running)
        self.queue.remove.setEnabled(chosen > 0 and not running)
        self.request.setEnabled(not running)
        self.request.show_of(chosen, rows)
        for box in (self.run.place, self.run.at_once, self.run.replace):
            box.setEnabled(not running)
        self.run.start.setEnabled(not running and any(one.waiting for one in self.table.queued))
        self.run.stop.setEnabled(running and not self.running.control.stop.is_set())
        self.run.save.setEnabled(rows > 0 or bool(self._broken))

    # The table

    def rows(self) -> list[Row]:
        """Return the table, and the broken files that were found."""
        found = [
            one.row or row_of(one.study, one.found.root, one.request, status=WAITING)
            for one in self.table.queued
        ]
        return [*found, *self._broken]

    def _save_table(self) -> None:
        filters = ["Table (*.csv)"]
        path = dialogs.ask_where_to_save("Save the table", "batch.csv", filters, self.window())
        if path is not None:
            saved = f"Saved {path.name}."
            in_background(
                f"Saving {path.name}", lambda _: show_info(saved), work.save_table, path, self.rows()
            )
