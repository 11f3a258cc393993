"""How time and memory grow: of reading, resampling and decoding with the voxels, of a fit with its settings.

    python benchmarks/scaling.py [--json OUT] [--cubes 128,256,512,2048x1024x1024]

Reading, resampling and decoding run at three sizes of the head phantom as DICOM: they grow as the voxels do.
A fit's step is timed at three batches and five networks; its memory is taken at three sizes of the LR.
What is said of memory is measured in processes of their own, five times over; medians count. --cubes measures
only the way from OME-Zarr on disk to an `.inr` and back, which is never in memory, once at each size.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_inr_volume import cli, compress
from napari_inr_volume.codec import decompress, encode, fit_volume
from napari_inr_volume.compute import threads
from napari_inr_volume.core.lowres import low_res
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.region import Region
from napari_inr_volume.core.volume import Geometry, Volume
from napari_inr_volume.fields.base import FitProgress, FitResult
from napari_inr_volume.fields.registry import PRESETS
from napari_inr_volume.fields.samples import LrSamples
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.fields.siren.engine import Engine
from napari_inr_volume.fields.siren.fit import fit
from napari_inr_volume.fields.siren.network import Siren
from napari_inr_volume.fields.siren.sampling import Sampler
from napari_inr_volume.inr_volume import InrVolume
from napari_inr_volume.io.dicom import read_dicom
from napari_inr_volume.io.dicom_export import write_dicom_series
from napari_inr_volume.io.volumes import write_volume
from napari_inr_volume.superres.upscale import LanczosUpscaler, Upscaler

from report import forget_peak, in_turns, machine, peak_memory, table, write_json, write_section

SLICES = (32, 64, 128)  # of 256 x 256 voxels; fitted: of an LR of 128 x 128
REPEATS = 5
STAGES = ("read", "resample", "decode")
WAYS = ("compress", "decompress")
KEPT = {
    "lossless": ["--exact-only", "--lossless"],
    "network": ["--preset", "fast", "--steps", "20", "--upscaler", "lanczos"],
}
WHOLE_SLICES = (16, 32, 64)  # of 512 x 512 voxels: compressed and decoded
BATCHES = (16_384, 65_536, 262_144)
NETWORKS = {
    f"{layers} x {width}": SirenConfig(layers=layers, hidden_features=width)
    for layers, width in ((2, 128), (3, 128), (4, 128), (3, 181), (3, 256))
}
FIT_STEPS = 100  # of the fits whose memory is measured
CPU = torch.device("cpu")


def main() -> None:
    """Run every size, print the tables, and put them into docs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--series", type=Path, help=argparse.SUPPRESS)  # one size, in a process of its own
    parser.add_argument("--fit-slices", type=int, help=argparse.SUPPRESS)  # the same for a fit
    parser.add_argument("--whole-slices", type=int, help=argparse.SUPPRESS)  # and for both ways
    parser.add_argument(
        "--cubes", help="sides of cubes, or shapes such as 2048x1024x1024: only the way there and back"
    )
    parser.add_argument("--cube", type=Path, help=argparse.SUPPRESS)  # one of them
    arguments = parser.parse_args()
    if arguments.cube:
        print(json.dumps(cube(arguments.cube)))
        return
    if arguments.cubes:
        measure_cubes([shape_of(words) for words in arguments.cubes.split(",")], arguments.json)
        return
    if arguments.series:
        print(json.dumps(measure(arguments.series)))
        return
    if arguments.fit_slices:
        print(json.dumps(fit_memory(arguments.fit_slices)))
        return
    if arguments.whole_slices:
        print(json.dumps(whole_memory(arguments.whole_slices)))
        return
    sizes = []
    for slices in SLICES:
        with tempfile.TemporaryDirectory() as folder:
            write_dicom_series(head_phantom((slices, 256, 256)), Path(folder))
            found = median_alone("--series", folder, OMP_NUM_THREADS="1")
        sizes.append({"slices": slices, "voxels": slices * 256 * 256} | found)
    steps = step_seconds()
    # What is freed goes back to the system (glibc), or the fit would live in what making the phantom left.
    memory = [median_alone("--fit-slices", str(slices), MALLOC_MMAP_THRESHOLD_="65536") for slices in SLICES]
    whole = [
        median_alone("--whole-slices", str(slices), MALLOC_MMAP_THRESHOLD_="65536", OMP_NUM_THREADS="1")
        for slices in WHOLE_SLICES
    ]
    texts = {
        "scaling": as_text(sizes),
        "scaling-fit": fit_text(steps, memory),
        "scaling-memory": whole_text(whole),
    }
    for name, text in texts.items():
        print(text, end="\n\n")
        write_section(name, text)
    write_json(
        arguments.json,
        {
            "machine": machine(),
            "sizes": sizes,
            "step_seconds": steps,
            "fit_megabytes": memory,
            "beside_volume": whole,
        },
    )


