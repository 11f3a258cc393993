"""Compiling inner loops with Numba, once a machine wherever there is a folder for what was compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def kernel(fastmath: set[str]) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator for loops that run without the GIL.

    What is compiled is kept beside the source, else in Numba's folder of the user or in NUMBA_CACHE_DIR.
    Where none of these can be written to, as in some containers, it is compiled in each process.
    """

    def compiled(loop: Callable[..., Any]) -> Any:
        try:
            return njit(loop, nogil=True, fastmath=fastmath, cache=True)
        except RuntimeError:  # there is no such folder
            return njit(loop, nogil=True, fastmath=fastmath)

    return compiled
