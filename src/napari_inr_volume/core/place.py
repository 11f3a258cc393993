"""Where independent pieces of work run: on threads of this process, or on other machines (`cluster`)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from threading import Event
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from .choices import Device

R = TypeVar("R")


def nobody(*_: object) -> None:
    """Hear how far a piece has come, and do nothing with it."""


@dataclass(frozen=True)
class Caller:
    """Who waits for a piece of work, as the piece sees it."""

    gone: Event  # set when nobody waits any more: the piece may end with what it has
    tell: Callable[..., None] = nobody  # takes how far it has come, in strings and numbers


class Pieces(Protocol):
    """Pieces of one job, at work somewhere. Leaving it as a context ends those that are not done."""

    @property
    def at_once(self) -> int:
        """How many run at the same time, as things are."""

    def submit(
        self, work: Callable[..., R], *arguments: Any, on_told: Callable[..., None] = nobody
    ) -> Future[R]:
        """Begin `work(*arguments, caller)`; what the piece tells its Caller, `on_told` is given.

        Function, arguments and result may have to travel: they can be pickled.
        """

    def stop(self) -> None:
        """Tell every piece that nobody waits any more, also those that are still to be submitted."""


class Place(Protocol):
    """Where pieces run, if it is not here."""

    @property
    def device(self) -> Device:
        """The type of the device that networks are fitted on there, never auto."""

    def pieces(self, *, fitting: bool = False) -> AbstractContextManager[Pieces]:
        """Begin a job; with `fitting`, its pieces compute on that device."""


class Threads:
    """Pieces on threads of this process."""

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self._pool = ThreadPoolExecutor(at_once, "pieces")
        self._gone = Event()

    def submit(
        self, work: Callable[..., R], *arguments: Any, on_told: Callable[..., None] = nobody
    ) -> Future[R]:
        """Begin a piece. See `Pieces`."""
        return self._pool.submit(work, *arguments, Caller(self._gone, on_told))

    def stop(self) -> None:
        """Tell every piece that nobody waits any more."""
        self._gone.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)
