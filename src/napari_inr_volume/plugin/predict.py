"""What a fit will cost, before it starts: bytes of the file, memory, seconds."""

from __future__ import annotations

import math

import numpy as np

from ..coding.quantise import Quantised, row_shape
from ..coding.weights import QUANTISED, encode_quantised
from ..core.resample import lr_shape
from ..core.volume import Volume
from ..inr.config import Device, FitConfig, Settings, SirenConfig
from ..inr.inr_volume import FitRecord, InrVolume, Quality, UpscalerRef
from ..io.inr_file import to_bytes

MONITORINGS, MONITOR = 60, 16_384  # as in `inr.fit`, which imports torch
Speed = tuple[SirenConfig, FitConfig, Device]  # what the speed of a fit depends on


def predicted_bytes(volume: Volume, settings: Settings, upscaler: str) -> int:
    """Return the size of the `.inr` to about a percent: of its weights the bits that they may take."""
    has_weights = upscaler != "lanczos" and settings.factor[1:] == (4, 4)
    figure = 33.333333333333336  # as long as figures are in the file
    zeros = [
        Quantised(np.zeros(row_shape(name, shape), np.int32), np.zeros(row_shape(name, shape)[0], np.int32))
        for name, shape in settings.siren.shapes.items()
    ]
    inr = InrVolume(
        siren=settings.siren,
        coding=QUANTISED,
        payload=encode_quantised(zeros),
        geometry=volume.geometry,
        factor=settings.factor,
        intensity_range=volume.intensity_range,
        units=volume.units,
        dtype=volume.voxels.dtype.name,
        padding=volume.padding,
        source_bytes=volume.source_bytes,
        upscaler=UpscalerRef(name="span", sha256="0" * 64) if has_weights else UpscalerRef(),
        fit=FitRecord(preset=settings.preset, steps=settings.fit.steps, seed=settings.fit.seed),
        quality=Quality(
            lr_psnr=figure, hr_psnr=figure, lanczos_psnr=figure, rmse=figure, p99=figure, max_error=figure
        ),
        software="napari-inr-volume 0.1.0",
    )
    weights = int(settings.fit.weight_bits * settings.siren.parameters / 8)
    return len(to_bytes(inr)) - len(inr.payload) + weights


def predicted_memory(volume: Volume, settings: Settings) -> int:
    """Return roughly how many bytes a fit and its measuring take beside the volume itself."""
    lr_voxels = math.prod(lr_shape(volume.shape, settings.factor))
    activations = settings.fit.batch * settings.siren.hidden_features * settings.siren.layers * 4
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
        settings.siren,
        FitConfig(batch=fit.batch, optimiser=fit.optimiser, precision=fit.precision),
        device,
    )
