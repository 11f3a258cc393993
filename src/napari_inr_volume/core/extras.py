"""Packages that the base install leaves out, and how to say so when one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import InrError


@contextmanager
def extra(name: str, what: str, error: type[InrError] = InrError) -> Iterator[None]:
    """Turn the failed import of a package of the extra `name`, which `what` needs, into one line."""
    try:
        yield
    except ImportError as missing:
        package = (missing.name or str(missing)).partition(".")[0]
        raise error(f"{what} needs {package}: pip install 'napari-inr-volume[{name}]'") from missing
