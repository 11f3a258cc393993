"""Other people's libraries kept in bounds: what they raise, warn of or log becomes one line of ours.

tifffile, when part of a file is missing, logs a line and returns zeros or fewer slices. What it says is
therefore collected, and refuses the file unless it is known to be no loss (`HARMLESS`). nibabel logs what it
repairs in a header; what matters of that we check ourselves.
"""

from __future__ import annotations

import logging
import re
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.errors import InrError, SourceError
from ..core.text import printable

HARMLESS = re.compile(r"GDAL_NODATA|Datetime|_metadata> raised|invalid .*subfiletype|not stitched")
LOSSES = {  # what tifffile says: what it means
    r"read ('[^']+'), raised FileNotFoundError": r"its file \1 is missing; put it in the same folder",
    r"read ('[^']+'), raised": r"its file \1 cannot be read; copy it again",
    r"invalid (?:page|value) offset|incompletely written": "it is cut off or damaged; copy it again",
    r"is missing (\d+) (?:frames|pages)": r"\1 of its slices are missing; copy it again",
    r"missing files|failed to read \d+ files": "files of its set are missing; put them in the same folder",
    r"shaped series|ImageJ series metadata": "it does not hold the slices that its description claims",
}


@contextmanager
def errors_of_ours(path: Path, done: str) -> Iterator[None]:
    """Turn what a library raises, warns of or logs on a file into a SourceError of one line that names it.

    `done` is "read" or "written". Files that the library had open are closed.
    """
    lost: list[str] = []  # tifffile's messages, which are more specific than its errors
    try:
        with _listening("tifffile", lost), _listening("nibabel.global", []), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what will change in a later version is not the file's fault
            for category in (UserWarning, RuntimeWarning):
                warnings.simplefilter("error", category)
            yield
    except InrError as error:
        if lost:
            raise _lost(path, lost) from error
        raise
    except MemoryError as error:
        _close_files(error)
        raise SourceError(f"'{path}' cannot be {done}: it is damaged, or too large for the memory") from error
    except Exception as error:  # nibabel, tifffile and the codecs have no closed set of errors
        _close_files(error)
        if lost:
            raise _lost(path, lost) from error
        why = "it is damaged or not supported: " if done == "read" and not isinstance(error, OSError) else ""
        raise SourceError(f"'{path}' cannot be {done}: {why}{_reason(error)}") from error
    if lost:
        raise _lost(path, lost)


@contextmanager
def _listening(name: str, said: list[str]) -> Iterator[None]:
    """Collect what this thread logs to the logger `name`, from warnings up, and keep it off the terminal."""
    logger, thread = logging.getLogger(name), threading.get_ident()

    def collect(record: logging.LogRecord) -> bool:
        if record.thread != thread:
            return True
        if record.levelno >= logging.WARNING:
            said.append(record.getMessage())
        return False

    logger.addFilter(collect)
    try:
        yield
    finally:
        logger.removeFilter(collect)
        said[:] = [message for message in said if not HARMLESS.search(message)]


def _lost(path: Path, said: list[str]) -> SourceError:
    """Return the error that says what is missing, by the first thing that tifffile said."""
    message = " ".join(re.sub(r"<tifffile[^>]*>", "", said[0]).split())
    words = f"it is damaged: {message}"
    for pattern, meaning in LOSSES.items():
        if found := re.search(pattern, message):
            words = found.expand(meaning)
            break
    return SourceError(f"'{path}' cannot be read: {printable(words)}")


def _close_files(error: BaseException) -> None:
    """Let go of what the failed calls held: a file left open cannot be replaced on every system."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        traceback.clear_frames(error.__traceback__)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return printable(lines[0]) if lines else type(error).__name__
