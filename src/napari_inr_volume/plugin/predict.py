"""What a fit will cost, before it starts: bytes of the file, memory, seconds."""

from __future__ import annotations

import math

from ..core.choices import Device
from ..core.resample import lr_shape
from ..core.volume import Volume
from ..fields.settings import Settings
from ..fields.siren.config import FitConfig, SirenConfig

MONITORINGS, MONITOR = 60, 16_384  # as in `inr.fit`, which imports torch
Speed = tuple[SirenConfig, FitConfig, Device]  # what the speed of a fit depends on


def predicted_memory(volume: Volume, settings: Settings) -> int:
    """Return roughly how many bytes a fit and its measuring take beside the volume itself."""
    lr_voxels = math.prod(lr_shape(volume.shape, settings.factor))
    activations = settings.fit.batch * settings.field.hidden_features * settings.field.layers * 4
    decoded = math.prod(volume.shape) * volume.voxels.itemsize
    # The LR three times: samples, layer, decoded; activations with their gradients; two decoded volumes.
    return 3 * 4 * lr_voxels + 3 * activations + 2 * decoded


def predicted_steps(volume: Volume, settings: Settings) -> float:
    """Return how many steps' time a fit takes: beside its steps, its PSNR is followed now and then."""
    voxels = min(MONITOR, math.prod(lr_shape(volume.shape, settings.factor)))
    steps, batch = settings.fit.all_steps, settings.fit.batch
    look = voxels / batch / 3  # in steps: a step is a forward pass, and a backward one twice as long
    between = max(1, steps // MONITORINGS, 20 * voxels // (3 * batch))
    return steps + steps // between * look


def speed_key(settings: Settings, device: Device) -> Speed:
    """Return what the speed of a fit depends on: settings that share it take equally long a step."""
    fit = settings.fit
    return (
        settings.field,
        FitConfig(batch=fit.batch, optimiser=fit.optimiser, precision=fit.precision),
        device,
    )
