"""Workers of Dask as a place for pieces of work (`core.place`).

    pieces -> client -> scheduler -> workers, one piece a thread -> results, and how far they have come

A piece is a function and its arguments as bytes, which the scheduler never opens. When a worker is lost, the
scheduler gives its pieces to others: each computes the same bytes anywhere. Needs the extra `cluster`.
"""

from __future__ import annotations

import logging
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from importlib.metadata import version
from itertools import count
from threading import Event
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import uuid4

from .core.choices import Device
from .core.errors import InrError
from .core.extras import extra
from .core.place import Caller, nobody
from .core.text import printable

R = TypeVar("R")

GPU = "GPU"  # the resource of workers with one: `dask worker ADDRESS --resources "GPU=1"`
SAME = ("napari-inr-volume", "torch")  # packages by whose versions bytes differ
SECONDS_TO_CONNECT = 10.0
SECONDS_TO_WORKERS = 60.0
SECONDS_PER_COUNT = 5.0  # between two looks at how many workers there are
LARGEST = "1 GiB"  # of a piece, before Dask warns
LOST = "the connection to the Dask scheduler was lost"


@contextmanager
def connected(scheduler: str | None = None, workers: int = 1, device: Device = "auto") -> Iterator[Cluster]:
    """Give the workers of the scheduler at an address; without one, so many processes of this machine.

    Networks are fitted on `device`: `auto` takes workers with a GPU, if any say that they have one. Raises
    InrError if there is no scheduler or no worker, if workers have other versions of what makes the bytes,
    and if a GPU is asked for that no worker has.
    """
    with extra("cluster", "work on several machines"):
        import dask
        from distributed import Client, LocalCluster
    with ExitStack() as undo:
        undo.enter_context(_silent("distributed"))
        undo.enter_context(dask.config.set({"distributed.admin.large-graph-warning-threshold": LARGEST}))
        where: Any = scheduler
        if scheduler is None:
            where = undo.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    memory_limit=0,
                    silence_logs=logging.CRITICAL,
                )
            )
        try:
            client = undo.enter_context(Client(where, timeout=SECONDS_TO_CONNECT, set_as_default=False))
        except (OSError, ValueError) as error:
            raise InrError(
                f"there is no Dask scheduler at '{printable(str(scheduler))}'; start one with"
                " `dask scheduler`, or give the address that it prints"
            ) from error
        try:
            client.wait_for_workers(1, SECONDS_TO_WORKERS)
        except TimeoutError as error:
            raise InrError(
                f"the Dask scheduler at {scheduler} has no workers; start some with `dask worker {scheduler}`"
            ) from error
        _check_versions(client)
        if scheduler is None:
            client.register_plugin(_deaf())
        yield Cluster(client, _device(client, device))


class Cluster:
    """Workers that are there. See `core.place.Place`."""

    def __init__(self, client: Any, device: Device) -> None:
        self._client = client
        self.device = device

    def pieces(self, *, fitting: bool = False) -> ClusterPieces:
        """Begin a job; with `fitting`, its pieces compute on the device."""
        return ClusterPieces(self._client, gpu=fitting and self.device != "cpu")


