"""Pieces of work side by side on the CPU, each on one thread from end to end."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Barrier

import torch


def count() -> int:
    """Return how many pieces run at the same time: as many as torch has threads."""
    return torch.get_num_threads()


def side_by_side(pieces: Sequence[Callable[[], None]]) -> None:
    """Do all pieces and return once the last has ended; what one of them raises is raised here.

    A chunk that stays with one thread stays in its cache, and nobody waits for the other threads
    after every operation, as torch's own threads do.
    """
    if len(pieces) == 1:
        pieces[0]()
        return
    futures: list[Future[None]] = [_pool().submit(piece) for piece in pieces]
    wait(futures)
    for future in futures:
        future.result()


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """Threads in which torch does not start threads of its own; they sleep while there is no work."""
    threads = count()
    started = Barrier(threads)

    def start() -> None:
        torch.get_num_threads()  # a thread that has not asked yet would take a later global setting
        torch.set_num_threads(1)
        started.wait()

    pool = ThreadPoolExecutor(threads, thread_name_prefix="inr", initializer=start)
    wait([pool.submit(int) for _ in range(threads)])
    torch.set_num_threads(threads)  # set_num_threads also moved the default of threads to come
    return pool
