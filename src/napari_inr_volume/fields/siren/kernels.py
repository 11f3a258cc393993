"""Which functions compute the sines and the products on a device, and a SIREN's weights as they take them."""

from __future__ import annotations

import functools
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from . import kernels_torch
from .config import SHIFT, SirenConfig

LANES = 16  # float32 numbers that fill the longest vector of a CPU


class Layers(Protocol):
    """What is folded: a SIREN's layers (`network.Siren`)."""

    config: SirenConfig
    omegas: list[float]  # of the sine layers
    linear: nn.Linear  # the last
    shifts: nn.Embedding | None  # of the slices

    @property
    def sines(self) -> list[nn.Linear]:
        """The linear parts of the sine layers."""


class Folded:
    """A SIREN's weights with each layer's omega multiplied into them, in one unit of the kernels' sines.

    So the products with many points are ready for the sine. The hidden matrices (width, width) are of
    `dtype`, all else float32. `width` is that of the SIREN and what is missing to a multiple of LANES:
    features without weights, which processors take in whole vectors.
    """

    def __init__(self, siren: Layers, dtype: torch.dtype = torch.float32) -> None:
        self.siren = siren
        device = siren.linear.weight.device
        self.width = width = -(-siren.config.hidden_features // LANES) * LANES
        self.kernels = find_kernels(device)
        self.folds = [omega / self.kernels.RADIANS for omega in siren.omegas]
        self.first = torch.zeros(3, width, device=device)
        self.hidden = [torch.zeros(width, width, dtype=dtype, device=device) for _ in self.folds[1:]]
        self.biases = [torch.zeros(width, device=device) for _ in self.folds]
        self.linear = torch.zeros(width, device=device)
        self.shifts = None if siren.shifts is None else torch.empty_like(siren.shifts.weight)  # (slices, 3)
        self.offset = siren.linear.bias.detach()
        self.bias_views = [self.kernels.view(bias) for bias in self.biases]
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Take the SIREN's weights as they are now."""
        own = self.siren.config.hidden_features
        for index, (layer, fold) in enumerate(zip(self.siren.sines, self.folds, strict=True)):
            matrix = layer.weight if index else layer.weight.t()
            folded = self.hidden[index - 1] if index else self.first
            torch.mul(matrix, fold, out=folded[: len(matrix), :own])
            torch.mul(layer.bias, fold, out=self.biases[index][:own])
        self.linear[:own] = self.siren.linear.weight[0]
        if self.shifts is not None and self.siren.shifts is not None:
            torch.mul(self.siren.shifts.weight, SHIFT, out=self.shifts)

    def behind_first(self, features: Tensor, out: Tensor) -> None:
        """Put into `out` the intensity (n) at features (n, width) of the first layer; overwrites both."""
        spare = torch.empty_like(features)
        for weight, bias in zip(self.hidden, self.bias_views[1:], strict=True):
            features, spare = product(features, weight, spare), features
            self.kernels.sine(self.kernels.view(features), bias)
        torch.addmv(self.offset, features, self.linear, out=out)


def product(a: Tensor, b: Tensor, out: Tensor) -> Tensor:
    """Return a @ b', both of one dtype: in `out`, or in memory of its own.

    Products in float32 torch leaves to MKL, which does without AVX-512 on processors that are not Intel's,
    unless `a` is transposed; so oneDNN is asked, through the operator that torch's own compiler uses. Where
    there is AVX2 alone (an AMD EPYC, 2,048 rows) torch.mm takes 0.86 to 1.07 of its time, with the same bits
    up to a width of 192.
    """
    if a.dtype == torch.float32 and a.device.type == "cpu" and a.is_contiguous() and _has_onednn():
        result: Tensor = torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
        return result
    return torch.mm(a, b.t(), out=out)


@functools.cache
def _has_onednn() -> bool:
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and hasattr(torch.ops.mkldnn, "_linear_pointwise")


@functools.cache
def find_kernels(device: torch.device) -> Any:
    """Return the module of functions that suits the device: Numba's on a CPU where it can be had."""
    if device.type == "cpu":
        try:
            from . import kernels_numba
        except (ImportError, RuntimeError):  # not installed, or no folder to keep what it compiles
            return kernels_torch
        return kernels_numba
    return kernels_torch
