"""How far decodes and fits differ between numbers of threads and kinds of processor, on one machine.

    python benchmarks/determinism.py [SOURCE ...] [--steps 500] [--json OUT]

Each SOURCE (by default the head phantom) is fitted with the preset `default` cut to --steps, and decoded in
processes of their own: with one thread and with two, and with kernels for processors without AVX-512. What is
simulated is the instructions, in torch, oneDNN and Numba alike; another make of processor may differ more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from napari_inr_volume.core.phantom import head_phantom

from report import machine, table, write_json, write_section

WAYS = {
    "as it is, 1 thread": {"OMP_NUM_THREADS": "1"},
    "as it is, 2 threads": {"OMP_NUM_THREADS": "2"},
    "AVX2": {
        "OMP_NUM_THREADS": "1",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma",
    },
    "no AVX": {
        "OMP_NUM_THREADS": "1",
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "NUMBA_CPU_NAME": "nehalem",
        "NUMBA_CPU_FEATURES": "",
    },
}


def main() -> None:
    """Fit and decode every way, print the table, and put it into docs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", type=Path, nargs="*")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows, figures = [], []
    with TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "phantom.npy", head_phantom().voxels)
        for source in arguments.sources or [folder / "phantom.npy"]:
            for way in WAYS:
                fitted = folder / f"{way}.inr"
                command(way, folder, "compress", source, fitted, "--steps", arguments.steps, "--force")
                command(way, folder, "decompress", folder / f"{next(iter(WAYS))}.inr", folder / f"{way}.npy")
                row = compare(folder, way)
                figures.append({"volume": source.stem, "way": way, **row})
                rows.append(
                    [
                        source.stem,
                        way,
                        "same bytes" if row["same_bytes"] else "other bytes",
                        f"{row['largest']:g}",
                        f"{100 * row['share']:.4f} %",
                    ]
                )
                (folder / f"{way}.npy").unlink() if way != next(iter(WAYS)) else None
            (folder / f"{next(iter(WAYS))}.npy").unlink()
    text = f"Preset `default`, {arguments.steps} steps, seed 0. {machine()}.\n\n" + table(
        ["volume", "kernels", "a fit's file", "a decode: largest difference (HU)", "voxels that differ"], rows
    )
    print(text)
    write_section("determinism", text)
    write_json(arguments.json, figures)


def command(way: str, folder: Path, *arguments: object) -> None:
    """Run `inr-volume` one way, with kernels compiled for it."""
    cache = folder / "numba" / way
    subprocess.run(
        [sys.executable, "-c", "from napari_inr_volume.cli import main; main()", *map(str, arguments)],
        env=os.environ | WAYS[way] | {"NUMBA_CACHE_DIR": str(cache)},
        check=True,
        capture_output=True,
    )


def compare(folder: Path, way: str) -> dict[str, float | bool]:
    """Hold a way's fit and decode against those of the first."""
    first = next(iter(WAYS))
    voxels, other = (np.load(folder / f"{name}.npy").astype(np.float64) for name in (first, way))
    difference = np.abs(voxels - other)
    return {
        "same_bytes": (folder / f"{first}.inr").read_bytes() == (folder / f"{way}.inr").read_bytes(),
        "largest": float(difference.max()),
        "share": float(np.mean(difference > 0)),
    }


if __name__ == "__main__":
    main()
