"""Short trials, from which the panel predicts: how fast a fit is, what a target and an exact layer take."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...core.choices import Device
from ...core.generators import drain
from ...fields.settings import Settings
from ..job import Control
from ..predict import Speed, speed_key
from .previews import PREVIEW_SHARE
from .threads import leave_a_core

if TYPE_CHECKING:
    from ...core.volume import Volume
    from ...exact.predict import ExactPrediction
    from ...planning import FactorModel


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


def probe(
    control: Control, settings: Settings, shape: tuple[int, int, int], device: Device
) -> tuple[Speed, float]:
    """Return the steps a second that these settings make on the device, by fitting noise for a moment.

    With them comes what they depend on.
    """
    from ...compute.device import find_device
    from ...core.resample import lr_shape
    from ...fields.registry import find_kind
    from ...fields.samples import LrSamples

    leave_a_core()
    torch_device = find_device(device)
    small: tuple[int, int, int] = (min(shape[0], 8), min(shape[1], 64), min(shape[2], 64))
    lr = np.random.default_rng(0).random(lr_shape(small, settings.factor), dtype=np.float32)
    samples = LrSamples(lr, small, settings.factor, (0.0, 1.0), torch_device, drop=control.drop)
    endless = replace(settings, fit=replace(settings.fit, steps=10_000_000, target_psnr=None))
    kind = find_kind(settings.field.kind)
    started: tuple[int, float] | None = None
    with closing(kind.fit(samples, endless, torch_device, control.stop)) as fitting:
        for progress in fitting:
            control.check()
            if started is None:  # the first steps build kernels and caches
                started = progress.step, progress.seconds
            elif progress.seconds - started[1] >= PROBE_SECONDS:
                break
    assert started is not None
    speed = (progress.step - started[0]) / (progress.seconds - started[1])
    if torch_device.type == "cpu":
        speed *= 1 - PREVIEW_SHARE
    return speed_key(settings, device), speed
