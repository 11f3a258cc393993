"""Settings for a target: how large a network must be for a size or a quality, told from short probes.

For each factor some fields are fitted for a moment (`fields.base.Ladder`), and some slices restored without a
fit. The ladder tells the LR's PSNR from the first; then

    HR mean squared error = CLEAN * that of restoring the clean LR + FITTED * that of the LR

A fit to the volume itself, x1, has no clean LR to restore, but more to fit: it is told from the x2 probes in
the same way. What is in capitals is of CT volumes in general: from points of lungfcp0001, ge_head_tilt,
sts013_thigh and totalseg_ct_3mm in docs/benchmarks, by `benchmarks/calibration.py`.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from threading import Event

import numpy as np
from numpy.typing import NDArray

from .codec import fit_volume
from .core.choices import Device
from .core.errors import FitError
from .core.generators import translated
from .core.lowres import LowRes, low_res
from .core.resample import lr_shape
from .core.volume import Triple, Volume, spread
from .fields.base import FitProgress
from .fields.registry import ladder_of
from .fields.settings import Settings
from .io.inr_size import bytes_beside_weights
from .measuring import least, slice_errors, some_slices
from .superres.upscale import Upscaler, find_upscalers
from .target import Target

PROBED: tuple[Triple, ...] = ((1.0, 4.0, 4.0), (1.0, 2.0, 2.0))  # x4 and x2, in the plane only
WHOLE: Triple = (1.0, 1.0, 1.0)  # the volume itself
MOST_WHOLE = 2**27  # voxels of a volume that is planned without an LR: a fit measures each of them

CLEAN = {4.0: 1.0, 2.0: 1.0, 1.0: 0.47}  # by the factor, of which 1 counts on the LR by 2
FITTED = {4.0: 1.23, 2.0: 1.1, 1.0: 1.16}

MOST_PSNR = 150.0  # dB
APART = 1.35  # times the bytes, at least, between points of a curve
ALIKE = 1.1  # times the bytes, at most, of plans of which a curve has the best
MORE = 0.2  # dB asked of the next try beyond what was missing


@dataclass(frozen=True, kw_only=True)
class FactorModel:
    """What fits to a volume's LR by one factor come to."""

    factor: Triple
    upscaler: str  # of those that are asked for, what restores the clean LR best
    model_bytes: int  # of its weights file, should that be embedded
    clean_mse: float  # of the clean LR's restoration, as a share of the squared range
    probed: tuple[float, ...]  # dB, LR PSNR of the probes; WHOLE has those of x2, and their clean LR

    def lr_psnr(self, settings: Settings) -> float:
        """Return the LR PSNR (range) to expect of a fit, in dB."""
        return self.hr_psnr(settings) if self.factor == WHOLE else self._fitted(settings)

    def hr_psnr(self, settings: Settings) -> float:
        """Return the PSNR (range) of the reconstruction to expect, in dB."""
        clean, fitted = CLEAN[self.factor[1]], FITTED[self.factor[1]]
        return _decibel(clean * self.clean_mse + fitted * 10 ** (-self._fitted(settings) / 10))

    def _fitted(self, settings: Settings) -> float:
        return ladder_of(settings).lr_psnr(settings, self.probed)


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
    probes = ladder_of(base).probes(base)
    done, steps = 0, len(PROBED) * sum(settings.fit.all_steps for settings in probes)
    for factor in PROBED:
        upscalers = find_upscalers(upscaler, factor[1:], device=device, or_lanczos=True)
        probed, lr = [], low_res(volume, factor)
        for settings in (replace(one, factor=factor) for one in probes):
            fitting = fit_volume(volume, settings, device=device, stop=stop, drop=drop, lr=lr)
            result = yield from translated(fitting, partial(_steps_done, done, steps))
            if result.stopped:
                raise FitError("stopped while looking for settings; nothing was fitted")
            done += settings.fit.all_steps
            probed.append(result.psnr)
        best, clean_mse = _best_of_clean(volume, lr, upscalers)
        models.append(
            FactorModel(
                factor=factor,
                upscaler=best.name,
                model_bytes=len(best.weights),
                clean_mse=clean_mse,
                probed=tuple(probed),
            )
        )
    if math.prod(volume.shape) <= MOST_WHOLE:
        lanczos = find_upscalers("lanczos", WHOLE[1:], device=device)[0]
        models.append(replace(models[-1], factor=WHOLE, upscaler=lanczos.name, model_bytes=0))
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
            least = min(one.smallest.file_bytes for one in sized) + 1  # bits are rounded down
            raise FitError(
                f"no .inr of this volume can be as small as {most:,} bytes; ask for {least:,} bytes, which is"
                f" {volume.source_bytes / least:,.0f}:1, or more"
            )
        return max(plans, key=lambda found: found.hr_psnr)
    plans = [found for one in sized for found in one.at_usual_bits]
    enough = [found for found in plans if found.hr_psnr >= target.value]
    if enough:
        return min(enough, key=lambda found: found.file_bytes)
    best = max(plans, key=lambda found: found.hr_psnr)
    words = (
        f"{target.value:g} dB cannot be reached on this volume with the preset {base.preset}; about"
        f" {best.hr_psnr:.1f} dB can be expected"
    )
    return replace(best, missed=words)


