"""Where a fit of a SIREN stood: all it needs to resume as if it had never stopped, in memory or as bytes.

They hold fit data and nothing of its source. Who can write them can put a checksum right, so nothing in them
is believed: tensors must be those that the settings ask for.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ...coding.quantise import STEP_CODES
from ...core.checks import check_number, check_whole
from ...core.choices import Device
from ...core.errors import FitError
from ...core.volume import Triple
from ..settings import check_factor
from .config import FitConfig, SirenConfig
from .optimisers import optimiser_shapes

OTHER_VOLUME = "the fit to resume is of another volume; give the one that it was started with, or start over"
MAX_HEADER = 2**20  # bytes of names, shapes and all else that is no tensor
MAX_RANDOM = 10_000  # bytes of a generator's state: 5,056 on a CPU
GROUPS = ("weights", "best_weights", "optimisers", "rounding")  # of tensors with names
PLAIN = ["factor", "device", "samples", "step", "seconds", "tuning_from", "curve", "best_step", "best_psnr"]


@dataclass(frozen=True, kw_only=True, eq=False)
class FitState:
    """A fit between two steps. Its tensors are its own: no later step changes them."""

    field: SirenConfig
    fit: FitConfig
    factor: Triple  # of the LR that is fitted
    device: str  # its type, never auto: random numbers differ between them
    samples: str  # `LrSamples.digest` of what is fitted
    step: int  # steps done
    seconds: float  # spent on them
    weights: dict[str, Tensor]  # of the network, as `SirenConfig.layouts` names them
    optimisers: dict[str, Tensor]  # what they remember, see `fields.siren.optimisers`
    tuning_from: int | None  # step after which weights were rounded; None: not yet
    rounding: dict[str, Tensor] | None  # to what steps, see `fields.siren.tuning`
    curve: list[tuple[int, float]]  # PSNR when it was followed: (step, dB)
    random: Tensor  # state of the generator that draws the voxels of a step
    best_step: int  # when the weights below were kept; 0: not followed yet
    best_psnr: float  # dB (range), on the voxels on which the PSNR is followed; -inf: not followed yet
    best_weights: dict[str, Tensor]

    def check(self, siren: SirenConfig, fit: FitConfig, factor: Triple, device: str, samples: str) -> None:
        """Raise FitError, naming what differs, if it is not the state of such a fit."""
        before = {**asdict(self.field), **asdict(self.fit), "factor": self.factor, "device": self.device}
        now = {**asdict(siren), **asdict(fit), "factor": factor, "device": device}
        check_same(before, now)
        if self.samples != samples:
            raise FitError(OTHER_VOLUME)


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], leaving_out: Sequence[str] = ()) -> None:
    """Raise FitError, naming what differs, if a fit was started with other settings than these."""
    names = [name for name in now if name not in leaving_out and before[name] != now[name]]
    if names:
        other = "; ".join(f"{name} was {before[name]}, now {now[name]}" for name in names)
        raise FitError(
            f"the fit to resume was started with other settings: {other};"
            " give the same settings, or start over"
        )


def to_bytes(state: FitState) -> bytes:
    """Return the state as safetensors, with everything that is no tensor as JSON in their metadata."""
    plain = {name: getattr(state, name) for name in PLAIN}
    plain |= {"field": asdict(state.field), "fit": asdict(state.fit)}
    plain["best_psnr"] = state.best_psnr if state.best_step else None  # JSON has no infinity
    tensors = {"random": state.random}
    for group in GROUPS:
        named = getattr(state, group) or {}
        tensors |= {f"{group}/{name}": tensor.cpu().contiguous() for name, tensor in named.items()}
    return save(tensors, metadata={"fit": json.dumps(plain, sort_keys=True)})


def from_bytes(body: bytes) -> FitState:
    """Return the state that `to_bytes` gave, its tensors on the CPU, all of it checked.

    Raises FitError on what no fit leaves behind.
    """
    try:
        return _parsed(body)
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise FitError("it does not hold the state of a fit") from error


def _parsed(body: bytes) -> FitState:
    """Return the state; raises FitError, and what json, safetensors and look-ups raise on nonsense."""
    length = int.from_bytes(body[:8], "little")
    if length > MAX_HEADER:
        raise FitError(f"it declares {length:,} bytes of settings, at most {MAX_HEADER:,} are allowed")
    plain = json.loads(json.loads(body[8 : 8 + length])["__metadata__"]["fit"])
    siren, fit = SirenConfig(**plain["field"]), FitConfig(**plain["fit"])
    values = {name: plain[name] for name in PLAIN}
    _check_plain(fit, **values)
    values["factor"] = tuple(values["factor"])
    tensors = load(body)
    random = tensors.pop("random")
    kinds = _tensors_of(siren, fit, values["step"], tuned=values["tuning_from"] is not None)
    _check_tensors(tensors, kinds)
    _check_random(random, values["device"])
    groups: dict[str, dict[str, Tensor]] = {group: {} for group in GROUPS}
    for name in kinds:
        group, _, inner = name.partition("/")
        groups[group][inner] = tensors[name]
    return FitState(
        field=siren,
        fit=fit,
        random=random,
        weights=groups["weights"],
        best_weights=groups["best_weights"],
        optimisers=groups["optimisers"],
        rounding=groups["rounding"] or None,
        curve=[(at, psnr) for at, psnr in values.pop("curve")],
        best_psnr=-math.inf if values.pop("best_psnr") is None else plain["best_psnr"],
        **values,
    )


def _check_plain(
    fit: FitConfig,
    *,
    factor: Any,
    device: object,
    samples: object,
    step: Any,
    seconds: object,
    tuning_from: Any,
    curve: Any,
    best_step: object,
    best_psnr: object,
) -> None:
    """Raise FitError unless a fit can stand there."""
    check_factor(factor)
    if device not in get_args(Device)[1:]:
        raise FitError("it names an unknown device")
    if not isinstance(samples, str) or not re.fullmatch("[0-9a-f]{64}", samples):
        raise FitError("the hash of its volume is malformed")
    check_number("seconds", seconds, 0.0, 1e12)
    if tuning_from is None:
        check_whole("step", step, 0, fit.steps)
    else:
        check_whole("tuning_from", tuning_from, 0, fit.steps)
        check_whole("step", step, tuning_from, tuning_from + fit.tuning_steps)
    before = 0
    for at, psnr in curve:
        check_whole("a step of the curve", at, before + 1, step)
        check_number("a PSNR of the curve", psnr, -1e4, 1e4)
        before = at
    check_whole("best_step", best_step, 0, step)
    if best_step or best_psnr is not None:
        check_number("best_psnr", best_psnr, -1e4, 1e4)


Kinds = dict[str, tuple[torch.dtype, tuple[int, ...]]]  # of tensors, by name


def _tensors_of(siren: SirenConfig, fit: FitConfig, step: int, *, tuned: bool) -> Kinds:
    """Return the tensors that the state of such a fit has, the generator's aside."""
    shapes = {
        f"{group}/{name}": layout.shape for group in GROUPS[:2] for name, layout in siren.layouts.items()
    }
    shapes |= {f"optimisers/{name}": shape for name, shape in optimiser_shapes(siren, fit, step).items()}
    kinds: Kinds = {name: (torch.float32, shape) for name, shape in shapes.items()}
    if tuned:
        for name, layout in siren.layouts.items():
            kinds[f"rounding/{name}"] = (torch.int32, layout.row_shape[:1])
    return kinds


def _check_tensors(tensors: Mapping[str, Tensor], kinds: Kinds) -> None:
    """Raise FitError unless these are the tensors asked for, of finite numbers and known steps."""
    if {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()} != kinds:
        raise FitError("its tensors do not match its settings")
    for name, tensor in tensors.items():
        low, high = STEP_CODES if tensor.dtype == torch.int32 else (-math.inf, math.inf)
        if not bool(((tensor >= low) & (tensor <= high) & tensor.isfinite()).all()):
            raise FitError(f"its tensor {name} holds numbers that no fit produces")


def _check_random(random: Tensor, device: str) -> None:
    """Raise FitError unless this can be the state of a random generator; only a CPU's can be tried here."""
    if random.dtype != torch.uint8 or random.ndim != 1 or len(random) > MAX_RANDOM:
        raise FitError("the state of its random numbers is malformed")
    if device == "cpu":
        try:
            torch.Generator().set_state(random)
        except RuntimeError as error:
            raise FitError("the state of its random numbers is malformed") from error
