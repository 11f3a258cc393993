"""A sinusoidal representation network (SIREN): a coordinate (z, y, x) in, an intensity out.

Source: Sitzmann et al. 2020, "Implicit Neural Representations with Periodic Activation Functions",
section 3.2 for the initialisation; layers as tables 1-3 of Sheibanifard and Yu 2023 count them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from .config import SirenConfig


class Siren(nn.Module):
    """Sine layers and a linear one: (..., 3) coordinates in [-1, 1] -> (...) intensities in [-1, 1].

    Parameters are named as in `SirenConfig.shapes`. A fresh network draws its weights from `seed`.
    """

    def __init__(self, config: SirenConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_features
        inputs = [3] + [width] * (config.layers - 1)
        self.omegas = [config.omega_0] + [config.hidden_omega] * (config.layers - 1)
        self.sine = nn.ModuleList(_linear(features, width) for features in inputs)
        self.linear = _linear(width, 1)
        self._initialise(torch.Generator().manual_seed(seed))

    def _initialise(self, generator: torch.Generator) -> None:
        """Uniform weights that keep every sine's input normal with unit variance, at any depth."""
        hidden_bound = math.sqrt(6 / self.config.hidden_features) / self.config.hidden_omega
        for index, layer in enumerate([*self.sine, self.linear]):
            assert isinstance(layer, nn.Linear)
            bound = 1 / 3 if index == 0 else hidden_bound
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            bias_bound = 1 / math.sqrt(layer.in_features)  # torch's own default, as Sitzmann's code keeps it
            nn.init.uniform_(layer.bias, -bias_bound, bias_bound, generator=generator)

    def forward(self, coordinates: Tensor, mixed: bool = False) -> Tensor:
        """Evaluate at coordinates (..., 3), in the order z, y, x; returns (...), float32.

        `mixed` computes all but the first layer in bfloat16: its 8 bits could not tell coordinates apart.
        """
        first, *hidden = self.sine
        features = _sine(first, self.omegas[0], coordinates)
        with torch.autocast(coordinates.device.type, torch.bfloat16, enabled=mixed):
            for layer, omega in zip(hidden, self.omegas[1:], strict=True):
                features = _sine(layer, omega, features)
            intensity: Tensor = self.linear(features).squeeze(-1)
        return intensity.float()

    @torch.inference_mode()
    def on_grid(self, z: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Evaluate on the grid of three axes' coordinates: (nz), (ny), (nx) -> (nz, ny, nx), float32.

        The first layer is linear in the coordinates before its sine, so each axis is multiplied once.
        """
        first, *hidden = self.sine
        assert isinstance(first, nn.Linear)
        weight, bias = first.weight * self.omegas[0], first.bias * self.omegas[0]
        along_z, along_y, along_x = (axis[:, None] * weight[:, i] for i, axis in enumerate((z, y, x)))
        intensity = torch.empty(len(z), len(y), len(x), device=z.device)
        rows_at_once = max(1, chunk_voxels(z.device) // len(x))
        for rows in torch.split(torch.arange(len(y), device=z.device), rows_at_once):
            part = along_y[rows, None] + along_x + bias  # (rows, nx, width)
            for index, offset in enumerate(along_z):
                features = torch.sin(part + offset)
                for layer, omega in zip(hidden, self.omegas[1:], strict=True):
                    features = _sine(layer, omega, features)
                intensity[index, rows] = self.linear(features).squeeze(-1)
        return intensity

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Return a copy of every tensor as float32, in the order of `SirenConfig.shapes`."""
        tensors = self.state_dict()
        return {name: tensors[name].float().cpu().numpy().copy() for name in self.config.shapes}

    @classmethod
    def from_weights(cls, config: SirenConfig, weights: Mapping[str, NDArray[np.float32]]) -> Siren:
        """Make the network that has these weights."""
        siren = cls(config)
        siren.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        return siren


def _linear(in_features: int, out_features: int) -> nn.Linear:
    """Return a layer without first weights: torch would draw them from its global generator, for nothing."""
    layer: nn.Linear = skip_init(nn.Linear, in_features, out_features)  # type: ignore[no-untyped-call]
    return layer


def _sine(layer: nn.Module, omega: float, features: Tensor) -> Tensor:
    """sin(omega * (W h + b)), with omega folded into the small W and b instead of the large product."""
    assert isinstance(layer, nn.Linear)
    return torch.sin(functional.linear(features, layer.weight * omega, layer.bias * omega))


def chunk_voxels(device: torch.device) -> int:
    """How many voxels to work on at once: what stays in a CPU's cache, or what fills a GPU."""
    return 8_192 if device.type == "cpu" else 2**20


def axis_coordinates(length: int, scale: float, count: int) -> Tensor:
    """Return where `count` voxels lie along one axis of `length` HR voxels, as the network sees it.

    The volume's outer faces are -1 and 1. `scale` is HR voxels per voxel of the grid; voxel k's centre
    lies at HR position (k + 0.5) * scale - 0.5, as in `core.resample`. Shape (count,), float32.
    """
    faces = (torch.arange(count, dtype=torch.float64) + 0.5) * scale
    return (2 * faces / length - 1).float()
