"""Tables 4-7 of Sheibanifard and Yu 2023, for a selected slice and for the volume.

    python benchmarks/paper_tables.py [SOURCE...] [--slice Z] [--steps N] [--batch N] [--json OUT]

With the architecture, a SIREN of 2, 3 or 4 layers is fitted to the Lanczos LR and HR is restored from it;
for volumes also with z left whole, as our presets do. Direct, the same SIREN is fitted to the HR itself, by
the same recipe, in as many steps of as many voxels.
Each fit runs in a process of its own. Without sources, lungfcp0001 and ge_head_tilt are looked for.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from napari_inr_volume.codec import encode, fit_volume
from napari_inr_volume.compute.device import find_device
from napari_inr_volume.core.errors import InrError
from napari_inr_volume.core.lowres import low_res
from napari_inr_volume.core.metrics import compare_volumes
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Triple, Volume
from napari_inr_volume.core.windows import Window, WindowName, find_window
from napari_inr_volume.fields.base import FitResult
from napari_inr_volume.fields.registry import PRESETS
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig
from napari_inr_volume.io.inr_file import to_bytes
from napari_inr_volume.io.sources import read_source
from napari_inr_volume.measuring import measure
from napari_inr_volume.reader import Reader
from napari_inr_volume.superres.catalogue import TITLES
from napari_inr_volume.superres.model_file import NETWORKS, available_models
from napari_inr_volume.superres.upscale import Upscaler, find_upscaler

from report import machine, peak_memory, table, write_json, write_section

Way = Literal["architecture", "architecture, all slices", "direct SIREN"]

LAYERS = (2, 3, 4)
ALL_AXES, IN_PLANE, NONE = (4.0, 4.0, 4.0), (1.0, 4.0, 4.0), (1.0, 1.0, 1.0)  # factors along z, y, x
DICOM = Path(__file__).parents[2] / "shared" / "data" / "dicom"  # public CT, which does not ship
SOURCES = [DICOM / "lungfcp0001", DICOM / "ge_head_tilt"]
LENGTH = {"cuda": (50_000, 65_536)}  # steps and voxels a step: the paper's, where there is a GPU
SHORT_LENGTH = (2_000, 8_192)  # elsewhere: the two volumes take less than 20 minutes on two cores
RESTORED_BY = TITLES


@dataclass(frozen=True, kw_only=True)
class Published:
    """What the paper gives for one network size: tables 4 and 5, the LR's PSNR in figures 4-6."""

    lr_psnr: float  # dB
    hr_psnr: float  # dB, 8 bit, its selected slice
    direct_psnr: float  # dB; the same without its architecture
    seconds: float
    direct_seconds: float
    kilobytes: int  # GPU memory
    direct_kilobytes: int
    ratio: float  # its "compression rate", the same for both

    @property
    def margin(self) -> float:
        """By how many dB the architecture is above direct SIREN."""
        return self.hr_psnr - self.direct_psnr


PAPER = {
    2: Published(
        lr_psnr=45.38,
        hr_psnr=34.670,
        direct_psnr=25.269,
        seconds=55.76,
        direct_seconds=664.92,
        kilobytes=1_038,
        direct_kilobytes=10_254,
        ratio=3.65,
    ),
    3: Published(
        lr_psnr=48.29,
        hr_psnr=34.865,
        direct_psnr=28.800,
        seconds=74.80,
        direct_seconds=1004.21,
        kilobytes=1_296,
        direct_kilobytes=10_512,
        ratio=1.96,
    ),
    4: Published(
        lr_psnr=70.63,
        hr_psnr=35.140,
        direct_psnr=30.689,
        seconds=99.61,
        direct_seconds=1336.53,
        kilobytes=1_554,
        direct_kilobytes=10_770,
        ratio=1.28,
    ),
}
QUOTED = {"Shen et al. 2016, stacked autoencoder": 27.50, "Mishra et al. 2021, dual autoencoder": 29.33}


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What one way back to HR gives. PSNR in dB, padding excluded."""

    lr_psnr: float  # range; for direct SIREN the "LR" is the HR itself
    hr_psnr: float  # range
    hr_psnr_8bit: float
    file_bytes: int
    model_bytes: int  # of the super-resolution network's weights file


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What one fit took and gave."""

    layers: int
    way: Way
    parameters: int
    seconds: float  # of the steps
    megabytes: float  # of memory, at the peak (1e6 bytes)
    restored: dict[str, Restored | None]  # by upscaler, None without its weights; direct SIREN has Lanczos x1


