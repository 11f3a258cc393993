"""What the presets are beside others: networks, optimisers, rates and sampling, at as many steps.

    python benchmarks/optimisers.py SOURCE... [--steps 2000] [--seeds 2] [--variants NAME...] [--json OUT]

Each variant changes the preset `default` in something, and is fitted to each source with each seed. LR PSNR
(range) is that of the coded weights, of five bits each. With --json each fit is kept as it is done, and a
rerun does those that are missing.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_inr_volume.codec import fit_volume
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.registry import PRESETS
from napari_inr_volume.io.sources import read_source

from report import machine, table, write_json, write_section

PRESET = "preset: 5 x 110, Muon 1e-3, cosine"
# Changes of the SIREN, and of the fit. Another batch changes the steps: as many voxels are seen.
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    PRESET: ({}, {}),
    "4 x 128": ({"layers": 4, "hidden_features": 128}, {}),
    "6 x 98": ({"layers": 6, "hidden_features": 98}, {}),
    "Adam 1.5e-3, cosine": ({}, {"optimiser": "adam", "learning_rate": 1.5e-3}),
    "Adam 1.5e-3, constant": ({}, {"optimiser": "adam", "learning_rate": 1.5e-3, "schedule": "constant"}),
    "Muon 5e-4": ({}, {"learning_rate": 5e-4}),
    "Muon 2e-3": ({}, {"learning_rate": 2e-3}),
    "first layer alike along all axes": ({}, {"first_layer": "alike"}),
    "slices not shifted": ({"shifts": False}, {}),
    "voxels spread evenly": ({}, {"sampling": "lattice"}),
    "voxels drawn one by one": ({}, {"sampling": "random"}),
    "omega_0 20": ({"omega_0": 20.0}, {}),
    "omega_0 45": ({"omega_0": 45.0}, {}),
    "batch 8,192": ({}, {"batch": 8_192}),
}


def main() -> None:
    """Do the fits that are missing, print the table, and put it into docs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    kept: dict[str, Any] = {"machine": machine(), "steps": arguments.steps, "psnr": {}}
    if arguments.json is not None and arguments.json.is_file():
        kept = json.loads(arguments.json.read_text())
    names = [source.name.split(".")[0] for source in arguments.source]
    for seed in range(arguments.seeds):
        for source, name in zip(arguments.source, names, strict=True):
            volume = read_source(source)
            for variant in arguments.variants:
                key = f"{name}|{variant}|{seed}"
                if key not in kept["psnr"]:
                    kept["psnr"][key] = fitted(volume, variant, arguments.steps, seed)
                    write_json(arguments.json, kept)
    text = as_text(kept, names, arguments.variants, arguments.seeds)
    print(text)
    write_section("optimisers", text)


def fitted(volume: Volume, variant: str, steps: int, seed: int) -> float:
    """Return the LR PSNR of one fit."""
    base = PRESETS["default"]
    siren, fit = VARIANTS[variant]
    batch = fit.get("batch", base.fit.batch)
    config = base.fit.with_all_steps(steps * base.fit.batch // batch)
    config = replace(config, learning_rate=base.fit.learning_rate, seed=seed, least_gain=None)
    settings = replace(base, field=replace(base.field, **siren), fit=replace(config, **fit))
    fitting = fit_volume(volume, settings, device="cpu")
    while True:
        try:
            next(fitting)
        except StopIteration as end:
            return float(end.value.psnr)


def as_text(kept: dict[str, Any], names: list[str], variants: list[str], seeds: int) -> str:
    """Return the table: means over the seeds, and half of what lies between them."""
    rows, psnr = [], kept["psnr"]
    for variant in variants:
        means, cells = [], []
        for name in names:
            found = [psnr[f"{name}|{variant}|{seed}"] for seed in range(seeds)]
            means.append(statistics.mean(found))
            spread = f" ± {(max(found) - min(found)) / 2:.2f}" if seeds > 1 else ""
            cells.append(f"{means[-1]:.2f}{spread} dB")
        rows.append([variant, *cells, f"{statistics.mean(means):.2f} dB"])
    return (
        f"{kept['steps']:,} steps of 2,048 voxels, or as many voxels, with tuning; {seeds} seeds from 0. LR"
        f" PSNR (range). {kept['machine']}.\n\n{table(['variant', *names, 'mean'], rows)}"
    )


if __name__ == "__main__":
    main()
