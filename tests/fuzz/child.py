"""Read changed files of some kinds, in processes that may hang, crash or take all memory.

Run by test_fuzz.py, and by hand to see one again: `python tests/fuzz/child.py dicom --first 17 --count 1`.
What is imported is imported once; then each few files are read in a fork, so whatever happens to it is
known to be of the file at hand. Prints one line of JSON for each kind.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

os.environ["OMP_NUM_THREADS"] = "1"  # no threads, which no fork takes along

from kinds import KINDS, Kind

from napari_inr_volume.core.errors import InrError

IN_A_FORK = 25  # files
MOST_MEMORY = 500 * 2**20  # bytes beside the imports
MOST_ADDRESSES = 2 * 2**30  # bytes that may be asked for beside the imports, touched or not
WALL = 300.0  # seconds without a sign of life: hung without computing

CHECKED = "checked"  # outcomes
OURS = "ours"


@dataclass
class Report:
    """What became of the files."""

    checked: int = 0  # read, and right as far as can be told
    ours: int = 0  # refused with an error of ours
    slowest: float = 0.0  # seconds of CPU
    largest: int = 0  # bytes of memory
    failures: list[str] = field(default_factory=list)


class Files:
    """The changed files of a kind: file i is the same for the same seed."""

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.seed, self.kind = name, seed, KINDS[name]
        self.original = self.kind.make()

    def __getitem__(self, index: int) -> bytes:
        return self.kind.change(self.original, Random(f"{self.name} {self.seed} {index}"))


def outcome_of(kind: Kind, data: bytes, folder: Path) -> str:
    """Read a file; return CHECKED, OURS, or what went wrong."""
    path = folder / f"x{kind.suffix}"
    path.write_bytes(data)
    kind.beside(folder)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            kind.read(path)
            outcome = CHECKED
        except InrError as error:
            words = str(error)
            outcome = OURS if words.isprintable() and words else f"a message that does not print: {words!r}"
        except MemoryError:
            outcome = "asked for more memory than it may"
        except Exception:
            outcome = traceback.format_exc()
    return f"warned: {warned[0].message}" if warned and outcome in (CHECKED, OURS) else outcome


def work(files: Files, indices: range, pipe: int, cpu_seconds: float) -> None:
    """Read files, in the fork; tell of each when it begins and when it ends."""
    addresses = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (addresses + MOST_ADDRESSES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    printed = tempfile.TemporaryFile()  # noqa: SIM115  # ends with the process
    os.dup2(printed.fileno(), 1)
    os.dup2(printed.fileno(), 2)
    before = _peak()
    for index in indices:
        data = files[index]
        _tell(pipe, index)
        folder = Path(tempfile.mkdtemp())
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)  # ends the process, in whatever it is
        start = time.process_time()
        outcome = outcome_of(files.kind, data, folder)
        seconds = time.process_time() - start
        signal.setitimer(signal.ITIMER_PROF, 0)
        shutil.rmtree(folder)
        sys.stdout.flush()
        sys.stderr.flush()
        ctypes.CDLL(None).fflush(None)
        memory = _peak() - before
        if memory > MOST_MEMORY:
            outcome = f"took {memory / 2**20:.0f} MB"
        if printed.seek(0, os.SEEK_END):
            printed.seek(0)
            if outcome in (CHECKED, OURS):
                outcome = f"printed: {printed.read(500)!r}"
            printed.truncate(0)
            printed.seek(0)  # which the descriptors share
        _tell(pipe, index, outcome, seconds, memory)
        if memory > MOST_MEMORY:
            return  # the peak says nothing of the files that follow


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _tell(pipe: int, *words: object) -> None:
    os.write(pipe, json.dumps(words).encode() + b"\n")


def run(files: Files, first: int, count: int, cpu_seconds: float, keep: Path) -> Report:
    """Read files `first` to `first + count`, and keep those that failed."""
    report, index = Report(), first
    while index < first + count:
        batch = range(index, min(index + IN_A_FORK, first + count))
        for at, outcome, seconds, memory in _forked(files, batch, cpu_seconds):
            index = at + 1
            report.slowest = max(report.slowest, seconds)
            report.largest = max(report.largest, memory)
            if outcome == CHECKED:
                report.checked += 1
            elif outcome == OURS:
                report.ours += 1
            else:
                path = keep / f"{files.name}-{files.seed}-{at}-x{files.kind.suffix}"
                path.write_bytes(files[at])
                options = f"{files.name} --seed {files.seed} --first {at} --count 1"
                again = f"python tests/fuzz/child.py {options}"
                report.failures.append(f"{path} ({again}): {outcome}")
    return report


def _forked(files: Files, indices: range, cpu_seconds: float) -> Iterator[tuple[int, str, float, int]]:
    """Yield (index, outcome, seconds, bytes) of the files that a fork comes to; the last may end it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            work(files, indices, writer, cpu_seconds)
        finally:
            os._exit(0)
    os.close(writer)
    at_hand, ended, hung = indices.start, False, False
    with os.fdopen(reader, "rb") as lines:
        while True:
            ready, _, _ = select.select([lines], [], [], WALL)
            if not ready:
                os.kill(child, signal.SIGKILL)
                hung = True
                break
            line = lines.readline()
            if not line:
                break
            at_hand, *rest = json.loads(line)
            ended = bool(rest)
            if rest:
                outcome, seconds, memory = rest
                yield at_hand, outcome, seconds, memory
    _, status = os.waitpid(child, 0)
    if hung:
        yield at_hand, f"hung for {WALL:.0f} s", 0.0, 0
    elif os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF:
        yield at_hand, f"took more than {cpu_seconds:g} s of CPU", cpu_seconds, 0
    elif os.WIFSIGNALED(status):
        yield at_hand, f"ended by {signal.Signals(os.WTERMSIG(status)).name}", 0.0, 0
    elif not ended:
        yield at_hand, "ended the process", 0.0, 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="+", choices=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--cpu-seconds", type=float, default=2.0, help="a file may take")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()), help="for files that fail")
    asked = parser.parse_args()
    for name in asked.kinds:
        files = Files(name, asked.seed)
        with tempfile.TemporaryDirectory() as folder:  # also loads and compiles what all of them need
            outcome = outcome_of(files.kind, files.original, Path(folder))
        if outcome != CHECKED:
            raise SystemExit(f"{name}, unchanged: {outcome}")
        report = run(files, asked.first, asked.count, asked.cpu_seconds, asked.keep)
        print(json.dumps({"kind": name, **asdict(report)}), flush=True)


if __name__ == "__main__":
    main()
