"""Fit the sample that ships with the package, src/napari_inr_volume/samples/phantom.inr.

Run it as `python scripts/make_sample.py`; it takes a minute or two on two CPU cores. The CT head phantom
and the default preset with its seed 0 are all it depends on, so on the same machine the file is the same.
"""

from __future__ import annotations

from pathlib import Path

from napari_inr_volume import compress
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.fields.siren.fit import FitProgress
from napari_inr_volume.io.inr_file import write_inr

SAMPLE = Path(__file__).parents[1] / "src" / "napari_inr_volume" / "samples" / "phantom.inr"


def show(progress: FitProgress) -> None:
    """Print where the fit stands, on one line."""
    print(f"\r{progress.step:,} of {progress.steps:,} steps, {progress.psnr:.2f} dB", end="", flush=True)


if __name__ == "__main__":
    inr = compress(head_phantom(), "default", device="cpu", on_progress=show)
    SAMPLE.parent.mkdir(exist_ok=True)
    write_inr(inr, SAMPLE)
    print(f"\n{SAMPLE.name}: {SAMPLE.stat().st_size:,} bytes, {inr.quality}")
