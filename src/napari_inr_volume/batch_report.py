"""The report of a batch: what became of every volume, as JSON that a later run goes on from, and as CSV."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .core.atomic import atomic_write
from .core.errors import InrError

VERSION = 1
STEM = "batch-report"  # in the folder of the outputs
DONE = "done"


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one volume."""

    name: str  # of its file, without suffix
    title: str
    source: str  # where it lies, relative to the folder of the sources
    status: str  # done, refused, failed or interrupted
    series: str = ""  # key of a DICOM series
    reason: str = ""  # why it is not done
    output: str = ""  # relative to the folder of the outputs
    source_bytes: int = 0
    file_bytes: int = 0
    ratio: float | None = None
    psnr: float | None = None  # dB (range)
    max_error: float | None = None  # promised by the exact layer
    verified: bool | None = None  # None: not asked for
    largest_error: float | None = None  # found when it was verified
    seconds: float = 0.0
    notes: str = ""
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
        with atomic_write(self.csv) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)])
            writer.writeheader()
            writer.writerows({name: _in_cell(value) for name, value in row.items()} for row in rows)


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


def _in_cell(value: object) -> object:
    """Return a value as a cell; a text that a spreadsheet would take for a formula is quoted."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


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
