"""How the command shows itself: progress on standard error, results on standard output, Ctrl-C."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

out = Console(soft_wrap=True)
err = Console(stderr=True)


@contextmanager
def slices_bar(words: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar over slices."""
    with progress_bar() as progress:
        task = progress.add_task(words, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def spinner(words: str) -> Iterator[None]:
    """Show a sign of life where nobody knows how much is left."""
    with progress_bar() as progress:
        progress.add_task(words, total=None)
        yield


def progress_bar(*more: TextColumn) -> Progress:
    """Return bars with count, share and time left, on a terminal only; they go when they are done."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        *more,
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )


@contextmanager
def interruptible() -> Iterator[Event]:
    """Yield an event that the first Ctrl-C sets; the second one interrupts as usual."""
    stop = Event()

    def on_interrupt(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def print_rows(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and values in two columns, however long the values are."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


def print_json(report: dict[str, Any]) -> None:
    """Print one JSON object; what JSON has no number for (infinity, NaN) is null."""
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in report.items()
    }
    print(json.dumps(finite, allow_nan=False))


def flat(declared: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted name, value) for every leaf."""
    for name, value in declared.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for item in value:
                yield f"{prefix}{name}", ", ".join(f"{key} {entry}" for key, entry in item.items())
        else:
            yield prefix + name, "-" if value is None else str(value)


def decibels(value: float) -> str:
    """Return a PSNR in words."""
    return f"{value:.2f} dB"


def size(count: int) -> str:
    """Return a number of bytes in words."""
    return f"{count / 1000:,.1f} kB" if count < 1_000_000 else f"{count / 1e6:,.1f} MB"


def ratio(value: float) -> str:
    """Return a compression ratio in words."""
    return f"{value:,.0f}:1" if value >= 10 else f"{value:.1f}:1"
