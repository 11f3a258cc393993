"""What coding costs: bytes and LR PSNR of weights rounded more and more coarsely; time; damage.

    python benchmarks/coding.py SOURCE... [--preset default] [--json OUT]

Every source is fitted once for each number of bits per weight, with the steps of the preset, tuning included;
what is lost is told against the same fit without tuning, coded at 16 bits. Then a file is decoded, and
changed at random a thousand times: each must end in an error of ours.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_inr_volume.codec import encode, fit_volume
from napari_inr_volume.coding.weights import QUANTISED, decode_weights
from napari_inr_volume.core.errors import InrFileError
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.base import FitResult
from napari_inr_volume.fields.registry import find_preset
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.io.inr_file import from_bytes, to_bytes
from napari_inr_volume.io.sources import read_source
from napari_inr_volume.superres.upscale import LanczosUpscaler

from report import machine, table, write_json, write_section

BITS = (6.4, 5.12, 4.5, 4.0, 3.0)  # a weight, all in all; 0.2 and 0.16 of float32 are 6.4 and 5.12
MUTATIONS = 1_000


def main() -> None:
    """Fit, print the tables, and put them into docs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=Path, nargs="+")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    settings = find_preset(arguments.preset)
    figures = [measure(source, settings) for source in arguments.source]
    text = as_text(figures, settings)
    print(text)
    write_section("coding", text)
    write_json(arguments.json, {"machine": machine(), "preset": arguments.preset, "volumes": figures})


def measure(source: Path, settings: Settings) -> dict[str, Any]:
    """Return the figures of one source."""
    volume = read_source(source)
    untuned = replace(settings.fit, steps=settings.fit.all_steps, tuning_steps=0, weight_bits=16.0)
    best = fitted(volume, replace(settings, fit=untuned))
    rows = []
    for bits in BITS:
        for tuned in (False, True):
            fit = replace(settings.fit if tuned else untuned, weight_bits=bits)
            result = fitted(volume, replace(settings, fit=fit))
            rows.append({"bits": bits, "tuned": tuned, "bytes": len(result.payload), "psnr": result.psnr})
    data = to_bytes(encode(volume, settings, result, LanczosUpscaler(settings.factor[1:])))
    return {
        "volume": source.stem,
        "psnr": best.psnr,
        "parameters": settings.field.parameters,
        "rows": rows,
        "decode_milliseconds": decode_time(result, settings),
        "mutations": mutate(data),
    }


def fitted(volume: Volume, settings: Settings) -> FitResult:
    """Fit to the end."""
    steps = fit_volume(volume, settings, device="cpu")
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def decode_time(result: FitResult, settings: Settings) -> float:
    """Return the median milliseconds in which the payload becomes weights."""
    seconds = []
    for _ in range(9):
        started = time.perf_counter()
        decode_weights(result.payload, settings.field.layouts, QUANTISED)
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)


def mutate(data: bytes) -> dict[str, float]:
    """Change a file in 1 to 8 bytes, cut or lengthen it; say what became of reading it."""
    random = np.random.default_rng(0)
    refused, slowest, most = 0, 0.0, 0
    for _ in range(MUTATIONS):
        changed = bytearray(data)
        for _ in range(random.integers(1, 9)):
            changed[random.integers(len(changed))] ^= int(random.integers(1, 256))
        if random.random() < 0.2:
            changed = changed[: random.integers(len(changed))]
        tracemalloc.start()
        started = time.perf_counter()
        try:
            from_bytes(bytes(changed))
        except InrFileError:
            refused += 1
        slowest = max(slowest, time.perf_counter() - started)
        most = max(most, tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return {"refused": refused, "slowest_milliseconds": 1000 * slowest, "most_megabytes": most / 1e6}


def as_text(figures: list[dict[str, Any]], settings: Settings) -> str:
    """Return the tables."""
    rows = []
    for volume in figures:
        for row in volume["rows"]:
            share = row["bytes"] / (4 * volume["parameters"])
            rows.append(
                [
                    volume["volume"],
                    f"{8 * row['bytes'] / volume['parameters']:.2f}",
                    f"{row['bytes'] / 1000:.1f} kB",
                    f"{share:.3f}",
                    "yes" if row["tuned"] else "no",
                    f"{row['psnr']:.2f} dB",
                    f"{row['psnr'] - volume['psnr']:+.2f} dB",
                ]
            )
    header = ["volume", "bits per weight", "weights", "of float32", "tuned", "LR PSNR (range)", "lost"]
    damage = "; ".join(
        f"{volume['volume']}: {found['refused']:,.0f} of {MUTATIONS:,} changed files refused, each within"
        f" {found['slowest_milliseconds']:.1f} ms and {found['most_megabytes']:.1f} MB; weights decode in"
        f" {volume['decode_milliseconds']:.0f} ms"
        for volume in figures
        for found in [volume["mutations"]]
    )
    steps = f"{settings.fit.all_steps:,} steps, of which {settings.fit.tuning_steps:,} are the tuning"
    return (
        f"Preset `{settings.preset}`: {settings.field.parameters:,} parameters, {steps}; seed 0. Lost:"
        " against the same steps without tuning, at 16 bits."
        f" {machine()}.\n\n{table(header, rows)}\n\n{damage}."
    )


if __name__ == "__main__":
    main()
