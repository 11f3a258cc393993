"""What a codec to compare with is: how it is run, over which qualities, and what it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InrError

Pixels = NDArray[np.uint16]  # (z, y, x)
Coding = bytes | list[bytes]  # of the volume, or of each slice
INSTALL = "pip install 'napari-inr-volume[codecs]'"


class CodecError(InrError):
    """A codec is missing, failed, or was stopped."""


@dataclass(frozen=True, kw_only=True)
class Codec:
    """One codec. Its quality goes from `coarse`, the fewest bytes, to `fine`."""

    name: str
    label: str
    setting: str  # how it is run, but for the quality
    scale: str  # what it calls its quality
    coarse: float
    fine: float
    # Pixels, quality, bits a pixel, and what is set when nobody waits for it any more.
    encode: Callable[[Pixels, float, int, Event], Coding]
    decode: Callable[[Any, tuple[int, int, int], int, Event], NDArray[Any]]  # coded, shape, bits, as above
    even_ratios: bool = False  # whether steps of quality are ratios, not differences
    step: float = 0.0  # qualities are multiples of it; 0: any
    bits: int = 16  # a pixel at most
    fills: bool = False  # whether intensities are stretched over all values that a pixel can have
    needs: str = "imagecodecs"  # a package that may be missing
    encoder: str | None = None  # of the program ffmpeg, which may be built without it

    def quality(self, part: float) -> float:
        """Return the quality at this part of the way from coarse to fine."""
        if self.even_ratios:
            value = self.coarse * (self.fine / self.coarse) ** part
        else:
            value = self.coarse + (self.fine - self.coarse) * part
        return float(round(value / self.step) * self.step) if self.step else float(value)

    def part(self, quality: float) -> float:
        """Return at which part of the way from coarse to fine a quality is."""
        if self.even_ratios:
            return float(np.log(quality / self.coarse) / np.log(self.fine / self.coarse))
        return (quality - self.coarse) / (self.fine - self.coarse)

    def words(self, quality: float) -> str:
        """Return how it is run at a quality."""
        return f"{self.setting}, {self.scale} {quality:.4g}"


def check(stop: Event) -> None:
    """Raise CodecError if nobody waits for the codec any more."""
    if stop.is_set():
        raise CodecError("stopped before the codec had finished")


def imagecodecs() -> Any:
    """Return the package, which takes a moment to load and may be missing."""
    import imagecodecs

    return imagecodecs
