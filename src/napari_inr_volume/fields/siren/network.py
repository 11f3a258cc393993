"""A sinusoidal representation network (SIREN): a coordinate (z, y, x) in, an intensity out.

A scan's slices do not lie as exactly one on another as the grid says: the patient moves, and some scanners
take them in turns. So a network can hold a shift for each slice, in its own coordinates, which is fitted with
the weights and added to the coordinates first; between slices it goes over in a straight line.

Source: Sitzmann et al. 2020, "Implicit Neural Representations with Periodic Activation Functions",
section 3.2 for the initialisation; layers as tables 1-3 of Sheibanifard and Yu 2023 count them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

from ...compute import threads
from .config import SHIFT, SirenConfig
from .kernels import Folded


class Siren(nn.Module):
    """Sine layers and a linear one: (..., 3) coordinates in [-1, 1] -> (...) intensities in [-1, 1].

    `shifts` is None, or holds those of the slices, (slices, 3) in z, y, x in units of SHIFT. They start at 0.

    Parameters are named as in `SirenConfig.layouts`. A fresh network draws its weights from `seed`.
    """

    def __init__(self, config: SirenConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_features
        inputs = [3] + [width] * (config.layers - 1)
        self.omegas = [config.omega_0] + [config.hidden_omega] * (config.layers - 1)
        self.sine = nn.ModuleList(_linear(features, width) for features in inputs)
        self.linear = _linear(width, 1)
        self.shifts: nn.Embedding | None = None
        if config.slices:
            self.shifts = skip_init(nn.Embedding, config.slices, 3)  # type: ignore[no-untyped-call]
            nn.init.zeros_(self.shifts.weight)
        self._initialise(torch.Generator().manual_seed(seed))

    def _initialise(self, generator: torch.Generator) -> None:
        """Uniform weights that keep every sine's input normal with unit variance, at any depth."""
        hidden_bound = math.sqrt(6 / self.config.hidden_features) / self.config.hidden_omega
        for index, layer in enumerate([*self.sines, self.linear]):
            bound = 1 / 3 if index == 0 else hidden_bound
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            bias_bound = 1 / math.sqrt(layer.in_features)  # torch's own default, as Sitzmann's code keeps it
            nn.init.uniform_(layer.bias, -bias_bound, bias_bound, generator=generator)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.linear.weight.device

    @property
    def sines(self) -> list[nn.Linear]:
        """The linear parts of the sine layers."""
        return [layer for layer in self.sine if isinstance(layer, nn.Linear)]

    def forward(self, coordinates: Tensor) -> Tensor:
        """Evaluate at coordinates (..., 3), in the order z, y, x; returns (...).

        In plain torch, for autograd; `at` and `on_grid` are the fast ways.
        """
        features = self.placed(coordinates)
        for layer, omega in zip(self.sines, self.omegas, strict=True):
            features = torch.sin(functional.linear(features, layer.weight * omega, layer.bias * omega))
        intensity: Tensor = self.linear(features).squeeze(-1)
        return intensity

    def placed(self, coordinates: Tensor) -> Tensor:
        """Return where coordinates (..., 3) come to lie once their slices are shifted."""
        return coordinates if self.shifts is None else coordinates + self.shift_at(coordinates[..., 0])

    def shift_at(self, z: Tensor) -> Tensor:
        """Return the shifts (..., 3) at coordinates along z (...), of a network that has some.

        Slice k of n lies at 2 (k + 0.5) / n - 1; beyond the first and the last one theirs holds on.
        """
        assert self.shifts is not None
        last = self.config.slices - 1
        place = ((z + 1) * (self.config.slices / 2) - 0.5).clamp(0, last)
        before = place.floor()
        part = (place - before)[..., None]
        before = before.long()
        return SHIFT * torch.lerp(self.shifts(before), self.shifts((before + 1).clamp(max=last)), part)

    @torch.inference_mode(False)  # whose tensors no other thread may write
    @torch.no_grad()
    def at(self, coordinates: Tensor) -> Tensor:
        """Evaluate at coordinates (n, 3), in the order z, y, x; returns (n), float32.

        The fast way, as `on_grid`: at omegas of 30 either lies within 2e-5 of `forward`.
        """
        network, coordinates = Folded(self), self.placed(coordinates)
        intensity = torch.empty(len(coordinates), device=coordinates.device)

        def evaluate(chunk: slice) -> None:
            features = coordinates[chunk] @ network.first
            network.kernels.sine(network.kernels.view(features), network.bias_views[0])
            network.behind_first(features, intensity[chunk])

        _in_chunks(evaluate, len(coordinates), chunk_voxels(coordinates.device), coordinates.device)
        return intensity

    @torch.inference_mode(False)  # whose tensors no other thread may write
    @torch.no_grad()
    def on_grid(self, z: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Evaluate on the grid of three axes' coordinates: (nz), (ny), (nx) -> (nz, ny, nx), float32.

        The first layer is linear in the coordinates before its sine, so each axis is multiplied once.
        """
        network = Folded(self)
        along_z, along_y, along_x = (
            axis[:, None] * weight for axis, weight in zip((z, y, x), network.first, strict=True)
        )
        along_z += network.biases[0]
        if self.shifts is not None:
            # Not by a product of matrices, which might round by how many slices there are.
            for shift, weight in zip(self.shift_at(z).t(), network.first, strict=True):
                along_z += shift[:, None] * weight
        kernels, intensity = network.kernels, torch.empty(len(z), len(y), len(x), device=z.device)
        rows = max(1, chunk_voxels(z.device) // len(x))

        def evaluate(chunk: slice) -> None:
            features = torch.empty(len(y[chunk]) * len(x), network.width, device=z.device)
            for index, offset in enumerate(along_z):
                kernels.first_on_grid(*map(kernels.view, (offset, along_y[chunk], along_x, features)))
                network.behind_first(features, intensity[index, chunk].view(-1))

        _in_chunks(evaluate, len(y), rows, z.device)
        return intensity

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Return a copy of every tensor as float32, in the order of `SirenConfig.layouts`."""
        tensors = self.state_dict()
        return {name: tensors[name].float().cpu().numpy().copy() for name in self.config.layouts}

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


def chunk_voxels(device: torch.device) -> int:
    """How many voxels to work on at once: what stays in a CPU's cache, or what fills a GPU."""
    return 2_048 if device.type == "cpu" else 2**20


def _in_chunks(evaluate: Callable[[slice], None], count: int, chunk: int, device: torch.device) -> None:
    """Evaluate 0 to count in chunks; on a CPU as many side by side as there are threads.

    The chunks are the same for any number of threads, and so is what comes out.
    """
    chunks = [slice(start, min(start + chunk, count)) for start in range(0, count, chunk)]

    def run(some: list[slice]) -> None:
        for part in some:
            evaluate(part)

    if device.type != "cpu":
        run(chunks)
        return
    lanes = min(threads.count(), len(chunks))
    threads.side_by_side([partial(run, chunks[lane::lanes]) for lane in range(lanes)])
