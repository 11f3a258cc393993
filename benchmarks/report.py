"""What the benchmarks share: how figures are taken, and where they go (docs, a JSON file)."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from napari_inr_volume.core.atomic import atomic_write
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.io.sources import read_source

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
DETAILS = DOCUMENT.with_suffix("")  # the folder with all else


def machine() -> str:
    """Return processor, cores and torch, as a table's caption names them."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        name = re.search(r"model name\s*: (.*)", cpuinfo.read_text(encoding="utf-8")).group(1)
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, torch {torch.__version__}"


def volume_of(source: Path) -> Volume:
    """Return the volume of a source; `phantom` stands for the sample of the plugin."""
    return head_phantom() if source == Path("phantom") else read_source(source)


def peak_memory(of: Literal["self", "children"] = "self") -> float:
    """Return the most memory that this process, or any of its ended children, ever held, in MB (1e6)."""
    status = Path("/proc/self/status")
    if of == "self" and status.is_file():  # Linux counts the parent's memory in getrusage
        kibibytes = next(
            line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM")
        )
        return int(kibibytes.split()[1]) * 1024 / 1e6
    import resource  # not on Windows

    usage = resource.getrusage(resource.RUSAGE_SELF if of == "self" else resource.RUSAGE_CHILDREN)
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def forget_peak() -> None:
    """Let `peak_memory` start again from what this process holds now, where the system can (Linux)."""
    marks = Path("/proc/self/clear_refs")
    if marks.is_file():
        marks.write_text("5", encoding="ascii")


def in_turns(work: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, dict[str, float]]:
    """Do each piece of work once untimed and then `repeats` times, in turns, so that noise meets all alike.

    Returns medians in seconds: `wall`, and `cpu` of all threads of this process.
    """
    for piece in work.values():
        piece()  # compiles, or makes workspaces
    found: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in work}
    for _ in range(repeats):
        for name, piece in work.items():
            wall, cpu = time.perf_counter(), time.process_time()
            piece()
            found[name]["wall"].append(time.perf_counter() - wall)
            found[name]["cpu"].append(time.process_time() - cpu)
    return {
        name: {clock: statistics.median(seconds) for clock, seconds in clocks.items()}
        for name, clocks in found.items()
    }


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def write_section(name: str, text: str, path: Path | None = None) -> None:
    """Put `text` between the section's markers: in `path`, or in the benchmarks' document that has them."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if path is None:
        candidates = (DOCUMENT, *DETAILS.glob("*.md"))
        (path,) = (one for one in candidates if begin in one.read_text(encoding="utf-8"))
    document = path.read_text(encoding="utf-8")
    before, rest = document.split(begin)
    after = rest.split(end)[1]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8", newline="\n")


def write_json(path: Path | None, figures: Any) -> None:
    """Write the same figures as JSON, if asked for."""
    if path is not None:
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8", newline="\n")