def median_alone(*arguments: str, **environment: str) -> dict[str, float]:
    """Measure in processes of their own, and return the medians of what they print."""
    runs = [alone(*arguments, **environment) for _ in range(REPEATS)]
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def alone(*arguments: str, **environment: str) -> dict[str, float]:
    """Measure in a process of its own, and return what it prints."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ | environment)
    found: dict[str, float] = json.loads(done.stdout)
    return found


class Cube:
    """A source of noisy tissue in the shape of waves, of which there is one slice at a time."""

    dtype, units, padding, intensity_range = np.dtype(np.int16), "HU", None, (-1024.0, 1024.0)

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.geometry = Geometry(shape=shape, spacing=(0.5, 0.5, 0.5))

    def read(self, region: Region) -> NDArray[np.int16]:
        """Return a region, for which the whole is made."""
        return np.stack(list(self.slices()))[region]

    def slices(self) -> Iterator[NDArray[np.int16]]:
        """Yield every slice (y, x)."""
        depth, height, width = self.geometry.shape
        y, x = np.ogrid[:height, :width]
        for z in range(depth):
            waves = 400 * np.sin(y / 37 + z / 50) + 300 * np.cos(x / 29)
            noise = np.random.default_rng(z).normal(0, 10, (height, width))
            yield (waves + noise).astype(np.int16)


def shape_of(words: str) -> tuple[int, int, int]:
    """Return the shape (z, y, x) that the words name: 512, or 2048x1024x1024."""
    lengths = [int(length) for length in words.split("x")]
    z, y, x = lengths * 3 if len(lengths) == 1 else lengths
    return z, y, x


def measure_cubes(shapes: list[tuple[int, int, int]], to: Path | None) -> None:
    """Measure the way there and back at these sizes, print the table, and put it into docs."""
    figures: list[dict[str, Any]] = []
    for shape in shapes:
        with tempfile.TemporaryDirectory() as folder:
            write_volume(Cube(shape), Path(folder) / "cube.ome.zarr")
            apart = {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
            figures.append({"shape": shape} | alone("--cube", folder, **apart))
        print(figures[-1], file=sys.stderr)
    text = cubes_text(figures)
    print(text)
    write_section("scaling-cubes", text)
    write_json(to, {"machine": machine(), "cubes": figures})


def cube(folder: Path) -> dict[str, float]:
    """Return seconds of each way by the commands, and by how many MB the process grew at its peak."""
    # What torch and compiled functions take when they are first used is no cost of these.
    small = compress(
        head_phantom((8, 64, 64)), PRESETS["fast"], max_error=0, device="cpu", upscaler="lanczos"
    )
    decompress(small, device="cpu")
    figures: dict[str, float] = {}
    for way, options in KEPT.items():
        forget_peak()
        before = peak_memory()
        inr, out = folder / f"{way}.inr", folder / f"{way}.ome.zarr"
        there = ["compress", folder / "cube.ome.zarr", inr, *options, "--device", "cpu"]
        timed(f"{way}, compress", figures, partial(command, *there))
        timed(f"{way}, decompress", figures, partial(command, "decompress", inr, out, "--device", "cpu"))
        figures[f"{way}, megabytes"] = peak_memory() - before
        figures[f"{way}, whole process"] = peak_memory()
    return figures


def command(*arguments: str | Path) -> None:
    """Run `inr-volume` in this process; what it prints goes to standard error."""
    sys.argv = ["inr-volume", *map(str, arguments)]
    with redirect_stdout(sys.stderr):
        try:
            cli.main()
        except SystemExit as end:
            if end.code:
                raise


def cubes_text(figures: list[dict[str, Any]]) -> str:
    """Return the table of both ways: seconds a million voxels, and memory beside the volume."""
    rows = []
    for found in figures:
        voxels = math.prod(found["shape"])
        times = [
            f"{found[f'{way}, {step}']:.0f} s ({found[f'{way}, {step}'] / voxels * 1e6:.2f})"
            for way in KEPT
            for step in WAYS
        ]
        grown = [found[f"{way}, megabytes"] for way in KEPT]
        memory = [f"{mb:.0f} MB ({mb * 1e6 / voxels:.2f})" for mb in grown]
        whole = max(found[f"{way}, whole process"] for way in KEPT)
        shape = " x ".join(map(str, found["shape"]))
        rows.append([shape, f"{2 * voxels / 1e6:.0f} MB", *times, *memory, f"{whole:.0f} MB"])
    header = ["volume", "its voxels", *(f"{way}: {step}" for way in KEPT for step in WAYS)]
    return (
        "Noisy waves, by commands from OME-Zarr to an `.inr` and back to OME-Zarr with its levels; lossless"
        " without a network, and preset `fast` with 20 steps and Lanczos; one run. In brackets seconds a"
        " million voxels, and bytes a voxel; memory is what the process grew by at its peak, at last all"
        f" that it took. {machine()}.\n\n"
        f"{table([*header, 'lossless: memory', 'network: memory', 'the whole process'], rows)}"
    )


def measure(series: Path) -> dict[str, float]:
    """Return the seconds of each stage, and by how many MB the process grew at its peak."""
    before = peak_memory()
    figures: dict[str, float] = {}
    settings = PRESETS["default"]
    volume = timed("read", figures, lambda: read_dicom(series))
    timed("resample", figures, lambda: low_res(volume, settings.factor))
    upscaler = LanczosUpscaler(settings.factor[1:])
    inr = fresh_inr(volume, settings, upscaler)
    timed("decode", figures, lambda: decompress(inr, upscaler=upscaler, device="cpu"))
    return figures | {"megabytes": peak_memory() - before}


def fresh_inr(volume: Volume, settings: Settings, upscaler: Upscaler) -> InrVolume:
    """Return the volume's `.inr` after a single step: decoding takes as long with any weights."""
    one_step = Settings(
        factor=settings.factor, field=settings.field, fit=FitConfig(steps=1, batch=256, learning_rate=1e-8)
    )
    return encode(volume, settings, to_the_end(fit_volume(volume, one_step, device="cpu")), upscaler)


