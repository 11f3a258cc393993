"""Where the benchmarks' figures go: a named section of docs/benchmarks.md, and a JSON file."""

from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def machine() -> str:
    """Return processor, cores and torch, as a table's caption names them."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        name = re.search(r"model name\s*: (.*)", cpuinfo.read_text()).group(1)
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, torch {torch.__version__}"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def write_section(name: str, text: str, path: Path = DOCUMENT) -> None:
    """Put `text` between the section's two markers in a document, docs/benchmarks.md by default."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    document = path.read_text()
    before, rest = document.split(begin)
    after = rest.split(end)[1]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def write_json(path: Path | None, figures: Any) -> None:
    """Write the same figures as JSON, if asked for."""
    if path is not None:
        path.write_text(json.dumps(figures, indent=2) + "\n")
