"""Saving a file whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import InrError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which takes its place when the block ends well.

    The temporary name ends as `path` does, so that a library chooses the same format. If the block
    raises, or the disk is full, the old file stays whole and nothing is left behind. The block
    should only write: an OSError in it is reported as a failure to save. Raises InrError.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    # Not tempfile: its files are readable by their owner alone, and stay so after the renaming.
    temporary = target.with_name(f".{secrets.token_hex(4)}-{target.name[-32:]}")
    try:
        if target.exists() and not target.is_file():  # a folder, or a device such as /dev/null
            raise InrError(f"cannot save to {path}: it exists and is not a file; choose another name")
        if not target.parent.is_dir():
            raise InrError(f"cannot save {target.name}: there is no folder {target.parent}; make it first")
        try:
            yield temporary
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InrError(f"cannot save {path}: {reason}; choose another folder or free some space") from error


@contextmanager
def working_folder(path: Path) -> Iterator[Path]:
    """Yield the folder, made if it was not there, and then gone at the end if nothing was put into it.

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
