"""What the exact layer takes, losslessly and to within a bound, beside codecs that keep the same bound.

    python benchmarks/exact.py SOURCE... [--errors 0 2 5] [--json OUT]

Whole volumes, bytes as they would lie on disk without the preview: slabs, networks and head of ours; of the
others one file a slice. JPEG-LS is near-lossless at the same bound. JPEG XL (effort 7) and JPEG 2000
(reversible) are lossless codecs, so they code the values divided into steps of 2 k + 1, as ours are. Every
file of ours is decoded and held against the source, voxel by voxel.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from napari_inr_volume import Volume, load
from napari_inr_volume.core.generators import drain
from napari_inr_volume.exact.decode import ExactSlices
from napari_inr_volume.exact.encode import encode_exact

from report import machine, table, write_json, write_section

OURS = "exact layer"


def main() -> None:
    """Measure every source at every bound, print the table, and put it into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, nargs="+")
    parser.add_argument("--errors", type=int, nargs="+", default=[0, 2, 5])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = [
        measure(load(source), source.name.partition(".")[0], error)
        for source in arguments.source
        for error in arguments.errors
    ]
    text = as_text(figures)
    print(text)
    write_section("exact", text)
    write_json(arguments.json, {"machine": machine(), "volumes": figures})


def measure(volume: Volume, name: str, error: int) -> dict[str, Any]:
    """Return bits a voxel of every codec, and ours in seconds."""
    started = time.perf_counter()
    layer = drain(encode_exact(volume, error))
    encoded = time.perf_counter()
    slices = ExactSlices(layer, volume.shape, volume.dtype, volume.padding)
    off = max(
        int(np.abs(plane.astype(np.int64) - volume.plane(z).astype(np.int64)).max())
        for z, plane in slices.all()
    )
    decoded = time.perf_counter()
    assert off <= error, f"off by {off} where {error} is allowed"
    print(f"{name}, within {error}: {8 * layer.nbytes / volume.voxels.size:.3f} bits", flush=True)
    low = int(volume.voxels.min())
    whole = (volume.voxels.astype(np.int64) - low).astype(np.uint16)
    steps = ((whole.astype(np.int64) + error) // (2 * error + 1)).astype(np.uint16)
    voxels = volume.voxels.size
    return {
        "volume": name,
        "error": error,
        "found": off,
        "encode_seconds": encoded - started,
        "decode_seconds": decoded - encoded,
        "bits": {
            OURS: 8 * layer.nbytes / voxels,
            "JPEG-LS": _bits(whole, lambda plane: imagecodecs.jpegls_encode(plane, level=error)),
            "JPEG 2000": _bits(
                steps, lambda plane: imagecodecs.jpeg2k_encode(plane, reversible=True, codecformat="J2K")
            ),
            "JPEG XL e7": _bits(
                steps, lambda plane: imagecodecs.jpegxl_encode(plane, lossless=True, effort=7)
            ),
        },
    }


def _bits(voxels: NDArray[np.uint16], encode: Callable[[NDArray[np.uint16]], bytes]) -> float:
    return 8 * sum(len(encode(plane)) for plane in voxels) / voxels.size


def as_text(figures: list[dict[str, Any]]) -> str:
    """Return the table."""
    codecs = list(figures[0]["bits"])
    rows = []
    for each in figures:
        best = min(bits for codec, bits in each["bits"].items() if codec != OURS)
        rows.append(
            [
                each["volume"],
                "lossless" if each["error"] == 0 else f"within {each['error']}",
                *(f"{each['bits'][codec]:.3f}" for codec in codecs),
                f"{100 * (each['bits'][OURS] / best - 1):+.1f} %",
                f"{each['encode_seconds']:.0f} s / {each['decode_seconds']:.0f} s",
            ]
        )
    head = ["volume", "bound", *codecs, "ours against the best of the others", "ours: encode / decode"]
    caption = (
        "Bits a voxel, whole volumes, the preview left out. The bound is in the volume's units; what lies"
        f" outside the scan circle counts like any voxel. {machine()}."
    )
    return f"{caption}\n\n{table(head, rows)}"


if __name__ == "__main__":
    main()
