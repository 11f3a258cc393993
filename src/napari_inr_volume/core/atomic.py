"""Saving a file, or a folder of files, whole or not at all, by one process at a time."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import InrError
from .lock import locked

_living: set[Path] = set()  # temporary files and folders that this process is writing


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which takes its place when the block ends well.

    The temporary name ends as `path` does, so that a library chooses the same format. The permissions of an
    old file are kept. If the block raises, or the disk is full, the old file stays whole and nothing is left
    behind. The block should only write: an OSError in it is reported as a failure to save. Raises InrError.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    temporary = _beside(target)
    try:
        if target.exists() and not target.is_file():  # a folder, or a device such as /dev/null
            raise InrError(f"cannot save to {path}: it exists and is not a file; choose another name")
        if not target.parent.is_dir():
            raise InrError(f"cannot save {target.name}: there is no folder {target.parent}; create it first")
        with claimed(path):
            _living.add(temporary)
            try:
                yield temporary
                _sync(temporary)
                if target.exists():
                    shutil.copymode(target, temporary)
                temporary.replace(target)
            finally:
                _living.discard(temporary)
                temporary.unlink(missing_ok=True)
        with suppress(OSError):  # not every system can sync a folder
            _sync(target.parent)
    except OSError as error:
        raise _unsaved(path, error) from error


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`, which takes its place when the block ends well.

    What was in an old folder is gone then, so the caller must know that it may go. If the block raises, or
    the disk is full, the old folder stays whole and nothing is left behind. The block should only write
    files. Raises InrError as `atomic_write` does.
    """
    target = Path(os.path.realpath(path))
    temporary, old = _beside(target), _beside(target)
    try:
        with claimed(path):
            _living.update((temporary, old))
            try:
                temporary.mkdir()
                yield temporary
                for file in temporary.iterdir():
                    _sync(file)
                _swap(temporary, target, old)
            finally:
                _living.difference_update((temporary, old))
                for left in (temporary, old):
                    shutil.rmtree(left, ignore_errors=True)
        with suppress(OSError):
            _sync(target.parent)
    except OSError as error:
        raise _unsaved(path, error) from error


def _swap(new: Path, target: Path, old: Path) -> None:
    """Replace a folder, moving the earlier one to `old`: few systems can swap two folders in one step."""
    found = target.exists()
    if found:
        shutil.copymode(target, new)
    try:
        if found:
            target.rename(old)
        new.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Keep other processes from saving to `path` meanwhile, and remove what killed ones left of it.

    Saving to it in this process works as usual. Raises InrError if another process is saving to it.
    """
    target = Path(os.path.realpath(path))
    key = _key(target)
    with locked(target.with_name(f".{target.name[-32:]}.{key}.lock"), str(path)) as alone:
        if alone:
            with suppress(OSError):
                for left in set(target.parent.glob(f".{key}-*")) - _living:
                    _remove(left)
        yield


def _remove(left: Path) -> None:
    if left.is_dir() and not left.is_symlink():
        shutil.rmtree(left, ignore_errors=True)
    else:
        left.unlink(missing_ok=True)


def _beside(target: Path) -> Path:
    """Return a free name in the same folder that ends as `target` does.

    Not of tempfile: what that makes is for its owner alone, and stays so after the renaming.
    """
    return target.with_name(f".{_key(target)}-{secrets.token_hex(4)}-{target.name[-32:]}")


def _unsaved(path: Path, error: OSError) -> InrError:
    reason = error.strerror or str(error)
    return InrError(f"cannot save {path}: {reason}; choose another folder or free some space")


def _key(target: Path) -> str:
    """Return what marks the files beside `target` that belong to it, however long its name is."""
    return hashlib.sha256(os.fsencode(os.path.normcase(target.name))).hexdigest()[:8]


def _sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    file = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextmanager
def working_folder(path: Path) -> Iterator[Path]:
    """Yield the folder; if it had to be made, and nothing was put into it, it is removed at the end.

    Raises InrError if it cannot be made.
    """
    found = path.is_dir()
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise InrError(f"cannot make the folder {path}: {error.strerror}; choose another place") from error
    try:
        yield path
    finally:
        if not found:
            with suppress(OSError):  # there is something in it
                path.rmdir()
