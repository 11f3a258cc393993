"""Which upscaler restores an .inr: the one that is chosen, or else the one that the file names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.choices import Device
from .files import warn

if TYPE_CHECKING:
    from ..inr_volume import InrVolume
    from ..superres.upscale import Upscaler


def chosen_upscaler(inr: InrVolume, embedded: bytes | None, chosen: str | None, device: Device) -> Upscaler:
    """Return the upscaler that is chosen, or else the one that the .inr names, with the weights it embeds."""
    from ..superres.upscale import find_upscaler

    if chosen is not None:
        return find_upscaler(chosen, inr.factor[1:], device=device)
    return named_upscaler(inr, [embedded], device)


def named_upscaler(inr: InrVolume, weights: list[bytes | str | None], device: Device) -> Upscaler:
    """Return the upscaler that the .inr names; if it cannot be had, Lanczos, and a word on standard error."""
    from ..superres.upscale import find_restorer

    return find_restorer(inr, warn, weights=weights, device=device)
