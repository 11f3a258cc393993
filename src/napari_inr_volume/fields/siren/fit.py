"""Fit a SIREN to an LR volume: one generator, from a fresh network or a stopped fit to the best weights.

Source: Sheibanifard and Yu 2023, sections 3.3 and 4.2: mean squared error, Adam, batches of voxels.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from copy import deepcopy
from threading import Event

import torch
from torch import Tensor

from ...coding.range_coding import encode
from ...coding.weights import QUANTISED
from ...compute import threads
from ...compute.device import errors_in_words
from ...core.errors import FitError
from ..base import FitProgress, FitResult
from ..pace import Pace
from ..psnr import measure_psnr
from ..samples import LrSamples
from .config import FitConfig, SirenConfig
from .engine import Engine
from .fit_state import FitState
from .monitoring import MONITOR, a_look, follow_every
from .network import Siren
from .optimisers import load_optimisers, make_optimisers, optimiser_tensors, set_learning_rate
from .sampling import Sampler
from .spectrum import first_scales
from .tuning import Rounding, Steps, quantised, sensitivities, steps_within

HEADROOM = 0.99  # of the bytes, for steps that are tuned: weights that move come to take a little more
POINTS = 8_192  # voxels from which is measured what rounding costs
WAY_OUT = " at batch {:,}; choose a smaller batch or the CPU"  # where memory does not suffice
SECONDS_PER_RECORD = 0.1  # progress is told at most this often


def fit(
    samples: LrSamples,
    siren_config: SirenConfig,
    config: FitConfig,
    device: torch.device,
    stop: Event | None = None,
    resume: FitState | None = None,
) -> Generator[FitProgress, None, FitResult]:
    """Fit a SIREN; yields a record about ten times a second and returns the best network.

    It is a fresh one, or continues from `resume`: on the same device, with as many threads, to the weights of
    a fit that was never stopped. Setting `stop` from another thread ends the fit within a chunk's time with
    what it has. The generator always ends by returning or with an InrError: FitError if the fit diverges,
    runs out of memory, the device fails or `resume` is of another fit.
    """
    work = records(samples, siren_config, config, device, stop, resume)
    with errors_in_words(device, WAY_OUT.format(config.batch)):
        return (yield from threads.apart(work) if device.type == "cpu" else work)


def records(
    samples: LrSamples,
    siren_config: SirenConfig,
    config: FitConfig,
    device: torch.device,
    stop: Event | None = None,
    resume: FitState | None = None,
) -> Generator[FitProgress, None, FitResult]:
    """Do what `fit` does on the thread that it is called from; what torch raises goes through."""
    made = _Fit(samples, siren_config, config, device, stop or Event(), resume)
    return (yield from made.run())


class _Fit:
    """A fit between two steps: what it is of, where it stands, and what it does next."""

    def __init__(
        self,
        samples: LrSamples,
        siren_config: SirenConfig,
        config: FitConfig,
        device: torch.device,
        stop: Event,
        resume: FitState | None,
    ) -> None:
        self.started = time.perf_counter()
        self.samples, self.config, self.device, self.stop = samples, config, device, stop
        if siren_config.slices not in (0, samples.shape[0]):
            raise FitError(
                f"the network has shifts for {siren_config.slices:,} slices, the LR has"
                f" {samples.shape[0]:,}; leave their number to the fit"
            )
        self.digest = samples.digest()
        self.siren = _fresh_siren(siren_config, config, samples)
        self.optimisers = make_optimisers(self.siren, config)
        self.random = torch.Generator(device).manual_seed(config.seed)
        self.sampler = Sampler(samples, config.batch, config.sampling, self.random)
        self.best = _Best(self.siren)
        self.step, self.psnr, self.loss = 0, 0.0, torch.zeros((), device=device)
        self.curve: list[tuple[int, float]] = []  # PSNR when it was followed: (step, dB)
        self.rounding: Rounding | None = None  # from the first step of the tuning on
        self.tuning_from: int | None = None  # steps done before it
        if resume is not None:
            self._load(resume)
        self.monitor = _monitor_index(samples, config.seed, device)
        monitored = len(samples) if self.monitor is None else len(self.monitor)
        self.follow_every = follow_every(monitored, config)
        self.monitored = monitored
        self.look: float | None = None  # seconds that looking at the PSNR took
        self.pace = Pace(self.step)
        self.engine = self._make_engine()
        # A resumed fit may have been about to end.
        self.enough = bool(self.curve) and self.curve[-1][0] == self.step and self._is_enough()
        self.stopped = False  # by the caller

    @property
    def network(self) -> Siren:
        """What is computed with: in the tuning, rounded weights."""
        return self.siren if self.rounding is None else self.rounding.siren

    @property
    def end(self) -> int:
        """The step after which it ends, as far as is known: the last record is of this step."""
        if self.tuning_from is not None:
            return self.step if self.enough else self.tuning_from + self.config.tuning_steps
        return (self.step if self.enough else self.config.steps) + self.config.tuning_steps

    @property
    def seconds(self) -> float:
        """Spent on it, interruptions left out."""
        return time.perf_counter() - self.started

    def run(self) -> Generator[FitProgress, None, FitResult]:
        """Do all steps, tuning included; yields records and returns the result."""
        config, told = self.config, 0.0
        while self.step < self.end:
            if self.rounding is None and (self.enough or self.step >= config.steps):
                self.pace.record(self.step)
                self._begin_tuning()
                self.pace.resume()
            if not self._advance():
                self.stopped = True
                break
            if self.step % self.follow_every == 0 or self.step in (config.steps, self.end):
                self._follow()
            if self.seconds - told >= SECONDS_PER_RECORD or self.step == self.end or self.enough:
                told = self.seconds
                self.pace.record(self.step)
                yield self._progress()
                self.pace.resume()
        return self._result()

    def _begin_tuning(self) -> None:
        """Go on with weights rounded to steps that are chosen here."""
        steps = _steps(self.siren, self.samples, self.monitor, self.config, HEADROOM)
        self.rounding, self.tuning_from = Rounding(self.siren, steps), self.step
        self.best, self.enough = _Best(self.rounding.siren), False
        self.engine = self._make_engine()

    def _make_engine(self) -> Engine:
        network, config = self.network, self.config
        engine = Engine(network, self.samples, config.batch, config.precision == "mixed", self.stop)
        for parameter, computed in zip(self.siren.parameters(), network.parameters(), strict=True):
            parameter.grad = computed.grad  # straight through the rounding
        return engine

    def _advance(self) -> bool:
        """Do a step, or return False if `stop` was set."""
        between_steps = self.random.get_state()
        drawn = self.sampler.draw()
        set_learning_rate(self.optimisers, self.config, self.step, self.tuning_from)
        loss = self.engine.step(*drawn)
        if loss is None:
            self.random.set_state(between_steps)  # resumed, this step is done with the same voxels
            return False
        for optimiser in self.optimisers:
            optimiser.step()
        if self.rounding is not None:
            self.rounding.refresh()
        self.loss, self.step = loss, self.step + 1
        return True

    def _follow(self) -> None:
        """Look at the PSNR. Raises FitError if the fit has diverged."""
        began = time.perf_counter()
        self.psnr = measure_psnr(self.network, self.samples, self.monitor)
        self.look = time.perf_counter() - began
        if not math.isfinite(self.psnr):
            raise FitError(
                f"the fit diverged at step {self.step:,} with learning rate {self.config.learning_rate:g};"
                " choose a smaller learning rate"
            )
        self.best.offer(self.network, self.step, self.psnr)
        self.curve.append((self.step, self.psnr))
        self.enough = self._is_enough()

    def _is_enough(self) -> bool:
        """Whether the PSNR followed last is as good as is asked for, or as it gets without tuning."""
        config = self.config
        if config.target_psnr is not None and self.psnr >= config.target_psnr:
            return measure_psnr(self.network, self.samples) >= config.target_psnr
        return self.rounding is None and is_flat(self.curve, config)

    def _progress(self) -> FitProgress:
        seconds = self.seconds
        return FitProgress(
            step=self.step,
            steps=self.end,
            loss=self.loss.item(),
            psnr=self.psnr,
            seconds=seconds,
            seconds_left=self._seconds_left(),
            field=self.network,
            state=self._state,
        )

    def _seconds_left(self) -> float | None:
        """Return how long the steps that are left and the look at the whole LR take."""
        a_step = self.pace.seconds_per_step
        if a_step is None:
            return None
        look = a_step * a_look(self.monitored, self.config) if self.look is None else self.look
        return a_step * (self.end - self.step) + look * self.samples.count / self.monitored

    def _state(self) -> FitState:
        rounding = self.rounding
        steps = None if rounding is None else {k: torch.from_numpy(v) for k, v in rounding.steps.items()}
        return FitState(
            field=self.siren.config,
            fit=self.config,
            factor=self.samples.factor,
            device=self.device.type,
            samples=self.digest,
            step=self.step,
            seconds=self.seconds,
            weights=deepcopy(dict(self.siren.state_dict())),
            optimisers=optimiser_tensors(self.optimisers),
            tuning_from=self.tuning_from,
            rounding=steps,
            curve=list(self.curve),
            random=self.random.get_state(),
            best_step=self.best.step,
            best_psnr=self.best.psnr,
            best_weights=deepcopy(self.best.tensors),
        )

    def _load(self, state: FitState) -> None:
        """Go on from what `_state` returned. Raises FitError if it is of another fit."""
        state.check(self.siren.config, self.config, self.samples.factor, self.device.type, self.digest)
        self.step, self.started = state.step, self.started - state.seconds
        self.siren.load_state_dict(state.weights)
        load_optimisers(self.optimisers, state.optimisers)
        self.random.set_state(state.random)
        self.best = _Best(self.siren, state)
        self.curve, self.tuning_from = list(state.curve), state.tuning_from
        self.psnr = self.curve[-1][1] if self.curve else 0.0
        if state.rounding is not None:
            self.rounding = Rounding(self.siren, {k: v.numpy() for k, v in state.rounding.items()})

    def _result(self) -> FitResult:
        """Return the best weights, coded, with their PSNR on the whole LR."""
        samples, config, network = self.samples, self.config, self.network
        kept = self._state() if self.stopped else None  # before these weights, which no whole fit would judge
        if self.stopped and self.step > self.best.step:
            self.best.offer(network, self.step, measure_psnr(network, samples, self.monitor))
        self.best.restore(network)
        steps = (
            _steps(network, samples, self.monitor, config) if self.rounding is None else self.rounding.steps
        )
        payload = encode(quantised(network, steps))
        if len(payload) > _most_bytes(network, config):  # the headroom was not enough; rounding twice costs
            steps = _steps(network, samples, self.monitor, config)
            payload = encode(quantised(network, steps))
        coded = Rounding(network, steps).siren
        psnr = measure_psnr(coded, samples)
        if not math.isfinite(psnr):
            raise FitError("the fit diverged: its best weights give NaN or infinity; start over")
        return FitResult(
            field=coded.cpu(),
            config=coded.config,
            payload=payload,
            coding=QUANTISED,
            steps=self.best.step,
            psnr=psnr,
            seconds=self.seconds,
            stopped=self.stopped,
            state=kept,
        )


def _fresh_siren(siren_config: SirenConfig, config: FitConfig, samples: LrSamples) -> Siren:
    """Return the network that a fit begins with, on the samples' device."""
    siren = Siren(siren_config, seed=config.seed)
    if config.first_layer == "measured":
        scales = first_scales(samples.voxels.cpu().numpy())
        with torch.no_grad():
            siren.sines[0].weight.mul_(torch.tensor(scales))
    return siren.to(samples.device)


