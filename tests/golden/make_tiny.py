"""Write tiny-1.0.inr, once: `python tests/golden/make_tiny.py`. A golden file is never regenerated."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_inr_volume.coding.weights import encode_fp16
from napari_inr_volume.core.volume import Geometry
from napari_inr_volume.fields.siren.config import SirenConfig
from napari_inr_volume.inr_volume import FitRecord, InrVolume, Quality, UpscalerRef
from napari_inr_volume.io.inr_file import write_inr

siren = SirenConfig(layers=2, hidden_features=8)
rng = np.random.default_rng(20230303)
weights = {
    name: rng.uniform(-0.1, 0.1, layout.shape).astype(np.float32) for name, layout in siren.layouts.items()
}

inr = InrVolume(
    field=siren,
    coding="fp16",
    payload=encode_fp16(weights, siren.layouts),
    geometry=Geometry(
        shape=(3, 8, 6),
        spacing=(2.5, 0.75, 0.5),
        origin=(-10.0, 20.5, 30.25),
        slice_positions=(0.0, 2.0, 5.0),
    ),
    factor=(1.0, 4.0, 4.0),
    intensity_range=(-1024.0, 3071.0),
    units="HU",
    dtype="int16",
    padding=-2000.0,
    source_bytes=288,
    upscaler=UpscalerRef(),
    fit=FitRecord(preset="default", steps=12, seed=20230303),
    quality=Quality(lr_psnr=41.5, hr_psnr=37.25, lanczos_psnr=36.5, rmse=52.0, p99=212.5, max_error=1500.0),
    software="napari-inr-volume 0.1.0",
)

if __name__ == "__main__":
    path = Path(__file__).with_name("tiny-1.0.inr")
    if path.exists():
        raise SystemExit(f"{path.name} is there; a golden file is added, never regenerated")
    write_inr(inr, path)
