"""The constants of planning (`fields/siren/ladder.py`, `planning.py`) that suit our points best.

    OMP_NUM_THREADS=1 python benchmarks/calibration.py SOURCE...

Each source is probed, as planning does it. Its points are those that `rate_distortion.py` and `blocks.py`
have kept. The ladder's are those of least squares over LR PSNR, all but JOINT; the others make the relative
errors of the HR's mean squared errors small. Beside them stands how far the predictions that come of them are
off.
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
from scipy.optimize import nnls

from napari_inr_volume.core.generators import drain
from napari_inr_volume.fields.registry import PRESETS
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren import ladder
from napari_inr_volume.fields.siren.config import siren_of
from napari_inr_volume.planning import PROBED, WHOLE, FactorModel, probe

from report import volume_of

NAME = re.compile(r"x([\d.]+).*?, (?:5 x |(\d+)x)(\d+), ([\d,]+) steps")  # as both name their points

FOUND = "LEVEL", "PROBED", "WIDENED", "BOXED"
CONSTANTS = *FOUND, "JOINT"
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
    def expected(self) -> float:
        """The LR PSNR that the ladder says, in dB; of a fit to the volume itself, that of one by 2."""
        return ladder.SirenLadder().lr_psnr(self.settings, self.model.probed)


def main() -> None:
    """Print the constants, and what they predict."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=Path, nargs="+")
    points: list[Point] = []
    for source in parser.parse_args().source:
        found = drain(probe(volume_of(source), PRESETS["default"], device="cpu"))
        models = {one.factor: one for one in found}
        points += points_of(source.name.split(".")[0], models)
    shrunk = [point for point in points if point.model.factor in PROBED]
    known = np.array([point.lr_psnr for point in shrunk])
    _set(dict.fromkeys(CONSTANTS, 0.0) | {"JOINT": JOINT})
    given = np.array([point.expected for point in shrunk])
    columns = []
    for name in FOUND:
        _set(dict.fromkeys(CONSTANTS, 0.0) | {name: 1.0})
        columns.append([point.expected for point in shrunk])
    constants, *_ = np.linalg.lstsq(np.array(columns).T, known - given, rcond=None)
    _set(dict(zip(FOUND, constants.tolist(), strict=True)) | {"JOINT": JOINT})
    print({name: round(getattr(ladder, name), 3) for name in CONSTANTS})
    print(f"LR PSNR: {_off(np.array([point.expected for point in shrunk]) - known)}")
    for factor in (*PROBED, WHOLE):
        some = [point for point in points if point.model.factor == factor]
        errors = np.array([[point.model.clean_mse, _mse(point.expected)] for point in some])
        reached = np.array([_mse(point.hr_psnr) for point in some])
        if factor == WHOLE:
            shares, _ = nnls(errors / reached[:, None], np.ones(len(some)))
        else:  # of the clean LR's error, all comes back
            part = errors[:, 1] / reached
            shares = np.array([1.0, part @ (1 - errors[:, 0] / reached) / (part @ part)])
        off = -10 * np.log10(errors @ shares / reached)
        print(f"x{factor[1]:g}: CLEAN {shares[0]:.2f}, FITTED {shares[1]:.2f}; HR PSNR: {_off(off)}")
        for point, one in zip(some, off, strict=True):
            siren, fit = siren_of(point.settings)
            name = f"{point.volume}, {siren.boxes} x {siren.hidden_features}, {fit.all_steps} steps"
            print(f"    {name}: {one:+.2f} dB")


def points_of(name: str, models: dict[tuple[float, float, float], FactorModel]) -> Iterator[Point]:
    """Yield the points of a volume that are kept."""
    kept = json.loads(SWEEP.read_text())[name]["points"]
    found = {key: (point["lr_psnr"], point["psnr"]) for key, point in kept.items() if "lr_psnr" in point}
    for key, point in json.loads(BLOCKS.read_text()).items():
        if key.startswith(f"{name}, "):
            found[key.removeprefix(f"{name}, ")] = point["lr_psnr"], point["hr_psnr"]
    for key, (lr_psnr, hr_psnr) in found.items():
        match = NAME.search(key.removeprefix(f"{OURS}|"))
        assert match is not None, key
        factor, boxes, width, steps = match.groups()
        plane = float(factor)
        settings = settings_of(int(boxes or 1), int(width), int(steps.replace(",", "")), plane)
        yield Point(name, models[1.0, plane, plane], settings, lr_psnr, hr_psnr)


def _set(constants: dict[str, float]) -> None:
    for name, value in constants.items():
        setattr(ladder, name, value)


def _mse(psnr: float) -> float:
    """Return a mean squared error as a share of the squared range."""
    return float(10 ** (-psnr / 10))


def _off(errors: np.ndarray) -> str:
    return f"off by {math.sqrt(np.mean(np.square(errors))):.2f} dB, at most {np.abs(errors).max():.2f} dB"


if __name__ == "__main__":
    main()
