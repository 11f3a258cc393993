"""Write tiny-quantised.inr, once: `python tests/golden/make_quantised.py`, as make_tiny.py its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from make_tiny import inr as tiny

from napari_inr_volume.coding.quantise import Quantised
from napari_inr_volume.coding.range_coding import encode as encode_quantised
from napari_inr_volume.coding.weights import QUANTISED
from napari_inr_volume.fields.siren.config import SirenConfig
from napari_inr_volume.io.inr_file import write_inr


def drawn(siren: SirenConfig, seed: int) -> bytes:
    """Return a payload of weights that are drawn at random."""
    rng = np.random.default_rng(seed)
    tensors = []
    for layout in siren.layouts.values():
        rows, columns = layout.row_shape
        spread = rng.choice([0, 1, 5, 40, 700], (rows, 1))  # rows of zeros, of small and of large numbers
        numbers = np.rint(rng.normal(0, 1, (rows, columns)) * spread).astype(np.int32)
        largest = np.maximum(np.abs(numbers).max(axis=1), 1)
        tensors.append(Quantised(numbers, np.floor(4 * np.log2(0.1 / largest)).astype(np.int32)))
    return encode_quantised(tensors)


siren = SirenConfig(layers=3, hidden_features=20)
inr = replace(
    tiny,
    field=siren,
    coding=QUANTISED,
    payload=drawn(siren, 20230304),
    software="napari-inr-volume 0.1.0",
)

if __name__ == "__main__":
    path = Path(__file__).with_name("tiny-quantised.inr")
    if path.exists():
        raise SystemExit(f"{path.name} is there; a golden file is added, never regenerated")
    write_inr(inr, path)
