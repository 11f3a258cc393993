"""The CT series in a source: their listing, the choice among them, and the whole way to a `Volume`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import SourceError
from ...core.text import printable
from ...core.units import RAW, Units, is_units
from ...core.volume import Volume
from .files import Source, claims_dicom, opened
from .header import Head, Slice, read_header
from .parts import Part, find_parts
from .pixels import BrokenPixelsError, Voxels, read_voxels
from .stack import Stack, stack

Progress = Callable[[int, int], None]  # done, total; may raise to stop the reading

LISTED = 6  # series that an error names
NAMED = 3  # broken files that an error names
COUNTED = ("localizer", "colour image", "DICOMDIR")  # reasons that can be counted as things are


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A file that should hold an image and cannot be read."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"'{printable(self.path.name)}' ({self.reason})"


class BrokenFilesError(SourceError):
    """Files among those of a series cannot be read; `skip_broken` is the way past them."""

    def __init__(self, words: str, broken: Sequence[Broken]) -> None:
        super().__init__(words)
        self.broken = tuple(broken)


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a listing: a series of CT images, or one of the acquisitions that it holds."""

    key: str  # what chooses it: the uid, and where that holds several parts, #1, #2, ... behind it
    uid: str  # SeriesInstanceUID, "" where there is none
    part: str  # what tells it from other parts of the series, such as "phase 40 %"; "" if it is whole
    number: int | None  # SeriesNumber, the scanner's own; no two series need to differ in it
    description: str
    modality: str
    vendor: str
    slices: int  # different positions
    duplicates: int  # images beyond one a position: copies, or several scans of the same place
    rows: int
    columns: int
    kernel: str  # of the reconstruction, such as B31f or STANDARD
    paths: tuple[Path, ...] = field(repr=False)  # sorted; those in a zip are gone when it is listed

    def __str__(self) -> str:
        # A part that the kernel or the description tells apart has them in its name.
        kernel = "" if self.kernel and self.kernel in self.part else self.kernel
        words = [self.description, self.part, kernel, f"{self.slices} of {self.rows}x{self.columns}"]
        return " ".join(word for word in words if word) + f", ...{self.key[-8:]}"


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The CT series found, in the order of their numbers, and what was left out."""

    series: tuple[Series, ...]
    skipped_by_reason: dict[str, int]  # such as {"not DICOM": 2, "localizer": 1}, in files
    broken: tuple[Broken, ...]  # files that should hold an image and cannot be read

    @property
    def skipped(self) -> int:
        """Number of files that hold no CT image of a stack."""
        return sum(self.skipped_by_reason.values())


@dataclass(frozen=True)
class _Scan:
    """Every header of a source, read once."""

    listing: Listing
    parts: dict[str, Part]  # by the key of their series
    files: int


def list_series(source: Source, on_progress: Progress | None = None) -> Listing:
    """List the CT series in a file, a zip, a folder with all that is below it, or several of them.

    Reads headers only. Broken files are listed too. Raises SourceError if a file or folder is missing or a
    folder cannot be read.
    """
    with opened(source) as (paths, missing):
        return _scan(paths, missing, on_progress or _no_progress).listing


def read_dicom(
    source: Source,
    series: str | None = None,
    on_progress: Progress | None = None,
    *,
    skip_broken: bool = False,
) -> Volume:
    """Read one CT series as a Volume (z, y, x), z along the normal of the slices.

    `series` is a number in the listing (from 1), the key of a series, its SeriesInstanceUID, or a beginning
    or end of that; without it, there must be only one series, single images aside. Units are what the rescale
    names, "raw" where it names none. `skip_broken` leaves out files beside those of the series that cannot be
    read, and allows the gaps that they leave. Raises SourceError for what cannot be read rightly, naming the
    files, and BrokenFilesError where `skip_broken` would help.
    """
    report = on_progress or _no_progress
    with _chosen(source, series, lambda done, total: report(done, 2 * total), skip_broken) as found:
        scan, chosen, broken = found
        ordered, read, lost = _read(
            scan.parts[chosen.key],
            lambda done, total: report(scan.files + scan.files * done // total, 2 * scan.files),
            skip_broken=skip_broken,
            gaps_allowed=bool(broken),
        )
        return _volume(scan, chosen, ordered, read, (*broken, *lost))


@contextmanager
def opened_series(source: Source, series: str | None = None, *, skip_broken: bool = False) -> Iterator[Stack]:
    """Yield the images of one CT series in the order of z, chosen and refused as `read_dicom` does.

    Reads headers only. What is in a zip lies in a temporary folder until the block ends.
    """
    with _chosen(source, series, _no_progress, skip_broken) as (scan, chosen, broken):
        yield stack(scan.parts[chosen.key].slices, gaps_allowed=bool(broken))


@contextmanager
def _chosen(
    source: Source, series: str | None, report: Progress, skip_broken: bool
) -> Iterator[tuple[_Scan, Series, list[Broken]]]:
    """Yield the headers of a source, the series that is meant, and what is broken beside it."""
    with opened(source) as (paths, missing):
        scan = _scan(paths, missing, report)
        where = _name(source)
        if not scan.listing.series:
            raise SourceError(f"there is no CT image in {where}: {_nothing(scan.listing)}")
        chosen = _choose(scan, series, where)
        broken = _beside(scan.listing.broken, chosen, isinstance(source, str | Path))
        if broken and not skip_broken:
            raise BrokenFilesError(_refuse_broken(broken, where), broken)
        yield scan, chosen, broken


def _scan(paths: Sequence[Path], missing: Sequence[Path], report: Progress) -> _Scan:
    files: list[tuple[Head, Sequence[Slice]]] = []
    odd: list[Path] = []
    skipped: Counter[str] = Counter()
    broken = [Broken(path=path, reason="the DICOMDIR names it, but it is missing") for path in missing]
    for done, path in enumerate(paths, start=1):
        try:
            found = read_header(path)
        except SourceError as error:
            broken.append(Broken(path=path, reason=str(error).rpartition("cannot be read: ")[2]))
        else:
            if found == "not DICOM":
                odd.append(path)
            elif isinstance(found, str):
                skipped[found] += 1
            else:
                files.append(found)
        report(done, len(paths))
    images = [image.path for _, slices in files for image in slices[:1]]
    for path in odd:
        if claims_dicom(path, images):
            empty = path.stat().st_size == 0
            broken.append(Broken(path=path, reason="it is empty" if empty else "it is not a DICOM file"))
        else:
            skipped["not DICOM"] += 1
    lines, parts = _lines(find_parts(files))
    listing = Listing(
        series=tuple(lines),
        skipped_by_reason=dict(skipped),
        broken=tuple(sorted(broken, key=lambda one: one.path)),
    )
    return _Scan(listing, parts, len(paths) + len(missing))


def _lines(parts: Sequence[Part]) -> tuple[list[Series], dict[str, Part]]:
    """Return the lines of a listing in their order, and the parts by the keys of these."""
    many = Counter(part.head.uid for part in parts)
    seen: Counter[str] = Counter()
    by_key: dict[str, Part] = {}
    lines = []
    for part in parts:
        head, slices = part.head, part.slices
        seen[head.uid] += 1
        key = head.uid if many[head.uid] == 1 else f"{head.uid}#{seen[head.uid]}"
        by_key[key] = part
        places = {image.position and tuple(round(mm, 3) for mm in image.position) for image in slices}
        lines.append(
            Series(
                key=key,
                uid=head.uid,
                part=part.label,
                number=head.number,
                description=head.description,
                modality=head.modality,
                vendor=head.vendor,
                slices=len(places),
                duplicates=len(slices) - len(places),
                rows=slices[0].size[0],
                columns=slices[0].size[1],
                kernel=slices[0].traits.kernel or "",
                paths=tuple(sorted({image.path for image in slices})),
            )
        )
    lines.sort(key=lambda line: (line.number is None, line.number or 0, line.uid))
    return lines, by_key


def _read(
    part: Part, report: Progress, *, skip_broken: bool, gaps_allowed: bool
) -> tuple[Stack, Voxels, tuple[Broken, ...]]:
    """Return order, voxels, and with `skip_broken` the files that had to be left out for their pixels."""
    slices = part.slices
    lost: tuple[Broken, ...] = ()
    while True:
        ordered = stack(slices, gaps_allowed=gaps_allowed or bool(lost))
        try:
            return ordered, read_voxels(ordered.planes, report), lost
        except BrokenPixelsError as error:
            lost = (*lost, Broken(path=error.path, reason=error.reason))
            if not skip_broken:
                raise BrokenFilesError(str(error), lost) from error
            slices = tuple(image for image in slices if image.path != error.path)
            if not slices:
                raise


def _volume(scan: _Scan, chosen: Series, ordered: Stack, read: Voxels, broken: Sequence[Broken]) -> Volume:
    heads = [plane[0] for plane in ordered.planes]
    notes = (*scan.parts[chosen.key].notes, *ordered.notes, *read.notes)
    if broken:
        notes = (*notes, f"left out as broken: {_named(broken)}")
    return Volume(
        voxels=read.voxels,
        geometry=ordered.geometry,
        units=units_of(heads[0]),
        padding=read.padding,
        source_bytes=sum(head.size[0] * head.size[1] * head.bits_allocated // 8 for head in heads),
        found=tuple(filter(None, (chosen.vendor, _files_used(scan, chosen, heads, broken)))),
        notes=notes,
    )


def _files_used(scan: _Scan, chosen: Series, heads: Sequence[Slice], broken: Sequence[Broken]) -> str:
    """Return how many files the volume is of, and why others are not in it."""
    used = len({head.path for head in heads})
    reasons = [_counted(count, why) for why, count in sorted(scan.listing.skipped_by_reason.items())]
    for words, others in (
        ("of other series", [line for line in scan.listing.series if line.uid != chosen.uid]),
        ("of other parts", [line for line in scan.listing.series if line.uid == chosen.uid]),
    ):
        if count := len({path for line in others for path in line.paths} - set(chosen.paths)):
            reasons.append(f"{count} {words}")
    if copies := len(chosen.paths) - used - sum(one.path in chosen.paths for one in broken):
        reasons.append(f"{copies} {'copy' if copies == 1 else 'copies'}")
    if unread := len({one.path for one in (*scan.listing.broken, *broken)}):
        reasons.append(f"{unread} broken")
    if not reasons:
        return f"{used} file{'s' * (used != 1)}"
    return f"{used} file{'s' * (used != 1)} of {scan.files} ({', '.join(reasons)} left out)"


def _counted(count: int, why: str) -> str:
    return f"{count} {why}{'s' * (count != 1 and why in COUNTED)}"


# Which series


def _choose(scan: _Scan, choice: str | None, where: str) -> Series:
    lines = scan.listing.series
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
    problem = ""
    if choice is not None:
        problem = f"'{printable(choice)}' fits {len(found) or 'none'} of them; "
    raise SourceError(
        f"{where} holds {_how_many(scan)}: {'; '.join(shown)}. {problem}Choose one with --series and its"
        " number or UID"
    )


def _how_many(scan: _Scan) -> str:
    """Return the choices, in words."""
    lines, parts = scan.listing.series, scan.parts.values()
    if len({line.uid for line in lines}) > 1 or len(lines) == 1:
        return f"{len(lines)} CT series"
    places = {frozenset(image.position for image in part.slices) for part in parts}
    if len(places) == 1:
        return f"a series with {len(lines)} images at each of {lines[0].slices} positions"
    return f"a series of {len(lines)} acquisitions"


def _matching(lines: Sequence[Series], choice: str) -> list[Series]:
    """Return the series that a user may mean: by number in the listing, else by key, UID or a part of it."""
    if choice.isdecimal() and 1 <= int(choice) <= len(lines):
        return [lines[int(choice) - 1]]
    if same := [line for line in lines if choice in (line.key, line.uid)]:
        return same
    ends = [line for line in lines if line.key.startswith(choice) or line.key.endswith(choice)]
    return ends if choice else []


# What is said of it


def _beside(broken: Sequence[Broken], chosen: Series, in_folder: bool) -> list[Broken]:
    """Return the broken files that may be of the chosen series: those in its folders."""
    folders = {path.parent for path in chosen.paths}
    return [one for one in broken if not in_folder or one.path.parent in folders]


def _refuse_broken(broken: Sequence[Broken], where: str) -> str:
    files = "a file" if len(broken) == 1 else f"{len(broken)} files"
    return (
        f"{files} in {where} cannot be read: {_named(broken)}; copy {'it' if len(broken) == 1 else 'them'}"
        " again, or leave out what is broken with --skip-broken"
    )


def _named(broken: Sequence[Broken]) -> str:
    """Return the files by what is wrong with them, the first of each by name."""
    reasons: dict[str, list[str]] = {}
    for one in broken:
        reasons.setdefault(one.reason, []).append(f"'{printable(one.path.name)}'")
    words = []
    for reason, names in list(reasons.items())[:NAMED]:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        words.append(f"{', '.join(names[:NAMED])}{more} ({reason})")
    if len(reasons) > NAMED:
        words.append(f"and {sum(map(len, list(reasons.values())[NAMED:]))} others")
    return ", ".join(words)


def _name(source: Source) -> str:
    return (
        f"'{printable(str(source))}'" if isinstance(source, str | Path) else f"the {len(source)} paths given"
    )


def _nothing(listing: Listing) -> str:
    """Return why a source holds no CT image."""
    words = []
    if listing.broken:
        count = len(listing.broken)
        words.append(f"{count} {'is' if count == 1 else 'are'} broken: {_named(listing.broken)}")
    if listing.skipped_by_reason:
        counts = ", ".join(_counted(n, why) for why, n in sorted(listing.skipped_by_reason.items()))
        words.append(f"{listing.skipped} skipped ({counts})")
    return "; ".join(words) or "it is empty"


def _no_progress(done: int, total: int) -> None:
    pass


def units_of(image: Slice) -> Units:
    """Return what an image's values are in; the rescale type US stands for unspecified."""
    found = image.rescale_type
    return found if is_units(found) and found != "US" else RAW
