"""What is about to be allocated, checked against the free memory."""

from __future__ import annotations

import sys

import psutil

from .errors import InrError
from .words import in_bytes

SHARE = 4  # of the free memory, the part that a volume may take: a fit, its figures and others need some too
OUT_OF_MEMORY = "out of memory; free some, or give a smaller volume or batch"


def check_memory(needed: int, what: str, advice: str, error: type[InrError] = InrError) -> None:
    """Raise `error` if `needed` bytes are more than this process can get; call it before allocating them.

    `what` is what needs them ("the volume, 4096 x 4096 x 4096 int16,"), `advice` what a person can do.
    """
    free = available()
    if needed > free:
        raise error(f"{what} needs {in_bytes(needed)} of memory, and {in_bytes(free)} are free; {advice}")


def is_large(nbytes: int) -> bool:
    """Return whether so many bytes of a volume are better left in a file than taken into memory."""
    return nbytes > available() // SHARE


def available() -> int:
    """Return the bytes that this process can still get: of the machine, and of the limit it runs under."""
    free = int(psutil.virtual_memory().available)
    if sys.platform != "win32":
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            free = min(free, max(limit - psutil.Process().memory_info().vms, 0))
    return free
