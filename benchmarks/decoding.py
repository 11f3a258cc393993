"""How long a 512 x 512 slice takes from the network to the screen, at 2, 3 and 4 layers, on the CPU.

    python benchmarks/decoding.py [--json OUT]

The head phantom in 512 x 512, preset `default`, which asks the network for 128 x 128 and leaves the rest to
the upscaler. The network was hardly fitted, since time does not depend on its weights. Slices are asked for
in random order, one at a time or in the runs in which a whole volume is decoded.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.grid import axis_coordinates
from napari_inr_volume.fields.registry import PRESETS
from napari_inr_volume.fields.siren.config import SirenConfig
from napari_inr_volume.fields.siren.network import Siren
from napari_inr_volume.reader import SLICES_AT_ONCE, Reader
from napari_inr_volume.superres.model_file import available_models
from napari_inr_volume.superres.upscale import Upscaler, find_upscaler

from report import in_turns, machine, table, write_json, write_section
from scaling import fresh_inr

SHAPE = (32, 512, 512)
LAYERS = (2, 3, 4)
REPEATS = 9
LR, RUN = "LR alone", f"in a run of {SLICES_AT_ONCE}"


def main() -> None:
    """Time every way, print the tables, and put them into docs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    volume = head_phantom(SHAPE)
    factor = PRESETS["default"].factor[1:]
    names = [name for name in ("lanczos", "span") if name == "lanczos" or name in available_models(4)]
    upscalers = [find_upscaler(name, factor, device="cpu") for name in names]
    slices = {layers: slice_milliseconds(volume, layers, upscalers) for layers in LAYERS}
    grids = {layers: grid_milliseconds(layers) for layers in LAYERS}
    text = as_text(slices, grids)
    print(text)
    write_section("decoding", text)
    write_json(arguments.json, {"machine": machine(), "slices": slices, "whole_slice_grid": grids})


def slice_milliseconds(volume: Volume, layers: int, upscalers: list[Upscaler]) -> dict[str, float]:
    """Return the median ms a slice, alone and in a run, of the LR and of each upscaler's HR."""
    settings = replace(PRESETS["default"], field=SirenConfig(layers=layers))
    inr = fresh_inr(volume, settings, upscalers[0])
    readers = {one: Reader(inr, one, device="cpu", cache_bytes=0) for one in (None, *upscalers)}
    starts = cycle(np.random.default_rng(0).permutation(SHAPE[0] - SLICES_AT_ONCE + 1).tolist())

    def decode(count: int, upscaler: Upscaler | None) -> Callable[[], object]:
        def run() -> object:
            start = next(starts)
            region = slice(start, start + count), slice(None), slice(None)
            return readers[upscaler].read(region, "lr" if upscaler is None else "hr")

        return run

    work = {LR: decode(1, None), f"{LR}, {RUN}": decode(SLICES_AT_ONCE, None)}
    for upscaler in upscalers:
        work[upscaler.name] = decode(1, upscaler)
        work[f"{upscaler.name}, {RUN}"] = decode(SLICES_AT_ONCE, upscaler)
    return {
        name: 1000 * found["wall"] / (SLICES_AT_ONCE if name.endswith(RUN) else 1)
        for name, found in in_turns(work, REPEATS).items()
    }


def grid_milliseconds(layers: int) -> dict[str, float]:
    """Return the median ms of the network at every voxel of a slice, both ways, and how they differ."""
    siren = Siren(SirenConfig(layers=layers))
    z, y, x = (axis_coordinates(length, 1.0, length) for length in SHAPE)
    z = z[:1]
    points = torch.stack([axis.flatten() for axis in torch.meshgrid(z, y, x, indexing="ij")], dim=1)
    found = in_turns({"on_grid": lambda: siren.on_grid(z, y, x), "at": lambda: siren.at(points)}, REPEATS)
    apart = (siren.on_grid(z, y, x).flatten() - siren.at(points)).abs().max().item()
    return {name: 1000 * seconds["wall"] for name, seconds in found.items()} | {"apart": apart}


def as_text(slices: dict[int, dict[str, float]], grids: dict[int, dict[str, float]]) -> str:
    """Return the tables."""
    names: list[str] = list(next(iter(slices.values())))
    rows: list[list[Any]] = [
        [str(layers), *(f"{found[name]:.1f} ms" for name in names)] for layers, found in slices.items()
    ]
    decoded = table(["layers", *names], rows)
    rows = [
        [
            str(layers),
            f"{found['on_grid']:.1f} ms",
            f"{found['at']:.1f} ms ({found['at'] / found['on_grid']:.2f})",
            f"{found['apart']:.0e}",
        ]
        for layers, found in grids.items()
    ]
    whole = table(["layers", "`Siren.on_grid`", "`Siren.at`", "largest difference, of 2"], rows)
    return (
        f"Head phantom {' x '.join(map(str, SHAPE))}, preset `default` with other numbers of layers: ms a"
        f" slice, alone in random order or as a part of a run; medians of {REPEATS}."
        f" {machine()}.\n\n{decoded}\n\nThe"
        " network asked for all 512 x 512 voxels of a slice, the axes multiplied once each or point by"
        f" point:\n\n{whole}"
    )


if __name__ == "__main__":
    main()