class ClusterPieces:
    """Pieces of one job, on workers. See `core.place.Pieces`."""

    def __init__(self, client: Any, *, gpu: bool) -> None:
        self._client, self._gpu = client, gpu
        self._name = f"inr-{uuid4().hex}"
        self._numbers = count()
        self._stopped = False
        self._at_once, self._counted = 1, 0.0
        self._told: dict[str, Callable[..., None]] = {}  # by piece that is not done
        client.subscribe_topic(self._name, self._hear)

    @property
    def at_once(self) -> int:
        """Threads of the workers, or GPUs, as they were a few seconds ago; 1 while there are none.

        Raises InrError if the connection was lost.
        """
        now = time.monotonic()
        if not self._counted or now - self._counted > SECONDS_PER_COUNT:
            self._counted = now
            try:
                found = sum(_gpus(self._client) if self._gpu else self._client.nthreads().values())
            except (OSError, RuntimeError) as error:
                raise InrError(LOST) from error
            self._at_once = max(int(found), 1)
        return self._at_once

    def submit(
        self, work: Callable[..., R], *arguments: Any, on_told: Callable[..., None] = nobody
    ) -> Future[R]:
        """Begin a piece. Its Future raises InrError if it was lost with too many workers."""
        key = f"{self._name}-{next(self._numbers)}"
        body = pickle.dumps((work, arguments))
        self._told[key] = on_told
        theirs = self._client.submit(
            do_piece,
            self._name,
            key,
            body,
            self._stopped,
            key=key,
            pure=False,
            resources={GPU: 1} if self._gpu else None,
        )
        ours: Future[R] = Future()
        ours.add_done_callback(lambda done: theirs.cancel() if done.cancelled() else None)
        theirs.add_done_callback(partial(self._pass_on, key, ours))
        return ours

    def stop(self) -> None:
        """Tell all pieces, those at work on all workers too, that nobody waits any more."""
        if not self._stopped:
            self._stopped = True
            with suppress(OSError, RuntimeError):  # of a connection that is lost
                self._client.run(end_pieces, self._name, on_error="ignore")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._told:
            self.stop()
        self._client.unsubscribe_topic(self._name)

    def _hear(self, event: tuple[float, tuple[Any, ...]]) -> None:
        _, (key, *words) = event
        self._told.get(key, nobody)(*words)

    def _pass_on(self, key: str, ours: Future[R], theirs: Any) -> None:
        """Give what became of a piece to whoever waits for it here."""
        from distributed import KilledWorker

        self._told.pop(key, None)
        with suppress(InvalidStateError):  # nobody waits any more
            try:
                ours.set_result(theirs.result())
            except KilledWorker as error:
                where = error.last_worker.address
                ours.set_exception(
                    InrError(
                        f"{error.allowed_failures + 1} workers were lost, one after the other, at the same"
                        f" piece of work, the last at {where}; give them more memory, or fewer threads each"
                    )
                )
            except CancelledError:
                ours.set_exception(InrError(LOST))
            except BaseException as error:
                ours.set_exception(error)


def _device(client: Any, asked: Device) -> Device:
    """Return the type of the device that networks are fitted on. Raises InrError if no worker has it."""
    there = sum(_gpus(client)) >= 1
    if asked not in ("auto", "cpu") and not there:
        raise InrError(
            f'no worker says that it has a GPU; start those that do with --resources "{GPU}=1", or fit on the'
            " CPU: --device cpu"
        )
    return "cuda" if there and asked != "cpu" else "cpu"


def _gpus(client: Any) -> list[float]:
    return list(client.run(gpus_of, on_error="ignore").values())


def _check_versions(client: Any) -> None:
    """Raise InrError unless all workers have the versions that are here."""
    for package in SAME:
        here = version(package).partition("+")[0]  # a build for other processors is the same version
        for address, found in client.run(version, package, on_error="return").items():
            there = found.partition("+")[0] if isinstance(found, str) else "none"
            if there != here:
                raise InrError(
                    f"the worker at {address} has {package} {printable(there)}, here is {here}; install the"
                    " same on all machines"
                )


def _deaf() -> Any:
    """Return what lets workers of this machine ignore the Ctrl-C of a terminal, which is meant for us."""
    from distributed import WorkerPlugin

    class Deaf(WorkerPlugin):  # type: ignore[misc]
        def setup(self, worker: Any) -> None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    return Deaf()


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Keep a library from telling in its log what is told here in a line."""
    loggers = [logging.getLogger(each) for each in logging.root.manager.loggerDict if each.startswith(name)]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled


# On a worker

_ends: dict[str, Event] = {}  # by job


def gpus_of(dask_worker: Any) -> float:
    """Return how many GPUs a worker says that it has; Dask gives the worker."""
    found: float = dask_worker.state.total_resources.get(GPU, 0)
    return found


def do_piece(job: str, key: str, body: bytes, stopped: bool) -> Any:
    """Do a piece of work; if it fails, the error says where."""
    from distributed import get_worker

    worker = get_worker()
    gone = _ends.setdefault(job, Event())
    if stopped:
        gone.set()
    try:
        work, arguments = pickle.loads(body)
        return work(*arguments, Caller(gone, lambda *words: worker.log_event(job, (key, *words))))
    except InrError as error:
        error.add_note(f"so says the worker at {worker.address}")
        raise


def end_pieces(job: str) -> None:
    """Tell the pieces of a job that nobody waits any more."""
    _ends.setdefault(job, Event()).set()
