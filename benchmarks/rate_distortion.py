"""Bytes against PSNR: our codec, the classical ones at their best, and an LR coded by one of them.

    python benchmarks/rate_distortion.py SOURCE... [--only ours|rivals|lr] [--codec NAME...] [--ratio N...]
        [--fits FOLDER]
    python benchmarks/rate_distortion.py --table

Every point is a whole volume, encoded and decoded: PSNR (range), padding excluded. Each is kept in
benchmarks/rate_distortion.json as it is found, with its setting, and a rerun does those that are missing; so
tables may hold points of several runs. A codec is tried until its bytes come near each of the ratios, from
below; tables interpolate between its points. With --fits our fits are kept too, and restored again rather
than fitted again where their point is missing.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from bjontegaard import Curve, bd_rate, crossover, frontier, psnr_at

from napari_inr_volume.classical.by_bytes import CODECS, SEARCH, code, missing, next_quality
from napari_inr_volume.classical.codec import Codec
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
from napari_inr_volume.superres.upscale import LanczosUpscaler, find_upscaler

from report import DOCUMENT, machine, table, volume_of, write_json, write_section

README = Path(__file__).parents[1] / "README.md"
KEPT = Path(__file__).with_suffix(".json")
OURS = "ours"
BLOCKS = Path(__file__).with_name("blocks.json")
FOUR, ONE, ALL_FOUR = (1.0, 4.0, 4.0), (1.0, 1.0, 1.0), (4.0, 4.0, 4.0)
# Factor, hidden features, steps. Bits and all else are those of the preset.
SWEEP: tuple[tuple[Triple, int, int], ...] = (
    (ONE, 110, 30_000),
    (ONE, 160, 30_000),
    (ONE, 80, 30_000),
    (ONE, 56, 30_000),
    (ONE, 40, 30_000),
    (ONE, 24, 30_000),
    (FOUR, 110, 7_000),
)
RATIOS = (100, 250, 500, 1_000, 2_000, 4_000)  # of the tables
SOUGHT = (1_000, 84, 2_000, 500, 250, 4_000)  # by each codec: what is near 84 lies on the other side of 100
NEAR = 0.85  # of the bytes of a ratio are near enough
LR_CODEC, LR_PARTS = "av1", (0.2, 0.35, 0.5, 0.65, 0.8)
TICKS = (5_000, 2_000, 1_000, 500, 200, 100)  # of the plots


def main() -> None:
    """Find the points that are missing, print the tables, and put them and the plots into docs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=Path, nargs="*")
    parser.add_argument("--only", choices=("ours", "rivals", "lr"))
    parser.add_argument("--codec", nargs="+", choices=list(CODECS), default=list(CODECS))
    parser.add_argument("--ratio", type=float, nargs="+", default=SOUGHT)
    parser.add_argument("--fits", type=Path)
    parser.add_argument("--table", action="store_true", help="only write tables and plots")
    arguments = parser.parse_args()
    if not arguments.source and not arguments.table:
        parser.error("SOURCE is missing, the volumes; or give --table")
    if arguments.fits is not None:
        arguments.fits.mkdir(exist_ok=True)
    codecs = [CODECS[name] for name in arguments.codec]
    for codec in codecs:
        if (words := missing(codec)) is not None:
            print(f"{words}; left out")
    codecs = [codec for codec in codecs if missing(codec) is None]
    kept: dict[str, Any] = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
    for source in arguments.source:
        name = source.name.split(".")[0]
        volume = volume_of(source)
        low, high = volume.intensity_range
        found = kept.setdefault(name, {"points": {}})
        found |= {"shape": volume.shape, "source_bytes": volume.source_bytes, "peak": high - low}
        for key, point in work(volume, name, found["points"], codecs, arguments):
            found["points"][key] = point | {"machine": machine()}
            print(name, key, found["points"][key], flush=True)
            write_json(KEPT, kept)
    for name, found in kept.items():
        found["points"] |= of_blocks(name)
        plot(name, found)
    write_json(KEPT, kept)
    text = as_text(kept)
    print(text)
    write_section("rate-distortion", text)
    write_section("rate-distortion-points", details(kept))
    write_section("rate-distortion", summary(kept), README)


