"""Our fit against the paper's recipe as a plain PyTorch loop, in one run on one machine.

    python benchmarks/fit_speed.py [SOURCE] [--seconds 600] [--equal 60] [--repeats 5] [--seeds 3] [--json J]

SOURCE is any volume that the command reads; without one, the head phantom is taken. It is shrunk by 4 on
every axis, as in the paper. Four comparisons: (a) seconds of a step at 2, 3 and 4 layers, a few steps of
each loop in turns in one process; (b) the time until our preset `default` has the LR PSNR which the
reference has after --seconds; (c) the PSNR of both after --equal seconds; (d) by how much memory a process
grows that does one of them. (b) and (c) are done once for each of --seeds, with weights as good as exact, as
the reference's are.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import torch

from napari_inr_volume.compute import threads
from napari_inr_volume.compute.device import find_device
from napari_inr_volume.core.lowres import low_res
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.base import FitResult
from napari_inr_volume.fields.registry import PRESETS
from napari_inr_volume.fields.samples import LrSamples
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.fields.siren.engine import Engine
from napari_inr_volume.fields.siren.fit import fit
from napari_inr_volume.fields.siren.network import Siren
from napari_inr_volume.fields.siren.sampling import Sampler
from napari_inr_volume.io.sources import read_source

import reference_siren
from report import forget_peak, machine, peak_memory, table, write_json, write_section

LAYERS = (2, 3, 4)
FACTOR = (4.0, 4.0, 4.0)
WAYS = ("reference", "float32", "mixed")
STEPS = 6  # of each way and repeat
PROBES = (200, 1_200)  # steps of two fits that tell what a step takes, and what all else


def main() -> None:
    """Make every comparison, print the tables, and put them into docs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=Path, nargs="?")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--equal", type=float, default=60.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--alone", choices=WAYS, help=argparse.SUPPRESS)  # memory, in a process of its own
    parser.add_argument("--layers", type=int, default=4, help=argparse.SUPPRESS)
    parser.add_argument("--device", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        samples = read_samples(arguments.source, torch.device(arguments.device))
        print(json.dumps(memory_alone(samples, arguments.alone, arguments.layers)))
        return
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    figures = {device: measure(arguments, find_device(device)) for device in devices}
    text = as_text(figures, arguments)
    print(text)
    write_section("fit_speed", text)
    times = {"seconds": arguments.seconds, "equal": arguments.equal}
    write_json(arguments.json, {"machine": machine(), **times, "devices": figures})


def read_samples(source: Path | None, device: torch.device) -> LrSamples:
    """Return the LR of the source, or of the phantom."""
    volume: Volume = head_phantom() if source is None else read_source(source)
    lr = low_res(volume, FACTOR).voxels
    return LrSamples(lr, volume.shape, FACTOR, volume.intensity_range, device)


def measure(arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Return all figures of one device."""
    samples = read_samples(arguments.source, device)
    speed = {layers: step_seconds(samples, layers, arguments.repeats) for layers in LAYERS}
    memory = {
        layers: {way: run_alone(arguments.source, way, layers, device) for way in WAYS} for layers in LAYERS
    }
    quality = []
    for seed in range(arguments.seeds):
        quality.append(compare_quality(samples, arguments.seconds, arguments.equal, seed))
        print(f"seed {seed}: {quality[-1]}", file=sys.stderr, flush=True)
    return {"lr_shape": samples.shape, "step_seconds": speed, "memory_megabytes": memory, "quality": quality}


def step_seconds(samples: LrSamples, layers: int, repeats: int) -> dict[str, float]:
    """Return the median seconds of a step by Adam of each way, some steps of each in turns."""
    steppers = {way: stepper(samples, layers, way) for way in WAYS}
    for step in steppers.values():
        next(step)  # compiles, or makes workspaces
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way, step in steppers.items():
            seconds[way] += [next(step) for _ in range(STEPS)]
    return {way: statistics.median(values) for way, values in seconds.items()}


def stepper(samples: LrSamples, layers: int, way: str) -> Iterator[float]:
    """Return a loop that does one step of this way at a time, and tells its seconds."""
    siren = Siren(SirenConfig(layers=layers)).to(samples.device)
    if way == "reference":
        network, coordinates = reference(samples, siren)
        return reference_siren.fit(network, coordinates, samples.intensity().flatten(), seed=0)
    steps = our_steps(samples, siren, mixed=way == "mixed")
    return threads.apart(steps) if samples.device.type == "cpu" else steps


def our_steps(samples: LrSamples, siren: Siren, mixed: bool) -> Generator[float, None, None]:
    """Step as `inr.fit` does, with the reference's batch and optimiser."""
    device = samples.device
    engine = Engine(siren, samples, reference_siren.BATCH, mixed, Event())
    optimiser = torch.optim.Adam(siren.parameters(), lr=reference_siren.LEARNING_RATE, fused=True)
    random = torch.Generator(device).manual_seed(0)
    sampler = Sampler(samples, reference_siren.BATCH, "random", random)
    while True:
        started = time.perf_counter()
        engine.step(*sampler.draw())
        optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        yield time.perf_counter() - started


def reference(samples: LrSamples, siren: Siren) -> tuple[torch.nn.Module, torch.Tensor]:
    """Return the reference's network, with our first weights, and every voxel's coordinates (n, 3)."""
    weights = [parameter.detach() for parameter in siren.parameters()]
    network = reference_siren.make_network(siren.config.layers, weights).to(samples.device)
    grid = torch.meshgrid(*samples.axes, indexing="ij")
    return network, torch.stack([axis.flatten() for axis in grid], dim=1)


def compare_quality(samples: LrSamples, seconds: float, equal: float, seed: int) -> dict[str, float]:
    """Return both PSNRs after `equal`, the reference's after `seconds`, and when ours reached the latter.

    Only steps count as the reference's time; all that `fit` does counts as ours, its measuring included.
    """
    device, settings = samples.device, PRESETS["default"]
    siren = Siren(SirenConfig(), seed).to(device)  # the paper's, of four layers
    network, coordinates = reference(samples, siren)
    spent, at_equal = 0.0, None
    for step in reference_siren.fit(network, coordinates, samples.intensity().flatten(), seed):
        spent += step
        if spent >= equal and at_equal is None:
            at_equal = reference_siren.psnr(network, coordinates, samples.intensity().flatten())
        if spent >= seconds:
            break
    theirs = reference_siren.psnr(network, coordinates, samples.intensity().flatten())
    config = replace(settings.fit, seed=seed, tuning_steps=0, weight_bits=16.0, least_gain=None)
    # The schedule must fit the time, so lengths are tried from short to long; failed tries count as time.
    reached, steps = 0.0, config.steps // 32
    while True:
        result = run_fit(samples, settings.field, replace(config.with_all_steps(steps), target_psnr=theirs))
        reached += result.seconds
        if result.psnr >= theirs or reached >= seconds:
            break
        steps *= 2
    short, long = (run_fit(samples, settings.field, replace(config, steps=one)).seconds for one in PROBES)
    per_step = (long - short) / (PROBES[1] - PROBES[0])
    steps = max(1, int((0.95 * equal - short) / per_step) + PROBES[0])
    ours = run_fit(samples, settings.field, config.with_all_steps(steps))
    return {
        "reference_psnr": theirs,
        "reference_psnr_equal": at_equal or theirs,
        "seconds_to_reference": reached,
        "last_try_seconds": result.seconds,
        "reached": float(result.psnr >= theirs),
        "psnr": ours.psnr,
        "seconds": ours.seconds,
    }


def run_fit(samples: LrSamples, siren: SirenConfig, config: FitConfig) -> FitResult:
    """Fit to the end."""
    steps = fit(samples, siren, config, samples.device)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def memory_alone(samples: LrSamples, way: str, layers: int) -> float:
    """Return the MB by which this process, or its memory on a GPU, grew at its peak in some steps."""
    cuda = samples.device.type == "cuda"
    held: Callable[[], float] = (lambda: torch.cuda.max_memory_allocated() / 1e6) if cuda else peak_memory
    forget_peak()  # which was that of reading the volume
    before = held()
    steps = stepper(samples, layers, way)
    for _ in range(STEPS):
        next(steps)
    return held() - before


def run_alone(source: Path | None, way: str, layers: int, device: torch.device) -> float:
    """Measure memory in a process of its own."""
    command = [sys.executable, __file__, *([] if source is None else [str(source)])]
    options = ["--alone", way, "--layers", str(layers), "--device", device.type]
    return json.loads(subprocess.run([*command, *options], check=True, stdout=subprocess.PIPE).stdout)


def as_text(figures: dict[str, Any], arguments: argparse.Namespace) -> str:
    """Return the tables."""
    source = "head phantom" if arguments.source is None else arguments.source.stem
    parts = [
        f"{source}, LR by 4 on every axis; batch {reference_siren.BATCH:,} in steps and memory. Steps:"
        f" medians of {arguments.repeats} x {STEPS}; memory: one process each; quality: medians of"
        f" {arguments.seeds} seeds. {machine()}."
    ]
    for device, found in figures.items():
        parts += [f"**{device}**, LR {' x '.join(map(str, found['lr_shape']))}", steps_table(found)]
        parts.append(quality_words(found["quality"], arguments.seconds, arguments.equal))
    return "\n\n".join(parts)


def steps_table(found: dict[str, Any]) -> str:
    """Return (a) and (d): points a second and memory, with the ratio to the reference in brackets."""
    rows = []
    for layers in LAYERS:
        seconds, memory = found["step_seconds"][layers], found["memory_megabytes"][layers]
        rates = {way: reference_siren.BATCH / seconds[way] / 1e6 for way in WAYS}
        rows.append(
            [
                str(layers),
                f"{rates['reference']:.2f}",
                *(f"{rates[way]:.2f} (**{rates[way] / rates['reference']:.1f}**)" for way in WAYS[1:]),
                " / ".join(f"{memory[way]:.0f}" for way in WAYS) + " MB",
            ]
        )
    header = ["layers", "reference, million points/s", "ours, float32", "ours, mixed"]
    return table([*header, "memory: reference / float32 / mixed"], rows)


def quality_words(quality: list[dict[str, float]], seconds: float, equal: float) -> str:
    """Return (b) and (c) in a sentence."""
    median = {name: statistics.median(run[name] for run in quality) for name in quality[0]}
    faster = statistics.median(seconds / run["seconds_to_reference"] for run in quality)
    last_try = statistics.median(seconds / run["last_try_seconds"] for run in quality)
    reached = sum(run["reached"] for run in quality)
    more = median["psnr"] - median["reference_psnr_equal"]
    return (
        f"The reference (4 layers of 128) has {median['reference_psnr']:.2f} dB after {seconds:g} s. Preset"
        f" `default` ({PRESETS['default'].field.parameters:,} weights, {SirenConfig().parameters:,} of the"
        f" reference) got there in {reached:.0f} of {len(quality)} runs, after"
        f" {median['seconds_to_reference']:.1f} s (**{faster:.0f} times sooner**), schedules that turned out"
        " too short included;"
        f" {median['last_try_seconds']:.1f} s ({last_try:.0f} times) were of the one that got there. In"
        f" {median['seconds']:.0f} s it reaches {median['psnr']:.2f} dB, the reference in {equal:g} s"
        f" {median['reference_psnr_equal']:.2f} dB: **{more:+.2f} dB**."
    )


if __name__ == "__main__":
    main()
