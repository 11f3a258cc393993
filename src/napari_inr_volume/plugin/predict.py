"""What a fit will cost, before it starts: bytes of the file, memory, seconds."""

from __future__ import annotations

import math

from ..core.choices import Device
from ..core.resample import lr_shape
from ..core.volume import Volume
from ..fields.registry import find_kind
from ..fields.settings import Settings

Speed = tuple[object, ...]  # what the time of some work depends on


def predicted_memory(volume: Volume, settings: Settings) -> int:
    """Return roughly how many bytes a fit and its measuring take beside the volume itself."""
    lr_voxels = math.prod(lr_shape(volume.shape, settings.factor))
    decoded = math.prod(volume.shape) * volume.dtype.itemsize
    fitting = find_kind(settings.field.kind).bytes_of_fit(settings)
    return 3 * 4 * lr_voxels + fitting + 2 * decoded  # the LR, its importance, decoded; both decoded HR


def predicted_steps(volume: Volume, settings: Settings) -> float:
    """Return how many steps' time a fit takes: beside its steps, its PSNR is followed now and then."""
    samples = math.prod(lr_shape(volume.shape, settings.factor))
    return find_kind(settings.field.kind).work(settings, samples)


def speed_key(settings: Settings, device: Device) -> Speed:
    """Return what the speed of a fit depends on: settings that share it take equally long a step."""
    return find_kind(settings.field.kind).pace(settings, device)


def decoding_key(settings: Settings, upscaler: str, device: Device) -> Speed:
    """Return what the time of decoding and measuring a volume depends on, beside that."""
    return settings.field, settings.factor, upscaler, device