def to_the_end(fitting: Generator[FitProgress, None, FitResult]) -> FitResult:
    """Return what a fit comes to."""
    while True:
        try:
            next(fitting)
        except StopIteration as end:
            return end.value


def timed(name: str, figures: dict[str, float], work: Callable[[], Any]) -> Any:
    """Do the work and note its seconds."""
    started = time.perf_counter()
    result = work()
    figures[name] = time.perf_counter() - started
    return result


def step_seconds() -> dict[str, dict[int, float]]:
    """Return the median seconds of a step by Adam, of each network and batch."""
    samples = phantom_samples(64)
    steps = {
        f"{name}, {batch}": stepper(samples, siren, batch)
        for name, siren in NETWORKS.items()
        for batch in BATCHES
    }

    def measure() -> Generator[dict[str, dict[str, float]], None, None]:
        yield in_turns(steps, REPEATS)

    found = next(threads.apart(measure()))  # as a fit runs
    return {name: {batch: found[f"{name}, {batch}"]["wall"] for batch in BATCHES} for name in NETWORKS}


def stepper(samples: LrSamples, config: SirenConfig, batch: int) -> Callable[[], None]:
    """Return a function that does one step by Adam."""
    siren = Siren(config)
    engine = Engine(siren, samples, batch, True, Event())
    optimiser = torch.optim.Adam(siren.parameters(), lr=1e-4, fused=True)
    sampler = Sampler(samples, batch, "random", torch.Generator().manual_seed(0))

    def step() -> None:
        engine.step(*sampler.draw())
        optimiser.step()

    return step


def phantom_samples(slices: int) -> LrSamples:
    """Return a head phantom of 128 x 128 in the plane as the LR of a volume of 512 x 512."""
    volume = head_phantom((slices, 128, 128))
    lr = volume.voxels.astype(np.float32)
    return LrSamples(lr, (slices, 512, 512), PRESETS["default"].factor, volume.intensity_range, CPU)


def fit_memory(slices: int) -> dict[str, float]:
    """Return the MB of an LR, and by how many a process that holds it grew at its peak in a fit to it."""
    settings = PRESETS["default"]
    config = settings.fit.with_all_steps(FIT_STEPS)
    # What torch and compiled functions take when they are first used is no cost of this fit.
    to_the_end(fit(phantom_samples(8), settings.field, config, CPU))
    samples = phantom_samples(slices)
    forget_peak()
    before = peak_memory()
    to_the_end(fit(samples, settings.field, config, CPU))
    return {"lr": samples.voxels.nbytes / 1e6, "grown": peak_memory() - before}


