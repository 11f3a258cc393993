"""The constants of planning (`fields/siren/ladder.py`, `planning.py`) that suit our points best.

    OMP_NUM_THREADS=1 python benchmarks/calibration.py SOURCE...

Each source is probed, as planning does it. Its points are those that `rate_distortion.py` and `blocks.py`
have kept. The constants, all but JOINT, are those of least squares over how far predictions are off in dB:
of the LR PSNR where there is an LR, and of the HR PSNR.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from blocks import KEPT as BLOCKS
from blocks import settings_of
from rate_distortion import KEPT as SWEEP
from rate_distortion import OURS
from scipy.optimize import least_squares

from napari_inr_volume import planning
from napari_inr_volume.core.generators import drain
from napari_inr_volume.fields.registry import PRESETS
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren import ladder
from napari_inr_volume.fields.siren.config import siren_of
from napari_inr_volume.planning import PROBED, FactorModel, probe

from report import volume_of

NAME = re.compile(r"x([\d.]+).*?, (?:5 x |(\d+)x)(\d+), ([\d,]+) steps")  # as both name their points

FOUND = "LEVEL", "PROBED", "WIDENED", "BOXED"  # of the ladder; then come CLEAN of x1, and each FITTED
FACTORS = 4.0, 2.0, 1.0  # in the plane
JOINT = 0.1  # dB: of the same network with 7,000, 15,000 and 30,000 steps. Our narrow ones all have many.


@dataclass(frozen=True)
class Point:
    """A fit and what came of it."""

    volume: str
    model: FactorModel
    settings: Settings
    lr_psnr: float  # dB
    hr_psnr: float  # dB

    @property
    def off(self) -> list[float]:
        """How far the predictions are off, in dB: of the LR PSNR, if there is an LR, and of the HR PSNR."""
        hr = self.model.hr_psnr(self.settings) - self.hr_psnr
        if self.model.factor not in PROBED:
            return [hr]
        return [self.model.lr_psnr(self.settings) - self.lr_psnr, hr]


def main() -> None:
    """Print the constants, and what they predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=Path, nargs="+")
    points: list[Point] = []
    for source in parser.parse_args().source:
        found = drain(probe(volume_of(source), PRESETS["default"], device="cpu"))
        models = {one.factor: one for one in found}
        points += points_of(source.name.split(".")[0], models)

    def all_off(values: np.ndarray) -> list[float]:
        _set(values)
        return [off for point in points for off in point.off]

    start = [*(getattr(ladder, name) for name in FOUND), planning.CLEAN[1.0], *planning.FITTED.values()]
    found = least_squares(all_off, start, bounds=(0, np.inf)).x
    _set(found)
    print(", ".join(f"{name} {getattr(ladder, name):.3f}" for name in (*FOUND, "JOINT")))
    for factor in FACTORS:
        some = [point for point in points if point.model.factor[1] == factor]
        constants = f"CLEAN {planning.CLEAN[factor]:.2f}, FITTED {planning.FITTED[factor]:.2f}"
        print(f"x{factor:g}: {constants}; HR PSNR {_in_words([point.off[-1] for point in some])}")
        for point in some:
            siren, fit = siren_of(point.settings)
            name = f"{point.volume}, {siren.boxes} x {siren.hidden_features}, {fit.all_steps} steps"
            print(f"    {name}: {point.off[-1]:+.2f} dB")


def points_of(name: str, models: dict[tuple[float, float, float], FactorModel]) -> Iterator[Point]:
    """Yield the points of a volume that are kept, each once."""
    kept = json.loads(SWEEP.read_text()).get(name, {"points": {}})["points"]
    named = {key: (point["lr_psnr"], point["psnr"]) for key, point in kept.items() if "lr_psnr" in point}
    for key, point in json.loads(BLOCKS.read_text()).items():
        if key.startswith(f"{name}, "):
            named[key.removeprefix(f"{name}, ")] = point["lr_psnr"], point["hr_psnr"]
    found: dict[tuple[float, int, int, int], tuple[float, float]] = {}
    for key, psnrs in named.items():
        match = NAME.search(key.removeprefix(f"{OURS}|"))
        assert match is not None, key
        factor, boxes, width, steps = match.groups()
        found[float(factor), int(boxes or 1), int(width), int(steps.replace(",", ""))] = psnrs
    for (plane, *sizes), psnrs in found.items():
        yield Point(name, models[1.0, plane, plane], settings_of(*sizes, plane), *psnrs)


def _set(values: np.ndarray) -> None:
    """Have predictions made with these constants."""
    for name, value in zip((*FOUND, "JOINT"), (*values[: len(FOUND)].tolist(), JOINT), strict=True):
        setattr(ladder, name, value)
    planning.CLEAN[1.0], *fitted = values[len(FOUND) :].tolist()
    planning.FITTED.update(zip(FACTORS, fitted, strict=True))


def _in_words(off: list[float]) -> str:
    return f"off by {math.sqrt(np.mean(np.square(off))):.2f} dB, at most {np.abs(off).max():.2f} dB"


if __name__ == "__main__":
    main()
