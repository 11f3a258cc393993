"""Fit a SIREN to an LR volume: one generator, from a fresh network or a stopped fit to the best weights.

Source: Sheibanifard and Yu 2023, sections 3.3 and 4.2: mean squared error, Adam, batches of voxels.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from ..coding.range_coding import encode
from ..core.errors import FitError
from ..core.volume import Triple
from . import threads
from .config import FitConfig, SirenConfig
from .device import has_fast_bfloat16, out_of_memory
from .engine import Engine
from .fit_state import FitState
from .muon import Muon
from .sampling import Sampler
from .siren import Siren, axis_coordinates
from .spectrum import first_scales
from .tuning import Rounding, Steps, quantised, sensitivities, steps_within

MONITOR = 16_384  # voxels on which the PSNR is followed; the whole LR counts at the end
LEAST_CURVE = 15  # how often it must have been followed before it can be called flat
MONITORINGS = 60  # how often in a fit, unless it is so short that they would take much of its time
CPU_PIECE, GPU_PIECE = 2**15, 2**20  # voxels measured at once; the fit can be dropped in between
HEADROOM = 0.99  # of the bytes, for steps that are tuned: weights that move come to take a little more
POINTS = 8_192  # voxels from which is measured what rounding costs
SECONDS_PER_RECORD = 0.1  # progress is told at most this often


@dataclass(frozen=True, kw_only=True)
class FitProgress:
    """Where a fit stands."""

    step: int
    steps: int  # in all, those of the tuning included
    loss: float  # mean squared error of the last step, intensities scaled to [-1, 1]
    psnr: float  # dB (range) when last followed, on at most MONITOR voxels of the LR; 0 before the first
    seconds: float  # of fitting, interruptions left out
    seconds_left: float  # if all steps are done
    siren: Siren  # the network as it is now; look at it (a preview) before asking for the next record
    state: Callable[[], FitState]  # what to go on from; ask for it before asking for the next record


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """The best network a fit found, with its weights as they are coded."""

    siren: Siren  # on the CPU
    payload: bytes  # its coded weights, see `coding.weights`
    steps: int  # steps done when these weights were kept
    psnr: float  # dB (range) on the whole LR
    seconds: float  # of fitting, interruptions left out
    stopped: bool  # by the caller, before its last step or its target
    state: FitState | None = None  # what to go on from, if it was stopped


class LrSamples:
    """The LR's voxels as (coordinate, intensity) pairs on a device.

    Intensities are scaled to [-1, 1] by the intensity range. Beside them only one coordinate per
    row, column and slice is kept, so memory does not grow with the voxels beyond the volume itself.
    """

    def __init__(
        self,
        lr: NDArray[np.float32],  # (z, y, x)
        hr_shape: tuple[int, int, int],
        factor: Triple,
        intensity_range: tuple[float, float],
        device: torch.device,
        counted: NDArray[np.bool_] | None = None,  # (z, y, x): the voxels that the PSNR is of; None: all
        drop: Event | None = None,  # set it from another thread to end all work on the samples
    ) -> None:
        low, high = intensity_range
        self.shape = lr.shape
        self.intensity = torch.from_numpy(lr).to(device).flatten().sub(low).mul_(2 / (high - low)).sub_(1)
        self.axes = [
            axis_coordinates(length, scale, count).to(device)
            for length, scale, count in zip(hr_shape, factor, lr.shape, strict=True)
        ]
        # None rather than every index, which would take twice the memory of the LR itself.
        self.counted = None if counted is None else torch.from_numpy(np.flatnonzero(counted)).to(device)
        self._drop = drop

    def __len__(self) -> int:
        return self.intensity.numel()

    def at(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return coordinates (n, 3) and intensities (n,) of the voxels with these flat indices."""
        columns = self.shape[2]
        rows = self.shape[1] * columns
        z, y, x = self.axes
        inside = index % rows
        coordinates = torch.stack([z[index // rows], y[inside // columns], x[inside % columns]], dim=-1)
        return coordinates, self.intensity[index]

    def digest(self) -> str:
        """Return the SHA-256 of all that a fit sees of the volume: intensities, coordinates, what counts.

        Raises FitError as soon as the fit is to be dropped.
        """
        tensors = [*self.axes, self.intensity, *([] if self.counted is None else [self.counted])]
        found = hashlib.sha256(repr([len(tensor) for tensor in tensors]).encode())
        for tensor in tensors:
            for piece in torch.split(tensor, GPU_PIECE):  # a copy of the whole would double the memory
                self.raise_if_dropped()
                found.update(piece.cpu().numpy().data)
        return found.hexdigest()

    def raise_if_dropped(self) -> None:
        """Raise FitError if the fit is to be dropped."""
        if self._drop is not None and self._drop.is_set():
            raise FitError("the fit was dropped; nothing of it is kept")

    def chunks(self, index: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the samples with these flat indices, or all that count, in pieces that suit the device.

        Raises FitError as soon as the fit is to be dropped.
        """
        device = self.intensity.device
        index = self.counted if index is None else index
        count = len(self) if index is None else len(index)
        piece = CPU_PIECE if device.type == "cpu" else GPU_PIECE
        for start in range(0, count, piece):
            self.raise_if_dropped()
            end = min(start + piece, count)
            yield self.at(torch.arange(start, end, device=device) if index is None else index[start:end])


def fit(
    samples: LrSamples,
    siren_config: SirenConfig,
    config: FitConfig,
    device: torch.device,
    stop: Event | None = None,
    resume: FitState | None = None,
) -> Generator[FitProgress, None, FitResult]:
    """Fit a SIREN; yields a record about ten times a second and returns the best network.

    It is a fresh one, or goes on from `resume`: on the same device, with as many threads, to the weights of
    a fit that was never stopped. Setting `stop` from another thread ends the fit within a chunk's time with
    what it has. The generator always ends by returning or with an InrError: FitError if the fit diverges,
    runs out of memory, the device fails or `resume` is of another fit.
    """
    with errors_in_words(config, device):
        steps = _fit(samples, siren_config, config, device, stop or Event(), resume)
        return (yield from threads.apart(steps) if device.type == "cpu" else steps)


def _fit(
    samples: LrSamples,
    siren_config: SirenConfig,
    config: FitConfig,
    device: torch.device,
    stop: Event,
    resume: FitState | None,
) -> Generator[FitProgress, None, FitResult]:
    started = time.perf_counter()
    digest = samples.digest()
    siren = _fresh_siren(siren_config, config, samples)
    optimisers = _optimisers(siren, config)
    random = torch.Generator(device).manual_seed(config.seed)
    sampler = Sampler(samples.shape, config.batch, config.sampling, random, device)
    best = _Best(siren)
    step, psnr, loss, told = 0, 0.0, torch.zeros((), device=device), 0.0
    curve: list[tuple[int, float]] = []
    rounding: Rounding | None = None
    tuning_from: int | None = None
    if resume is not None:
        resume.check(siren_config, config, device.type, digest)
        step, started = resume.step, started - resume.seconds
        siren.load_state_dict(resume.weights)
        _load_optimisers(optimisers, resume.optimisers)
        random.set_state(resume.random)
        best = _Best(siren, resume)
        curve, tuning_from = list(resume.curve), resume.tuning_from
        psnr = curve[-1][1] if curve else 0.0
        if resume.rounding is not None:
            rounding = Rounding(siren, {name: codes.numpy() for name, codes in resume.rounding.items()})
    network = siren if rounding is None else rounding.siren  # what is computed with
    monitor = _monitor_index(samples, config.seed, device)
    follow_every = _follow_every(len(samples) if monitor is None else len(monitor), config)

    def make_engine() -> Engine:
        engine = Engine(network, samples, config.batch, config.precision == "mixed", stop)
        for parameter, computed in zip(siren.parameters(), network.parameters(), strict=True):
            parameter.grad = computed.grad  # straight through the rounding
        return engine

    def state() -> FitState:
        return FitState(
            siren=siren_config,
            fit=config,
            device=device.type,
            samples=digest,
            step=step,
            seconds=time.perf_counter() - started,
            weights=deepcopy(dict(siren.state_dict())),
            optimisers=_optimiser_states(optimisers),
            tuning_from=tuning_from,
            rounding=None
            if rounding is None
            else {name: torch.from_numpy(codes) for name, codes in rounding.steps.items()},
            curve=list(curve),
            random=random.get_state(),
            best_step=best.step,
            best_psnr=best.psnr,
            best_weights=deepcopy(best.tensors),
        )

    def is_enough() -> bool:
        """Whether the PSNR followed last is as good as is asked for, or as it gets without tuning."""
        if config.target_psnr is not None and psnr >= config.target_psnr:
            return measure_psnr(network, samples) >= config.target_psnr
        return config.least_gain is not None and rounding is None and _gain(curve) < config.least_gain

    engine = make_engine()
    end = config.all_steps if tuning_from is None else tuning_from + config.tuning_steps
    enough = bool(curve) and curve[-1][0] == step and is_enough()  # a resumed fit may have been about to end
    stopped = False  # by the caller
    while step < end and not (enough and rounding is not None):
        if rounding is None and (enough or step >= config.steps):
            if config.tuning_steps == 0:
                break
            rounding, tuning_from, end = (
                Rounding(siren, _steps(siren, samples, monitor, config, HEADROOM)),
                step,
                step + config.tuning_steps,
            )
            network, best, enough = rounding.siren, _Best(rounding.siren), False
            engine = make_engine()
        between_steps = random.get_state()
        index = sampler.draw()
        _set_learning_rate(optimisers, config, step, tuning_from)
        step_loss = engine.step(index)
        if step_loss is None:
            random.set_state(between_steps)  # resumed, this step is done with the same voxels
            stopped = True
            break
        for optimiser in optimisers:
            optimiser.step()
        if rounding is not None:
            rounding.refresh()
        loss, step = step_loss, step + 1

        if step % follow_every == 0 or step in (config.steps, end):
            psnr = measure_psnr(network, samples, monitor)
            if not math.isfinite(psnr):
                raise FitError(
                    f"the fit diverged at step {step:,} with learning rate {config.learning_rate:g};"
                    " choose a smaller learning rate"
                )
            best.offer(network, step, psnr)
            curve.append((step, psnr))
            enough = is_enough()

        seconds = time.perf_counter() - started
        if seconds - told >= SECONDS_PER_RECORD or step == end or enough:
            told = seconds
            yield FitProgress(
                step=step,
                steps=end,
                loss=loss.item(),
                psnr=psnr,
                seconds=seconds,
                seconds_left=seconds / step * (end - step),
                siren=network,
                state=state,
            )

    kept = state() if stopped else None  # before these weights are judged, which no whole fit would do here
    if stopped and step > best.step:
        best.offer(network, step, measure_psnr(network, samples, monitor))
    best.restore(network)
    steps = _steps(network, samples, monitor, config) if rounding is None else rounding.steps
    payload = encode(quantised(network, steps))
    if len(payload) > _most_bytes(siren, config):  # the headroom was not enough; rounding twice costs
        steps = _steps(network, samples, monitor, config)
        payload = encode(quantised(network, steps))
    coded = Rounding(network, steps).siren
    psnr = measure_psnr(coded, samples)
    seconds = time.perf_counter() - started
    return FitResult(
        siren=coded.cpu(),
        payload=payload,
        steps=best.step,
        psnr=psnr,
        seconds=seconds,
        stopped=stopped,
        state=kept,
    )


def _fresh_siren(siren_config: SirenConfig, config: FitConfig, samples: LrSamples) -> Siren:
    """Return the network that a fit begins with, on the samples' device."""
    siren = Siren(siren_config, seed=config.seed)
    if config.first_layer == "measured":
        scales = first_scales(samples.intensity.view(samples.shape).cpu().numpy())
        with torch.no_grad():
            siren.sines[0].weight.mul_(torch.tensor(scales))
    return siren.to(samples.intensity.device)


def _steps(
    siren: Siren, samples: LrSamples, monitor: Tensor | None, config: FitConfig, share: float = 1.0
) -> Steps:
    """Return the finest steps to which the weights can be rounded within a share of their bytes."""
    index = torch.arange(len(samples), device=samples.intensity.device) if monitor is None else monitor
    coordinates, _ = samples.at(index[:POINTS])
    return steps_within(siren, sensitivities(siren, coordinates), int(share * _most_bytes(siren, config)))


def _most_bytes(siren: Siren, config: FitConfig) -> int:
    return int(config.weight_bits * siren.config.parameters / 8)


def _gain(curve: list[tuple[int, float]]) -> float:
    """Return the dB that the best PSNR gained in the last fifth of the steps; infinity if it is too early."""
    step, _ = curve[-1]
    before = [psnr for at, psnr in curve if at <= 0.8 * step]
    if len(curve) < LEAST_CURVE:
        return math.inf
    return max(psnr for _, psnr in curve) - max(before)


def measure_psnr(siren: Siren, samples: LrSamples, index: Tensor | None = None) -> float:
    """PSNR (range) in dB of the network at these voxels, or at all that count; NaN if it diverged."""
    total, count = 0.0, 0
    for coordinates, intensity in samples.chunks(index):
        total += (siren.at(coordinates) - intensity).square().sum().item()
        count += len(intensity)
    mse = total / count
    return 10 * math.log10(4 / mse) if mse > 0 else math.inf if mse == 0 else math.nan


def _optimisers(siren: Siren, config: FitConfig) -> list[Optimizer]:
    """Adam for everything, or Muon (Jordan et al. 2024) for the hidden matrices and Adam for the rest."""
    device = siren.linear.weight.device
    fused = device.type in ("cpu", "cuda")  # one pass over each tensor
    if config.optimiser == "adam":
        return [torch.optim.Adam(siren.parameters(), lr=config.learning_rate, fused=fused)]
    tensors = dict(siren.named_parameters())
    hidden = [tensors.pop(f"sine.{layer}.weight") for layer in range(1, siren.config.layers)]
    rest = tensors.values()
    dtype = torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    return [
        Muon(hidden, lr=config.learning_rate, dtype=dtype),
        torch.optim.Adam(rest, lr=config.learning_rate, fused=fused),
    ]


def _optimiser_states(optimisers: list[Optimizer]) -> list[dict[str, Any]]:
    """Return copies of all that the optimisers remember; Muon's is its momentum."""
    return [
        deepcopy({"momentum": optimiser.momentum} if isinstance(optimiser, Muon) else optimiser.state_dict())
        for optimiser in optimisers
    ]


def _load_optimisers(optimisers: list[Optimizer], states: list[dict[str, Any]]) -> None:
    """Put back what `_optimiser_states` returned."""
    for optimiser, state in zip(optimisers, states, strict=True):
        if isinstance(optimiser, Muon):
            optimiser.momentum.copy_(state["momentum"])
        else:
            optimiser.load_state_dict(deepcopy(state))  # which would take the tensors themselves


def _set_learning_rate(
    optimisers: list[Optimizer], config: FitConfig, step: int, tuning_from: int | None
) -> None:
    """Constant as in the paper, or a half cosine over all steps; tuning brings either to nothing."""
    rate = _scheduled(config, step if tuning_from is None else tuning_from)
    if tuning_from is not None:
        rate *= _half_cosine((step - tuning_from) / config.tuning_steps)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate


def _scheduled(config: FitConfig, step: int) -> float:
    shrinks = config.schedule == "cosine"
    return config.learning_rate * (_half_cosine(step / config.all_steps) if shrinks else 1.0)


def _half_cosine(part: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * part))


def _follow_every(monitored: int, config: FitConfig) -> int:
    """Return how many steps lie between two looks at the PSNR: at least twenty times the look's own time.

    A voxel costs three times as much in a step as in a look: forward, and back to features and weights.
    """
    return max(1, config.all_steps // MONITORINGS, 20 * monitored // (3 * config.batch))


def _monitor_index(samples: LrSamples, seed: int, device: torch.device) -> Tensor | None:
    """Voxels on which the PSNR is followed: all of a small LR, an even choice of a large one."""
    count = len(samples) if samples.counted is None else len(samples.counted)
    if count <= MONITOR:
        return None
    random = torch.Generator(device).manual_seed(seed + 1)
    chosen = torch.randint(count, (MONITOR,), generator=random, device=device)
    return chosen if samples.counted is None else samples.counted[chosen]


class _Best:
    """The weights with the highest PSNR so far."""

    def __init__(self, siren: Siren, resume: FitState | None = None) -> None:
        self.step, self.psnr = 0, -math.inf
        self.tensors = {name: tensor.clone() for name, tensor in siren.state_dict().items()}
        if resume is not None:
            self.step, self.psnr = resume.best_step, resume.best_psnr
            for name, tensor in resume.best_weights.items():
                self.tensors[name].copy_(tensor)

    def offer(self, siren: Siren, step: int, psnr: float) -> None:
        if psnr > self.psnr:
            self.step, self.psnr = step, psnr
            for name, tensor in siren.state_dict().items():
                self.tensors[name].copy_(tensor)

    def restore(self, siren: Siren) -> None:
        siren.load_state_dict(self.tensors)


@contextmanager
def errors_in_words(config: FitConfig, device: torch.device) -> Iterator[None]:
    """Turn torch's RuntimeErrors into a FitError, which no worker swallows."""
    try:
        yield
    except RuntimeError as error:
        if out_of_memory(error):
            raise FitError(
                f"{device} ran out of memory at batch {config.batch:,}; choose a smaller batch or the CPU"
            ) from error
        raise FitError(f"the fit failed on {device}: {str(error).splitlines()[0]}") from error
