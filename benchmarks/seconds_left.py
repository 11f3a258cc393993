"""How well a fit knows what is left of it: the seconds that it reports, and those that it then takes.

    python benchmarks/seconds_left.py SOURCE... [--preset default] [--steps 1500] [--json OUT]

Each source is fitted with a network, and with four boxes. Prints a table for docs/benchmarks/machines.md.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_inr_volume.codec import fit_volume
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.base import FitProgress
from napari_inr_volume.fields.registry import find_preset
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.io.sources import read_source

from report import machine, table, write_json, write_section

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)  # of the steps, after which it is asked
BOXES = 4


def main() -> None:
    """Fit, print the table, and put it into docs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=Path, nargs="+")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--steps", type=int, default=1_500)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    preset = find_preset(arguments.preset)
    one = replace(preset, fit=preset.fit.with_all_steps(arguments.steps))
    figures = []
    for source in arguments.source:
        volume = read_source(source)
        for boxes in (1, BOXES):
            settings = replace(one, field=replace(one.field, boxes=boxes))
            figures.append({"volume": source.name.split(".")[0], "boxes": boxes} | measure(volume, settings))
            print(figures[-1], flush=True)
    text = as_text(figures, arguments.steps)
    print(text)
    write_section("seconds-left", text)
    write_json(arguments.json, {"machine": machine(), "figures": figures})


def measure(volume: Volume, settings: Settings) -> dict[str, Any]:
    """Return what was told and what was true, in seconds, at each share of the steps."""
    told: dict[float, tuple[float, float]] = {}  # when, and what
    waiting = list(SHARES)
    for record in fit_volume(volume, settings, device="cpu"):
        if not isinstance(record, FitProgress) or record.seconds_left is None:
            continue
        if waiting and record.step >= waiting[0] * record.steps:
            told[waiting.pop(0)] = time.perf_counter(), record.seconds_left
    end = time.perf_counter()
    return {"told": {share: (left, end - at) for share, (at, left) in told.items()}}


def as_text(figures: list[dict[str, Any]], steps: int) -> str:
    """Return a line for each fit."""
    rows = []
    for found in figures:
        cells = [
            f"{told:.0f} of {true:.0f} s ({told / true - 1:+.0%})" for told, true in found["told"].values()
        ]
        network = "a network" if found["boxes"] == 1 else f"{found['boxes']} boxes"
        rows.append([f"{found['volume']}, {network}", *cells])
    header = ["fit", *(f"at {share:.0%}" for share in SHARES)]
    return (
        f"Preset `default`, {steps:,} steps: seconds left as reported and as it took, after a share of"
        f" the steps. {machine()}.\n\n{table(header, rows)}"
    )


if __name__ == "__main__":
    main()
