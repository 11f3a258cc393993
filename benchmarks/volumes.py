"""What a preset makes of whole volumes, from source to `.inr` and back, by the command line.

    python benchmarks/volumes.py SOURCE... [--preset default] [--json OUT]

Each source goes through `inr-volume compress` and `inr-volume compare`, each a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from report import machine, peak_memory, table, write_json, write_section

COMMAND = [sys.executable, "-c", "from napari_inr_volume.cli import main; main()"]


def main() -> None:
    """Run every source, print the table, and put it into docs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, nargs="+")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = [measure(source, arguments.preset) for source in arguments.source]
    text = as_text(figures, arguments.preset)
    print(text)
    write_section("volumes", text)
    write_json(arguments.json, {"machine": machine(), "preset": arguments.preset, "volumes": figures})


def measure(source: Path, preset: str) -> dict[str, Any]:
    """Compress a source and compare the result with it; returns the figures that the command prints."""
    with tempfile.TemporaryDirectory() as folder:
        inr = Path(folder) / "volume.inr"
        compressed = run("compress", source, inr, "--preset", preset, "--device", "cpu")
        compared = run("compare", source, inr, "--device", "cpu")
        shape = run("info", inr)["hr"]["shape"]
    times = {"compress_seconds": compressed["seconds"], "fit_seconds": compressed["fit_seconds"]}
    memory = {"peak_megabytes": peak_memory("children")}
    return {"volume": source.stem, "shape": shape} | memory | compared | times


def run(*arguments: str | Path) -> dict[str, Any]:
    """Run the command with --json and return the object."""
    output = subprocess.run([*COMMAND, *arguments, "--json"], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(output.stdout)


def as_text(figures: list[dict[str, Any]], preset: str) -> str:
    """Return the table."""
    rows = [
        [
            f"{volume['volume']}, {' x '.join(map(str, volume['shape']))}",
            f"{volume['file_bytes'] / 1000:.1f} kB, {volume['ratio']:.0f}:1",
            f"{volume['peak']:,.0f} {volume['units']}",
            f"{volume['lr_psnr']:.2f} dB",
            f"{volume['lanczos_psnr']:.2f} dB",
            f"{volume['hr_psnr']:.2f} dB ({volume['upscaler']})",
            f"{volume['hr_psnr_8bit']:.2f} dB",
            f"{volume['ssim']:.3f}",
            f"{volume['hu_rmse']:.0f} / {volume['hu_p99']:.0f} / {volume['hu_max']:.0f}",
            f"{volume['fit_seconds']:.0f} s",
            f"{volume['compress_seconds'] + volume['seconds']:.0f} s",
        ]
        for volume in figures
    ]
    header = [
        *("volume", "file", "peak (intensity range)", "LR PSNR (range)"),
        *("Lanczos alone, PSNR (range)", "HR PSNR (range)"),
        *("HR PSNR (8 bit, window full)", "SSIM", "error: RMSE / P99 / max", "fit", "compress + compare"),
    ]
    memory = max(volume["peak_megabytes"] for volume in figures) / 1000
    return (
        f"Preset `{preset}`, seed 0, on the CPU; most memory held by any process: {memory:.2f} GB."
        f" {machine()}.\n\n{table(header, rows)}"
    )


if __name__ == "__main__":
    main()