@dataclass(frozen=True, kw_only=True)
class Part:
    """A volume, or its selected slice, and the fits to it."""

    name: str
    shape: tuple[int, int, int]
    source_bytes: int
    peak: float  # of PSNR (range), in the volume's units
    units: str
    window: str  # of PSNR (8 bit): name, level and width
    ceilings: dict[str, float]  # PSNR (8 bit) of the LR itself, restored without a fit; by upscaler
    fits: list[Fitted]


def main() -> None:
    """Fit everything, print the tables, and put them into docs."""
    device = find_device("auto")
    steps, batch = LENGTH.get(device.type, SHORT_LENGTH)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, nargs="*", default=SOURCES)
    parser.add_argument("--slice", type=int, help="the selected slice, from 0; by default the middle one")
    parser.add_argument("--steps", type=int, default=steps, help=f"of every fit; here {steps:,}")
    parser.add_argument("--batch", type=int, default=batch, help=f"voxels a step; here {batch:,}")
    parser.add_argument("--window", choices=get_args(WindowName), default="full", help="of PSNR (8 bit)")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    try:
        # Weights as good as exact, as the paper's: what coding costs is another table.
        exact = {"tuning_steps": 0, "weight_bits": 16.0}
        fit = replace(PRESETS["paper-2"].fit, steps=arguments.steps, batch=arguments.batch, **exact)
        found = [
            (name, part, find_window(arguments.window, part))
            for source in arguments.source
            for name, part in slice_and_volume(
                source.name.split(".")[0], read_source(source), arguments.slice
            )
        ]
        parts = [fit_all(*each, fit) for each in found]
    except InrError as error:
        parser.error(str(error))
    text = as_text(parts, fit, device)
    print(text)
    write_section("paper", text)
    figures = {
        "machine": machine(),
        "device": device.type,
        "fit": asdict(fit),
        "parts": [asdict(part) for part in parts],
        "published": {layers: asdict(paper) for layers, paper in PAPER.items()},
        "quoted": QUOTED,
    }
    write_json(arguments.json, figures)


def slice_and_volume(name: str, volume: Volume, z: int | None) -> list[tuple[str, Volume]]:
    """Return the slice at z, or the middle one, and the volume, each with its title.

    Raises InrError if there is no slice at z.
    """
    depth = volume.shape[0]
    z = depth // 2 if z is None else z
    if not 0 <= z < depth:
        raise InrError(f"{name} has no slice {z}; choose one from 0 to {depth - 1}")
    chosen = replace(
        volume,
        voxels=volume.voxels[z : z + 1],
        geometry=replace(volume.geometry, shape=(1, *volume.shape[1:]), slice_positions=None),
        source_bytes=volume.source_bytes // depth,
    )
    return [(f"{name}, slice {z}", chosen), (f"{name}, volume", volume)]


def ways(depth: int) -> dict[Way, Triple]:
    """Return the factors along z, y, x of each way; a lone slice has no z to shrink."""
    if depth == 1:
        return {"architecture": IN_PLANE, "direct SIREN": NONE}
    return {"architecture": ALL_AXES, "architecture, all slices": IN_PLANE, "direct SIREN": NONE}


def fit_all(name: str, volume: Volume, window: Window, fit: FitConfig) -> Part:
    """Fit all sizes in all ways, each in a process of its own, and tell of it on standard error."""
    fits = []
    with tempfile.TemporaryDirectory() as folder:
        voxels = Path(folder) / "voxels.npy"
        np.save(voxels, volume.voxels)
        about = {key: getattr(volume, key) for key in ("geometry", "units", "padding", "source_bytes")}
        for layers, (way, factor) in product(LAYERS, ways(volume.shape[0]).items()):
            tell = f"{name}, {layers} layers, {way}"
            print(f"{tell}: fitting", file=sys.stderr, flush=True)
            settings = replace(PRESETS[f"paper-{layers}"], factor=factor, fit=fit)
            with ProcessPoolExecutor(1, get_context("spawn")) as alone:
                fitted = alone.submit(fit_alone, voxels, about, way, settings, window).result()
            best = max(restored.hr_psnr for restored in fitted.restored.values() if restored)
            print(f"{tell}: {fitted.seconds:.1f} s, HR {best:.2f} dB", file=sys.stderr, flush=True)
            fits.append(fitted)
    low, high = volume.intensity_range
    return Part(
        name=name,
        shape=volume.shape,
        source_bytes=volume.source_bytes,
        peak=high - low,
        units=volume.units,
        window=str(window),
        ceilings=ceilings(volume, window),
        fits=fits,
    )


