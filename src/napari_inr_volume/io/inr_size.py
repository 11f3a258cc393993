"""How large an `.inr` will be, before there is a network to put into it. No torch here."""

from __future__ import annotations

from dataclasses import fields

from ..coding.weights import QUANTISED
from ..core.volume import Volume
from ..fields.settings import Settings
from ..inr_volume import InrVolume, Quality, UpscalerRef
from ..superres.factors import network_factor
from .inr_file import packed_size

LONGEST = 1.2345678901234567e-10  # as long as a figure can be in the file


def predicted_bytes(volume: Volume, settings: Settings, upscaler: str) -> int:
    """Return how large the `.inr` will be at most; it comes within about a percent of that."""
    return bytes_beside_weights(volume, settings, upscaler) + int(
        settings.fit.weight_bits * settings.field.parameters / 8
    )


def bytes_beside_weights(volume: Volume, settings: Settings, upscaler: str) -> int:
    """Return how many bytes of the `.inr` are not weights, at most; an embedded model not counted."""
    has_weights = upscaler != "lanczos" and network_factor(settings.factor[1:]) is not None
    longest = {field.name: LONGEST for field in fields(Quality)}
    return packed_size(
        InrVolume.of(
            volume,
            settings,
            coding=QUANTISED,
            payload=b"",
            upscaler=UpscalerRef(name="srdensenet", sha256="0" * 64) if has_weights else UpscalerRef(),
            steps=settings.fit.all_steps,
            quality=Quality(**longest),
        )
    )
