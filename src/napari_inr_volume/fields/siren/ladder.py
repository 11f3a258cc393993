"""SIRENs of all sizes, and what to expect of them, from a narrow and a wide one fitted for a moment.

With w doublings of a network's weights since the narrow one, d doublings of the steps since the probes', and
b doublings of the boxes,

    LR PSNR = LEVEL + PROBED * what so few steps would reach + (WIDENED + JOINT d) w + BOXED b

where what so few steps would reach is linear in w between the two probes, and what is in capitals is of CT
volumes in general: from points of lungfcp0001, ge_head_tilt, sts013_thigh and totalseg_ct_3mm in
docs/benchmarks, by `benchmarks/calibration.py`. Beyond the widest network, which a wider one would hardly
beat in the steps that a fit has, a volume is cut into boxes, each with such a network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..settings import Settings
from .boxes import most_boxes
from .config import FitConfig, SirenConfig, siren_of
from .widths import with_width

PROBED_WIDTHS = (24, 112)  # hidden features of the narrow and the wide network
PROBED_STEPS = 400
WIDTHS = (12, 16, 20, 24, 32, 40, 48, 56, 64, 80, 96, 112)  # of one network
IN_BOXES = (
    (2, 88),
    (2, 96),
    (2, 112),
    (3, 104),
    (4, 104),
    (4, 112),
    (6, 104),
    (8, 104),
    (12, 104),
    (16, 104),
)
WIDER = (128, 144, 160, 192, 224, 256, 320)  # where an LR is too small to be cut into boxes
VOXELS_A_BOX = 2**17  # of the LR, at least: the weights of its network and a few more
LEVEL, PROBED, WIDENED, JOINT, BOXED = 14.81, 0.65, 1.08, 0.1, 2.07  # all but the second in dB


class SirenLadder:
    """What `planning` chooses from."""

    chosen = ("hidden_features", "boxes", "weight_bits")
    bits = (4.25, 5.5)  # per weight; fewer bits for more weights came out alike (docs/benchmarks/tried.md)
    least_bits = 3.0
    most_bits = 12.0

    def probes(self, base: Settings) -> Sequence[Settings]:
        """Return a narrow and a wide network, with weights as good as exact."""
        return [
            replace(base, field=_network(base, width), fit=_probe_fit(siren_of(base)[1]))
            for width in PROBED_WIDTHS
        ]

    def rungs(self, base: Settings, lr_shape: tuple[int, int, int]) -> Sequence[Settings]:
        """Return a network of each width, then boxes with one each, the rate of the fit to suit them."""
        most = min(math.prod(lr_shape) // VOXELS_A_BOX, most_boxes(lr_shape) // 2)
        sizes = [(1, width) for width in WIDTHS]
        sizes += [size for size in IN_BOXES if size[0] <= most] or [(1, width) for width in WIDER]
        return [_in_boxes(with_width(base, width), boxes) for boxes, width in sizes]

    def lr_psnr(self, settings: Settings, probed: Sequence[float]) -> float:
        """Return the LR PSNR in dB (range) to expect, given that of the probes."""
        narrow, wide = (_network(settings, width).parameters for width in PROBED_WIDTHS)
        d = math.log2(settings.fit.all_steps / PROBED_STEPS)
        siren = siren_of(settings)[0]
        w = math.log2(siren.of_a_box.parameters / narrow)
        low, high = probed
        reached = low + w / math.log2(wide / narrow) * max(high - low, 0.0)
        return LEVEL + PROBED * reached + (WIDENED + JOINT * d) * w + BOXED * math.log2(siren.boxes)


def _in_boxes(settings: Settings, boxes: int) -> Settings:
    return replace(settings, field=replace(siren_of(settings)[0], boxes=boxes))


def _network(base: Settings, width: int) -> SirenConfig:
    return replace(siren_of(base)[0].of_a_box, hidden_features=width)


def _probe_fit(fit: FitConfig) -> FitConfig:
    fit = fit.with_all_steps(PROBED_STEPS)
    return replace(
        fit, steps=PROBED_STEPS, tuning_steps=0, weight_bits=16.0, target_psnr=None, least_gain=None
    )
