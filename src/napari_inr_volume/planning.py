"""Settings for a target: how large a network must be for a size or a quality, told from short probes.

Two networks, a narrow and a wide one, are fitted for a few hundred steps, and some slices restored without a
fit. The first tell what a network of any width would reach in so few steps, linear in the doublings of its
weights. With w of them since the narrow one, and d doublings of the steps,

    LR PSNR = LEVEL + PROBED * what so few steps would reach + JOINT d w
    HR mean squared error = that of restoring the clean LR + SHARE * that of the LR

where probes and clean LR are of this volume, and what is in capitals of CT volumes in general: from points of
lungfcp0001, ge_head_tilt and sts013_thigh in docs/benchmarks.md, "Bytes against quality" and those of 7,000
steps.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from threading import Event

import numpy as np

from .codec import fit_volume, lanczos_lr
from .core.choices import Device
from .core.errors import FitError
from .core.generators import translated
from .core.volume import Triple, Volume
from .fields.settings import Settings
from .fields.siren.config import FitConfig, SirenConfig
from .fields.siren.fit import FitProgress
from .fields.siren.widths import with_width
from .io.inr_size import bytes_beside_weights
from .superres.upscale import Upscaler, find_upscaler
from .target import Target

FACTORS: tuple[Triple, ...] = ((1.0, 4.0, 4.0), (1.0, 2.0, 2.0))  # x4 and x2, in the plane only
PROBED_WIDTHS = (24, 112)  # hidden features of the narrow and the wide network
PROBED_STEPS = 400
SLICES = 6  # of the original that are restored without a fit

LEVEL, PROBED, JOINT = 7.8, 0.895, 0.204  # the first and the last in dB
SHARE = {4.0: 1.3, 2.0: 1.05}  # of the LR's mean squared error that comes back in the HR's, by the factor

WIDTHS = tuple(4 * n for n in (3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 36, 40, 48, 56, 64, 80))
BITS = (4.25, 5.5)  # a weight; fewer bits for more weights came out alike (docs/benchmarks.md)
LEAST_BITS = 3.0  # where even the smallest network needs fewer than the above
MOST_BITS = 12.0  # beyond which a weight has nothing more to say
MOST_PSNR = 150.0  # dB
MORE = 0.2  # dB asked of the next try beyond what was missing


@dataclass(frozen=True, kw_only=True)
class FactorModel:
    """What fits to a volume's LR by one factor come to."""

    factor: Triple
    upscaler: str
    model_bytes: int  # of its weights file, should that be embedded
    clean_mse: float  # of the clean LR's restoration, as a share of the squared range
    probed: tuple[float, float]  # dB, LR PSNR of the narrow and of the wide network

    def lr_psnr(self, settings: Settings) -> float:
        """Return the LR PSNR (range) to expect of a fit, in dB."""
        narrow, wide = (_siren(settings, width).parameters for width in PROBED_WIDTHS)
        d = math.log2(settings.fit.all_steps / PROBED_STEPS)
        w = math.log2(settings.field.parameters / narrow)
        low, high = self.probed
        probed = low + w / math.log2(wide / narrow) * max(high - low, 0.0)
        return LEVEL + PROBED * probed + JOINT * d * w

    def hr_psnr(self, settings: Settings) -> float:
        """Return the PSNR (range) of the reconstruction to expect, in dB."""
        return _decibel(self.clean_mse + SHARE[self.factor[1]] * 10 ** (-self.lr_psnr(settings) / 10))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Settings for a target, and what to expect of them."""

    settings: Settings
    file_bytes: int
    lr_psnr: float  # dB (range)
    hr_psnr: float  # dB (range)
    upscaler: str
    missed: str | None = None  # why the target cannot be met, in words


def probe(
    volume: Volume,
    base: Settings,
    *,
    upscaler: str | PathLike[str] = "auto",
    device: Device = "auto",
    stop: Event | None = None,
    drop: Event | None = None,
) -> Generator[tuple[int, int], None, list[FactorModel]]:
    """Find out what fits to this volume come to; yields (steps done, steps in all).

    `base` gives what is not planned: optimiser, batch, seed. Raises FitError if it is stopped.
    """
    models: list[FactorModel] = []
    done, steps = 0, len(FACTORS) * len(PROBED_WIDTHS) * PROBED_STEPS
    for factor in FACTORS:
        restore = find_upscaler(upscaler, factor[1:], device=device, or_lanczos=True)
        probed = []
        for width in PROBED_WIDTHS:
            settings = replace(base, factor=factor, field=_siren(base, width), fit=_probe_fit(base))
            fitting = fit_volume(volume, settings, device=device, stop=stop, drop=drop)
            result = yield from translated(fitting, partial(_steps_done, done, steps))
            if result.stopped:
                raise FitError("stopped while looking for settings; nothing was fitted")
            done += PROBED_STEPS
            probed.append(result.psnr)
        models.append(
            FactorModel(
                factor=factor,
                upscaler=restore.name,
                model_bytes=len(restore.weights),
                clean_mse=_clean_mse(volume, factor, restore),
                probed=(probed[0], probed[1]),
            )
        )
    return models


def plan(
    volume: Volume, models: list[FactorModel], target: Target, base: Settings, *, embed: bool = False
) -> Plan:
    """Return the settings with which a target is met, or comes nearest to being met.

    For a size or a ratio they are those of the best quality within it, for a PSNR those of the fewest
    bytes. `embed` says that the file will hold the upscaler's weights too. Raises FitError if no file of
    this volume can be so small.
    """
    most = target.most_bytes(volume.source_bytes)
    sized = [_Sized(volume, model, base, embed) for model in models]
    if most is not None:
        plans = [found for one in sized if (found := one.largest_within(most)) is not None]
        if not plans:
            least = (
                min(one.plan(WIDTHS[0], LEAST_BITS).file_bytes for one in sized) + 1
            )  # bits are rounded down
            raise FitError(
                f"no .inr of this volume can be as small as {most:,} bytes; ask for {least:,} bytes, which is"
                f" {volume.source_bytes / least:,.0f}:1, or more"
            )
        return max(plans, key=lambda found: found.hr_psnr)
    plans = [one.plan(width, BITS[1]) for one in sized for width in WIDTHS]
    enough = [found for found in plans if found.hr_psnr >= target.value]
    if enough:
        return min(enough, key=lambda found: found.file_bytes)
    best = max(plans, key=lambda found: found.hr_psnr)
    words = (
        f"{target.value:g} dB is beyond what this software reaches on this volume with preset"
        f" {base.preset}: about {best.hr_psnr:.1f} dB are to be expected"
    )
    return replace(best, missed=words)


def next_plan(
    volume: Volume,
    models: list[FactorModel],
    target: Target,
    base: Settings,
    last: Plan,
    reached: float,
    *,
    embed: bool = False,
) -> Plan | None:
    """Return what to fit next, where a fit for a PSNR only `reached` so much; None if nothing is larger."""
    if target.kind != "psnr" or reached >= target.value or last.missed is not None:
        return None
    asked = min(target.value + max(last.hr_psnr - reached, 0.0) + MORE, MOST_PSNR)
    larger = plan(volume, models, replace(target, value=asked), base, embed=embed)
    return larger if larger.file_bytes > last.file_bytes else None


class _Sized:
    """A factor's model, with the bytes of a file of it that are not weights."""

    def __init__(self, volume: Volume, model: FactorModel, base: Settings, embed: bool) -> None:
        self.model = model
        self.base = replace(base, factor=model.factor)
        embedded = model.model_bytes if embed else 0
        self.beside = bytes_beside_weights(volume, self.base, model.upscaler) + embedded

    def largest_within(self, most: int) -> Plan | None:
        """Return the plan of the largest network whose file is within these bytes, or None."""
        left = 8 * (most - self.beside)
        for width in reversed(WIDTHS):
            bits = left / _siren(self.base, width).parameters
            if bits >= (BITS[0] if width > WIDTHS[0] else LEAST_BITS):
                return self.plan(width, min(bits, MOST_BITS))
        return None

    def plan(self, width: int, bits: float) -> Plan:
        """Return the plan of a network of this width, with so many bits a weight."""
        settings = with_width(self.base, width)
        settings = replace(settings, fit=replace(settings.fit, weight_bits=bits))
        return Plan(
            settings=settings,
            file_bytes=self.beside + int(bits * settings.field.parameters / 8),
            lr_psnr=self.model.lr_psnr(settings),
            hr_psnr=self.model.hr_psnr(settings),
            upscaler=self.model.upscaler,
        )


