"""One process at a time: a locked file, whose lock ends with its process, however that ends."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from .errors import InrError

if sys.platform == "win32":
    import msvcrt

    BEYOND = 2**20  # where the locked byte lies: what is before it stays readable for others

    def _seize(file: int) -> None:
        os.lseek(file, BEYOND, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError from error
else:
    import fcntl

    def _seize(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


_files: dict[Path, int] = {}  # locked by this process: their descriptors
_holders: Counter[Path] = Counter()  # how many blocks of this process need each of them
_registry = Lock()


@contextmanager
def locked(path: Path, what: str) -> Iterator[bool]:
    """Hold a lock on the file `path` while `what` is written; the file is removed with the lock.

    A process that holds it already may take it again. Yields False where there can be no locks, as in a
    folder that takes no files. Raises InrError if another process holds it.
    """
    held = _acquire(path, what)
    try:
        yield held
    finally:
        if held:
            _release(path)


def _acquire(path: Path, what: str) -> bool:
    with _registry:
        if path not in _files:
            try:
                _files[path] = _opened(path)
            except BlockingIOError as error:
                raise InrError(
                    f"{what} is being written by another run (process {_holder(path)}); wait until that ends,"
                    " or choose another name"
                ) from error
            except OSError:
                return False
        _holders[path] += 1
        return True


def _release(path: Path) -> None:
    with _registry:
        _holders[path] -= 1
        if _holders[path]:
            return
        file = _files.pop(path)
        with suppress(OSError):  # on Windows an open file stays
            path.unlink()
        os.close(file)
        if sys.platform == "win32":
            with suppress(OSError):  # somebody else has opened it by now
                path.unlink()


def _opened(path: Path) -> int:
    """Return the descriptor of the file, made if it is not there, with its lock taken."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _seize(file)
            # Another process may have released it, and removed the file, since it was opened here.
            if path.exists() and os.path.samestat(os.fstat(file), path.stat()):
                with suppress(OSError):  # no room on the disk for the number
                    os.ftruncate(file, 0)
                    os.lseek(file, 0, os.SEEK_SET)
                    os.write(file, str(os.getpid()).encode())
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _holder(path: Path) -> str:
    """Return the number of the process that holds a lock, as far as it can be told."""
    try:
        return path.read_text(encoding="ascii") or "unknown"
    except (OSError, ValueError):
        return "unknown"
