"""The reference that our fit is held against: the paper's recipe as anyone would write it in PyTorch.

float32, autograd, Adam at a constant 0.0015, batches of 65,536 voxels, mean squared error; sine layers as
Sitzmann et al. publish them. It shares no code with ours but the numbers: the LR, its coordinates and the
first weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

BATCH = 65_536
LEARNING_RATE = 1.5e-3


class Sine(nn.Module):
    """sin(omega (W h + b))."""

    def __init__(self, in_features: int, out_features: int, omega: float) -> None:
        super().__init__()
        self.omega = omega
        self.linear = nn.Linear(in_features, out_features)

    def forward(self, features: Tensor) -> Tensor:
        """Evaluate at features (n, in_features); returns (n, out_features)."""
        return torch.sin(self.omega * self.linear(features))


def make_network(
    layers: int, first_weights: list[Tensor], width: int = 128, omega: float = 30.0
) -> nn.Module:
    """Return a SIREN that starts from these weights: weight and bias of each layer in turn."""
    sines = [Sine(3 if layer == 0 else width, width, omega) for layer in range(layers)]
    network = nn.Sequential(*sines, nn.Linear(width, 1))
    with torch.no_grad():
        for parameter, weight in zip(network.parameters(), first_weights, strict=True):
            parameter.copy_(weight)
    return network


def fit(network: nn.Module, coordinates: Tensor, intensity: Tensor, seed: int) -> Iterator[float]:
    """Fit to intensities (n) at coordinates (n, 3) without end; yields the seconds of each step."""
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    random = torch.Generator(coordinates.device).manual_seed(seed)
    while True:
        started = time.perf_counter()
        index = torch.randint(len(intensity), (BATCH,), generator=random, device=coordinates.device)
        optimiser.zero_grad()
        loss = nn.functional.mse_loss(network(coordinates[index]).squeeze(-1), intensity[index])
        loss.backward()
        optimiser.step()
        if coordinates.device.type == "cuda":
            torch.cuda.synchronize()
        yield time.perf_counter() - started


@torch.no_grad()
def psnr(network: nn.Module, coordinates: Tensor, intensity: Tensor) -> float:
    """PSNR in dB of the whole LR, whose intensities span [-1, 1]."""
    squares = 0.0
    for part, expected in zip(coordinates.split(BATCH), intensity.split(BATCH), strict=True):
        squares += (network(part).squeeze(-1) - expected).square().sum().item()
    return 10 * math.log10(4 * len(intensity) / squares)
