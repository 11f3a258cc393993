"""DICOM in, `Volume` in HU out: find the CT series in files and folders, choose one, read it.

pydicom alone does the reading. highdicom was measured first and left out: its
`get_volume_from_series` refuses a tilted gantry, uneven distances and files without a frame of
reference, keeps padding as if it were measured, does not name the slice that is wrong, and takes
twice the time and three times the memory. docs/dicom.md has the figures; where both read a series,
the tests hold one against the other.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from ..core.errors import SourceError
from ..core.volume import Volume
from .dicom_pixels import read_voxels
from .dicom_slices import Head, Slice, looks_like_dicom, read_header
from .dicom_stack import stack

__all__ = ["Listing", "Series", "list_series", "looks_like_dicom", "read_dicom"]

Source = str | Path | Sequence[str | Path]
Progress = Callable[[int, int], None]  # done, total; may raise to stop the reading

LISTED = 6  # series that an error names


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a listing: a series of CT images."""

    uid: str  # SeriesInstanceUID
    number: int | None  # SeriesNumber, the scanner's own; no two series need to differ in it
    description: str
    modality: str
    slices: int  # different positions
    duplicates: int  # images beyond one a position: copies, or several scans of the same place
    rows: int
    columns: int
    kernel: str  # of the reconstruction, such as B31f or STANDARD
    paths: tuple[Path, ...] = field(repr=False)  # sorted

    def __str__(self) -> str:
        words = [self.description, self.kernel, f"{self.slices} of {self.rows}x{self.columns}"]
        return " ".join(word for word in words if word) + f", ...{self.uid[-8:]}"


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The CT series found, in the order of their numbers, and what was left out."""

    series: tuple[Series, ...]
    skipped_by_reason: dict[str, int]  # such as {"not DICOM": 2, "localizer": 1}, in files

    @property
    def skipped(self) -> int:
        """Number of files that hold no CT image of a stack."""
        return sum(self.skipped_by_reason.values())


def list_series(source: Source, on_progress: Progress | None = None) -> Listing:
    """List the CT series in a file, a folder with all that is below it, or several of both.

    Reads headers only. Raises SourceError if a file or folder is missing or cannot be read.
    """
    return _scan(source, on_progress or _no_progress)[0]


def read_dicom(
    source: Source,
    series: str | None = None,
    on_progress: Progress | None = None,
    *,
    skip_broken: bool = False,
) -> Volume:
    """Read one CT series as a Volume (z, y, x) in HU, z along the normal of the slices.

    `series` is a number in the listing (from 1), a SeriesInstanceUID, or a beginning or end of one;
    without it, there must be only one series, single images aside. A rescale to anything but HU
    gives units "raw". Raises SourceError for what cannot be read rightly, naming the files.
    """
    report = on_progress or _no_progress
    listing, slices = _scan(source, lambda done, total: report(done, 2 * total))
    files = sum(len(line.paths) for line in listing.series) + listing.skipped
    if not listing.series:
        raise SourceError(f"there is no CT image in {_name(source)}: {_count_skipped(listing)}")
    chosen = _choose(listing.series, series, _name(source))
    ordered = stack(slices[chosen.uid])
    voxels, padding = read_voxels(
        ordered.planes, lambda done, total: report(files + files * done // total, 2 * files)
    )
    heads = [plane[0] for plane in ordered.planes]
    return Volume(
        voxels=voxels,
        geometry=ordered.geometry,
        units="HU" if heads[0].rescale_type == "HU" else "raw",
        padding=padding,
        source_bytes=sum(head.size[0] * head.size[1] * head.bits_allocated // 8 for head in heads),
    )


def _scan(source: Source, report: Progress) -> tuple[Listing, dict[str, list[Slice]]]:
    """Read every header once: the listing, and the slices of each series by its UID."""
    paths = _find_files(source)
    heads: dict[str, Head] = {}
    slices: dict[str, list[Slice]] = {}
    skipped: Counter[str] = Counter()
    for done, path in enumerate(paths, start=1):
        found = read_header(path)
        if isinstance(found, str):
            skipped[found] += 1
        else:
            head, images = found
            heads.setdefault(head.uid, head)
            slices.setdefault(head.uid, []).extend(images)
        report(done, len(paths))
    lines = [_series(head, slices[uid]) for uid, head in heads.items()]
    lines.sort(key=lambda line: (line.number is None, line.number or 0, line.uid))
    return Listing(series=tuple(lines), skipped_by_reason=dict(skipped)), slices


def _find_files(source: Source) -> list[Path]:
    """Return the files of a source, each once, those of a folder sorted."""
    paths: list[Path] = []
    for item in [source] if isinstance(source, str | Path) else source:
        path = Path(item)
        if path.is_dir():
            walk = os.walk(path, onerror=_refuse_folder)  # rglob would pass over a locked folder
            paths += sorted(Path(folder, name) for folder, _, names in walk for name in names)
        elif path.exists():
            paths.append(path)
        else:
            raise SourceError(f"there is no file or folder '{path}'")
    return list(dict.fromkeys(paths))


def _refuse_folder(error: OSError) -> NoReturn:
    raise SourceError(f"the folder '{error.filename}' cannot be read: {error.strerror}") from error


def _series(head: Head, slices: Sequence[Slice]) -> Series:
    places = {image.position and tuple(round(mm, 3) for mm in image.position) for image in slices}
    return Series(
        uid=head.uid,
        number=head.number,
        description=head.description,
        modality=head.modality,
        slices=len(places),
        duplicates=len(slices) - len(places),
        rows=slices[0].size[0],
        columns=slices[0].size[1],
        kernel=head.kernel,
        paths=tuple(sorted({image.path for image in slices})),
    )


def _choose(lines: Sequence[Series], choice: str | None, where: str) -> Series:
    if choice is None:
        # Beside a stack, a single image is a scout or a key image, not what someone wants to compress.
        stacks = [line for line in lines if line.slices > 1]
        found = stacks or list(lines)
    else:
        found = _matching(lines, choice)
    if len(found) == 1:
        return found[0]
    shown = [f"[{number}] {line}" for number, line in enumerate(lines, start=1)]
    shown[LISTED:] = [f"and {len(shown) - LISTED} more"] if len(shown) > LISTED else []
    problem = "" if choice is None else f"'{choice}' fits {len(found) or 'none'} of them; "
    raise SourceError(
        f"{where} holds {len(lines)} CT series: {'; '.join(shown)}. {problem}Choose one with --series and"
        " its number or UID"
    )


def _matching(lines: Sequence[Series], choice: str) -> list[Series]:
    """Return the series that a user may mean: by number in the listing, else by UID or a part of it."""
    if choice.isdecimal() and 1 <= int(choice) <= len(lines):
        return [lines[int(choice) - 1]]
    if same := [line for line in lines if line.uid == choice]:
        return same
    ends = [line for line in lines if line.uid.startswith(choice) or line.uid.endswith(choice)]
    return ends if choice else []


def _name(source: Source) -> str:
    return f"'{source}'" if isinstance(source, str | Path) else f"the {len(source)} paths given"


def _count_skipped(listing: Listing) -> str:
    counts = ", ".join(f"{count} {why}" for why, count in sorted(listing.skipped_by_reason.items()))
    return f"{listing.skipped} skipped ({counts})" if counts else "it is empty"


def _no_progress(done: int, total: int) -> None:
    pass