def _steps_done(before: int, total: int, record: FitProgress) -> list[tuple[int, int]]:
    return [(before + record.step, total)]


def _siren(base: Settings, width: int) -> SirenConfig:
    return replace(base.field, hidden_features=width)


def _probe_fit(base: Settings) -> FitConfig:
    """Return the base's fit with the steps of a probe, and weights as good as exact."""
    fit = base.fit.with_all_steps(PROBED_STEPS)
    fit = replace(fit, steps=PROBED_STEPS, tuning_steps=0, weight_bits=16.0)
    return replace(fit, target_psnr=None, least_gain=None)


def _clean_mse(volume: Volume, factor: Triple, restore: Upscaler) -> float:
    """Return the mean squared error, as a share of the squared range, of restoring slices from a clean LR."""
    chosen = np.unique(np.linspace(0, len(volume.voxels) - 1, SLICES + 2)[1:-1].astype(int))
    some = Volume.from_array(volume.voxels[chosen], units=volume.units, padding=volume.padding)
    low, high = volume.intensity_range
    lr = (lanczos_lr(some, factor) - low) / (high - low)
    hr = np.clip(restore(lr, volume.shape[1:]), 0, 1)
    squares = np.square(hr - (some.voxels.astype(np.float32) - low) / (high - low))
    measured = some.measured()
    return float(np.mean(squares if measured is None else squares[measured], dtype=np.float64))


def _decibel(mse: float) -> float:
    """Return the PSNR of a mean squared error that is a share of the squared range."""
    return -10 * math.log10(max(mse, 1e-15))
