"""The in-plane factors that super-resolution networks restore. No torch here."""

from __future__ import annotations

FACTORS = (2, 4)  # HR voxels per LR voxel, along y and x alike


def network_factor(factor: tuple[float, float]) -> int | None:
    """Return the factor that a network must have to restore an in-plane factor (y, x); None if none can."""
    y, x = factor
    return int(y) if y == x and y in FACTORS else None
