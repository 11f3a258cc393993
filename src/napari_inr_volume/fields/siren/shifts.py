"""Whether the slices of an LR get shifts of their own. No torch here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .config import SirenConfig
from .spectrum import relative_frequencies

LEAST_WEIGHTS = 32  # of a network, for each number of the shifts
LEAST_FREQUENCY = 0.4  # along z, of that within a slice


def with_slices(siren: SirenConfig, lr: NDArray[np.float32], factor: float) -> SirenConfig:
    """Return the network for an LR (z, y, x), by a factor along z: with shifts, or without.

    Shifts are left out where they are not asked for; where they would take too large a part of the bytes;
    where thin slices are much like their neighbours, so that shifts gain nothing (docs/benchmarks/tried.md);
    and where the LR's slices are not those of the volume.
    """
    worth = siren.shifts and factor == 1 and 3 * len(lr) * LEAST_WEIGHTS <= siren.of_a_box.parameters
    if worth and relative_frequencies(lr)[0] >= LEAST_FREQUENCY:
        return replace(siren, slices=len(lr))
    return replace(siren, shifts=False, slices=0)
