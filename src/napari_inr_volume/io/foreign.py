"""Other people's libraries kept in bounds: their errors become ours, their logs stay off the terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.errors import InrError, SourceError

CHATTY = ("nibabel.global", "tifffile")  # log what they find odd in a file; what matters of it we check


@contextmanager
def errors_of_ours(path: Path, done: str) -> Iterator[None]:
    """Turn whatever a library raises on a file into a SourceError of one line that names it.

    `done` is "read" or "written".
    """
    loggers = [logging.getLogger(name) for name in CHATTY]
    before = [logger.disabled for logger in loggers]
    try:
        for logger in loggers:
            logger.disabled = True
        yield
    except InrError:
        raise
    except MemoryError as error:
        raise SourceError(f"'{path}' cannot be {done}: it is damaged, or too large for the memory") from error
    except Exception as error:  # nibabel, tifffile and the codecs have no closed set of errors
        why = "it is damaged or not supported: " if done == "read" and not isinstance(error, OSError) else ""
        raise SourceError(f"'{path}' cannot be {done}: {why}{_reason(error)}") from error
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
