"""Time and memory of reading, resampling and decoding at three sizes: they grow as the voxels do.

    python benchmarks/scaling.py [--json OUT]

Each size runs in a process of its own, five times over; medians count. Data: the head phantom as DICOM.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_inr_volume.codec import decompress, encode, lanczos_lr
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.inr.config import PRESETS
from napari_inr_volume.inr.fit import FitResult
from napari_inr_volume.inr.siren import Siren
from napari_inr_volume.io.dicom import read_dicom
from napari_inr_volume.io.dicom_export import write_dicom_series
from napari_inr_volume.superres.upscale import LanczosUpscaler

from report import machine, table, write_json, write_section

SLICES = (32, 64, 128)  # of 256 x 256 voxels
REPEATS = 5
STAGES = ("read", "resample", "decode")


def main() -> None:
    """Run every size, print the table, and put it into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--series", type=Path, help=argparse.SUPPRESS)  # one size, in a process of its own
    arguments = parser.parse_args()
    if arguments.series:
        print(json.dumps(measure(arguments.series)))
        return
    figures = []
    for slices in SLICES:
        with tempfile.TemporaryDirectory() as folder:
            write_dicom_series(head_phantom((slices, 256, 256)), Path(folder))
            runs = [run_alone(Path(folder)) for _ in range(REPEATS)]
        figures.append(
            {"slices": slices, "voxels": slices * 256 * 256}
            | {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        )
    text = as_text(figures)
    print(text)
    write_section("scaling", text)
    write_json(arguments.json, {"machine": machine(), "sizes": figures})


def run_alone(series: Path) -> dict[str, float]:
    """Measure one size in a process of its own, with its own peak memory, on one thread."""
    command = [sys.executable, __file__, "--series", str(series)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    return json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True, env=one_thread).stdout
    )


def measure(series: Path) -> dict[str, float]:
    """Return the seconds of each stage, and by how many MB the process grew at its peak."""
    before = peak_memory()
    figures: dict[str, float] = {}
    settings = PRESETS["default"]
    volume = timed("read", figures, lambda: read_dicom(series))
    timed("resample", figures, lambda: lanczos_lr(volume, settings.factor))
    fresh = FitResult(siren=Siren(settings.siren), steps=1, psnr=0.0, seconds=0.0, stopped=False)
    upscaler = LanczosUpscaler(settings.factor[1:])
    inr = encode(volume, settings, fresh, upscaler)
    timed("decode", figures, lambda: decompress(inr, upscaler=upscaler, device="cpu"))
    return figures | {"megabytes": peak_memory() - before}


def timed(name: str, figures: dict[str, float], work: Callable[[], Any]) -> Any:
    """Do the work and note its seconds."""
    started = time.perf_counter()
    result = work()
    figures[name] = time.perf_counter() - started
    return result


def peak_memory() -> float:
    """Return the most memory this process ever held, in MB (1e6 bytes)."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux counts the parent's memory in getrusage
        kibibytes = next(
            line for line in status.read_text().splitlines() if line.startswith("VmHWM")
        ).split()[1]
        return int(kibibytes) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS: bytes


def as_text(figures: list[dict[str, float]]) -> str:
    """Return the table, each figure with its ratio to that of the smallest size."""
    first = figures[0]
    rows = [
        [
            f"{size['slices']} x 256 x 256",
            f"{size['voxels'] / first['voxels']:.1f}",
            *(f"{size[stage]:.2f} s ({size[stage] / first[stage]:.1f})" for stage in STAGES),
            f"{size['megabytes']:.0f} MB ({size['megabytes'] / first['megabytes']:.1f})",
        ]
        for size in figures
    ]
    header = ["volume", "voxels, ratio", "read DICOM", "Lanczos x4 in plane", "decode, Lanczos", "memory"]
    return (
        f"Head phantom; one thread; medians of {REPEATS}; in brackets the ratio to the smallest size. Memory"
        f" is what the process grew by at its peak. {machine()}.\n\n{table(header, rows)}"
    )


if __name__ == "__main__":
    main()
