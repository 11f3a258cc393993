"""Write tiny-blocks.inr, once: `python tests/golden/make_blocks.py`, as make_tiny.py its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from make_quantised import drawn
from make_quantised import inr as quantised

from napari_inr_volume.core.volume import Geometry
from napari_inr_volume.fields.siren.config import SirenConfig
from napari_inr_volume.io.inr_file import write_inr

blocks = SirenConfig(
    layers=2,
    hidden_features=12,
    boxes=5,  # the first cut leaves two before it and three behind
    cuts=((1, 30_000), (2, 20_000), (0, 40_000), (2, 45_000)),
    margins=(6_000, 4_000, 5_000),
)
inr = replace(
    quantised,
    field=blocks,
    payload=drawn(blocks, 20230305),
    geometry=Geometry(shape=(6, 16, 12), spacing=(2.0, 1.0, 1.0)),
    quality=None,
)

if __name__ == "__main__":
    path = Path(__file__).with_name("tiny-blocks.inr")
    if path.exists():
        raise SystemExit(f"{path.name} is there; a golden file is added, never regenerated")
    write_inr(inr, path)
