"""Weights as the whole numbers that a file holds: what rounding one costs, and a network of rounded ones.

A fit ends with steps in which the network computes with its rounded weights, while the gradients go to
the unrounded ones ("straight through"; Bengio et al. 2013), so that what is lost by rounding is learnt back.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ...coding.quantise import Layout, Quantised, choose_steps, quantise, step_sizes
from ...coding.range_coding import encode
from ...core.errors import FitError
from .config import SHIFT
from .network import Siren

NOISES = (-28.0, 4.0)  # octaves between which the noise is searched
SEARCH = 14  # halvings of that, to a five-hundredth of an octave
Sensitivities = dict[str, NDArray[np.float64]]
Steps = dict[str, NDArray[np.int32]]  # step codes of each tensor's rows


class Rounding:
    """A SIREN whose weights are rounded to steps, to be computed with in its place."""

    def __init__(self, siren: Siren, steps: Steps) -> None:
        self.steps = steps
        self.siren = Siren(siren.config).to(siren.linear.weight.device)
        layouts = siren.config.layouts
        self._weights = [
            (exact.detach(), rounded.detach(), _sizes(layouts[name], steps[name]).to(exact.device))
            for (name, exact), rounded in zip(siren.named_parameters(), self.siren.parameters(), strict=True)
        ]
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Round the weights as they are now."""
        for exact, rounded, sizes in self._weights:
            torch.div(exact, sizes, out=rounded)
            rounded.round_().mul_(sizes)


def _sizes(layout: Layout, codes: NDArray[np.int32]) -> Tensor:
    """Return the step of each weight of a tensor, in its shape."""
    rows = np.broadcast_to(step_sizes(codes)[:, np.newaxis], layout.row_shape).astype(np.float32)
    return torch.from_numpy(layout.tensor(rows))


def quantised(siren: Siren, steps: Steps) -> list[Quantised]:
    """Return the SIREN's tensors, rounded to these steps."""
    layouts = siren.config.layouts
    return [quantise(layouts[name].rows(values), steps[name]) for name, values in siren.weights().items()]


def choose_all_steps(siren: Siren, found: Sensitivities, noise: float) -> Steps:
    """Return the steps of every tensor at this noise."""
    layouts = siren.config.layouts
    return {
        name: choose_steps(layouts[name].rows(values), found[name], noise)
        for name, values in siren.weights().items()
    }


def steps_within(siren: Siren, found: Sensitivities, most_bytes: int) -> Steps:
    """Return the finest steps with which the coded weights take no more than these bytes.

    If there are none, the coarsest.
    """
    low, high = NOISES
    for _ in range(SEARCH):
        middle = (low + high) / 2
        steps = choose_all_steps(siren, found, 2**middle)
        if len(encode(quantised(siren, steps))) > most_bytes:
            low = middle
        else:
            high = middle
    return choose_all_steps(siren, found, 2**high)


@torch.no_grad()
def sensitivities(siren: Siren, coordinates: Tensor) -> Sensitivities:
    """Return for each row of each tensor (`coding.quantise.Layout`) what its rounding costs.

    That is the mean square of the output's derivative by a weight of the row, over these coordinates
    (n, 3) and the row's weights. Derivative and feature are taken as independent. Raises FitError if weights
    are so large that nothing can be said of them.
    """
    features, slopes, squares = siren.placed(coordinates), [], []
    for layer, omega in zip(siren.sines, siren.omegas, strict=True):
        squares.append(_mean_square(features))
        arguments = functional.linear(features, layer.weight * omega, layer.bias * omega)
        features, slope = torch.sin(arguments), torch.cos(arguments) * omega
        slopes.append(slope)
    found = {"linear.weight": _mean_square(features).mean(keepdims=True), "linear.bias": np.ones(1)}
    back = siren.linear.weight.expand_as(features)
    for index in range(len(slopes) - 1, -1, -1):
        by_bias = back * slopes[index]  # the output's derivative, (n, features)
        of_rows, of_features = _mean_square(by_bias), squares[index]
        found[f"sine.{index}.weight"] = (
            of_rows * of_features.mean() if index else of_rows.mean() * of_features
        )
        found[f"sine.{index}.bias"] = of_rows.mean(keepdims=True)
        back = by_bias @ siren.sines[index].weight
    if siren.shifts is not None:  # a voxel's output depends on its own slice's shift alone
        found["shifts.weight"] = _mean_square(SHIFT * back) / siren.config.slices
    if not all(np.isfinite(values).all() for values in found.values()):
        raise FitError(
            "the fit diverged: its weights are too large for float32; choose a smaller learning rate"
        )
    return found


def _mean_square(values: Tensor) -> NDArray[np.float64]:
    """Return the mean of squares over points (n, columns)."""
    squares: NDArray[np.float64] = values.square().mean(0).cpu().double().numpy()
    return squares
