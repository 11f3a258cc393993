"""What the exact layer gains by shipped weights as the start of its fit, from the same number of steps.

    python benchmarks/exact_start.py DATA [--k K...] [--every N]

DATA is the folder of the volumes of benchmarks/exact.py, none of which the weights were trained on. Every
Nth slab is coded, by networks that were fitted to all of the volume. Prints a table for docs/models.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from exact import VOLUMES, as_bound

from napari_inr_volume import Volume
from napari_inr_volume.core.generators import drain
from napari_inr_volume.exact import network
from napari_inr_volume.exact.contexts import Contexts
from napari_inr_volume.exact.encode import DEPTH, find_coder
from napari_inr_volume.exact.learn import Start, learn
from napari_inr_volume.exact.model import ContextModel, start
from napari_inr_volume.exact.slab import encode_slab
from napari_inr_volume.io.sources import read_source

from report import DOCUMENT, machine, table, write_section


def main() -> None:
    """Measure, print the table, and put it into docs/models.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--k", type=int, nargs="+", default=(0, 2))
    parser.add_argument("--every", type=int, default=3)
    arguments = parser.parse_args()
    rows = []
    for name, path in VOLUMES.items():
        volume = read_source(arguments.data / path)
        row = [name]
        for error in arguments.k:
            nothing, begun = (bits(volume, error, begin, arguments.every) for begin in (from_nothing, start))
            row.append(f"{nothing:.3f}, {begun:.3f} ({begun / nothing - 1:+.1%})")
            print(name, as_bound(error), row[-1], flush=True)
        rows.append(row)
    text = (
        "Bits a voxel from random weights, from the shipped ones, and the difference; one slab of"
        f" {arguments.every}. {machine()}.\n\n" + table(["volume", *map(as_bound, arguments.k)], rows)
    )
    print(text)
    write_section("exact-start", text, DOCUMENT.with_name("models.md"))


def from_nothing(contexts: Contexts, features: int) -> ContextModel:
    """Return a model of random weights, always the same."""
    torch.manual_seed(0)
    return ContextModel(contexts, features)


def bits(volume: Volume, error: int, begin: Start, every: int) -> float:
    """Return the bits a voxel of every so many slabs, the networks included as if all were coded."""
    coder = find_coder(volume, error)
    if coder is None:
        raise SystemExit("no volume that networks code")
    read = coder.reading(volume)
    networks = drain(learn(read, volume.shape, coder.features, begin))
    size, voxels = 0, 0
    for first in range(0, volume.shape[0], DEPTH * every):
        levels = np.ascontiguousarray(read((slice(first, first + DEPTH), slice(None), slice(None))))
        size += len(encode_slab(levels, networks, coder.lattice.levels))
        voxels += levels.size
    return 8 * (size / voxels + len(network.to_bytes(networks)) / volume.voxels.size)


if __name__ == "__main__":
    main()
