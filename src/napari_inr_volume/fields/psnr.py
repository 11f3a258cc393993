"""How well a field meets the samples that it is fitted to."""

from __future__ import annotations

import math

from torch import Tensor

from .base import Field
from .samples import LrSamples


def measure_psnr(field: Field, samples: LrSamples, index: Tensor | None = None) -> float:
    """PSNR (range) in dB of a field at these voxels, or at all that count; NaN if it diverged.

    Infinite where there are none.
    """
    total, count = 0.0, 0
    for coordinates, intensity in samples.chunks(index):
        total += (field.at(coordinates) - intensity).square().sum().item()
        count += len(intensity)
    mse = total / max(count, 1)
    if not math.isfinite(mse):
        return math.nan
    return 10 * math.log10(4 / mse) if mse > 0 else math.inf
