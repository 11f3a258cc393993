"""Bytes against PSNR: our codec, the classical ones, and an LR coded by a classical one.

    python benchmarks/rate_distortion.py SOURCE... [--json OUT] [--fits FOLDER] [--only ours|classical|lr]
        [--plot-only]

Every point is a whole volume, encoded and decoded: PSNR (range), padding excluded. With --json each point is
kept as it is found, and a rerun does those that are missing; so tables may hold points of several runs. With
--fits our fits are kept too, and restored again rather than fitted again where their point is missing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from bjontegaard import Curve, bd_rate, crossover, frontier, psnr_at

from napari_inr_volume.classical.by_bytes import CODECS, Codec, code, missing
from napari_inr_volume.codec import decompress, encode, fit_volume
from napari_inr_volume.core.lowres import low_res
from napari_inr_volume.core.metrics import psnr
from napari_inr_volume.core.resample import resample_plane
from napari_inr_volume.core.volume import Triple, Volume
from napari_inr_volume.fields.registry import PRESETS
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.widths import with_width
from napari_inr_volume.inr_volume import InrVolume, UpscalerRef
from napari_inr_volume.io.inr_file import read_inr, to_bytes, write_inr
from napari_inr_volume.io.sources import read_source
from napari_inr_volume.superres.upscale import LanczosUpscaler, find_upscaler

from report import DOCUMENT, machine, table, write_json, write_section

OURS = "ours"
FOUR, TWO, ALL_FOUR = (1.0, 4.0, 4.0), (1.0, 2.0, 2.0), (4.0, 4.0, 4.0)
# Factor, hidden features, steps. Bits and all else are those of the preset.
SWEEP: tuple[tuple[Triple, int, int], ...] = (
    (TWO, 110, 30_000),
    (TWO, 160, 30_000),
    (TWO, 80, 30_000),
    (TWO, 56, 30_000),
    (TWO, 40, 30_000),
    (FOUR, 110, 7_000),
    (FOUR, 48, 21_000),
    (FOUR, 24, 14_000),
    (TWO, 224, 30_000),
)
# Parts of the way from coarse to fine: what falls between about 100:1 and 6000:1 is what counts.
QUALITIES = {
    "jpeg2000": (0.05, 0.12, 0.2, 0.28, 0.36, 0.45),
    "htj2k": (0.1, 0.2, 0.3, 0.4, 0.5),
    "jpegls": (0.0, 0.3, 0.6, 0.8),
    "jpegxl": (0.0, 0.1, 0.2, 0.35),
    "sz3": (0.0, 0.15, 0.3, 0.4, 0.5),
    "hevc": (0.08, 0.17, 0.26, 0.36, 0.45, 0.55),
}
LR_CODECS = {"jpegls": (0.0, 0.4, 0.7, 0.85, 0.95), "hevc": (0.4, 0.55, 0.7, 0.85)}
TICKS = (5_000, 2_000, 1_000, 500, 200, 100)  # of the plots
RATIOS = (500, 1_000, 1_500, 2_000, 3_000)


def main() -> None:
    """Find the points that are missing, print the tables, and put them and the plots into docs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=Path, nargs="+")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--fits", type=Path)
    parser.add_argument("--only", choices=("ours", "classical", "lr"))
    parser.add_argument("--plot-only", action="store_true")
    arguments = parser.parse_args()
    if arguments.fits is not None:
        arguments.fits.mkdir(exist_ok=True)
    kept: dict[str, Any] = {"machine": machine(), "volumes": {}}
    if arguments.json is not None and arguments.json.is_file():
        kept = json.loads(arguments.json.read_text())
    for source in arguments.source:
        name = source.name.split(".")[0]
        found = kept["volumes"].setdefault(name, {"points": {}})
        if arguments.plot_only:
            continue
        volume = read_source(source)
        low, high = volume.intensity_range
        found |= {"shape": volume.shape, "source_bytes": volume.source_bytes, "peak": high - low}
        for key, measure in work(volume, arguments.only, name, arguments.fits):
            if key not in found["points"]:
                found["points"][key] = measure()
                print(name, key, found["points"][key], flush=True)
                write_json(arguments.json, kept)
    for name, found in kept["volumes"].items():
        plot(name, found)
    text = "\n\n".join(
        [
            "PSNR (range), padding excluded, of whole volumes. Seconds as they came, beside other work."
            f" {kept['machine']}.",
            *(as_text(name, found) for name, found in kept["volumes"].items()),
        ]
    )
    print(text)
    write_section("rate-distortion", text)