def of_blocks(name: str) -> dict[str, Any]:
    """Return our points of a volume that `blocks.py` has measured, named as those of `work`."""
    kept: dict[str, Any] = json.loads(BLOCKS.read_text()) if BLOCKS.is_file() else {}
    found = {}
    for key, point in kept.items():
        volume, factor, size, steps = key.split(", ")
        boxes, width = size.split("x")
        if volume == name:
            words = f"{factor} in the plane, {boxes} x (5 x {width}), {steps}"
            found[f"{OURS}|{words}"] = {
                "bytes": point["bytes"],
                "psnr": point["hr_psnr"],
                "encode_seconds": point["fit_cpu_seconds"],
                "decode_seconds": point.get("decode_cpu_seconds"),
                "machine": point["machine"],
            }
    return found


def work(
    volume: Volume,
    name: str,
    points: dict[str, Any],
    codecs: list[Codec],
    arguments: argparse.Namespace,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every point that is missing by its name, `curve|settings`; `points` has those that are not."""
    only: str | None = arguments.only
    if only in (None, "ours"):
        for factor, width, steps in SWEEP:
            key = f"{OURS}|x{factor[1]:g} in the plane, 5 x {width}, {steps:,} steps"
            stem = f"{name}-x{factor[1]:g}-{width}-{steps}.inr"
            if key not in points:
                kept = None if arguments.fits is None else arguments.fits / stem
                yield key, ours(volume, factor, width, steps, kept)
    if only in (None, "rivals"):
        for codec in codecs:
            yield from rival(volume, codec, points, arguments.ratio)
    if only in (None, "lr"):
        codec = CODECS[LR_CODEC]
        for factor in (FOUR, ALL_FOUR) if missing(codec) is None else ():
            for part in LR_PARTS:
                words = "x4 in the plane" if factor == FOUR else "x4 on all axes"
                quality = codec.quality(part)
                key = f"LR {words}, {codec.label}|{codec.scale} {quality:.4g}"
                if key not in points:
                    yield key, lr_coded(volume, factor, codec, quality)


def rival(
    volume: Volume, codec: Codec, points: dict[str, Any], ratios: Iterable[float]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the points of a codec near these ratios that are missing."""
    voxels = int(np.prod(volume.shape))
    sizes = {
        point["quality"]: point["bytes"] for key, point in points.items() if key.startswith(f"{codec.label}|")
    }
    for ratio in ratios:
        for _ in range(SEARCH):
            quality = next_quality(codec, int(volume.source_bytes / ratio), sizes, voxels, NEAR)
            if quality is None:
                break
            found = code(codec, volume, quality, clock=cpu_seconds)
            sizes[quality] = found.size
            yield (
                f"{codec.label}|{codec.scale} {quality:.4g}",
                {
                    "bytes": found.size,
                    "psnr": whole_psnr(volume, found.voxels),
                    "quality": quality,
                    "setting": codec.setting,
                    "encode_seconds": found.encode_seconds,
                    "decode_seconds": found.decode_seconds,
                },
            )


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
    started = cpu_seconds()
    voxels = decompress(inr, upscaler=restore, device="cpu").voxels
    return about | {
        "bytes": len(to_bytes(inr)),
        "psnr": whole_psnr(volume, voxels),
        "upscaler": restore.name,
        "decode_seconds": cpu_seconds() - started,
    }


def cpu_seconds() -> float:
    """Return the seconds of processor that this program and those that it ran have taken, on all cores.

    They are much the same on a busy machine, and compare codecs that take one core with those that take all.
    """
    return sum(os.times()[:4])


def settings_of(factor: Triple, width: int, steps: int) -> Settings:
    """Return the preset's settings with these, and the rate that goes with them."""
    base = PRESETS["default"]
    settings = replace(base, preset="custom", factor=factor, fit=base.fit.with_all_steps(steps))
    return with_width(settings, width)


def fitted(volume: Volume, settings: Settings) -> tuple[InrVolume, dict[str, Any]]:
    """Return what a fit comes to, restored by Lanczos, and what it took."""
    started = cpu_seconds()
    fitting = fit_volume(volume, settings, device="cpu")
    while True:
        try:
            next(fitting)
        except StopIteration as end:
            inr = encode(volume, settings, end.value, LanczosUpscaler(settings.factor[1:]))
            seconds = cpu_seconds() - started
            about = {"lr_psnr": end.value.psnr, "encode_seconds": seconds, "settings": asdict(settings)}
            return inr, about


def lr_coded(volume: Volume, factor: Triple, codec: Codec, quality: float) -> dict[str, Any]:
    """Code the LR at one quality, and restore it by Lanczos along z, and by `auto` in the plane."""
    low, high = volume.intensity_range
    lr = Volume.from_array(np.rint(np.clip(low_res(volume, factor).voxels, low, high)).astype(np.int16))
    found = code(codec, lr, quality, clock=cpu_seconds)
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
    """Return the points of each curve, from few bytes to many; ours first."""
    grouped: dict[str, Curve] = {OURS: []}
    for key, point in found["points"].items():
        grouped.setdefault(curve_of(key), []).append((point["bytes"], point["psnr"]))
    return {name: sorted(curve) for name, curve in grouped.items() if curve}


def curve_of(key: str) -> str:
    """Return to which curve a point belongs."""
    return key.split("|")[0]


def rivals_of(found: dict[str, Any]) -> dict[str, Curve]:
    """Return the curves of whole codecs other than ours."""
    return {
        name: curve for name, curve in curves(found).items() if name != OURS and not name.startswith("LR")
    }


def leads_from(found: dict[str, Any]) -> tuple[float, str | None] | None:
    """Return the ratio from which on ours is ahead of each of the others wherever both have points.

    And who is still ahead there, if its points end there, so that nothing is known beyond. None without
    points.
    """
    ours, rivals = curves(found).get(OURS, []), rivals_of(found)
    if not ours or not rivals:
        return None
    lead: tuple[float, str | None] = (found["source_bytes"] / ours[-1][0], None)
    for name, curve in rivals.items():
        where, ahead = crossover(ours, curve)
        if where is None and not ahead:
            where = max(frontier(one)[0][0] for one in (ours, curve))
            lead = max(lead, (found["source_bytes"] / where, name), key=lambda one: one[0])
        elif where is not None:
            lead = max(lead, (found["source_bytes"] / where, None), key=lambda one: one[0])
    return lead


def lead_in_words(found: dict[str, Any]) -> str:
    """Return from which ratio on ours is ahead of all, as a cell of a table."""
    lead = leads_from(found)
    if lead is None:
        return "not measured"
    ratio, ahead = lead
    words = f"**{ratio:,.0f}:1**" if ahead is None else f"beyond {ratio:,.0f}:1, where {ahead} is still ahead"
    absent = not_measured(found)
    return f"{words} (not measured: {', '.join(absent)})" if absent else words


def not_measured(found: dict[str, Any]) -> list[str]:
    """Return the codecs that have no point."""
    return [codec.label for codec in CODECS.values() if codec.label not in curves(found)]


def best_rival(found: dict[str, Any], ratio: float) -> tuple[str, float] | None:
    """Return which of the others is best at a ratio, and its PSNR; None if none has points on both sides."""
    size = found["source_bytes"] / ratio
    there = [
        (value, name)
        for name, curve in rivals_of(found).items()
        if (value := psnr_at(curve, size)) is not None
    ]
    return max(there)[::-1] if there else None


def as_text(kept: dict[str, Any]) -> str:
    """Return the tables: ours and the best of the others on every volume, then each volume."""
    machines = {point["machine"] for found in kept.values() for point in found["points"].values()}
    return "\n\n".join(
        [
            "PSNR (range), padding excluded, of whole volumes, at ratios between the points by straight lines"
            " in the logarithm of the bytes. Seconds are those of the processor, on all cores together."
            f" {'; '.join(sorted(machines))}.",
            summary(kept),
            *(of_volume(name, found) for name, found in kept.items()),
        ]
    )


def summary(kept: dict[str, Any]) -> str:
    """Return the table of ours and the best of the others on every volume."""
    rows = []
    for name, found in kept.items():
        cells = [name, lead_in_words(found)]
        for ratio in RATIOS:
            ours = psnr_at(curves(found).get(OURS, []), found["source_bytes"] / ratio)
            best = best_rival(found, ratio)
            words = [] if ours is None else [f"ours {ours:.1f}"]
            cells.append("; ".join([*words, *([] if best is None else [f"{best[0]} {best[1]:.1f}"])]))
        rows.append(cells)
    return table(
        ["volume", "ours leads the best of all from", *(f"dB at {ratio:,}:1" for ratio in RATIOS)], rows
    )


def of_volume(name: str, found: dict[str, Any]) -> str:
    """Return a volume's plot and table."""
    shape = " x ".join(map(str, found["shape"]))
    return (
        f"### {name}\n\n{shape}, {found['source_bytes'] / 1e6:.1f} MB, peak {found['peak']:,.0f}.\n\n"
        f"![Bytes against PSNR, {name}](images/rd-{name}.png)\n\n{compared(found)}"
    )


def details(kept: dict[str, Any]) -> str:
    """Return all points of every volume, and the settings of the codecs."""
    return "\n\n".join(f"## {name}\n\n{all_points(found)}" for name, found in kept.items())


def all_points(found: dict[str, Any]) -> str:
    """Return the settings of the codecs and all points of a volume."""
    source = found["source_bytes"]
    in_order = sorted(
        found["points"].items(),
        key=lambda item: (curve_of(item[0]) != OURS, curve_of(item[0]), item[1]["bytes"]),
    )
    rows = [
        [
            *key.split("|"),
            f"{point['bytes'] / 1000:.1f} kB",
            f"{source / point['bytes']:.0f}:1",
            f"{point['psnr']:.2f} dB",
            in_seconds(point),
        ]
        for key, point in in_order
    ]
    points = table(["codec", "quality", "bytes", "ratio", "PSNR (range)", "encode / decode"], rows)
    settings = {
        curve_of(key): point["setting"] for key, point in in_order if point.get("setting") is not None
    }
    lines = "\n".join(f"- {codec}: {setting}." for codec, setting in settings.items())
    return f"{lines}\n\n{points}"


def in_seconds(point: dict[str, Any]) -> str:
    """Return how long encoding and decoding took."""
    decoding = point["decode_seconds"]
    return f"{point['encode_seconds']:.1f} s / {'' if decoding is None else f'{decoding:.1f} s'}"


def compared(found: dict[str, Any]) -> str:
    """Return PSNR at round ratios, seconds, BD-rate and crossover of each curve against ours."""
    all_curves, source = curves(found), found["source_bytes"]
    rows = []
    for name, curve in all_curves.items():
        at = [psnr_at(curve, source / ratio) for ratio in RATIOS]
        nearest = min(
            (point for key, point in found["points"].items() if curve_of(key) == name),
            key=lambda point: abs(np.log(source / point["bytes"] / RATIOS[3])),
        )
        row = [name, *("" if value is None else f"{value:.1f}" for value in at), in_seconds(nearest)]
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
        f"encode / decode, nearest to {RATIOS[3]:,}:1",
        "our bytes at the same PSNR",
        "ours is ahead",
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
