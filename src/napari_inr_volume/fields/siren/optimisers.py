"""What moves the weights of a SIREN: Adam, or Muon for the hidden matrices; their rates and their memory."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ...compute.adam import Adam
from ...compute.device import has_fast_bfloat16
from .config import FitConfig, SirenConfig
from .muon import Muon
from .network import Siren

MOMENTUM = "momentum"  # of Muon, by name
MEMORY = ("step", "exp_avg", "exp_avg_sq")  # of each of Adam's tensors, by the names that torch uses

Optimiser = Adam | Muon


def make_optimisers(siren: Siren, config: FitConfig) -> list[Optimiser]:
    """Adam for everything, or Muon (Jordan et al. 2024) for the hidden matrices and Adam for the rest."""
    device = siren.linear.weight.device
    fused = device.type in ("cpu", "cuda")  # one pass over each tensor
    if config.optimiser == "adam":
        return [Adam(siren.parameters(), config.learning_rate, fused=fused)]
    tensors = dict(siren.named_parameters())
    hidden = [tensors.pop(f"sine.{layer}.weight") for layer in range(1, siren.config.layers)]
    rest = tensors.values()
    dtype = torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    return [
        Muon(hidden, learning_rate=config.learning_rate, dtype=dtype),
        Adam(rest, config.learning_rate, fused=fused),
    ]


def optimiser_tensors(optimisers: list[Optimiser]) -> dict[str, Tensor]:
    """Return copies of all that the optimisers remember, named as in `optimiser_shapes`."""
    found = {}
    for optimiser in optimisers:
        if isinstance(optimiser, Muon):
            found[MOMENTUM] = optimiser.momentum.clone()
        else:
            for index, memory in enumerate(optimiser.memory):
                found |= {f"{index}.{name}": memory[at].clone() for at, name in enumerate(MEMORY)}
    return found


def optimiser_shapes(siren: SirenConfig, config: FitConfig, step: int) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of what the optimisers of such a fit remember after so many steps.

    That is Muon's momentum, and of each of Adam's tensors the steps done and two means.
    """
    shapes = {name: layout.shape for name, layout in siren.layouts.items()}
    found: dict[str, tuple[int, ...]] = {}
    if config.optimiser == "muon":
        hidden = [shapes.pop(f"sine.{layer}.weight") for layer in range(1, siren.layers)]
        found[MOMENTUM] = (len(hidden), *hidden[0])
    for index, shape in enumerate(shapes.values() if step else ()):
        found |= {f"{index}.{name}": () if name == "step" else shape for name in MEMORY}
    return found


def load_optimisers(optimisers: list[Optimiser], tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimiser_tensors` returned."""
    for optimiser in optimisers:
        if isinstance(optimiser, Muon):
            optimiser.momentum.copy_(tensors[MOMENTUM])
        elif f"0.{MEMORY[0]}" in tensors:
            optimiser.memory = [
                optimiser.placed(*(tensors[f"{index}.{name}"].clone() for name in MEMORY))
                for index in range(len(optimiser.parameters))
            ]


def set_learning_rate(
    optimisers: list[Optimiser], config: FitConfig, step: int, tuning_from: int | None
) -> None:
    """Constant as in the paper, or a half cosine over all steps; tuning brings either to nothing."""
    rate = _scheduled(config, step if tuning_from is None else tuning_from)
    if tuning_from is not None:
        rate *= _half_cosine((step - tuning_from) / config.tuning_steps)
    for optimiser in optimisers:
        optimiser.learning_rate = rate


def _scheduled(config: FitConfig, step: int) -> float:
    shrinks = config.schedule == "cosine"
    return config.learning_rate * (_half_cosine(step / config.all_steps) if shrinks else 1.0)


def _half_cosine(part: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * part))
