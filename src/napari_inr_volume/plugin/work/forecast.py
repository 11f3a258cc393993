"""Short trials, from which the panel predicts: how fast a fit is, what a target and an exact layer take."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING

import numpy as np

from ...core.choices import Device
from ...core.generators import drain
from ...fields.settings import Settings
from ..job import Control
from ..predict import Speed, decoding_key, speed_key
from .previews import PREVIEW_SHARE
from .threads import leave_a_core

if TYPE_CHECKING:
    from ...core.volume import Volume
    from ...exact.predict import ExactPrediction
    from ...fields.base import FitProgress
    from ...inr_volume import InrVolume
    from ...planning import FactorModel
    from ...superres.upscale import Upscaler


@dataclass(frozen=True)
class Compiling:
    """What codes an exact layer is compiled: once on a machine, later it is only loaded."""


@dataclass(frozen=True)
class Compiled:
    """That is done, and parts of the volume are coded."""


PROBE_SECONDS = 0.5  # of fitting, from which the time of a whole fit is predicted


def look(
    control: Control, volume: Volume, base: Settings, *, device: Device, upscaler: str
) -> tuple[FactorModel, ...]:
    """Find out what fits to a volume come to, for targets; reports Done. See `planning.probe`."""
    from ...planning import probe

    leave_a_core()
    probing = probe(volume, base, upscaler=upscaler, device=device, drop=control.drop)
    return tuple(drain(probing, lambda done: control.on_progress(*done)))


def exact(control: Control, volume: Volume, max_error: float) -> tuple[float, ExactPrediction]:
    """Return about what an exact layer takes, and for which largest error. Takes a second or two.

    Reports Compiling before what codes is compiled, Compiled when that is done.
    """
    from ...exact.predict import is_ready, make_ready, predict_exact

    leave_a_core()
    if not is_ready():
        control.report(Compiling())
        make_ready()
        control.check()
        control.report(Compiled())
    return max_error, predict_exact(volume, max_error, control.drop)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How fast fits of some settings are on a device, and how long a volume fitted by them is measured."""

    pace: Speed  # what the speed depends on
    speed: float  # steps a second
    decoding: Speed  # what the time of measuring depends on, beside the volume
    measuring: float  # seconds, for the whole volume


def probe(control: Control, volume: Volume, settings: Settings, *, device: Device, upscaler: str) -> Trial:
    """Fit noise for a moment, and decode and compare a slice by what came of it."""
    from ...codec import encode
    from ...compute.device import find_device
    from ...core.resample import lr_shape
    from ...fields.registry import find_kind
    from ...fields.samples import LrSamples
    from ...superres.upscale import find_upscaler

    leave_a_core()
    torch_device, shape = find_device(device), volume.shape
    small: tuple[int, int, int] = (min(shape[0], 8), min(shape[1], 64), min(shape[2], 64))
    lr = np.random.default_rng(0).random(lr_shape(small, settings.factor), dtype=np.float32)
    samples = LrSamples(lr, small, settings.factor, (0.0, 1.0), torch_device, drop=control.drop)
    endless = replace(settings, fit=replace(settings.fit, steps=10_000_000, target_psnr=None))
    stop, told = Event(), list[tuple[int, float]]()

    def follow(progress: FitProgress) -> None:
        control.check()
        told.append((progress.step, progress.seconds))
        if progress.seconds - told[0][1] >= PROBE_SECONDS:
            stop.set()

    kind = find_kind(settings.field.kind)
    with closing(kind.fit(samples, endless, torch_device, stop)) as fitting:
        result = drain(fitting, follow)
    (first, began), (last, ended) = told[0], told[-1]  # the first steps build kernels and caches
    speed = (last - first) / (ended - began)
    if torch_device.type == "cpu":
        speed *= 1 - PREVIEW_SHARE
    control.check()
    restorer = find_upscaler(upscaler, settings.factor[1:], device=device, or_lanczos=True)
    inr = encode(volume, settings, result, restorer)
    return Trial(
        pace=speed_key(settings, device),
        speed=speed,
        decoding=decoding_key(settings, upscaler, device),
        measuring=_seconds_of_measuring(control, volume, inr, restorer, device),
    )


def _seconds_of_measuring(
    control: Control, volume: Volume, inr: InrVolume, upscaler: Upscaler, device: Device
) -> float:
    """Return about how long it takes to measure all slices, by measuring one; one before warms up."""
    from ...core.lowres import LowRes
    from ...measuring import Measuring
    from ...reader import Reader

    any_lr = LowRes(np.zeros(inr.lr_shape, np.float32), None)
    measuring = Measuring(volume, Reader(inr, upscaler, device=device), lr=any_lr)
    depth, lr_depth = volume.shape[0], inr.lr_shape[0]
    for z in range(depth // 2, depth)[:2]:
        times = [time.perf_counter()]
        for add, number in ((measuring.add_hr, z), (measuring.add_lr, int(z / inr.factor[0]))):
            add([number])
            control.check()
            times.append(time.perf_counter())
    began, hr, lr = times
    return depth * (hr - began) + lr_depth * (lr - hr)
