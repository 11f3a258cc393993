"""The files of a DICOM source: folders with all below them, single files, a DICOMDIR, a zip."""

from __future__ import annotations

import os
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from pydicom import dcmread
from pydicom.uid import MediaStorageDirectoryStorage

from ...core.errors import SourceError
from ...core.text import printable
from ...core.words import in_bytes
from .codestream import INFLATED, INFLATED_A_BYTE, refuse_deflate_bomb
from .header import looks_like_dicom, reason

Source = str | Path | Sequence[str | Path]

ZIP = b"PK\x03\x04"
MEMBERS = 200_000  # of a zip
SUFFIXES = (".dcm", ".ima", ".dicom")  # of files that claim to be DICOM


def is_dicom_source(path: Path) -> bool:
    """Return whether a file is DICOM or a zip, or whether any file in or below a folder is DICOM."""
    if path.is_dir():
        return any(looks_like_dicom(file) for file in path.rglob("*"))
    return looks_like_dicom(path) or is_zip(path)


@contextmanager
def opened(source: Source) -> Iterator[tuple[list[Path], list[Path]]]:
    """Yield the files of a source, each once, those of a folder sorted; and those that should be there.

    The latter are files that a DICOMDIR names and that are missing. What is in a zip lies in a temporary
    folder until the block ends. Raises SourceError for what cannot be found or opened.
    """
    paths: list[Path] = []
    missing: list[Path] = []
    with ExitStack() as temporary:
        for item in [source] if isinstance(source, str | Path) else source:
            path = Path(item)
            if path.is_dir():
                paths += files_below(path)
            elif not path.exists():
                raise SourceError(f"there is no file or folder '{path}'")
            elif is_zip(path):
                paths += files_below(temporary.enter_context(_unpacked(path)))
            elif (named := _named_in_dicomdir(path)) is not None:
                paths += [file for file in named if file.is_file()]
                missing += [file for file in named if not file.is_file()]
            else:
                paths.append(path)
        yield list(dict.fromkeys(paths)), list(dict.fromkeys(missing))


def claims_dicom(path: Path, siblings: Sequence[Path]) -> bool:
    """Return whether a file that is no DICOM should be: by its suffix, or named as DICOM files beside it."""
    if path.name.startswith("."):
        return False
    beside = [sibling for sibling in siblings if sibling.parent == path.parent]
    return path.suffix.lower() in SUFFIXES or any(_pattern(path) == _pattern(other) for other in beside)


def _pattern(path: Path) -> str:
    """Return a name with its numbers left out: IM0001 and IM0012 are named alike."""
    pattern = ""
    for letter in path.name:
        digit = letter.isdecimal() or (letter == "." and pattern.endswith("#"))
        if not (digit and pattern.endswith("#")):
            pattern += "#" if digit else letter
    return pattern


def files_below(folder: Path) -> list[Path]:
    """Return every file in or below a folder, sorted. Raises SourceError for a folder that cannot be read."""
    walk = os.walk(folder, onerror=_refuse_folder)  # rglob would pass over a locked folder
    return sorted(Path(where, name) for where, _, names in walk for name in names)


def _refuse_folder(error: OSError) -> NoReturn:
    raise SourceError(f"the folder '{error.filename}' cannot be read: {error.strerror}") from error


def is_zip(path: Path) -> bool:
    """Return whether a file is a zip; not one of NumPy's."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(ZIP)) == ZIP and path.suffix.lower() != ".npz"
    except OSError:
        return False


# RuntimeError is what an encrypted zip raises, NotImplementedError what one in another compression does.
_ZIP_ERRORS = (OSError, zipfile.BadZipFile, RuntimeError, ValueError, EOFError, zlib.error)


@contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """Yield a temporary folder with what a zip holds, of no more bytes than it can justify."""
    with TemporaryDirectory(prefix="inr-volume-") as folder:
        try:
            _unpack(path, Path(folder))
        except _ZIP_ERRORS as error:
            raise SourceError(
                f"the zip '{path}' cannot be unpacked: {reason(error)}; copy it again, or unpack it and give"
                " the folder"
            ) from error
        yield Path(folder)


def _unpack(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.filename.endswith("/")]
        _refuse_bomb(path, members, folder)
        parents = sorted({Path(member.filename).parent for member in members})
        for number, member in enumerate(members):
            # In numbered folders: the names of a zip's own may lead anywhere, or be alike but for case.
            name = Path(member.filename)
            target = Path(folder, str(parents.index(name.parent)), name.name or "file")
            target.parent.mkdir(exist_ok=True)
            if target.exists():
                target = target.parent / f"again-{number}" / target.name
                target.parent.mkdir()
            with archive.open(member) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file)


def _refuse_bomb(path: Path, members: Sequence[zipfile.ZipInfo], folder: Path) -> None:
    """Raise SourceError for a zip that is encrypted, or of too much."""
    if any(member.flag_bits & 1 for member in members):
        raise SourceError(f"the zip '{path}' is encrypted; unpack it and give the folder")
    size = path.stat().st_size
    needed = sum(member.file_size for member in members)
    if len(members) > MEMBERS or needed > max(INFLATED, INFLATED_A_BYTE * size):
        raise SourceError(
            f"the zip '{path}' declares {len(members):,} files of {in_bytes(needed)}, which its own"
            f" {in_bytes(size)} cannot hold; it is damaged, or not to be trusted"
        )
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise SourceError(
            f"unpacking the zip '{path}' takes {in_bytes(needed)} of the temporary folder, where"
            f" {in_bytes(free)} are free; unpack it elsewhere and give the folder"
        )


def _named_in_dicomdir(path: Path) -> list[Path] | None:
    """Return the files that a DICOMDIR names, below its own folder; None if this is no DICOMDIR."""
    if not looks_like_dicom(path):
        return None
    try:
        refuse_deflate_bomb(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the header's reader warns too, or refuses
            dataset = dcmread(path, specific_tags=["DirectoryRecordSequence"])
            if dataset.file_meta.get("MediaStorageSOPClassUID") != MediaStorageDirectoryStorage:
                return None
            records = dataset.get("DirectoryRecordSequence") or []
            named = [record.get("ReferencedFileID") for record in records]
    except Exception:  # which the header's reader says better
        return None
    files = []
    for parts in filter(None, named):
        parts = [parts] if isinstance(parts, str) else [str(part) for part in parts]
        if any(part in ("", ".", "..") or "/" in part or "\\" in part for part in parts):
            raise SourceError(
                f"'{path}' names a file outside its folder, {printable('/'.join(parts))}; give the folder"
                " of the images"
            )
        files.append(_in_any_case(path.parent, parts))
    return files


def _in_any_case(folder: Path, parts: Sequence[str]) -> Path:
    """Return a path below a folder; on a disc's copy, names may be in small letters."""
    for part in parts:
        exact = folder / part
        if not exact.exists() and folder.is_dir():
            alike = [found for found in folder.iterdir() if found.name.casefold() == part.casefold()]
            exact = alike[0] if alike else exact
        folder = exact
    return folder