def work(
    volume: Volume, only: str | None, name: str, fits: Path | None
) -> list[tuple[str, Callable[[], dict[str, Any]]]]:
    """Return every point by its name: `curve|settings`."""
    points: list[tuple[str, Callable[[], dict[str, Any]]]] = []
    if only in (None, "ours"):
        for factor, width, steps in SWEEP:
            key = f"{OURS}|x{factor[1]:g} in the plane, 5 x {width}, {steps:,} steps"
            kept = None if fits is None else fits / f"{name}-x{factor[1]:g}-{width}-{steps}.inr"
            points.append((key, lambda one=(factor, width, steps, kept): ours(volume, *one)))
    if only in (None, "classical"):
        for codec, part in codings(QUALITIES):
            points.append(
                (f"{codec.name}|{codec.quality(part):.4g}", lambda a=codec, b=part: classical(volume, a, b))
            )
    if only in (None, "lr"):
        for factor in (FOUR, ALL_FOUR):
            for codec, part in codings(LR_CODECS):
                words = "x4 in the plane" if factor == FOUR else "x4 on all axes"
                key = f"LR {words}, {codec.name}|{codec.quality(part):.4g}"
                points.append((key, lambda a=factor, b=codec, c=part: lr_coded(volume, a, b, c)))
    return points


def codings(qualities: dict[str, tuple[float, ...]]) -> list[tuple[Codec, float]]:
    """Return codecs that are here, each with its parts of the way."""
    return [
        (CODECS[name], part)
        for name, parts in qualities.items()
        if missing(CODECS[name]) is None
        for part in parts
    ]


def ours(volume: Volume, factor: Triple, width: int, steps: int, kept: Path | None) -> dict[str, Any]:
    """Fit, write and read back."""
    restore = find_upscaler("auto", factor[1:], device="cpu")
    if kept is None or not kept.exists():
        inr, about = fitted(volume, settings_of(factor, width, steps))
        if kept is not None:
            write_json(kept.with_suffix(".json"), about)
            write_inr(inr, kept)
    else:
        inr, about = read_inr(kept), json.loads(kept.with_suffix(".json").read_text())
    inr = replace(inr, upscaler=UpscalerRef(name=restore.name, sha256=restore.sha256))
    started = time.perf_counter()
    voxels = decompress(inr, upscaler=restore, device="cpu").voxels
    return about | {
        "bytes": len(to_bytes(inr)),
        "psnr": whole_psnr(volume, voxels),
        "upscaler": restore.name,
        "decode_seconds": time.perf_counter() - started,
    }


def settings_of(factor: Triple, width: int, steps: int) -> Settings:
    """Return the preset's settings with these, and the rate that goes with them."""
    base = PRESETS["default"]
    settings = replace(base, preset="custom", factor=factor, fit=base.fit.with_all_steps(steps))
    return with_width(settings, width)


def fitted(volume: Volume, settings: Settings) -> tuple[InrVolume, dict[str, Any]]:
    """Return what a fit comes to, restored by Lanczos, and what it took."""
    started = time.perf_counter()
    fitting = fit_volume(volume, settings, device="cpu")
    while True:
        try:
            next(fitting)
        except StopIteration as end:
            inr = encode(volume, settings, end.value, LanczosUpscaler(settings.factor[1:]))
            seconds = time.perf_counter() - started
            about = {"lr_psnr": end.value.psnr, "encode_seconds": seconds, "settings": asdict(settings)}
            return inr, about


def classical(volume: Volume, codec: Codec, part: float) -> dict[str, Any]:
    """Code at one quality."""
    found = code(codec, volume, codec.quality(part))
    return {
        "bytes": found.size,
        "psnr": whole_psnr(volume, found.voxels),
        "encode_seconds": found.encode_seconds,
        "decode_seconds": found.decode_seconds,
    }


def lr_coded(volume: Volume, factor: Triple, codec: Codec, part: float) -> dict[str, Any]:
    """Code the LR at one quality, and restore it by Lanczos along z, and by `auto` in the plane."""
    low, high = volume.intensity_range
    lr = Volume.from_array(np.rint(np.clip(low_res(volume, factor).voxels, low, high)).astype(np.int16))
    found = code(codec, lr, codec.quality(part))
    planes = found.voxels.astype(np.float32)
    if factor[0] > 1:
        depth, (_, rows, columns) = len(volume.voxels), planes.shape
        flat = resample_plane(planes.reshape(len(planes), -1), (depth, rows * columns), (1 / factor[0], 1.0))
        planes = flat.reshape(depth, rows, columns)
    psnrs = {}
    for upscaler in ("lanczos", "auto"):
        restore = find_upscaler(upscaler, factor[1:], device="cpu")
        hr = restore((planes - low) / (high - low), volume.shape[1:]) * (high - low) + low
        psnrs[restore.name] = whole_psnr(volume, np.rint(np.clip(hr, low, high)))
    return {
        "bytes": found.size,
        "psnr": max(psnrs.values()),
        "psnrs": psnrs,
        "encode_seconds": found.encode_seconds,
        "decode_seconds": found.decode_seconds,
    }


