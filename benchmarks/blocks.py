"""One SIREN for the whole volume, or one in each of several boxes, at equal bytes.

    OMP_NUM_THREADS=1 python benchmarks/blocks.py SOURCE... [--size 1x110 2x78 [--steps 15000] [--factor 2]]

`phantom` stands for the sample. Sizes are boxes x hidden features, of five layers; without any, POINTS are
fitted. Beside bytes, PSNR and seconds it says how large the error is near the faces between boxes: the root
of the mean squared error of the LR within two voxels of a face, over that of the voxels three to six from it.
Points are kept in `benchmarks/blocks.json`; a rerun does what is missing.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rate_distortion import cpu_seconds, whole_psnr

from napari_inr_volume.codec import decompress, encode, fit_volume
from napari_inr_volume.core.generators import drain
from napari_inr_volume.core.lowres import low_res
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.registry import PRESETS
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.boxes import MARGIN, UNITS, boxes_of
from napari_inr_volume.fields.siren.config import SirenConfig
from napari_inr_volume.fields.siren.widths import with_width
from napari_inr_volume.inr_volume import InrVolume
from napari_inr_volume.io.inr_file import to_bytes
from napari_inr_volume.reader import Reader
from napari_inr_volume.superres.upscale import find_upscaler

from report import machine, table, volume_of, write_json, write_section

KEPT = Path(__file__).with_suffix(".json")
# Factor, boxes x hidden features, steps.
POINTS: tuple[tuple[float, str, int], ...] = (
    (4.0, "1x110", 7_000),
    (2.0, "1x110", 7_000),
    (2.0, "1x110", 15_000),
    (2.0, "2x78", 15_000),
    (1.0, "1x56", 7_000),
    (1.0, "1x110", 7_000),
    (1.0, "1x110", 15_000),
    (1.0, "2x78", 15_000),
    (1.0, "4x68", 30_000),
)


def main() -> None:
    """Fit what is missing, print the table, and put it into docs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=Path, nargs="*")
    parser.add_argument("--size", nargs="+")
    parser.add_argument("--steps", type=int, default=15_000)
    parser.add_argument("--factor", type=float, default=2.0)
    arguments = parser.parse_args()
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
    points = POINTS
    if arguments.size is not None:
        points = tuple((arguments.factor, size, arguments.steps) for size in arguments.size)
    for source in arguments.source:
        volume, name = volume_of(source), source.name.split(".")[0]
        for factor, size, steps in points:
            key = f"{name}, x{factor:g}, {size}, {steps:,} steps"
            if key not in kept:
                boxes, width = map(int, size.split("x"))
                found = measure(volume, settings_of(boxes, width, steps, factor))
                # Another run may have added its own meanwhile.
                kept = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
                kept[key] = found | {"machine": machine()}
                print(key, kept[key], flush=True)
                write_json(KEPT, kept)
    text = as_text(kept)
    print(text)
    write_section("blocks", text)


def settings_of(boxes: int, width: int, steps: int, factor: float) -> Settings:
    """Return the default's settings with these, and the rate that goes with them."""
    base = PRESETS["default"]
    fit = replace(base.fit.with_all_steps(steps), least_gain=None)
    settings = with_width(replace(base, preset="custom", factor=(1.0, factor, factor), fit=fit), width)
    return replace(settings, field=replace(settings.field, boxes=boxes))


def measure(volume: Volume, settings: Settings) -> dict[str, Any]:
    """Fit, decode and compare; returns the figures."""
    started = cpu_seconds()
    result = drain(fit_volume(volume, settings, device="cpu"))
    fitted = cpu_seconds()
    restore = find_upscaler("auto", settings.factor[1:], device="cpu")
    inr = encode(volume, settings, result, restore)
    coded = cpu_seconds()
    voxels = decompress(inr, upscaler=restore, device="cpu").voxels
    decoded = cpu_seconds()
    return {
        "bytes": len(to_bytes(inr)),
        "ratio": volume.source_bytes / len(to_bytes(inr)),
        "lr_psnr": result.psnr,
        "hr_psnr": whole_psnr(volume, voxels),
        "fit_cpu_seconds": fitted - started,
        "decode_cpu_seconds": decoded - coded,
        "at_faces": at_faces(volume, inr),
    }


def at_faces(volume: Volume, inr: InrVolume) -> float | None:
    """Return the error near the faces between boxes, as a share of that a little farther from them."""
    assert isinstance(inr.field, SirenConfig)
    if inr.field.boxes == 1:
        return None
    lr, reader = low_res(volume, inr.factor), Reader(inr, device="cpu")
    squares = np.square(reader.read(level="lr") - lr.voxels)
    distance = to_faces(inr.field, squares.shape)
    counted = np.ones(squares.shape, bool) if lr.counted is None else lr.counted
    near, far = (
        squares[counted & (distance > low) & (distance <= high)].mean(dtype=np.float64)
        for low, high in ((0, MARGIN), (MARGIN, 3 * MARGIN))
    )
    return math.sqrt(near / far)


def to_faces(field: SirenConfig, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return how far each voxel (z, y, x) is from the nearest face between boxes, in voxels."""
    distance = np.full(shape, np.inf)
    places = [(np.arange(length) + 0.5) / length * UNITS for length in shape]
    for box in boxes_of(field.cuts):
        inside = [
            np.flatnonzero((low <= place) & (place <= high))
            for place, (low, high) in zip(places, box.faces, strict=True)
        ]
        for (axis, position), _ in box.sides:
            away = np.abs(places[axis][inside[axis]] - position) / UNITS * shape[axis]
            along = [1, 1, 1]
            along[axis] = -1
            part = np.ix_(*inside)
            distance[part] = np.minimum(distance[part], away.reshape(along))
    return distance


def as_text(kept: dict[str, Any]) -> str:
    """Return the table."""
    header = ["volume, factor, boxes x features, steps", "file", "LR PSNR (range)", "HR PSNR (range)"]
    header += ["fit, CPU seconds", "error at faces"]
    rows = [
        [
            key,
            f"{found['bytes'] / 1000:.1f} kB, {found['ratio']:.0f}:1",
            f"{found['lr_psnr']:.2f} dB",
            f"{found['hr_psnr']:.2f} dB",
            f"{found['fit_cpu_seconds']:.0f}",
            "" if found["at_faces"] is None else f"{found['at_faces']:.3f}",
        ]
        for key, found in sorted(kept.items())
    ]
    machines = "; ".join(sorted({found["machine"] for found in kept.values()}))
    return f"PSNR (range), padding excluded, of whole volumes. {machines}.\n\n{table(header, rows)}"


if __name__ == "__main__":
    main()
