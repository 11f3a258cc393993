"""What a super-resolution network learns from: LR and HR patches, cut at random from the same slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ..core.errors import TrainingError
from ..core.resample import LOBES, lanczos_weights

Kind = Literal["clean", "window", "decoded"]

FLAT = 0.005  # a patch whose LR varies less than this share of its range teaches nothing: another is drawn
TRIES = 8  # how often

# What other scans of the same would show: HR is blurred or sharpened, and noise of the same kernel added.
KERNEL_WIDTHS = 0.5, 1.5  # standard deviations of the blur, HR voxels
KERNEL_GAINS = -0.8, 1.0  # of the detail that the blur takes: from nearly gone to twice
SCAN_NOISE = 0.015  # largest standard deviation; 1 is the whole range


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """HR slices and one LR of them, on the grids of `core.resample`.

    clean: the Lanczos LR over the volume's whole intensity range. window: the same of slices clipped to a
    narrower CT window. decoded: the LR that comes out of a fitted and coded SIREN.
    """

    volume: str  # the name that errors and logs use
    kind: Kind
    hr: NDArray[Any]  # (n, y, x), in the volume's units
    lr: NDArray[np.float32]  # (n, ceil(y / f), ceil(x / f)) for a factor f, in the same units
    window: tuple[float, float]  # HR is clipped to it, and it is what both are scaled by to [0, 1]


@dataclass(frozen=True, kw_only=True)
class PatchConfig:
    """How patches are drawn. Raises TrainingError on a value that cannot work."""

    batch: int = 8  # patches a step
    patch: int = 32  # LR voxels along y and x
    window_share: float = 0.2  # of the patches that are not decoded: seen through a narrower CT window
    scan_share: float = 0.0  # of the patches that are not decoded: by another kernel, with more noise
    decoded_share: float = 0.3  # of all patches: from decoded LR
    noise: float = 0.002  # largest standard deviation of the noise added to a clean LR; 1 is the whole range

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= 4096:
            raise TrainingError(f"batch must be from 1 to 4,096 patches, got {self.batch}")
        if not 8 <= self.patch <= 512:
            raise TrainingError(f"patch must be from 8 to 512 LR voxels, got {self.patch}")
        if not all(0 <= share <= 1 for share in (self.window_share, self.scan_share, self.decoded_share)):
            raise TrainingError("window_share, scan_share and decoded_share are shares from 0 to 1")
        if not 0 <= self.noise <= 1:
            raise TrainingError(f"noise is a share of the intensity range from 0 to 1, got {self.noise}")


class Patches:
    """Batches of patches: each is settled by the seed and its number alone, so that training can resume.

    Of a kind, a volume comes up in proportion to the square root of its slices: a long scan counts for
    more than a short one, but does not drown it.
    """

    def __init__(self, pairs: Sequence[Pair], config: PatchConfig, factor: int, seed: int) -> None:
        self.config = config
        self.factor = factor  # HR voxels per LR voxel of all pairs, along y and x
        self.seed = seed
        reach = config.patch + 2 * LOBES
        # LR voxels around a patch: for its Lanczos, and for an LR that is made anew.
        self._margin = 2 * LOBES if config.scan_share else LOBES
        needed = config.patch + 2 * self._margin
        for pair in pairs:
            if min(pair.lr.shape[1:]) < needed or min(pair.hr.shape[1:]) < factor * needed:
                raise TrainingError(
                    f"{pair.volume} has slices of {pair.hr.shape[1]} x {pair.hr.shape[2]} voxels; patches of"
                    f" {config.patch} LR voxels need {factor * needed} x {factor * needed}: leave it out, or"
                    " choose smaller patches"
                )
        self._pairs = {kind: [pair for pair in pairs if pair.kind == kind] for kind in get_args(Kind)}
        if not self._pairs["clean"]:
            raise TrainingError("there is nothing to train on; give at least one volume")
        self._chances = {kind: _chances(found) for kind, found in self._pairs.items()}
        up = lanczos_weights(reach, factor * reach, 1 / factor).toarray()
        self._up = torch.from_numpy(up[factor * LOBES : -factor * LOBES])  # (f patch, patch + 6)
        down = lanczos_weights(factor * needed, needed, factor).toarray()
        self._down = down[LOBES:-LOBES]  # with scan_share (patch + 6, f (patch + 12))

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        """Return LR (n, 1, p, p) in [0, 1], and what HR is beyond its Lanczos, (n, 1, f p, f p)."""
        random = np.random.default_rng([self.seed, number])
        drawn = [self._draw(random) for _ in range(self.config.batch)]
        lr = torch.from_numpy(np.stack([lr for lr, _ in drawn]))
        hr = torch.from_numpy(np.stack([hr for _, hr in drawn]))
        wanted = hr - self._up @ lr @ self._up.T
        return lr[:, None, LOBES:-LOBES, LOBES:-LOBES].contiguous(), wanted[:, None]

    def _draw(self, random: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return one LR patch, with three voxels more on each side, and its HR patch, both in [0, 1]."""
        kind = self._kind(random)
        pair = self._pairs[kind][random.choice(len(self._pairs[kind]), p=self._chances[kind])]
        low, high = pair.window
        for _ in range(TRIES):
            z, y, x = self._place(pair, random)
            lr = (_area(pair.lr[z], y, x, self.config.patch, LOBES) - low) / (high - low)
            if lr.std() >= FLAT:
                break
        other = kind != "decoded" and self.config.scan_share > random.random()
        margin = self.factor * self._margin if other else 0
        hr = _area(pair.hr[z], self.factor * y, self.factor * x, self.factor * self.config.patch, margin)
        hr = (np.clip(hr.astype(np.float32), low, high) - low) / (high - low)
        if other:
            hr = _scanned_otherwise(hr, random)
            lr = self._down @ hr @ self._down.T
            hr = hr[margin:-margin, margin:-margin]
        if kind != "decoded":
            lr = lr + random.normal(0.0, random.uniform(0.0, self.config.noise), lr.shape)
        turns, mirrored = int(random.integers(4)), random.integers(2)
        lr, hr = np.rot90(lr, turns), np.rot90(hr, turns)
        if mirrored:
            lr, hr = lr[:, ::-1], hr[:, ::-1]
        return lr.astype(np.float32), hr.astype(np.float32)

    def _kind(self, random: np.random.Generator) -> Kind:
        """Draw what the patch is to be of; clean if there are none of that kind."""
        decoded, window = random.random(2) < (self.config.decoded_share, self.config.window_share)
        if decoded and self._pairs["decoded"]:
            return "decoded"
        return "window" if window and self._pairs["window"] else "clean"

    def _place(self, pair: Pair, random: np.random.Generator) -> tuple[int, int, int]:
        """Draw a slice and where in it, in LR voxels along y and x, a patch begins."""
        y, x = (
            int(
                random.integers(
                    self._margin, min(lr, hr // self.factor) - self.config.patch - self._margin + 1
                )
            )
            for lr, hr in zip(pair.lr.shape[1:], pair.hr.shape[1:], strict=True)
        )
        return int(random.integers(len(pair.lr))), y, x


def _area(plane: NDArray[Any], y: int, x: int, size: int, margin: int) -> NDArray[Any]:
    """Return a square of a slice with what lies around it."""
    return plane[y - margin : y + size + margin, x - margin : x + size + margin]


def _scanned_otherwise(hr: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Return HR in [0, 1] as another reconstruction kernel and dose might have shown it."""
    width, gain = random.uniform(*KERNEL_WIDTHS), random.uniform(*KERNEL_GAINS)
    noisy = hr + random.normal(0.0, random.uniform(0.0, SCAN_NOISE), hr.shape).astype(np.float32)
    other: NDArray[np.float32] = noisy + gain * (noisy - gaussian_filter(noisy, width))
    return np.clip(other, 0.0, 1.0)


def _chances(pairs: Sequence[Pair]) -> NDArray[np.float64]:
    weights = np.sqrt([len(pair.lr) for pair in pairs])
    return weights / weights.sum() if len(pairs) else weights
