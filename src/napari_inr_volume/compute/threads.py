"""Pieces of work side by side on the CPU, each on one thread from end to end."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Barrier
from typing import TypeVar

import torch

Y = TypeVar("Y")
R = TypeVar("R")

_here = threading.local()  # `count`, in the threads that are made here


def count() -> int:
    """Return how many pieces run at the same time: as many as torch has threads."""
    made_here: int | None = getattr(_here, "count", None)
    return made_here or torch.get_num_threads()


def side_by_side(pieces: Sequence[Callable[[], None]]) -> None:
    """Do all pieces and return once the last has ended; what one of them raises is raised here.

    A chunk that stays with one thread stays in its cache, and nobody waits for the other threads
    after every operation, as torch's own threads do. A thread of `apart` does the first piece itself; no
    other does, not even a single one: with several threads in a product torch may add up in another order.
    """
    own = hasattr(_here, "count")
    futures: list[Future[None]] = [_pool().submit(piece) for piece in pieces[own:]]
    try:
        if own:
            pieces[0]()
    finally:
        wait(futures)
    for future in futures:
        future.result()


def apart(work: Generator[Y, None, R]) -> Generator[Y, None, R]:
    """Run a generator on a thread of its own, in which torch starts no threads of its own.

    For work of many small operations, where torch's threads would take longer to wake than to compute.
    """
    ended: list[R] = []

    def advance() -> list[Y]:
        try:
            return [next(work)]
        except StopIteration as end:
            ended.append(end.value)
            return []

    with _single_threaded(1) as thread:
        while records := thread.submit(advance).result():
            yield records[0]
    return ended[0]


@contextmanager
def lanes(most: int) -> Iterator[Callable[[Sequence[Callable[[], R]]], list[R]]]:
    """Give a function that does up to `most` pieces at once and returns what each of them returns.

    The pieces share the threads that there are: within each, `count` says how many are its own. So they may
    have pieces side by side themselves.
    """
    workers = min(most, count())

    def together(pieces: Sequence[Callable[[], R]]) -> list[R]:
        futures = [pool.submit(piece) for piece in pieces]
        wait(futures)
        return [future.result() for future in futures]

    with _single_threaded(workers, count() // workers) as pool:
        yield together


def with_count(threads: int, work: Callable[[], R]) -> R:
    """Do a piece of work as `lanes` would that give it so many threads, however many there are here.

    What it computes depends on that number, and not on the machine.
    """
    with _single_threaded(1, threads) as thread:
        return thread.submit(work).result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """Threads for all that runs side by side; they sleep while there is no work."""
    return _single_threaded(count())


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process has none of the threads


def _single_threaded(workers: int, own: int | None = None) -> ThreadPoolExecutor:
    """Return threads in which torch does not start threads of its own, and `count` is `own`."""
    threads = count()
    started = Barrier(workers)

    def start() -> None:
        torch.get_num_threads()  # a thread that has not asked yet would take a later global setting
        torch.set_num_threads(1)
        _here.count = own or threads
        started.wait()

    pool = ThreadPoolExecutor(workers, thread_name_prefix="inr", initializer=start)
    wait([pool.submit(int) for _ in range(workers)])
    if not hasattr(_here, "count"):
        torch.set_num_threads(threads)  # that of threads to come, which the ones above have set to 1
    return pool