def whole_psnr(volume: Volume, voxels: np.ndarray) -> float:
    """PSNR (range) in dB of a whole volume, padding excluded."""
    low, high = volume.intensity_range
    squares, count = 0.0, 0
    measured = volume.measured()
    for z, plane in enumerate(voxels):
        error = np.square(plane.astype(np.float64) - volume.voxels[z])
        squares += float(error.sum() if measured is None else error[measured[z]].sum())
        count += error.size if measured is None else int(measured[z].sum())
    return psnr(squares / count, high - low)


def curves(found: dict[str, Any]) -> dict[str, Curve]:
    """Return the points of each curve, from few bytes to many."""
    grouped: dict[str, Curve] = {}
    for key, point in found["points"].items():
        grouped.setdefault(key.split("|")[0], []).append((point["bytes"], point["psnr"]))
    return {name: sorted(curve) for name, curve in grouped.items()}


def as_text(name: str, found: dict[str, Any]) -> str:
    """Return the tables of a volume."""
    source = found["source_bytes"]
    shape = " x ".join(map(str, found["shape"]))
    rows = [
        [
            *key.split("|"),
            f"{point['bytes'] / 1000:.1f} kB",
            f"{source / point['bytes']:.0f}:1",
            f"{point['psnr']:.2f} dB",
            f"{point['encode_seconds']:.1f} s / {point['decode_seconds']:.1f} s",
        ]
        for key, point in sorted(found["points"].items(), key=in_order)
    ]
    points = table(["codec", "setting", "bytes", "ratio", "PSNR (range)", "encode / decode"], rows)
    return (
        f"### {name}\n\n{shape}, {source / 1e6:.1f} MB, peak {found['peak']:,.0f}.\n\n"
        f"![Bytes against PSNR, {name}](images/rd-{name}.png)\n\n{compared(found)}\n\n"
        f"<details><summary>All points</summary>\n\n{points}\n\n</details>"
    )


def in_order(item: tuple[str, dict[str, Any]]) -> tuple[bool, str, float]:
    """Return what points are sorted by: ours first, then by curve, then by bytes."""
    curve = item[0].split("|")[0]
    return curve != OURS, curve, item[1]["bytes"]


def compared(found: dict[str, Any]) -> str:
    """Return PSNR at round ratios, BD-rate and crossover of each curve against ours."""
    all_curves, source = curves(found), found["source_bytes"]
    rows = []
    for name, curve in all_curves.items():
        at = [psnr_at(curve, source / ratio) for ratio in RATIOS]
        row = [name, *("" if value is None else f"{value:.1f}" for value in at)]
        if name == OURS or OURS not in all_curves:
            rows.append([*row, "", ""])
            continue
        share = bd_rate(all_curves[OURS], curve)
        where, ahead = crossover(all_curves[OURS], curve)
        least = source / min(frontier(one)[-1][0] for one in (all_curves[OURS], curve))
        words = f"down to {least:,.0f}:1, where one curve ends" if ahead else "nowhere measured"
        rows.append(
            [
                *row,
                "no common PSNR" if share is None else f"{share:+.0%}",
                words if where is None else f"from {source / where:,.0f}:1 on",
            ]
        )
    header = [
        "codec",
        *(f"dB at {ratio:,}:1" for ratio in RATIOS),
        "our bytes at the same PSNR",
        "we are ahead",
    ]
    return table(header, rows)


def as_ratios(curve: Curve, found: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Return a curve's ratios and PSNRs."""
    return [found["source_bytes"] / size for size, _ in curve], [value for _, value in curve]


def plot(name: str, found: dict[str, Any]) -> None:
    """Draw the curves of a volume."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for label, every in curves(found).items():
        best, ours = frontier(every), label == OURS
        style = {"linewidth": 2.5, "color": "black"} if ours else {"linewidth": 1}
        line = ".--" if label.startswith("LR") else "-" if ours else ".-"
        axes.plot(*as_ratios(best, found), line, label=label, **style)
        if ours:
            axes.plot(*as_ratios(every, found), "ko")
    axes.set(
        xscale="log",
        xlim=(8_000, 50),
        ylim=(20, 50),
        xlabel="ratio (:1)",
        ylabel="PSNR (range), dB",
        title=name,
    )
    axes.set_xticks(TICKS, [f"{tick:,}" for tick in TICKS])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    figure.legend(fontsize=8, loc="outside right center")
    figure.savefig(DOCUMENT.parent / "images" / f"rd-{name}.png", dpi=110)


if __name__ == "__main__":
    main()
