"""Write tiny-shifted-blocks.inr, once: `python tests/golden/make_shifted_blocks.py`, as make_tiny.py its."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from make_blocks import blocks
from make_blocks import inr as of_blocks
from make_quantised import drawn

from napari_inr_volume.io.inr_file import write_inr

shifted = replace(blocks, shifts=True, slices=6)  # a cut along z leaves some boxes fewer than all six
inr = replace(of_blocks, field=shifted, payload=drawn(shifted, 20230307))

if __name__ == "__main__":
    path = Path(__file__).with_name("tiny-shifted-blocks.inr")
    if path.exists():
        raise SystemExit(f"{path.name} is there; a golden file is added, never regenerated")
    write_inr(inr, path)
