"""Generators that yield progress and return a result: run to the end, or passed on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from typing import TypeVar

Y = TypeVar("Y")
Z = TypeVar("Z")
R = TypeVar("R")


def drain(work: Generator[Y, None, R], on_each: Callable[[Y], object] = lambda each: None) -> R:
    """Return what a generator returns; `on_each` is called with all that it yields, and may raise to end it.

    However this ends, the generator is closed.
    """

    def told(each: Y) -> tuple[()]:
        on_each(each)
        return ()

    try:
        next(translated(work, told))  # which yields nothing, so this runs to the end
    except StopIteration as end:
        result: R = end.value
        return result
    raise AssertionError("a generator that yields nothing yielded")


def translated(work: Generator[Y, None, R], into: Callable[[Y], Iterable[Z]]) -> Generator[Z, None, R]:
    """Yield what `into` makes of each thing that a generator yields; return what that returns, and close it.

    What `into` gives is taken one by one, before the generator is asked for more.
    """
    with closing(work):
        while True:
            try:
                each = next(work)
            except StopIteration as end:
                result: R = end.value
                return result
            yield from into(each)
