"""What a command may write over: never a source, and nothing that it did not make unless told to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

from .core.atomic import claimed
from .core.errors import InrError, SourceError
from .io.dicom_export import refuse_foreign
from .io.volumes import check_output

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Output:
    """A file that a command is to write."""

    path: Path
    suffixes: Collection[str] | None = None  # that it may have; None: those of volumes
    own: Callable[[Path], bool] | None = None  # whether a file is of the kind that may be replaced
    kind: str = ""  # that kind in words, such as "an .inr"
    sources: tuple[Path, ...] = ()  # files and folders that are read
    force: bool = False  # replace a file of any kind

    def check(self) -> None:
        """Raise InrError if it cannot be written, or not without a loss; call it before and after work."""
        check_output(self.path, self.suffixes)
        with claimed(self.path):
            pass
        if not self.path.exists():
            return
        if not self.path.is_file() and not self.path.is_dir():
            raise SourceError(f"'{self.path}' is a device or a pipe; give the name of a file")
        own = self.own is not None and self.own(self.path)
        for source in self.sources:
            if _is_same(self.path, source) or (not own and _is_part(self.path, source)):
                raise SourceError(f"'{self.path}' is the source itself, or a part of it; choose another name")
        writable = os.access(self.path, os.W_OK)
        if self.force or (own and writable):
            return
        found = f"exists, and is not {self.kind}" if self.own is not None and not own else "exists"
        raise SourceError(
            f"'{self.path}' {found if writable else 'is write-protected'}; choose another name, or replace it"
            " with --force"
        )

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other runs from writing it meanwhile. Raises InrError as `check` does."""
        self.check()
        with claimed(self.path):
            yield

    def keep(self, write: Callable[[Path], T]) -> T:
        """Write the result of long work and return what `write` does; if that fails, the result is not lost.

        Raises InrError if the output cannot be written, and says where the result is kept instead.
        """
        try:
            self.check()
            return write(self.path)
        except InrError as error:
            place = _keep_elsewhere(write, self.path)
            if place is None:
                raise
            raise InrError(f"{error}; the result is kept in {place}") from error


@dataclass(frozen=True)
class Kept:
    """The files beside an .inr that hold how far it has come, for --resume."""

    output: Path

    @property
    def fit(self) -> Path:
        """Where the state of the fit is."""
        return self.output.with_name(f"{self.output.name}.fit")

    @property
    def exact(self) -> Path:
        """Where the exact layer is made."""
        return self.output.with_name(f"{self.output.name}.exact")

    def there(self) -> list[Path]:
        """Return those that are there."""
        return [path for path in (self.fit, self.exact) if path.exists()]

    def forget(self) -> None:
        """Remove both."""
        self.exact.unlink(missing_ok=True)
        self.fit.unlink(missing_ok=True)


def check_folder(folder: Path, own: Callable[[Path], bool]) -> None:
    """Raise SourceError if a folder to write to holds anything that was not written there before."""
    found = folder.iterdir() if folder.is_dir() else ()
    foreign = sorted(path.name for path in found if not path.name.startswith(".") and not own(path))
    if foreign:
        raise SourceError(
            f"'{folder}' holds other files, such as {foreign[0]}; move them away, or choose another name"
        )


def check_series(folder: Path, sources: tuple[Path, ...] = (), *, force: bool = False) -> None:
    """Raise SourceError if a DICOM series cannot be written to a folder, or not without a loss.

    Only an earlier series of ours is ever replaced, by `force`. Raises InrError if another run writes there.
    """
    parent = folder.absolute().parent
    if folder.exists() and not folder.is_dir():
        raise SourceError(f"'{folder}' is a file; give the name of a folder for the series")
    if not parent.is_dir():
        raise SourceError(f"there is no folder '{parent}' to make '{folder.name}' in; create it first")
    if not os.access(parent, os.W_OK):
        raise SourceError(f"nothing can be written to the folder '{parent}'; choose another one")
    if folder.is_dir():
        if folder.samefile(Path.cwd()) or os.path.ismount(folder):
            raise SourceError(
                f"'{folder}' is the folder you are in, or a disk of its own, which cannot be replaced;"
                " give the name of a new folder"
            )
        if any(_is_same(folder, source) or _is_part(source, folder) for source in sources):
            raise SourceError(f"'{folder}' is the source itself, or holds it; choose another name")
        refuse_foreign(folder)
        if any(folder.iterdir()) and not force:
            raise SourceError(
                f"'{folder}' holds a series already; choose another name, or replace it with --force"
            )
    with claimed(folder):
        pass


def _is_same(path: Path, source: Path) -> bool:
    return source.exists() and path.samefile(source)


def _is_part(path: Path, source: Path) -> bool:
    """Whether a file is in or below a folder, if only by a link."""
    return source.is_dir() and any(file.is_file() and path.samefile(file) for file in source.rglob("*"))


def _keep_elsewhere(write: Callable[[Path], object], path: Path) -> Path | None:
    """Write to a free name beside `path`, else in the temporary folder; return it, or None if that fails."""
    for folder in (path.absolute().parent, Path(tempfile.gettempdir())):
        names = (f"{path.stem[:100]}-kept{number or ''}{path.suffix}" for number in count())
        place = next(folder / name for name in names if not (folder / name).exists())
        try:
            write(place)
        except InrError:
            continue
        return place
    return None
