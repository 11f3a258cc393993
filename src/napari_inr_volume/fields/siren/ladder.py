"""SIRENs of all sizes, and what to expect of them, from a narrow and a wide one fitted for a moment.

With w doublings of the weights since the narrow one, and d doublings of the steps since the probes',

    LR PSNR = LEVEL + PROBED * what so few steps would reach + JOINT d w

where what so few steps would reach is linear in w between the two probes, and what is in capitals is of CT
volumes in general: from points of lungfcp0001, ge_head_tilt and sts013_thigh in docs/benchmarks.md, "Bytes
against quality" and those of 7,000 steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..settings import Settings
from .config import FitConfig, SirenConfig, siren_of
from .widths import with_width

PROBED_WIDTHS = (24, 112)  # hidden features of the narrow and the wide network
PROBED_STEPS = 400
WIDTHS = tuple(4 * n for n in (3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 36, 40, 48, 56, 64, 80))
LEVEL, PROBED, JOINT = 7.8, 0.895, 0.204  # the first and the last in dB


class SirenLadder:
    """What `planning` chooses from."""

    chosen = ("hidden_features", "weight_bits")
    bits = (4.25, 5.5)  # per weight; fewer bits for more weights came out alike (docs/benchmarks.md)
    least_bits = 3.0
    most_bits = 12.0

    def probes(self, base: Settings) -> Sequence[Settings]:
        """Return a narrow and a wide network, with weights as good as exact."""
        return [
            replace(base, field=_network(base, width), fit=_probe_fit(siren_of(base)[1]))
            for width in PROBED_WIDTHS
        ]

    def rungs(self, base: Settings) -> Sequence[Settings]:
        """Return a network of each width, the rate of its fit to suit it."""
        return [with_width(base, width) for width in WIDTHS]

    def lr_psnr(self, settings: Settings, probed: Sequence[float]) -> float:
        """Return the LR PSNR in dB (range) to expect, given that of the probes."""
        narrow, wide = (_network(settings, width).parameters for width in PROBED_WIDTHS)
        d = math.log2(settings.fit.all_steps / PROBED_STEPS)
        w = math.log2(settings.field.parameters / narrow)
        low, high = probed
        reached = low + w / math.log2(wide / narrow) * max(high - low, 0.0)
        return LEVEL + PROBED * reached + JOINT * d * w


def _network(base: Settings, width: int) -> SirenConfig:
    return replace(siren_of(base)[0], hidden_features=width)


def _probe_fit(fit: FitConfig) -> FitConfig:
    fit = fit.with_all_steps(PROBED_STEPS)
    return replace(
        fit, steps=PROBED_STEPS, tuning_steps=0, weight_bits=16.0, target_psnr=None, least_gain=None
    )