def curve(volume: Volume, models: list[FactorModel], base: Settings, *, embed: bool = False) -> list[Plan]:
    """Return plans to pick from, smaller than the volume: each of more bytes and a higher PSNR than the last.

    `embed` says that the file will hold the upscaler's weights too.
    """
    plans = [one for model in models for one in _Sized(volume, model, base, embed).at_usual_bits]
    left = sorted(
        (one for one in plans if one.file_bytes < volume.source_bytes), key=lambda one: one.file_bytes
    )
    found: list[Plan] = []
    while left:  # at about the same bytes another factor may promise more
        best = max(
            (one for one in left if one.file_bytes < ALIKE * left[0].file_bytes), key=lambda one: one.hr_psnr
        )
        if not found or best.hr_psnr > found[-1].hr_psnr:
            found.append(best)
        left = [one for one in left if one.file_bytes >= APART * best.file_bytes]
    return found


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
        self.ladder = ladder_of(base)
        base = replace(base, factor=model.factor, by_volume=())
        self.rungs = self.ladder.rungs(base, lr_shape(volume.shape, model.factor))
        embedded = model.model_bytes if embed else 0
        self.beside = bytes_beside_weights(volume, self.rungs[-1], model.upscaler) + embedded

    @property
    def smallest(self) -> Plan:
        """The plan of the smallest file."""
        return self.plan(self.rungs[0], self.ladder.least_bits)

    @property
    def at_usual_bits(self) -> list[Plan]:
        """The plan of each size, with as many bits as a quality is planned with."""
        return [self.plan(rung, self.ladder.bits[1]) for rung in self.rungs]

    def largest_within(self, most: int) -> Plan | None:
        """Return the plan of the largest network whose file is within these bytes, or None."""
        left = 8 * (most - self.beside)
        for rung in reversed(self.rungs):
            bits = left / rung.field.parameters
            if bits >= (self.ladder.least_bits if rung is self.rungs[0] else self.ladder.bits[0]):
                return self.plan(rung, min(bits, self.ladder.most_bits))
        return None

    def plan(self, rung: Settings, bits: float) -> Plan:
        """Return the plan of a size, with so many bits per weight."""
        settings = replace(rung, fit=replace(rung.fit, weight_bits=bits))
        return Plan(
            settings=settings,
            file_bytes=self.beside + int(bits * settings.field.parameters / 8),
            lr_psnr=self.model.lr_psnr(settings),
            hr_psnr=self.model.hr_psnr(settings),
            upscaler=self.model.upscaler,
        )


def _steps_done(before: int, total: int, record: FitProgress) -> list[tuple[int, int]]:
    return [(before + record.step, total)]


def _best_of_clean(volume: Volume, lr: LowRes, upscalers: list[Upscaler]) -> tuple[Upscaler, float]:
    """Return the upscaler that restores slices best from a clean LR, whose z is that of the volume.

    With it comes its mean squared error, as a share of the squared range.
    """
    low, width = volume.intensity_range[0], spread(volume.intensity_range)

    def restored(upscaler: Upscaler, z: int) -> NDArray[np.float64]:
        scaled = upscaler((lr.voxels[z : z + 1] - low) / width, volume.shape[1:])[0]
        hr: NDArray[np.float64] = np.clip(scaled, 0, 1).astype(np.float64) * width + low
        return hr

    errors = slice_errors(volume, some_slices(volume), [partial(restored, one) for one in upscalers])
    best = least(errors)
    return upscalers[best], errors[best] / width**2


def _decibel(mse: float) -> float:
    """Return the PSNR of a mean squared error that is a share of the squared range."""
    return -10 * math.log10(max(mse, 1e-15))
