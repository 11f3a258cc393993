"""How exact-1.1.inr was made, once: a 1.1 file with an exact layer within 1 HU, padding, and two slabs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_inr_volume import Volume
from napari_inr_volume.core.generators import drain
from napari_inr_volume.exact.encode import encode_exact
from napari_inr_volume.io.inr_file import read_inr, write_inr

HERE = Path(__file__).parent

random = np.random.default_rng(20261126)
voxels = np.cumsum(random.normal(0, 5, (18, 16, 16)), axis=2).round().astype(np.int16)
voxels[:, :, :3] = -2000
volume = Volume.from_array(voxels, padding=-2000, units="HU")
inr = replace(
    read_inr(HERE / "tiny-1.0.inr"),
    geometry=volume.geometry,
    padding=-2000.0,
    intensity_range=volume.intensity_range,
    source_bytes=voxels.nbytes,
    quality=None,
    exact=drain(encode_exact(volume, 1)),
)
write_inr(inr, HERE / "exact-1.1.inr")
