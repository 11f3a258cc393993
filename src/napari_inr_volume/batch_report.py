"""The report of a batch: what became of every volume, as JSON that a later run goes on from, and as CSV."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .core.atomic import atomic_write
from .core.errors import InrError
from .core.table_file import write_csv
from .core.words import in_bytes, in_ratio, with_decibels

if TYPE_CHECKING:
    from .batch import Ended
    from .io.studies import Study
    from .records import Request

VERSION = 1
STEM = "batch-report"  # in the folder of the outputs
DONE = "done"
NO_NETWORK = "none"  # the preset of files without one


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one volume."""

    name: str  # of its file, without suffix
    title: str
    source: str  # where it lies, relative to the folder of the sources
    status: str  # done, refused, failed or interrupted
    series: str = ""  # key of a DICOM series
    reason: str = ""  # why it is not done
    output: str = ""  # the .inr; of the command, relative to the folder of the outputs
    source_bytes: int = 0
    file_bytes: int = 0
    ratio: float | None = None
    psnr: float | None = None  # dB (range)
    max_error: float | None = None  # promised by the exact layer
    verified: bool | None = None  # None: not asked for
    largest_error: float | None = None  # found when it was verified
    seconds: float = 0.0
    notes: str = ""
    asked: str = ""  # preset, target and bound, in words
    settings: str = ""  # of the run that made it, as a digest
    fingerprint: str = ""  # of the source's files


class Report:
    """The rows of a batch, saved whenever one is added."""

    def __init__(self, folder: Path) -> None:
        self.json, self.csv = folder / f"{STEM}.json", folder / f"{STEM}.csv"
        self.rows: dict[str, Row] = {}
        if self.json.exists():
            self.rows = {row.name: row for row in _rows(self.json)}

    def add(self, row: Row) -> None:
        """Add a row, or replace the earlier one of its volume. Raises InrError if it cannot be saved."""
        self.rows[row.name] = row
        self.save()

    def keep_only(self, names: Iterable[str]) -> None:
        """Drop the rows of volumes that are there no more, unless their files are."""
        there = set(names)
        self.rows = {
            name: row
            for name, row in self.rows.items()
            if name in there or (row.status == DONE and (self.json.parent / row.output).exists())
        }

    def save(self) -> None:
        """Write both files, each whole or not at all."""
        rows = [asdict(self.rows[name]) for name in sorted(self.rows)]
        with atomic_write(self.json) as temporary:
            text = json.dumps({"version": VERSION, "volumes": rows}, indent=1, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8")
        write_table(self.csv, [self.rows[name] for name in sorted(self.rows)])


def write_table(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as CSV. Raises InrError if that cannot be done."""
    write_csv(path, [field.name for field in fields(Row)], map(asdict, rows))


def row_of(study: Study, root: Path, asked: Request | None, ended: Ended | None = None, **more: Any) -> Row:
    """Return the row of a volume that was found below `root`: of its outcome, or else of what is given."""
    if ended is not None:
        outcome, verified = ended.outcome, ended.outcome.verified
        more = {
            "status": outcome.status,
            "reason": outcome.reason,
            "source_bytes": outcome.source_bytes,
            "file_bytes": outcome.file_bytes,
            "ratio": outcome.source_bytes / outcome.file_bytes if outcome.file_bytes else None,
            "psnr": outcome.psnr,
            "max_error": outcome.max_error,
            "verified": None if verified is None else verified.holds,
            "largest_error": None if verified is None else verified.largest_error,
            "notes": "; ".join(outcome.notes),
            **more,
        }
    return Row(
        name=study.name,
        title=study.title,
        source=_common(study.sources).relative_to(root).as_posix(),
        series=study.series or "",
        asked="" if asked is None else in_words(asked),
        **more,
    )


def _common(paths: tuple[Path, ...]) -> Path:
    """Return a file, or the folder that holds all of several."""
    return paths[0] if len(paths) == 1 else Path(os.path.commonpath([path.parent for path in paths]))


def in_words(request: Request) -> str:
    """Return what is asked of a file: preset, target and bound, such as `default, 1,000:1, lossless`."""
    target, bound = request.target, request.max_error
    words = [] if request.settings.preset == NO_NETWORK else [request.settings.preset]
    if target.kind == "bytes":
        words.append(in_bytes(target.value))
    elif target.kind == "ratio":
        words.append(in_ratio(target.value))
    elif target.kind == "psnr":
        words.append(with_decibels(target.value))
    if bound is not None:
        words.append("lossless" if bound == 0 else f"within ±{bound:g}")
    return ", ".join(words)


def result_in_words(row: Row) -> str:
    """Return what became of a volume, in a line."""
    if row.status != DONE:
        return f"{row.status}: {row.reason}"
    words = [in_bytes(row.file_bytes)]
    if row.ratio is not None:
        words.append(in_ratio(row.ratio))
    if row.psnr is not None:
        words.append(f"{row.psnr:.2f} dB (range)")
    if row.max_error is not None:
        words.append("lossless" if row.max_error == 0 else f"every voxel within {row.max_error:g}")
    if row.verified:
        words.append("verified")
    return ", ".join(words)


def fingerprint(paths: Iterable[Path]) -> str:
    """Return a digest of files' names, sizes and times, by which a later run sees that they are the same."""
    found = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            about = file.stat()
            found.update(repr((file.name, about.st_size, about.st_mtime_ns)).encode())
    return found.hexdigest()[:16]


def digest(settings: Any) -> str:
    """Return a digest of settings, by which a later run sees that they are the same."""
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:16]


def _rows(path: Path) -> list[Row]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["version"] != VERSION:
            raise ValueError(f"version {found['version']}")
        return [Row(**row) for row in found["volumes"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InrError(
            f"'{path}' is no report of a batch ({error}); move it away, or choose another folder"
        ) from error
