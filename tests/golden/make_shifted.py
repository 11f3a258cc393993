"""Write tiny-shifted.inr, once: `python tests/golden/make_shifted.py`, as make_tiny.py its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from make_quantised import drawn
from make_quantised import inr as quantised

from napari_inr_volume.core.volume import Geometry
from napari_inr_volume.fields.siren.config import SirenConfig
from napari_inr_volume.io.inr_file import write_inr

shifted = SirenConfig(layers=2, hidden_features=12, shifts=True, slices=7)
inr = replace(
    quantised,
    field=shifted,
    payload=drawn(shifted, 20230306),
    geometry=Geometry(shape=(7, 16, 12), spacing=(2.0, 1.0, 1.0)),
    quality=None,
)

if __name__ == "__main__":
    path = Path(__file__).with_name("tiny-shifted.inr")
    if path.exists():
        raise SystemExit(f"{path.name} is there; a golden file is added, never regenerated")
    write_inr(inr, path)
