"""Which LR a super-resolution network should learn from: the same short training on several mixtures.

    python benchmarks/degradations.py SOURCE... --validate SOURCE... [--steps 800] [--mixture NAME...]
        [--folder DIR] [--json OUT]

Each mixture trains a SPAN from the same seed on the same volumes; the gain over Lanczos is that on the
validation volumes, from their clean LR and from the LR of a SIREN fitted to them. `--folder` keeps the fits.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from napari_inr_volume.compute.device import find_device
from napari_inr_volume.io.sources import read_source
from napari_inr_volume.superres.pairs import Pair, PatchConfig
from napari_inr_volume.superres.train import TrainConfig, Validation, train
from napari_inr_volume.training import training_pairs, validation_pairs, volume_names

from report import machine, table, write_json, write_section

MIXTURES = {
    "clean": PatchConfig(batch=16, decoded_share=0.0, window_share=0.0, noise=0.0),
    "noise-and-windows": PatchConfig(batch=16, decoded_share=0.0),
    "half-decoded": PatchConfig(batch=16, decoded_share=0.5),
    "mostly-decoded": PatchConfig(batch=16, decoded_share=0.9),
}
SEED = 0
FACTOR = 4  # in the plane


def main() -> None:
    """Train on every mixture, print the table, and put it into docs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, nargs="+")
    parser.add_argument("--validate", type=Path, nargs="+", required=True)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--mixture", nargs="+", choices=MIXTURES, default=list(MIXTURES))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        names = iter(volume_names([*arguments.source, *arguments.validate]))
        pairs = prepare(training_pairs, arguments.source, names, folder)
        judged = prepare(validation_pairs, arguments.validate, names, folder)
        found = {
            mixture: result(pairs, judged, mixture, arguments.steps, Path(temporary) / f"{mixture}.pt")
            for mixture in arguments.mixture
        }
    text = as_text(found, arguments.steps)
    print(text)
    write_section(f"degradations-{arguments.steps}", text)
    figures = {
        mixture: [
            {"volume": s.volume, "lr": s.kind, "psnr": s.psnr, "lanczos_psnr": s.lanczos_psnr}
            for s in v.scores
        ]
        for mixture, v in found.items()
    }
    write_json(arguments.json, {"machine": machine(), "steps": arguments.steps, "mixtures": figures})


def prepare(make: Callable[..., list[Pair]], paths: list[Path], names: Any, folder: Path) -> list[Pair]:
    """Return the pairs of all these sources."""
    tell = partial(print, file=sys.stderr)
    return [
        pair
        for path, name in zip(paths, names, strict=False)
        for pair in make(name, read_source(path), FACTOR, folder, SEED, tell=tell)
    ]


def result(pairs: list[Pair], judged: list[Pair], mixture: str, steps: int, checkpoint: Path) -> Validation:
    """Train a SPAN on a mixture, and return what the last validation found."""
    patches = MIXTURES[mixture]
    config = TrainConfig(network="span", steps=steps, learning_rate=1e-3, patches=patches, seed=SEED)
    training = train(pairs, judged, config, checkpoint, find_device(), validate_every=steps)
    while True:
        try:
            record = next(training)
            print(f"\r{record.step}/{steps}", end="", file=sys.stderr)
        except StopIteration as end:
            last: Validation = end.value.history[-1]
            print([f"{score.gain:+.2f}" for score in last.scores], file=sys.stderr)
            return last


def as_text(found: dict[str, Validation], steps: int) -> str:
    """Return the table."""
    first = next(iter(found.values()))
    header = ["mixture", *(f"{score.volume}, {score.kind} LR" for score in first.scores)]
    rows = [["Lanczos, dB", *(f"{score.lanczos_psnr:.2f}" for score in first.scores)]]
    rows += [[mixture, *(f"{score.gain:+.2f}" for score in entry.scores)] for mixture, entry in found.items()]
    return (
        f"SPAN, {steps:,} steps of 16 patches of 32 x 32 LR voxels, seed {SEED}: dB of PSNR (range)"
        f" above Lanczos, over 8 slices of each volume. {machine()}.\n\n{table(header, rows)}"
    )


if __name__ == "__main__":
    main()
