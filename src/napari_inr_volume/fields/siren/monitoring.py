"""How often a fit looks at its PSNR, and at how much of the LR. No torch here."""

from __future__ import annotations

from .config import FitConfig

MONITOR = 16_384  # voxels on which the PSNR is followed; the whole LR counts at the end
MONITORINGS = 60  # how often in a fit, unless it is so short that they would take much of its time


def follow_every(monitored: int, config: FitConfig) -> int:
    """Return how many steps lie between two looks at the PSNR: at least twenty times the look's own time.

    A voxel costs three times as much in a step as in a look: forward, and back to features and weights.
    """
    return max(1, config.all_steps // MONITORINGS, 20 * monitored // (3 * config.batch))


def work(config: FitConfig, samples: int) -> float:
    """Return how long a fit to so many samples takes, in steps' time: steps, and looks at its PSNR."""
    monitored = min(MONITOR, samples)
    looks = config.all_steps // follow_every(monitored, config)
    return config.all_steps + looks * a_look(monitored, config)


def a_look(monitored: int, config: FitConfig) -> float:
    """Return how long a look at so many voxels takes, in steps' time."""
    return monitored / config.batch / 3
