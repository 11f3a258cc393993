"""What a preset leaves to the volume: the factor in the plane, and a width that suits a small volume.

- The factor is the finest with which the LR has at most VOXELS, which are fitted, decoded and restored about
  as fast as those of a larger volume by a coarser one. Shrunk by 4, a volume of few voxels loses more by that
  than by the fit.
- The width is the preset's, or less, so that the weights take at most one LEAST_RATIO-th of the source:
  beyond that other codecs are better, and it is an exact layer that serves. But it is LEAST_WIDTH at least.

docs/benchmarks/fitting.md, "What a preset leaves to the volume", has the figures.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ...core.resample import lr_shape
from ..settings import Settings
from .config import FitConfig, SirenConfig, siren_of
from .widths import with_width

VOXELS = 2**21  # of the LR
LEAST_RATIO = 800  # bytes of the source to bytes of the weights
LEAST_WIDTH, STEP = 48, 2  # hidden features


def suited(settings: Settings, shape: tuple[int, int, int], source_bytes: int) -> Settings:
    """Return settings with the factor and the width that suit a volume (z, y, x) of so many bytes."""
    if not settings.by_volume:
        return settings
    siren, fit = siren_of(settings)
    along_z = settings.factor[0]
    factors = [(along_z, factor, factor) for factor in sorted(settings.by_volume)]
    fine = [factor for factor in factors if math.prod(lr_shape(shape, factor)) <= VOXELS]
    width, most = siren.hidden_features, source_bytes / LEAST_RATIO
    while width > LEAST_WIDTH and _bytes(replace(siren, hidden_features=width), fit) > most:
        width -= STEP
    return with_width(replace(settings, factor=(fine or factors[-1:])[0]), width)


def _bytes(siren: SirenConfig, fit: FitConfig) -> float:
    return fit.weight_bits * siren.parameters / 8
