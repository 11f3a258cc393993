"""Every volume in a tree of folders: DICOM series, volume files, folders of slices."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.text import printable
from ..core.volume import Volume
from .dicom import Broken, Series, files_below, is_zip, list_series, looks_like_dicom, read_dicom
from .files import SUFFIX
from .slices import KINDS
from .sources import check_source
from .tiff import is_single_page
from .volumes import FOLDERS, READERS, find_suffix, read_volume

NOT_DICOM = "not DICOM"  # as a listing counts it
UNKNOWN = "of no kind that is read here"
HEADERS = {".img": ".hdr", ".img.gz": ".hdr.gz"}  # of voxels in a file of their own


@dataclass(frozen=True, kw_only=True)
class Study:
    """One volume that was found, not read yet."""

    name: str  # for a file made of it: a path relative to the tree's, with slashes and without a suffix
    title: str  # what it is, in words
    sources: tuple[Path, ...]  # files, or one folder of slices
    series: str | None = None  # which of the DICOM series in them; None: no DICOM
    source_bytes: int  # about, of its voxels

    def read(self, *, skip_broken: bool = False) -> Volume:
        """Read it. Raises SourceError as `read_dicom` and `read_volume` do."""
        if self.series is None:
            return read_volume(self.sources[0])
        return read_dicom(self.sources, self.series, skip_broken=skip_broken)


@dataclass(frozen=True, kw_only=True)
class Studies:
    """What a tree holds."""

    studies: tuple[Study, ...]  # by name
    broken: tuple[Broken, ...]  # files beside no study, that should hold an image and cannot be read
    skipped: dict[str, int]  # files that hold no volume, by the reason


def find_studies(path: Path, on_progress: Callable[[int, int], None] | None = None) -> Studies:
    """Find every volume in a folder and all below it, or in one file; reads headers only.

    A DICOM series whose files lie in several folders is one study if no two of them show the same place, and
    else one in each folder, since archives hold copies. `on_progress` is told (files done, files in all).
    Raises SourceError if there is no such file or folder, or one that cannot be read.
    """
    check_source(path)
    folder = folder_of(path)
    listing = list_series([] if is_zip(path) else path, on_progress)  # zips are looked into one by one
    found = list(_dicom_studies(listing.series, listing.broken, folder))
    skipped = Counter({why: count for why, count in listing.skipped_by_reason.items() if why != NOT_DICOM})
    in_series = {path for line in listing.series for path in line.paths}
    volumes, pictures, images = list[Path](), list[Path](), dict[Path, int]()
    files = files_below(path) if path.is_dir() else [path]
    for file in filter(Path.is_file, files):  # what else there is, such as a pipe, `list_series` has counted
        if (image := _image_around(file, folder)) is not None:
            images[image] = images.get(image, 0) + file.stat().st_size
        elif file in in_series or file.suffix == SUFFIX or looks_like_dicom(file):
            continue
        elif is_zip(file):
            inside = list_series(file)
            place = file.relative_to(folder).with_suffix("")
            found += [_of_series(line, (file,), place) for line in inside.series]
            skipped.update(inside.skipped_by_reason)
        elif file.suffix.lower() in KINDS:
            pictures.append(file)
        elif find_suffix(file) in READERS:
            volumes.append(file)
        else:
            skipped[UNKNOWN] += 1
    found += _of_pictures(pictures, folder)
    found += [_of_file(path, folder) for path in volumes if not _is_second_of_pair(path)]
    found += [replace(_of_file(path, folder), source_bytes=size) for path, size in images.items()]
    beside = {source for study in found for source in study.sources}
    return Studies(
        studies=tuple(_with_names_of_their_own(found)),
        broken=tuple(one for one in listing.broken if one.path not in beside),
        skipped=dict(skipped),
    )


def folder_of(path: Path) -> Path:
    """Return the folder to which names of studies in `path` are relative."""
    return path if path.is_dir() and path.suffix.lower() not in FOLDERS else path.parent


def _image_around(path: Path, folder: Path) -> Path | None:
    """Return the folder that is an image as a whole, such as OME-Zarr, and holds a file; the outermost."""
    around = [one for one in path.parents if one.suffix.lower() in FOLDERS and folder in one.parents]
    return around[-1] if around else None


def _dicom_studies(lines: Sequence[Series], broken: Sequence[Broken], folder: Path) -> Iterator[Study]:
    by_uid: dict[str, list[Series]] = defaultdict(list)
    for line in lines:
        by_uid[line.uid].append(line)
    for same in by_uid.values():
        paths = sorted({path for line in same for path in line.paths})
        folders = sorted({path.parent for path in paths})
        if len(folders) > 1 and (len(same) > 1 or same[0].duplicates):
            parts = [[path for path in paths if path.parent == one] for one in folders]
            listed = [(list_series(part).series, part) for part in parts]
        else:
            listed = [(tuple(same), paths)]
        for series, part in listed:
            where = {path.parent for path in part}
            beside = [one.path for one in broken if one.path.parent in where]
            place = Path(os.path.commonpath(where)).relative_to(folder)
            yield from (_of_series(line, (*part, *beside), place) for line in series)


def _of_series(line: Series, sources: tuple[Path, ...], place: Path) -> Study:
    words = [line.description, line.part] if line.description or line.part else [f"series-{line.uid[-8:]}"]
    number = [] if line.number is None else [str(line.number)]
    return Study(
        name=(place / _as_name("-".join([*number, *filter(None, words)]))).as_posix(),
        title=printable(str(line)),
        sources=sources,
        series=line.key,
        source_bytes=2 * line.slices * line.rows * line.columns,
    )


def _of_pictures(paths: Sequence[Path], folder: Path) -> Iterator[Study]:
    """Yield folders of slices, and TIFF files that are volumes of their own."""
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        by_folder[path.parent].append(path)
    for where, there in by_folder.items():
        if len(there) > 1 and all(path.suffix.lower() == ".png" or is_single_page(path) for path in there):
            yield Study(
                name=(where.relative_to(folder) / "slices").as_posix(),
                title=f"{len(there)} slices",
                sources=(where,),
                source_bytes=sum(path.stat().st_size for path in there),
            )
        else:
            yield from (_of_file(path, folder) for path in there)


def _of_file(path: Path, folder: Path) -> Study:
    return Study(
        name=path.relative_to(folder).as_posix()[: -len(find_suffix(path))],
        title=printable(path.name),
        sources=(path,),
        source_bytes=path.stat().st_size,
    )


def _is_second_of_pair(path: Path) -> bool:
    """Whether it holds the voxels of a header beside it, which is read instead."""
    suffix = find_suffix(path)
    return suffix in HEADERS and path.with_name(path.name[: -len(suffix)] + HEADERS[suffix]).exists()


def _as_name(words: str) -> str:
    """Return words as a file's name on any system."""
    return re.sub(r"[^\w.+-]+", "-", printable(words)).strip("-.")[:80] or "series"


def _with_names_of_their_own(studies: Iterable[Study]) -> Iterator[Study]:
    """Yield them by name; those of one name are numbered."""
    seen: Counter[str] = Counter()
    for one in sorted(studies, key=lambda one: (one.name, one.series or "", one.sources)):
        seen[one.name.casefold()] += 1
        again = seen[one.name.casefold()]
        yield one if again == 1 else replace(one, name=f"{one.name}-{again}")
