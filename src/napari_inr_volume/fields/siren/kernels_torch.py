"""The step's element-wise work in plain torch, for any device: what `kernels_numba` does on a CPU.

Arguments of sines come in radians. n is the points of a chunk, width the features of a layer.
Features, cosines and what comes back are float32 or bfloat16, all else float32.
"""

from __future__ import annotations

import torch
from torch import Tensor

RADIANS = 1.0  # in one unit of a sine's argument


def view(tensor: Tensor) -> Tensor:
    """Return the tensor as these functions take it."""
    return tensor


def find(table: Tensor, points: Tensor, found: Tensor, chance: Tensor) -> None:
    """Replace each row of `found` (n) by the flat index of the first share above its point, by halving.

    `table` (rows, length) has rising shares up to 1 in each row, `points` (n) lie below 1.
    Multiplies `chance` (n) by how much the found share is above the one before, which is how likely it was.
    """
    length = table.shape[1]
    shares, start = table.view(-1), found * length
    passed = torch.zeros_like(found)  # shares that are not above it
    step = 1 << (length - 1).bit_length()
    while step := step >> 1:
        further = passed + step
        there = (further < length) & (shares[start + further.clamp(max=length) - 1] <= points)
        passed = torch.where(there, further, passed)
    torch.add(start, passed, out=found)
    before = torch.where(passed > 0, shares[found - passed.clamp(max=1)], 0.0)
    chance.mul_(shares[found] - before)


def gather(
    index: Tensor, z: Tensor, y: Tensor, x: Tensor, volume: Tensor, coordinates: Tensor, voxels: Tensor
) -> None:
    """Look up coordinates (n, 3) and values (n) of the voxels of the volume (z, y, x) at `index` (n)."""
    rows, columns = len(y), len(x)
    row = index // columns
    place = row // rows, row % rows, index % columns
    torch.stack([z[place[0]], y[place[1]], x[place[2]]], dim=1, out=coordinates)
    voxels.copy_(volume[place])


def shift(index: Tensor, plane: int, shifts: Tensor, coordinates: Tensor) -> None:
    """Add shifts (slices, 3) to the coordinates (n, 3) of the voxels at `index` (n), `plane` in a slice."""
    coordinates.add_(shifts[index // plane])


def first(coordinates: Tensor, weight: Tensor, bias: Tensor, features: Tensor, cosines: Tensor) -> None:
    """Put sine and cosine of coordinates @ weight (3, width) + bias into features, cosines (n, width)."""
    argument = torch.addmm(bias, coordinates, weight)
    torch.sin(argument, out=features)
    torch.cos(argument, out=cosines)


def first_on_grid(z: Tensor, y: Tensor, x: Tensor, features: Tensor) -> None:
    """Put the sines of z (width) + y (rows, width) + x (columns, width) into (rows * columns, width)."""
    shape = (len(y), len(x), len(z))
    torch.add(y[:, None], x, out=features.view(shape)).add_(z).sin_()


def hidden(product: Tensor, bias: Tensor, cosines: Tensor) -> None:
    """Put the sine of product + bias into the product's place and its cosine into cosines, (n, width)."""
    argument = product + bias
    torch.sin(argument, out=product)
    torch.cos(argument, out=cosines)


def sine(product: Tensor, bias: Tensor) -> None:
    """Put the sine of product + bias into the product's place, (n, width)."""
    product.add_(bias).sin_()


def output(
    product: Tensor,
    bias: Tensor,
    weight: Tensor,
    offset: Tensor,
    intensity: Tensor,
    sample_weight: Tensor,
    scale: float,
    bias_gradient: Tensor,
    weight_gradient: Tensor,
    offset_gradient: Tensor,
    loss: Tensor,
) -> None:
    """Take the last sine of product + bias (n, width), the linear layer and its error, forward and back.

    Adds the squared errors against the intensity (n), each times its sample weight (n), to `loss` (1), the
    gradients of scale / 2 * those to those of bias (width), weight (width) and offset (1), and puts that of
    the sines' arguments in the product's place.
    """
    argument = product.float() + bias
    sines = torch.sin(argument)
    error = torch.mv(sines, weight).add_(offset).sub_(intensity)
    loss.add_(error.square().mul_(sample_weight).sum())
    error.mul_(scale).mul_(sample_weight)
    weight_gradient.addmv_(sines.t(), error)
    offset_gradient.add_(error.sum())
    delta = argument.cos_().mul_(weight).mul_(error[:, None])
    bias_gradient.add_(delta.sum(0))
    product.copy_(delta)


def hidden_back(back: Tensor, cosines: Tensor, bias_gradient: Tensor) -> None:
    """Put the gradient of the sines' arguments, back * cosines, in the cosines' place; add its sum."""
    delta = back.float() * cosines
    bias_gradient.add_(delta.sum(0))
    cosines.copy_(delta)


def first_back(
    back: Tensor, cosines: Tensor, coordinates: Tensor, weight_gradient: Tensor, bias_gradient: Tensor
) -> None:
    """Add the first layer's gradients, (3, width) and (width); its delta is needed for nothing but shifts."""
    delta = back.float() * cosines
    weight_gradient.addmm_(coordinates.t(), delta)
    bias_gradient.add_(delta.sum(0))


def shift_back(
    back: Tensor, cosines: Tensor, weight: Tensor, index: Tensor, plane: int, gradient: Tensor
) -> None:
    """Add the gradient of the shifts (slices, 3), with the first layer's weight (3, width); see `shift`."""
    delta = back.float() * cosines
    gradient.index_add_(0, index // plane, delta @ weight.t())
