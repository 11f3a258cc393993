"""The codecs that a person would use instead: a volume to bytes and back, at a quality or within some bytes.

Voxels go to a codec as whole numbers from 0, the lowest intensity; padding counts as that. What it gives back
is limited to the intensity range. Bytes are those of the coded pixels alone, without any file around them.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.volume import Volume
from .codec import INSTALL, Codec, CodecError, Pixels, check
from .images import IMAGES
from .program import encoders
from .video import VIDEO

CODECS: dict[str, Codec] = {codec.name: codec for codec in (*IMAGES, *VIDEO)}
SEARCH = 7  # most qualities tried for a size after the first
NEAR = 0.98  # of the bytes allowed: near enough
ASSUMED = (1e-4, 1.0)  # bytes a voxel at the coarsest and the finest quality, until they are known
INSIDE = 0.2  # of a range of qualities is left out at either end, so that it always shrinks
NARROW = 1e-3  # a range in which no other quality is worth a try


@dataclass(frozen=True, eq=False)
class Coded:
    """A volume as a codec gives it back."""

    codec: str
    quality: float
    setting: str  # in words, the quality included
    size: int  # bytes
    voxels: NDArray[Any]  # (z, y, x), in the original's units and dtype
    encode_seconds: float
    decode_seconds: float


def missing(codec: Codec) -> str | None:
    """Return why a codec cannot run here and what to do, or None if it can."""
    package = codec.needs.replace("_", "-")
    if importlib.util.find_spec(codec.needs) is None:
        return f"{codec.label} needs {package}, which is not installed: {INSTALL}"
    if codec.encoder is not None and codec.encoder not in encoders():
        return (
            f"{codec.label} needs {codec.encoder}, which the ffmpeg of {package} lacks here:"
            f" pip install --upgrade {package}"
        )
    return None


def code(
    codec: Codec,
    volume: Volume,
    quality: float,
    stop: Event | None = None,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Coded:
    """Encode and decode a volume, timed by `clock`.

    Raises CodecError if the codec is missing or fails, or `stop` was set.
    """
    if (words := missing(codec)) is not None:
        raise CodecError(words)
    stop = stop or Event()
    pixels, scale, bits = _pixels(volume, codec)
    started = clock()
    try:
        coded = codec.encode(pixels, quality, bits, stop)
        encoded = clock()
        check(stop)
        decoded = codec.decode(coded, volume.shape, bits, stop)
    except (RuntimeError, ValueError, OSError, CodecError) as error:
        check(stop)
        raise CodecError(f"{codec.label} failed at {codec.scale} {quality:g}: {error}") from error
    ended = clock()
    low, high = volume.intensity_range
    voxels = np.clip(decoded.astype(np.float64) * scale + low, low, high)
    dtype = volume.dtype
    return Coded(
        codec=codec.name,
        quality=quality,
        setting=codec.words(quality),
        size=len(coded) if isinstance(coded, bytes) else sum(map(len, coded)),
        voxels=(np.rint(voxels) if dtype.kind in "iu" else voxels).astype(dtype),
        encode_seconds=encoded - started,
        decode_seconds=ended - encoded,
    )


def code_within(
    codec: Codec,
    volume: Volume,
    most_bytes: int,
    *,
    on_point: Callable[[Coded], None] | None = None,
    stop: Event | None = None,
) -> Coded:
    """Return the best that a codec gives within these bytes; `on_point` is told of every try.

    Where even its coarsest takes more, that is returned. Raises CodecError as `code` does.
    """
    best: Coded | None = None
    sizes: dict[float, int] = {}
    voxels = math.prod(volume.shape)
    while len(sizes) <= SEARCH:
        quality = next_quality(codec, most_bytes, sizes, voxels)
        if quality is None:
            break
        found = code(codec, volume, quality, stop)
        sizes[quality] = found.size
        if on_point is not None:
            on_point(found)
        if best is None or _better(found.size, best.size, most_bytes):
            best = found
    assert best is not None  # something is always worth a first try
    return best


def _better(size: int, than: int, most: int) -> bool:
    """Return whether a size within `most` is larger, or one beyond it nearer."""
    return than < size <= most or (size < than and than > most)


def next_quality(
    codec: Codec, most_bytes: int, sizes: Mapping[float, int], voxels: int, near: float = NEAR
) -> float | None:
    """Return the quality to try next for a size, given the bytes of those that were tried.

    None if the best of them takes `near` of it or more, or if there is nothing better between them.
    """
    tried = sorted((codec.part(quality), quality, size) for quality, size in sizes.items())
    below = next((one for one in reversed(tried) if one[2] <= most_bytes), None)
    above = next((one for one in tried if one[2] > most_bytes and (below is None or one > below)), None)
    if below is not None and (below[2] >= near * most_bytes or below[1] == codec.fine):
        return None
    if above is not None and below is None:  # then it must be known whether any fits
        return None if above[1] == codec.coarse else codec.coarse
    low, small = (0.0, ASSUMED[0] * voxels) if below is None else (below[0], below[2])
    high, large = (1.0, ASSUMED[1] * voxels) if above is None else (above[0], above[2])
    if high - low < NARROW:
        return None
    share = math.log(max(most_bytes, 1) / small) / math.log(max(large / small, 1 + NARROW))
    least, most = (0.0 if below is None else INSIDE), (1.0 if above is None else 1 - INSIDE)
    quality = codec.quality(low + min(max(share, least), most) * (high - low))
    if not codec.step:
        return quality
    onwards = math.copysign(codec.step, codec.fine - codec.coarse)
    first = codec.coarse if below is None else below[1] + onwards
    last = codec.fine if above is None else above[1] - onwards
    if (last - first) * onwards < 0:
        return None
    return min(max(quality, min(first, last)), max(first, last))


def _pixels(volume: Volume, codec: Codec) -> tuple[Pixels, float, int]:
    """Return the voxels as whole numbers, the intensity of one, and how many bits they take."""
    low, high = volume.intensity_range
    voxels = volume.read()
    whole = not codec.fills and voxels.dtype.kind in "iu" and high - low < 2**codec.bits
    bits = 12 if whole and high - low < 2**12 else codec.bits
    scale = 1.0 if whole or high == low else (high - low) / (2**bits - 1)
    numbers = np.clip((voxels.astype(np.float64) - low) / scale, 0, (high - low) / scale)
    if (measured := volume.measured()) is not None:
        numbers = np.where(measured, numbers, 0)
    return np.rint(numbers).astype(np.uint16), scale, bits
