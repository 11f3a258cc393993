"""How the command shows itself: progress on standard error, results on standard output, Ctrl-C."""

from __future__ import annotations

import json
import math
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOBase
from threading import Event
from typing import IO, Any, TextIO, cast

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from .core.errors import InrError
from .core.text import printable

SIGNALS = tuple(  # what ends a run: Ctrl-C, a system that shuts down, a terminal that is closed
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Interrupted(BaseException):
    """A signal asks the command to end; `signal` is its number. Notes say what was kept.

    Not a KeyboardInterrupt, of which typer makes an exit without a word.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(f"signal {signal}")
        self.signal = signal

    @property
    def exit_code(self) -> int:
        """As a shell counts: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
        return 128 + self.signal


class Stop(Event):
    """An event that the first signal sets."""

    signal: int = signal.SIGINT  # its number
    at_once: bool = False  # whether a signal interrupts instead, as there is nothing to be ended well


class _StandardError(TextIOBase):
    """Standard error as it is when something is written; a closed terminal never ends the work."""

    encoding = "utf-8"

    @property
    def stream(self) -> TextIO:
        # While it shows a progress bar, rich puts a proxy that prints to this console in its place.
        return getattr(sys.stderr, "rich_proxied_file", sys.stderr)

    def write(self, text: str) -> int:
        with suppress(OSError):
            return self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()


# Text from files is never markup.
out = Console(soft_wrap=True, markup=False, highlight=False, emoji=False)
err = Console(file=cast(IO[str], _StandardError()), markup=False, highlight=False, emoji=False)


def say(words: str, style: str | None = None) -> None:
    """Show one line on standard error."""
    err.print(printable(words), style=style, soft_wrap=True)


def tell(words: str) -> None:
    """Show one line of the result on standard output."""
    out.print(printable(words))


class _Words(TextColumn):
    """A column of words as they stand."""

    def render(self, task: Task) -> Text:
        return Text(printable(self.text_format.format(task=task)))


@contextmanager
def slices_bar(words: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar over slices."""
    with progress_bar() as progress:
        task = progress.add_task(words, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def spinner(words: str) -> Iterator[None]:
    """Show a spinner where it is not known how much is left."""
    with progress_bar() as progress:
        progress.add_task(words, total=None)
        yield


def progress_bar(*more: str) -> Progress:
    """Return bars with count, share and time left, on a terminal only; they go when they are done.

    `more` are fields of a task that are shown behind these.
    """
    return Progress(
        SpinnerColumn(),
        _Words("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        *(_Words(f"{{task.fields[{name}]}}") for name in more),
        console=err,
        transient=True,
        disable=not err.is_terminal,
    )


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Have signals raise Interrupted; those that the caller has switched off, as nohup does, stay so."""

    def interrupt(number: int, _: object) -> None:
        raise Interrupted(number)

    with _handling(interrupt):
        yield


@contextmanager
def interruptible(stop: Stop | None = None) -> Iterator[Stop]:
    """Yield an event, the given one or a new one, that the first signal sets; a second Ctrl-C interrupts.

    An error of ours on the way out of work that was stopped so is an interruption.
    """
    stop = stop or Stop()

    def on_signal(number: int, _: object) -> None:
        again = stop.is_set() and number == signal.SIGINT  # a terminal that closes sends SIGHUP twice
        if stop.at_once or again:
            raise Interrupted(number)
        stop.signal = number
        stop.set()

    with _handling(on_signal):
        try:
            yield stop
        except InrError as error:
            if not stop.is_set():
                raise
            interrupted = Interrupted(stop.signal)
            interrupted.add_note(str(error))
            raise interrupted from error


@contextmanager
def _handling(handler: Callable[[int, Any], None]) -> Iterator[None]:
    ignored = {number for number in SIGNALS if signal.getsignal(number) == signal.SIG_IGN}
    before = {number: signal.signal(number, handler) for number in SIGNALS if number not in ignored}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def print_rows(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and values in two columns, however long the values are."""
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {printable(value)}")


def print_json(report: dict[str, Any]) -> None:
    """Print one JSON object; what JSON has no number for (infinity, NaN) is null."""
    print(json.dumps(_finite(report), allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
