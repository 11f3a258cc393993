"""What the shipped super-resolution networks gain over Lanczos, and what they cost.

    python benchmarks/superres.py SOURCE... [--factor 4] [--json OUT]

Clean: the Lanczos LR (x4 in the plane, or x2) of each volume, restored. Decoded: the real way, a fit by the
preset `default` with that factor, saved as `.inr`, read again, restored. Each network makes one slice of
512 x 512, again and again, in a process of its own for the memory. Writes into docs/models.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_inr_volume import compress
from napari_inr_volume.core.lowres import low_res
from napari_inr_volume.core.metrics import psnr
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.registry import PRESETS
from napari_inr_volume.io.inr_file import read_inr, write_inr
from napari_inr_volume.io.sources import read_source
from napari_inr_volume.measuring import measure
from napari_inr_volume.reader import Reader
from napari_inr_volume.superres.factors import FACTORS
from napari_inr_volume.superres.model_file import available_models
from napari_inr_volume.superres.upscale import Upscaler, find_upscaler

from report import in_turns, machine, peak_memory, table, write_json, write_section

CARD = Path(__file__).parents[1] / "docs" / "models.md"
REPEATS = 7


def main() -> None:
    """Restore every volume both ways, time one slice, print the tables, and put them into docs/models.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, nargs="+")
    parser.add_argument("--factor", type=int, choices=FACTORS, default=4)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    factor = arguments.factor
    cost = {name: cost_of(name, factor) for name in ("lanczos", *available_models(factor))}
    gains = []
    for source in arguments.source:
        print(source.name, file=sys.stderr)
        gains.append(gain_on(source.name.split(".")[0], read_source(source), factor))
    for name, text in ((f"gains-x{factor}", gains_text(gains)), (f"cost-x{factor}", cost_text(cost, factor))):
        print(text, end="\n\n")
        write_section(name, text, CARD)
    write_json(arguments.json, {"machine": machine(), "factor": factor, "gains": gains, "cost": cost})


def gain_on(name: str, volume: Volume, factor: int) -> dict[str, Any]:
    """Return PSNR (range) in dB of every upscaler, from clean LR and from a fit, over the whole volume."""
    settings = replace(PRESETS["default"], factor=(1.0, float(factor), float(factor)))
    names = ("lanczos", *available_models(factor))
    upscalers = {name: find_upscaler(name, settings.factor[1:]) for name in names}
    lr = low_res(volume, settings.factor).voxels
    clean = {name: clean_psnr(volume, lr, upscaler) for name, upscaler in upscalers.items()}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.inr"
        write_inr(compress(volume, settings, upscaler="lanczos"), path)
        inr = read_inr(path)
    seconds = time.perf_counter() - started
    decoded = {}
    for upscaler in upscalers.values():
        measured = measure(volume, Reader(inr, upscaler))
        decoded[upscaler.name] = measured.reconstruction.psnr
    low, high = volume.intensity_range
    return {
        "volume": name,
        "shape": volume.shape,
        "peak": high - low,
        "clean": clean,
        "decoded": decoded,
        "decoded_lr": measured.lr_psnr,
        "seconds": seconds,
    }


def clean_psnr(volume: Volume, lr: NDArray[np.float32], upscaler: Upscaler) -> float:
    """PSNR (range) in dB of the volume's own Lanczos LR, restored; padding counts in no figure."""
    low, high = volume.intensity_range
    total, count = 0.0, 0
    for z, plane in enumerate(lr):
        restored = upscaler((plane[np.newaxis] - low) / (high - low), volume.shape[1:])[0]
        error = (np.clip(restored, 0, 1) * (high - low) + low) - volume.voxels[z]
        measured = volume.measured(z)
        error = error if measured is None else error[measured]
        total += float(np.square(error, dtype=np.float64).sum())
        count += error.size
    return psnr(total / count, high - low)


def cost_of(name: str, factor: int) -> dict[str, float]:
    """Return the seconds of one slice and the MB of a process of its own that makes it."""
    with ProcessPoolExecutor(1, get_context("spawn")) as alone:
        return alone.submit(one_slice, name, factor).result()


def one_slice(name: str, factor: int) -> dict[str, float]:
    """Return the median seconds of one slice of 512 x 512, and the most MB this process held."""
    upscaler = find_upscaler(name, (factor, factor))
    lr = np.random.default_rng(0).random((1, 512 // factor, 512 // factor), dtype=np.float32)
    seconds = in_turns({name: lambda: upscaler(lr, (512, 512))}, REPEATS)[name]["wall"]
    return {"seconds": seconds, "megabytes": peak_memory()}


def gains_text(gains: list[dict[str, Any]]) -> str:
    """Return a line for each volume and LR."""
    networks = list(gains[0]["clean"])[1:]
    rows = []
    for gain in gains:
        shape = " x ".join(str(length) for length in gain["shape"])
        fitted = f"fitted, LR {gain['decoded_lr']:.2f} dB"
        for what, found in (("clean", gain["clean"]), (fitted, gain["decoded"])):
            lanczos = found["lanczos"]
            cells = [f"{found[name]:.2f} ({found[name] - lanczos:+.2f})" for name in networks]
            rows.append(
                [f"{gain['volume']}, {shape}", what, f"{gain['peak']:,.0f}", f"{lanczos:.2f}", *cells]
            )
    caption = (
        f"PSNR in dB (range) over the whole volume, padding excluded, and in brackets the gain over Lanczos."
        f" Fitted: preset `default` with this factor, saved and read again. {machine()}."
    )
    header = ["volume", "LR", "peak (intensity range)", "Lanczos", *networks]
    return f"{caption}\n\n{table(header, rows)}"


def cost_text(cost: dict[str, Any], factor: int) -> str:
    """Return a line for each upscaler."""
    rows = [
        [name, f"{1000 * found['seconds']:.0f} ms", f"{found['megabytes'] / 1000:.2f} GB"]
        for name, found in cost.items()
    ]
    caption = (
        f"One slice of 512 x 512, x{factor}, median of {REPEATS}; memory is the most that the whole process"
        f" held, Python and torch included. {machine()}."
    )
    return f"{caption}\n\n{table(['upscaler', 'time', 'memory'], rows)}"


if __name__ == "__main__":
    main()
