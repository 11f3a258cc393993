"""How large an `.inr` will be, before there is a network to put into it. No torch here."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from ..coding.quantise import Quantised, row_shape
from ..coding.range_coding import encode
from ..coding.weights import QUANTISED
from ..core.volume import Volume
from ..fields.settings import Settings
from ..fields.siren.config import SirenConfig
from ..inr_volume import InrVolume, Quality, UpscalerRef
from ..superres.factors import network_factor
from .inr_file import to_bytes

LONGEST = 1.2345678901234567e-10  # as long as a figure can be in the file
SOME_SIREN = SirenConfig(layers=2, hidden_features=100)  # one whose weights are quickly coded


def predicted_bytes(volume: Volume, settings: Settings, upscaler: str) -> int:
    """Return how large the `.inr` will be at most; it comes within about a percent of that."""
    return bytes_beside_weights(volume, settings, upscaler) + int(
        settings.fit.weight_bits * settings.field.parameters / 8
    )


def bytes_beside_weights(volume: Volume, settings: Settings, upscaler: str) -> int:
    """Return how many bytes of the `.inr` are not weights, at most; an embedded model not counted."""
    has_weights = upscaler != "lanczos" and network_factor(settings.factor[1:]) is not None
    shapes = [row_shape(name, shape) for name, shape in SOME_SIREN.shapes.items()]
    zeros = [Quantised(np.zeros(shape, np.int32), np.zeros(shape[0], np.int32)) for shape in shapes]
    longest = {field.name: LONGEST for field in fields(Quality)}
    inr = InrVolume.of(
        volume,
        replace(settings, field=SOME_SIREN),
        coding=QUANTISED,
        payload=encode(zeros),
        upscaler=UpscalerRef(name="srdensenet", sha256="0" * 64) if has_weights else UpscalerRef(),
        steps=settings.fit.all_steps,
        quality=Quality(**longest),
    )
    return len(to_bytes(inr)) - len(inr.payload)
