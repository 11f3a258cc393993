"""Make the context networks that code the chunks of a Zarr array which has none of its own.

    python scripts/shared_networks.py DATA/train

They are the shipped starts of 16 features, rounded to whole numbers, with the linear prediction that suits
crops of all volumes of the folder best. Writes the package's shared.bin.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from napari_inr_volume.exact.chunk import FEATURES, SHARED
from napari_inr_volume.exact.contexts import FIRST, LATER
from napari_inr_volume.exact.learn import ContextFit, crops_of, gather
from napari_inr_volume.exact.model import shipped
from napari_inr_volume.exact.network import to_bytes
from napari_inr_volume.io.sources import read_source

CROPS = 32  # of a volume


def main() -> None:
    """Make the networks and write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    parts = []
    for path in sorted(folder.glob("*.tif")):
        voxels = read_source(path).read()
        levels = voxels.astype(np.int32) - int(voxels.min())
        parts.append(gather(lambda region, levels=levels: levels[region], levels.shape, CROPS).values)
    crops = crops_of(np.concatenate(parts))
    fits = [ContextFit(crops, contexts, shipped(contexts, FEATURES)) for contexts in (FIRST, LATER)]
    SHARED.write_bytes(to_bytes([fit.network() for fit in fits]))


if __name__ == "__main__":
    main()
