"""Whether volumes of a cohort had better share the networks of their exact layers.

    python benchmarks/exact_cohort.py SOURCE SOURCE...

Networks are fitted to the first volume and code the others too, their bytes not counted: as if one file of
the cohort held them for all. Beside that, each volume with networks of its own, in its own bytes. Lossless,
every third slab. Prints a table for docs/benchmarks/exact.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from napari_inr_volume import Volume
from napari_inr_volume.core.generators import drain
from napari_inr_volume.exact import network
from napari_inr_volume.exact.encode import DEPTH, Coder, find_coder
from napari_inr_volume.exact.learn import learn
from napari_inr_volume.exact.model import start
from napari_inr_volume.exact.slab import encode_slab
from napari_inr_volume.io.sources import read_source

from report import DOCUMENT, machine, table, write_section

EVERY = 3  # slabs of which one is coded


def main() -> None:
    """Measure, print the table, and put it into docs/benchmarks/exact.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, nargs="+")
    arguments = parser.parse_args()
    common: Sequence[network.Network] | None = None
    rows = []
    for path in arguments.source:
        volume = read_source(path)
        coder = coder_of(volume)
        own = drain(learn(coder.reading(volume), volume.shape, coder.features, start))
        common = common or own
        weights = len(network.to_bytes(own))
        alone, shared = (coded(volume, coder, networks) for networks in (own, common))
        whole = alone + 8 * weights / volume.voxels.size
        rows.append(
            [
                path.name.split(".")[0],
                f"{whole:.3f}, {weights:,} bytes of them weights",
                f"{shared:.3f} ({shared / whole - 1:+.1%})",
            ]
        )
        print(*rows[-1], flush=True)
    text = (
        "Bits a voxel, lossless, one slab of three: with networks fitted to the volume, their bytes counted,"
        f" and with those of the first volume, theirs not counted. {machine()}.\n\n"
        + table(["volume", "networks of its own", "networks of the first"], rows)
    )
    write_section("exact-cohort", text, DOCUMENT.parent / "benchmarks" / "exact.md")


def coder_of(volume: Volume) -> Coder:
    """Return what codes the volume without loss."""
    coder = find_coder(volume, 0)
    if coder is None:
        raise SystemExit("no volume that networks code")
    return coder


def coded(volume: Volume, coder: Coder, networks: Sequence[network.Network]) -> float:
    """Return the bits a voxel of some slabs, coded by these networks, without the networks."""
    read = coder.reading(volume)
    size, voxels = 0, 0
    for first in range(0, volume.shape[0], DEPTH * EVERY):
        levels = np.ascontiguousarray(read((slice(first, first + DEPTH), slice(None), slice(None))))
        size += len(encode_slab(levels, networks, coder.lattice.levels))
        voxels += levels.size
    return 8 * size / voxels


if __name__ == "__main__":
    main()
