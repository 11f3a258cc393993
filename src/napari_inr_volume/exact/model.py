"""A context network in float32, as it is fitted: the bits that it spends, its shipped start, its rounding."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from .contexts import Contexts
from .counts import TOTAL
from .network import OUTPUTS, UNITS, Layer
from .tables import FEATURE, MIXED, PARTS

LARGEST = FEATURE / PARTS  # of a feature
SEED = 20230303
SHARE = 0.5  # of the shipped weights in a start
RANDOM = Lock()  # of torch's generator, which all threads share
SHIPPED = Path(__file__).with_name("start.safetensors")  # by scripts/train_start.py, see docs/models.md


class ContextModel(nn.Module):
    """What predicts a level's distribution from its contexts, in floats."""

    def __init__(self, contexts: Contexts, features: int) -> None:
        super().__init__()
        sizes = [contexts.inputs, features, features, OUTPUTS]
        self.first, self.second, last = (nn.Linear(a, b) for a, b in pairwise(sizes))
        self.third = last
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.zero_()
            last.bias[MIXED : 2 * MIXED] = torch.linspace(-1.2, -0.2, MIXED)

    def layers(self) -> tuple[Layer, Layer, Layer]:
        """Return the layers in whole numbers."""
        return _rounded(self.first), _rounded(self.second), _rounded(self.third, UNITS)

    def bits(self, inputs: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
        """Return the mean bits of samples, (n, inputs) and (n, 4) as `kernels.sample` finds them."""
        features = self.first(inputs).clamp(0, LARGEST)
        features = self.second(features).clamp(0, LARGEST)
        output = self.third(features)
        level, predicted, mean, coded = (found[:, i, None] for i in range(4))
        away = (level - predicted - mean * output[:, :MIXED]) / PARTS
        steepness = torch.exp(-((mean / PARTS).log() + output[:, MIXED : 2 * MIXED]).clamp(-4, 11))
        log_weights = torch.log_softmax(output[:, 2 * MIXED :], dim=1)
        upper, lower = (away + 0.5) * steepness, (away - 0.5) * steepness
        log_inside = torch.log((-torch.expm1(lower - upper)).clamp(min=1e-12))
        log_each = nn.functional.logsigmoid(upper) + nn.functional.logsigmoid(-lower) + log_inside
        log_all = torch.logsumexp(log_weights + log_each, dim=1)
        least = torch.full_like(log_all, -math.log(TOTAL))
        bits = -torch.logaddexp(log_all, least) / math.log(2)
        coded = coded[:, 0]
        return (bits * coded).sum() / coded.sum().clamp(min=1)


def start(contexts: Contexts, features: int) -> ContextModel:
    """Return the model that a fit starts from: half of it what many CTs have in common, half of it random.

    From the shipped weights alone, volumes unlike those come out worse than from nothing. Source: Ash and
    Adams 2020, "On warm-starting neural network training" (shrink and perturb).
    """
    with RANDOM, torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = ContextModel(contexts, features)
    weights = load_file(SHIPPED)
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            tensor.lerp_(weights[as_key(contexts, features, key)], SHARE)
    return model


def shipped(contexts: Contexts, features: int) -> ContextModel:
    """Return the model of the shipped weights alone."""
    model = ContextModel(contexts, features)
    weights = load_file(SHIPPED)
    model.load_state_dict({key: weights[as_key(contexts, features, key)] for key in model.state_dict()})
    return model


def as_key(contexts: Contexts, features: int, key: str) -> str:
    """Return how a tensor of a model is named among the shipped weights."""
    return f"{contexts.name}.{features}.{key}"


def _rounded(layer: nn.Linear, units: NDArray[np.float64] | float = float(PARTS)) -> Layer:
    weights, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    return Layer.rounded(weights, bias, units)