def whole_memory(slices: int) -> dict[str, float]:
    """Return by how many MB a process grows at its peak beside a volume: compressing it, and decoding it."""
    settings = PRESETS["fast"]
    settings = replace(settings, fit=settings.fit.with_all_steps(20))
    # What torch and compiled functions take when they are first used is no cost of these.
    small = compress(head_phantom((8, 64, 64)), settings, device="cpu", upscaler="lanczos")
    decompress(small, device="cpu")
    volume = head_phantom((slices, 512, 512))
    forget_peak()
    before = peak_memory()
    inr = compress(volume, settings, device="cpu", upscaler="lanczos")
    grown = peak_memory() - before
    forget_peak()
    before = peak_memory()
    decoded = decompress(inr, device="cpu")
    beside = peak_memory() - before - decoded.voxels.nbytes / 1e6
    return {"volume": volume.voxels.nbytes / 1e6, "compress": grown, "decompress": beside}


def whole_text(figures: list[dict[str, float]]) -> str:
    """Return the table of memory beside the volume."""
    rows = [
        [
            f"{slices} x 512 x 512",
            f"{found['volume']:.0f} MB",
            *(
                f"{found[way]:.0f} MB ({found[way] / found['volume']:.2f})"
                for way in ("compress", "decompress")
            ),
        ]
        for slices, found in zip(WHOLE_SLICES, figures, strict=True)
    ]
    header = ["volume", "its voxels", "compress: fit and measure", "decompress, the result not counted"]
    return (
        f"Head phantom, preset `fast` with 20 steps, Lanczos; one thread; medians of {REPEATS}. By how much a"
        f" process that holds the volume grows at its peak; in brackets the ratio to the voxels. {machine()}."
        "\n\n"
        f"{table(header, rows)}"
    )


def as_text(figures: list[dict[str, float]]) -> str:
    """Return the table, each figure with its ratio to that of the smallest size."""
    first = figures[0]
    rows = [
        [
            f"{size['slices']} x 256 x 256",
            f"{size['voxels'] / first['voxels']:.1f}",
            *(f"{size[stage]:.2f} s ({size[stage] / first[stage]:.1f})" for stage in STAGES),
            f"{size['megabytes']:.0f} MB ({size['megabytes'] / first['megabytes']:.1f})",
        ]
        for size in figures
    ]
    header = ["volume", "voxels, ratio", "read DICOM", "Lanczos x4 in plane", "decode, Lanczos", "memory"]
    return (
        f"Head phantom; one thread; medians of {REPEATS}; in brackets the ratio to the smallest size. Memory"
        f" is what the process grew by at its peak. {machine()}.\n\n{table(header, rows)}"
    )


def fit_text(steps: dict[str, dict[int, float]], memory: list[dict[str, float]]) -> str:
    """Return a table of time and one of memory."""
    least = next(iter(NETWORKS))
    rows = []
    for name, siren in NETWORKS.items():
        seconds = steps[name]
        grown = siren.parameters / NETWORKS[least].parameters
        rows.append(
            [
                name,
                f"{siren.parameters:,} ({grown:.1f})",
                *(
                    f"{1000 * seconds[batch]:.0f} ms ({seconds[batch] / seconds[BATCHES[0]]:.1f})"
                    for batch in BATCHES
                ),
                f"{seconds[BATCHES[-1]] / steps[least][BATCHES[-1]]:.1f}",
            ]
        )
    header = ["layers x width", "parameters, ratio", *(f"a step of {batch:,}" for batch in BATCHES)]
    times = table([*header, f"{BATCHES[-1]:,}: ratio to {least}"], rows)
    rows = [
        [
            f"{slices} x 128 x 128",
            f"{slices / SLICES[0]:.1f}",
            f"{found['lr']:.1f} MB",
            f"{found['grown']:.1f} MB ({found['grown'] / memory[0]['grown']:.1f})",
        ]
        for slices, found in zip(SLICES, memory, strict=True)
    ]
    growth = table(["LR", "voxels, ratio", "the LR itself", "the fit beside it"], rows)
    return (
        f"Head phantom; mixed precision; medians of {REPEATS}, steps by Adam and in turns. In brackets the"
        f" ratio to the smallest batch, for parameters to {least}. {machine()}.\n\n{times}\n\nPreset"
        f" `default`, {FIT_STEPS} steps: by how much a process that holds the LR, and fitted before, grows"
        f" at its peak; in brackets the ratio to the smallest LR.\n\n{growth}"
    )


if __name__ == "__main__":
    main()
