"""Train a super-resolution network: one generator, from fresh weights or a checkpoint to the finished ones.

Source: Tong et al. 2017, section 4, for the patches and the mean squared error; the residual over Lanczos,
the moving average of the weights and the schedule are ours.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..compute.device import has_fast_bfloat16
from ..core.atomic import atomic_write
from ..core.errors import TrainingError
from ..core.metrics import psnr
from .factors import FACTORS
from .model_file import NETWORKS
from .network import Network
from .pairs import Pair, PatchConfig, Patches
from .upscale import LanczosUpscaler, NetworkUpscaler, Upscaler

WARM_UP = 200  # steps over which the learning rate rises
LARGEST_GRADIENT = 0.1  # norm at which gradients are clipped: a metal edge is not to undo the weights
SECONDS_PER_RECORD = 0.2  # progress is told at most this often
SECONDS_PER_CHECKPOINT = 60.0  # what a killed run loses at most


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a network is trained. Raises TrainingError on a value that cannot work."""

    network: str = "span"  # one of model_file.NETWORKS
    factor: int = 4  # HR voxels per LR voxel along y and x: of the pairs, and of the network
    steps: int = 20_000
    learning_rate: float = 5e-4  # at its highest; a half cosine leads down to nothing
    average: float = 0.999  # how much of the moving average of the weights a step keeps
    patches: PatchConfig = field(default_factory=PatchConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise TrainingError(f"there is no network {self.network!r}; choose one of {', '.join(NETWORKS)}")
        if self.factor not in FACTORS:
            raise TrainingError(f"factor must be {' or '.join(map(str, FACTORS))}, got {self.factor}")
        if not 1 <= self.steps <= 100_000_000:
            raise TrainingError(f"steps must be from 1 to 100,000,000, got {self.steps}")
        if not 1e-8 <= self.learning_rate <= 1:
            raise TrainingError(f"learning_rate must be from 1e-08 to 1, got {self.learning_rate:g}")
        if not 0 <= self.average < 1:
            raise TrainingError(f"average must be from 0 to below 1, got {self.average:g}")


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a network makes of one validation pair. PSNR in dB, the peak is the volume's intensity range."""

    volume: str
    kind: str
    psnr: float
    lanczos_psnr: float

    @property
    def gain(self) -> float:
        """How far the network is above plain Lanczos, dB."""
        return self.psnr - self.lanczos_psnr


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How good the averaged weights were after a step."""

    step: int
    seconds: float  # of training until then, interruptions left out
    loss: float  # mean over the steps since the last validation
    scores: tuple[Score, ...]


@dataclass(frozen=True, kw_only=True)
class TrainProgress:
    """Where training stands."""

    step: int
    steps: int
    seconds: float  # of training, interruptions left out
    seconds_left: float
    loss: float  # mean since the last validation
    history: tuple[Validation, ...]  # one more after each validation


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The averaged weights, and how they came to be."""

    network: Network  # on the CPU
    step: int
    seconds: float
    history: tuple[Validation, ...]
    stopped: bool  # by the caller, before the last step; the checkpoint is there to resume from


def train(
    pairs: Sequence[Pair],
    validation: Sequence[Pair],
    config: TrainConfig,
    checkpoint: Path,
    device: torch.device,
    *,
    validate_every: int = 500,
    stop: Event | None = None,
) -> Generator[TrainProgress, None, TrainResult]:
    """Train a network on `pairs`; yields progress and returns the averaged weights.

    `checkpoint` is written every minute and when `stop` is set. Where it exists, training resumes
    from it, with the batches that would have come next. Raises TrainingError if the checkpoint is of
    other settings or the training diverges.
    """
    stop = stop or Event()
    patches = Patches(pairs, config.patches, config.factor, config.seed)
    network, average = _fresh(config, device), _fresh(config, device)
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))
    mixed = has_fast_bfloat16(device)
    state = _State()
    if checkpoint.exists():
        state = _resume(checkpoint, config, network, average, optimiser, device)
    if not state.history:  # where Lanczos stands
        scores = validate(average, validation, device)
        state.history = (Validation(step=0, seconds=0.0, loss=math.nan, scores=scores),)

    started, told, saved = time.perf_counter() - state.seconds, 0.0, state.seconds
    while state.step < config.steps and not stop.is_set():
        lr, wanted = (tensor.to(device) for tensor in patches.batch(state.step))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(config, state.step)
        state.losses.append(_step(network, optimiser, lr, wanted, mixed=mixed))
        state.step += 1
        _follow(average, network, min(config.average, state.step / (10 + state.step)))
        state.check(config, checkpoint)
        state.seconds = time.perf_counter() - started
        if state.step % validate_every == 0 or state.step == config.steps:
            scores = validate(average, validation, device)
            state.seconds = time.perf_counter() - started
            state.judge(scores)
        if state.seconds - saved >= SECONDS_PER_CHECKPOINT or state.step == config.steps:
            saved = state.seconds
            _save(checkpoint, config, state, network, average, optimiser)
        if state.seconds - told >= SECONDS_PER_RECORD or state.step == config.steps:
            told = state.seconds
            yield _progress(state, config)
    stopped = state.step < config.steps
    if stopped:
        _save(checkpoint, config, state, network, average, optimiser)
    return TrainResult(
        network=average.cpu().eval(),
        step=state.step,
        seconds=state.seconds,
        history=state.history,
        stopped=stopped,
    )