def ceilings(volume: Volume, window: Window) -> dict[str, float]:
    """Return what comes of the LR itself, x4 in the slice: PSNR (8 bit) in dB by each upscaler that ships."""
    low, high = volume.intensity_range
    lr = (low_res(volume, IN_PLANE).voxels - low) / (high - low)
    found = {}
    for name in RESTORED_BY:
        upscaler = shipped(name, IN_PLANE[1:])
        if upscaler is not None:
            hr = np.clip(upscaler(lr, volume.shape[1:]), 0, 1) * (high - low) + low
            found[name] = compare_volumes(volume, hr, window).psnr_8bit
    return found


def shipped(name: str, factor: tuple[float, float]) -> Upscaler | None:
    """Return the upscaler of this name for an in-plane factor, None if its weights do not ship."""
    if name in NETWORKS and name not in available_models(round(factor[0])):
        return None
    return find_upscaler(name, factor)


def fit_alone(voxels: Path, about: dict[str, Any], way: Way, settings: Settings, window: Window) -> Fitted:
    """Fit one network, note what this process needed for it, and measure what its `.inr` decodes to."""
    volume = Volume(voxels=np.load(voxels), **about)
    # What torch and compiled functions take when they are first used is no cost of this fit.
    fit_timed(head_phantom((8, 32, 32)), replace(settings, fit=replace(settings.fit, steps=1, batch=512)))
    on_gpu = find_device("auto").type == "cuda"
    before = 0.0 if on_gpu else peak_memory()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    result, seconds = fit_timed(volume, settings)
    memory = torch.cuda.max_memory_allocated() / 1e6 if on_gpu else peak_memory() - before
    upscalers = ["lanczos"] if way == "direct SIREN" else list(RESTORED_BY)
    return Fitted(
        layers=settings.field.layers,
        way=way,
        parameters=settings.field.parameters,
        seconds=seconds,
        megabytes=memory,
        restored={name: restore(volume, settings, result, name, window) for name in upscalers},
    )


def fit_timed(volume: Volume, settings: Settings) -> tuple[FitResult, float]:
    """Return the fit, and the seconds of its steps without the last look at the whole LR."""
    fitting = fit_volume(volume, settings)
    while True:
        try:
            progress = next(fitting)
        except StopIteration as end:
            return end.value, progress.seconds


def restore(
    volume: Volume, settings: Settings, result: FitResult, upscaler: str, window: Window
) -> Restored | None:
    """Measure what an `.inr` with this upscaler decodes to; None if its weights do not ship."""
    restorer = shipped(upscaler, settings.factor[1:])
    if restorer is None:
        return None
    inr = encode(volume, settings, result, restorer)
    measured = measure(volume, Reader(inr, restorer), window=window)
    return Restored(
        lr_psnr=measured.lr_psnr,
        hr_psnr=measured.reconstruction.psnr,
        hr_psnr_8bit=measured.reconstruction.psnr_8bit,
        file_bytes=len(to_bytes(replace(inr, quality=measured.quality))),
        model_bytes=len(restorer.weights),
    )


def as_text(parts: list[Part], fit: FitConfig, device: torch.device) -> str:
    """Return the caption, a table for each slice and volume, and the paper's own figures."""
    on_gpu = device.type == "cuda"
    where = torch.cuda.get_device_name() if on_gpu else device.type
    memory = (
        "what torch held on the GPU at its peak"
        if on_gpu
        else "by how much the fit's process, which held Python, torch and the volume, grew at its peak"
    )
    caption = (
        f"Every fit, with the architecture and direct, takes {fit.steps:,} steps of {fit.batch:,} voxels (the"
        f" paper: 50,000 of 65,536), Adam at a constant {fit.learning_rate:g}, {fit.precision}, seed"
        f" {fit.seed}. Figures are of what the `.inr` decodes to, padding excluded. Fit: the seconds of all"
        f" steps. Memory: {memory}. Ratio: bytes of the stored pixels to bytes of the `.inr`; in brackets"
        " with the weights of the super-resolution network counted in. Paper's ratio: one byte a voxel to"
        f" four bytes a weight. On {where}; {machine()}."
    )
    return "\n\n".join([caption, *(part_text(part) for part in parts), published_text()])


