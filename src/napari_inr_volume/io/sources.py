"""One door for everything that can be compressed: DICOM or not, file or folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..core.errors import SourceError
from ..core.text import printable
from ..core.volume import Volume
from ..core.words import counted
from .dicom import is_dicom_source, looks_like_dicom, read_dicom
from .slices import find_pictures
from .volumes import FOLDERS, READERS, read_volume, source_suffix


def read_source(
    path: Path,
    series: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    skip_broken: bool = False,
) -> Volume:
    """Read what lies at `path` as a Volume: DICOM, NIfTI, a TIFF stack, NumPy, or a folder of slices.

    A folder with any DICOM file in or below it is read as DICOM, else as PNG or TIFF slices; one with more
    pictures than DICOM files is refused, unless `series` is given, which chooses among several DICOM series.
    `skip_broken` leaves out files of it that cannot be read, which is said in the volume's notes;
    `on_progress` is told (done, total) and may raise to stop.
    Raises SourceError with what is wrong and what to do.
    """
    check_source(path)
    if holds_dicom(path):
        if series is None:
            _check_pictures(path)
        return read_dicom(path, series, on_progress, skip_broken=skip_broken)
    if series is not None:
        raise SourceError(f"'{path}' is not DICOM, so it has no series to choose from; leave the series out")
    if path.is_dir() and source_suffix(path) not in FOLDERS:
        if not find_pictures(path):
            raise SourceError(f"the folder '{path}' holds neither DICOM files nor PNG or TIFF slices")
    elif path.suffix.lower() == ".inr":
        raise SourceError(f"'{path.name}' is compressed already; decompress it, or give the original")
    elif source_suffix(path) not in READERS:
        raise SourceError(
            f"'{path.name}' is not DICOM and none of the other files read here: {', '.join(READERS)}"
        )
    return read_volume(path, on_progress)


def check_source(path: Path) -> None:
    """Raise SourceError unless a path is a file or a folder: who opens a pipe waits for what is put in."""
    if not path.exists():
        raise SourceError(f"there is no file or folder '{path}'")
    if not path.is_file() and not path.is_dir():
        raise SourceError(f"'{path}' is a device or a pipe; give a file or a folder")


def holds_dicom(path: Path) -> bool:
    """Return whether a file is DICOM, which old archives call .img, or a zip, or a folder with any DICOM."""
    if source_suffix(path) in FOLDERS:
        return False
    if path.is_dir() or source_suffix(path) not in READERS:
        return is_dicom_source(path)
    return source_suffix(path) == ".img" and looks_like_dicom(path)


def _check_pictures(path: Path) -> None:
    """Raise SourceError for a folder of pictures with fewer DICOM files among or below them."""
    pictures = find_pictures(path) if path.is_dir() else []
    dicom = [file for file in path.rglob("*") if looks_like_dicom(file)] if pictures else []
    if len(pictures) > len(dicom):
        raise SourceError(
            f"the folder '{path}' holds {counted(len(pictures), 'picture')} and"
            f" {counted(len(dicom), 'DICOM file')}, such as"
            f" '{printable(dicom[0].name)}'; give the DICOM file itself, or move it out to read the pictures"
        )