def _step(
    network: Network, optimiser: torch.optim.Optimizer, lr: Tensor, wanted: Tensor, *, mixed: bool
) -> float:
    """Train on a batch of patches: LR (n, 1, h, w) and what is wanted beside Lanczos; returns the loss."""
    with torch.autocast(lr.device.type, torch.bfloat16, enabled=mixed):
        difference = network(lr.contiguous(memory_format=torch.channels_last))
    loss = nn.functional.mse_loss(difference.float(), wanted)
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
    optimiser.step()
    return loss.item()


def _progress(state: _State, config: TrainConfig) -> TrainProgress:
    return TrainProgress(
        step=state.step,
        steps=config.steps,
        seconds=state.seconds,
        seconds_left=state.seconds / state.step * (config.steps - state.step),
        loss=float(np.mean(state.losses)) if state.losses else state.history[-1].loss,
        history=state.history,
    )


def learning_rate(config: TrainConfig, step: int) -> float:
    """Rise over the first steps, then half a cosine down to nothing at the last."""
    warm = min(1.0, (step + 1) / min(WARM_UP, config.steps))
    return config.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def validate(network: Network, pairs: Sequence[Pair], device: torch.device) -> tuple[Score, ...]:
    """Compare the network with plain Lanczos on whole slices of volumes that it never sees in training."""
    lanczos = LanczosUpscaler((network.factor, network.factor))
    upscalers: tuple[Upscaler, ...] = (NetworkUpscaler(network, device), lanczos)
    scores = []
    for pair in pairs:
        low, high = pair.window
        lr = (pair.lr - low) / (high - low)
        errors = np.zeros(len(upscalers))  # mean squared, of the network and of Lanczos
        for plane, hr in zip(lr, pair.hr, strict=True):
            wanted = (np.clip(hr.astype(np.float32), low, high) - low) / (high - low)
            for index, upscaler in enumerate(upscalers):
                found = np.clip(upscaler(plane[np.newaxis], wanted.shape)[0], 0.0, 1.0)
                errors[index] += np.square(found - wanted, dtype=np.float64).mean() / len(lr)
        restored, plain = (psnr(float(error), 1.0) for error in errors)
        scores.append(Score(volume=pair.volume, kind=pair.kind, psnr=restored, lanczos_psnr=plain))
    return tuple(scores)


@dataclass
class _State:
    """What of a training run changes, beside tensors."""

    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)  # since the last validation
    history: tuple[Validation, ...] = ()

    def judge(self, scores: tuple[Score, ...]) -> None:
        """Note what a validation found, with the mean loss since the last one."""
        loss = float(np.mean(self.losses))
        self.history += (Validation(step=self.step, seconds=self.seconds, loss=loss, scores=scores),)
        self.losses = []

    def check(self, config: TrainConfig, checkpoint: Path) -> None:
        """Raise TrainingError if the last loss is no number."""
        if not math.isfinite(self.losses[-1]):
            raise TrainingError(
                f"training diverged at step {self.step:,} with learning rate {config.learning_rate:g};"
                f" delete {checkpoint} and choose a smaller one"
            )


def _fresh(config: TrainConfig, device: torch.device) -> Network:
    """Return the network as it begins; the seed leaves torch's global generator alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = NETWORKS[config.network](config.factor)
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


@torch.no_grad()
def _follow(average: Network, network: Network, kept: float) -> None:
    """Move the averaged weights towards those of the network."""
    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1 - kept)


def _save(
    checkpoint: Path,
    config: TrainConfig,
    state: _State,
    network: Network,
    average: Network,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write everything that is needed to resume as if nothing had happened."""
    content = {
        "config": asdict(config),
        "state": asdict(state),
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    with atomic_write(checkpoint) as temporary:
        torch.save(content, temporary)


def _resume(
    checkpoint: Path,
    config: TrainConfig,
    network: Network,
    average: Network,
    optimiser: torch.optim.Optimizer,
    device: torch.device,
) -> _State:
    """Put the tensors back and return where training stood."""
    try:
        content: dict[str, Any] = torch.load(checkpoint, map_location=device, weights_only=True)
        before = content["config"]
    except Exception as error:  # torch.load raises whatever its zip and pickle readers raise
        raise TrainingError(f"{checkpoint} cannot be read; delete it to start over") from error
    now = asdict(config)
    other = [name for name in now if before.get(name) != now[name]]
    if other:
        raise TrainingError(
            f"{checkpoint} was trained with other settings ({', '.join(other)}); give the same settings to"
            " resume it, give another output, or delete it to start over"
        )
    network.load_state_dict(content["network"])
    average.load_state_dict(content["average"])
    optimiser.load_state_dict(content["optimiser"])
    state = content["state"]
    history = tuple(
        Validation(**{**entry, "scores": tuple(Score(**score) for score in entry["scores"])})
        for entry in state.pop("history")
    )
    return _State(**state, history=history)
