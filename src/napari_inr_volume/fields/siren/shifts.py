"""Whether the slices of an LR get shifts of their own. No torch here."""

from __future__ import annotations

from dataclasses import replace

from .config import SirenConfig

LEAST_WEIGHTS = 32  # of the network, for each number of the shifts


def with_slices(siren: SirenConfig, slices: int, factor: float) -> SirenConfig:
    """Return the network for an LR of so many slices, by a factor along z: with shifts, or without.

    Shifts are left out where they would take too large a part of the bytes, and where the LR's slices are not
    those of the volume.
    """
    pays = 3 * slices * LEAST_WEIGHTS <= siren.parameters
    return replace(siren, slices=slices) if pays and factor == 1 else replace(siren, shifts=False, slices=0)
