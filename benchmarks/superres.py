"""What the shipped super-resolution networks gain over Lanczos, and what they cost.

    python benchmarks/superres.py SOURCE... [--preset default] [--json OUT]

Clean: the Lanczos LR (x4 in the plane) of each volume, restored. Decoded: the real way, a fit by the preset,
saved as `.inr`, read again, restored. The networks are asked in turn for one 128 x 128 slice, each in a
process of its own for the memory. Writes into docs/models.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_inr_volume.codec import compress, lanczos_lr, measure
from napari_inr_volume.core.metrics import psnr
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.io.inr_file import read_inr, write_inr
from napari_inr_volume.io.sources import read_source
from napari_inr_volume.superres.model_file import available_models
from napari_inr_volume.superres.upscale import Upscaler, find_upscaler
from napari_inr_volume.training import IN_PLANE

from report import in_turns, machine, peak_memory, table, write_json, write_section

CARD = Path(__file__).parents[1] / "docs" / "models.md"
REPEATS = 7


def main() -> None:
    """Restore every volume both ways, time one slice, print the tables, and put them into docs/models.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, nargs="+")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cost = {name: cost_of(name) for name in ("lanczos", *available_models())}
    gains = []
    for source in arguments.source:
        print(source.name, file=sys.stderr)
        gains.append(gain_on(source.name.split(".")[0], read_source(source), arguments.preset))
    for name, text in (("gains", gains_text(gains, arguments.preset)), ("cost", cost_text(cost))):
        print(text, end="\n\n")
        write_section(name, text, CARD)
    write_json(
        arguments.json, {"machine": machine(), "preset": arguments.preset, "gains": gains, "cost": cost}
    )


def gain_on(name: str, volume: Volume, preset: str) -> dict[str, Any]:
    """Return PSNR (range) in dB of every upscaler, from clean LR and from a fit, over the whole volume."""
    names = ("lanczos", *available_models())
    upscalers = {name: find_upscaler(name, IN_PLANE[1:]) for name in names}
    lr = lanczos_lr(volume, IN_PLANE)
    clean = {name: clean_psnr(volume, lr, upscaler) for name, upscaler in upscalers.items()}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.inr"
        write_inr(compress(volume, preset, upscaler="lanczos"), path)
        inr = read_inr(path)
    seconds = time.perf_counter() - started
    decoded = {}
    for upscaler in upscalers.values():
        measured = measure(volume, inr, upscaler)
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


def cost_of(name: str) -> dict[str, float]:
    """Return the seconds of one slice and the MB of a process of its own that makes it."""
    with ProcessPoolExecutor(1, get_context("spawn")) as alone:
        return alone.submit(one_slice, name).result()


def one_slice(name: str) -> dict[str, float]:
    """Return the median seconds of one slice, 128 x 128 to 512 x 512, and the most MB this process held."""
    upscaler = find_upscaler(name, IN_PLANE[1:])
    lr = np.random.default_rng(0).random((1, 128, 128), dtype=np.float32)
    seconds = in_turns({name: lambda: upscaler(lr, (512, 512))}, REPEATS)[name]["wall"]
    return {"seconds": seconds, "megabytes": peak_memory()}


def gains_text(gains: list[dict[str, Any]], preset: str) -> str:
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
        f" Fitted: preset `{preset}`, saved and read again. {machine()}."
    )
    header = ["volume", "LR", "peak (intensity range)", "Lanczos", *networks]
    return f"{caption}\n\n{table(header, rows)}"


def cost_text(cost: dict[str, Any]) -> str:
    """Return a line for each upscaler."""
    rows = [
        [name, f"{1000 * found['seconds']:.0f} ms", f"{found['megabytes'] / 1000:.2f} GB"]
        for name, found in cost.items()
    ]
    caption = (
        f"One slice 128 x 128 to 512 x 512, median of {REPEATS}; memory is the most that the whole process"
        f" held, Python and torch included. {machine()}."
    )
    return f"{caption}\n\n{table(['upscaler', 'time', 'memory'], rows)}"


if __name__ == "__main__":
    main()