def _steps(
    siren: Siren, samples: LrSamples, monitor: Tensor | None, config: FitConfig, share: float = 1.0
) -> Steps:
    """Return the finest steps to which the weights can be rounded within a share of their bytes."""
    some = range(min(len(samples), POINTS))
    index = torch.tensor(some, device=samples.device) if monitor is None else monitor[:POINTS]
    coordinates, _ = samples.at(index)
    return steps_within(siren, sensitivities(siren, coordinates), int(share * _most_bytes(siren, config)))


def _most_bytes(siren: Siren, config: FitConfig) -> int:
    """Return how many bytes a network may take: those of its weights, which its slices' shifts share."""
    return int(config.weight_bits * siren.config.parameters / 8)


def is_flat(curve: list[tuple[int, float]], config: FitConfig) -> bool:
    """Whether the best PSNR gained less than `least_gain` in the last half of the steps done.

    Never before half of all steps: a curve can level off and rise again once the learning rate falls.
    """
    step, _ = curve[-1]
    before = [psnr for at, psnr in curve if at <= step / 2]
    if config.least_gain is None or step < config.steps / 2 or not before:
        return False
    return max(psnr for _, psnr in curve) - max(before) < config.least_gain


def _monitor_index(samples: LrSamples, seed: int, device: torch.device) -> Tensor | None:
    """Voxels on which the PSNR is followed: all of a small LR, an even choice of a large one."""
    if samples.count <= MONITOR:
        return None
    random = torch.Generator(device).manual_seed(seed + 1)
    return samples.counting(torch.randint(samples.count, (MONITOR,), generator=random, device=device))


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