def part_text(part: Part) -> str:
    """Return the table of a slice or volume, and by how much the architecture is above direct SIREN."""
    limits = "; ".join(f"{RESTORED_BY[name]} {psnr:.2f}" for name, psnr in part.ceilings.items())
    about = (
        f"{' x '.join(map(str, part.shape))} voxels; range {part.peak:,.0f} {part.units}; 8-bit window"
        f" {part.window}. The LR itself (x4 in the slice), restored without a fit, which is about the most"
        f" that the architecture can reach: {limits} dB (8 bit)."
    )
    rows = [
        row_of(part, fitted, upscaler, restored)
        for fitted in part.fits
        for upscaler, restored in fitted.restored.items()
    ]
    header = [
        *("layers", "way", "LR PSNR (range)", "HR PSNR (range)", "HR PSNR (8 bit)"),
        *("fit", "memory", "file", "ratio", "paper's ratio"),
    ]
    return f"### {part.name}\n\n{about}\n\n{table(header, rows)}\n\n{margins_text(part)}"


def row_of(part: Part, fitted: Fitted, upscaler: str, restored: Restored | None) -> list[str]:
    """Return one table row."""
    direct = fitted.way == "direct SIREN"
    way = fitted.way if direct else f"{fitted.way}, {RESTORED_BY[upscaler]}"
    cost = [f"{fitted.seconds:.1f} s", f"{fitted.megabytes:.1f} MB"]
    paper_ratio = f"{np.prod(part.shape) / (4 * fitted.parameters):.2f}"
    if restored is None:
        return [str(fitted.layers), way, "", "weights do not ship", "", *cost, "", "", paper_ratio]
    ratio = f"{part.source_bytes / restored.file_bytes:.1f}"
    if restored.model_bytes:
        ratio += f" ({part.source_bytes / (restored.file_bytes + restored.model_bytes):.2f})"
    return [
        str(fitted.layers),
        way,
        "" if direct else f"{restored.lr_psnr:.2f} dB",
        f"{restored.hr_psnr:.2f} dB",
        f"{restored.hr_psnr_8bit:.2f} dB",
        *cost,
        f"{restored.file_bytes / 1000:.1f} kB",
        ratio,
        paper_ratio,
    ]


def margins(part: Part) -> dict[str, list[float]]:
    """Return by how many dB (8 bit) each way is above direct SIREN: a figure for each size."""
    direct = {
        fitted.layers: fitted.restored["lanczos"] for fitted in part.fits if fitted.way == "direct SIREN"
    }
    found: dict[str, list[float]] = {}
    for fitted in part.fits:
        for upscaler, restored in fitted.restored.items():
            beside = direct[fitted.layers]
            if fitted.way != "direct SIREN" and restored and beside:
                margin = restored.hr_psnr_8bit - beside.hr_psnr_8bit
                found.setdefault(f"{fitted.way}, {RESTORED_BY[upscaler]}", []).append(margin)
    return found


def margins_text(part: Part) -> str:
    """Return the line on the architecture's margins, beside the paper's."""
    ours = [f"{way} {signed(values)}" for way, values in margins(part).items()]
    published = signed([paper.margin for paper in PAPER.values()])
    return (
        f"Above direct SIREN of {' / '.join(map(str, LAYERS))} layers (HR PSNR, 8 bit): {'; '.join(ours)} dB."
        f" Published: {published} dB."
    )


def signed(values: list[float]) -> str:
    """Return margins as the lines show them."""
    return " / ".join(f"{value:+.1f}" for value in values)


def published_text() -> str:
    """Return the table of what the paper publishes, and what it quotes."""
    rows = []
    for layers, paper in PAPER.items():
        rows += [
            [
                *(
                    str(layers),
                    "architecture, SRDenseNet",
                    f"{paper.lr_psnr:.2f} dB",
                    f"{paper.hr_psnr:.3f} dB",
                ),
                *(f"{paper.seconds:.2f} s", f"{paper.kilobytes:,} KB", f"{paper.ratio:.2f}"),
            ],
            [
                *(str(layers), "direct SIREN", "", f"{paper.direct_psnr:.3f} dB"),
                *(f"{paper.direct_seconds:.2f} s", f"{paper.direct_kilobytes:,} KB", f"{paper.ratio:.2f}"),
            ],
        ]
    rows += [["", method, "", f"{value:.2f} dB", "", "", ""] for method, value in QUOTED.items()]
    header = ["layers", "way", "LR PSNR", "HR PSNR (8 bit)", "fit", "GPU memory", "paper's ratio"]
    return (
        "### Published\n\n"
        "Not measured here: Sheibanifard and Yu 2023, tables 4-7 and figures 4-6, one 512 x 512 slice of the"
        " Visible Human head. The paper names neither the window of its 8 bits nor what its memory counts."
        " Shen's and Mishra's figures are quoted as its table 7 quotes them, without their data.\n\n"
        f"{table(header, rows)}"
    )


if __name__ == "__main__":
    main()
