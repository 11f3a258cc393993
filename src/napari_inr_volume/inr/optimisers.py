"""What moves the weights of a SIREN: Adam, or Muon for the hidden matrices; their rates and their memory."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import torch
from torch.optim import Optimizer

from .config import FitConfig
from .device import has_fast_bfloat16
from .muon import Muon
from .siren import Siren


def make_optimisers(siren: Siren, config: FitConfig) -> list[Optimizer]:
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


def optimiser_states(optimisers: list[Optimizer]) -> list[dict[str, Any]]:
    """Return copies of all that the optimisers remember; Muon's is its momentum."""
    return [
        deepcopy({"momentum": optimiser.momentum} if isinstance(optimiser, Muon) else optimiser.state_dict())
        for optimiser in optimisers
    ]


def load_optimisers(optimisers: list[Optimizer], states: list[dict[str, Any]]) -> None:
    """Put back what `optimiser_states` returned."""
    for optimiser, state in zip(optimisers, states, strict=True):
        if isinstance(optimiser, Muon):
            optimiser.momentum.copy_(state["momentum"])
        else:
            optimiser.load_state_dict(deepcopy(state))  # which would take the tensors themselves


def set_learning_rate(
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
