"""The codecs that a person would use instead of an exact layer: every voxel to within the same bound.

All but JPEG-LS are lossless codecs without a bound of their own. They code the levels that the exact layer
codes too: values in steps of 2 k + 1, so that each comes back within k, with padding as a level of its own.
They get slices, or differences between slices. Small slices are stacked into larger images, which takes every
image codec fewer bytes. Where a codec has several ways, the one with the fewest bytes counts. Bytes are those
of the coded pixels alone. Everything is decoded again and compared with the original, voxel by voxel.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.metrics import largest_error
from ..core.volume import Volume
from ..exact.lattice import MOST_LEVELS, Lattice, find_lattice
from .codec import INSTALL, CodecError, imagecodecs

Pixels = NDArray[Any]  # (z, y, x), uint8 or uint16: levels, or what is made of them
Form = Literal["slices", "z-differences", "folded z-differences"]

MOST_NEAR = 255  # error that JPEG-LS can keep to by itself
STACKED, MOST_STACKED = 2**18, 16  # voxels of an image that slices are stacked to, and how many at most
SMALL = 2**8  # levels that fit in a byte


@dataclass(frozen=True)
class Way:
    """One way to run a codec."""

    setting: str
    encode: Callable[[Pixels, int], bytes]  # an image (y, x), and the error that the codec may make by itself
    decode: Callable[[bytes], Any]  # to an array, or its bytes
    form: Form = "slices"
    near: bool = False  # the codec keeps the bound by itself, on the values as they are
    whole: bool = False  # all slices are one image


@dataclass(frozen=True)
class BoundedCodec:
    """One codec, and the ways to run it that are worth a try."""

    label: str
    ways: tuple[Way, ...]


@dataclass(frozen=True, kw_only=True)
class Bounded:
    """What a codec took for a volume, every voxel to within a bound."""

    label: str
    setting: str
    size: int  # bytes
    max_error: float  # as decoded, in the volume's units
    encode_seconds: float
    decode_seconds: float


def missing(codec: BoundedCodec) -> str | None:
    """Return why a codec cannot run here and what to do, or None if it can."""
    if importlib.util.find_spec("imagecodecs"):
        return None
    return f"{codec.label} needs imagecodecs, which is not installed: {INSTALL}"


def code_to_bound(
    codec: BoundedCodec,
    volume: Volume,
    max_error: float,
    *,
    on_images: Callable[[int, int], object] | None = None,
    stop: Event | None = None,
) -> Bounded:
    """Return what a codec takes by its best way, every voxel within `max_error`, in the volume's units.

    As many images are coded at a time as there are cores. `on_images` is told after each that was coded or
    decoded how many are done, of how many; it may raise to end it. Raises CodecError if the codec is missing,
    fails, breaks the bound or was stopped, or if the volume takes more levels than such codecs have.
    """
    if (words := missing(codec)) is not None:
        raise CodecError(words)
    lattices = {False: _lattice(volume, max_error), True: _as_they_are(volume)}
    can_near = (
        volume.dtype.kind in "iu" and 1 <= max_error <= MOST_NEAR and lattices[True].levels <= MOST_LEVELS
    )
    ways = [way for way in codec.ways if can_near or not way.near]
    total, done = 2 * sum(len(_parts(volume.shape, way)) for way in ways), 0

    def on_image() -> None:
        nonlocal done
        done += 1
        if on_images is not None:
            on_images(done, total)
        if stop is not None and stop.is_set():
            raise CodecError("stopped before the codec had finished")

    found = []
    for way in ways:
        try:
            found.append(_code(codec.label, way, volume, lattices[way.near], max_error, on_image))
        except (RuntimeError, ValueError) as error:
            raise CodecError(f"{codec.label} ({way.setting}) failed: {error}") from error
    return min(found, key=lambda one: one.size)


def _code(
    label: str, way: Way, volume: Volume, lattice: Lattice, max_error: float, on_image: Callable[[], None]
) -> Bounded:
    """Encode, decode and measure."""
    levels = np.empty(volume.shape, np.uint8 if lattice.levels <= SMALL else np.uint16)
    for z in range(len(levels)):
        levels[z] = lattice.to_levels(volume.plane(z)[np.newaxis], volume.padding)[0]
    near = int(max_error) if way.near else 0
    started = time.perf_counter()
    pixels = to_form(levels, way.form)
    parts = _parts(volume.shape, way)
    images = [pixels[part].reshape(-1, pixels.shape[2]) for part in parts]
    coded = _mapped(lambda image: bytes(way.encode(image, near)), images, on_image)
    encoded = time.perf_counter()
    decoded = np.empty_like(pixels)
    for part, image in zip(parts, _mapped(way.decode, coded, on_image), strict=True):
        array = np.frombuffer(image, levels.dtype) if isinstance(image, bytes) else image
        decoded[part] = array.reshape(-1, *pixels.shape[1:])
    back = from_form(decoded, way.form)
    seconds = time.perf_counter() - encoded
    found = 0.0
    for z, plane in enumerate(back):
        voxels = lattice.to_voxels(plane.astype(np.int32), volume.dtype, volume.padding)
        found = max(found, largest_error(volume.plane(z), voxels))
    if found > max_error:
        raise CodecError(f"{label} ({way.setting}) is off by {found:g} where {max_error:g} is allowed")
    steps = f", steps of {lattice.step:g}" if max_error and not way.near else ""
    return Bounded(
        label=label,
        setting=f"{way.setting} {near}" if way.near else f"{way.setting}{steps}",
        size=sum(map(len, coded)),
        max_error=found,
        encode_seconds=encoded - started,
        decode_seconds=seconds,
    )


def _parts(shape: tuple[int, int, int], way: Way) -> list[slice]:
    """Return which slices make each image."""
    depth, rows, columns = shape
    stacked = depth if way.whole else min(max(STACKED // (rows * columns), 1), MOST_STACKED)
    return [slice(start, start + stacked) for start in range(0, depth, stacked)]


def _mapped(work: Callable[[Any], Any], images: Sequence[Any], on_image: Callable[[], None]) -> list[Any]:
    """Return what becomes of each image, as many at a time as there are cores; `on_image` may raise."""
    found = []
    with ThreadPoolExecutor(os.cpu_count(), "codec") as pool:
        try:
            for result in pool.map(work, images):
                found.append(result)
                on_image()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def _lattice(volume: Volume, max_error: float) -> Lattice:
    """Return the lattice of the exact layer."""
    found = find_lattice(volume, max_error)
    if found is None:
        raise CodecError(
            f"the voxels take more than {MOST_LEVELS:,} levels, the most that these codecs have;"
            " allow a larger error"
        )
    return found


def _as_they_are(volume: Volume) -> Lattice:
    """Return the lattice of all whole numbers from the lowest value on, padding included."""
    ends = [*volume.intensity_range, *([] if volume.padding is None else [volume.padding])]
    low, high = min(ends), max(ends)
    return Lattice(base=low, step=1.0, high=high, levels=int(high - low) + 1, padded=False)


def to_form(levels: Pixels, form: Form) -> Pixels:
    """Return levels (z, y, x) as a codec is given them, of the same unsigned dtype; the first slice as it is.

    Differences from the slice before are modulo 2^8 or 2^16, and centred: 2^7 or 2^15 is none. Folded they
    count up from 0 by their size, the sign in the lowest bit.
    """
    if form == "slices":
        return levels
    bits = 8 * levels.itemsize
    pixels = levels.copy()
    pixels[1:] -= levels[:-1]
    if form == "z-differences":
        pixels[1:] += levels.dtype.type(2 ** (bits - 1))
    else:
        signed = pixels[1:].view(f"i{levels.itemsize}")
        pixels[1:] = ((signed << 1) ^ (signed >> (bits - 1))).view(levels.dtype)
    return pixels


def from_form(pixels: Pixels, form: Form) -> Pixels:
    """Return the levels."""
    if form == "slices":
        return pixels
    bits = 8 * pixels.itemsize
    differences = pixels.copy()
    if form == "z-differences":
        differences[1:] -= pixels.dtype.type(2 ** (bits - 1))
    else:
        one = pixels.dtype.type(1)
        differences[1:] = (pixels[1:] >> one) ^ (~(pixels[1:] & one) + one)
    return np.cumsum(differences, axis=0, dtype=pixels.dtype)


def _jpegls(image: Pixels, near: int) -> bytes:
    return bytes(imagecodecs().jpegls_encode(image, level=near))


def _jpeg2000(image: Pixels, near: int) -> bytes:
    return bytes(imagecodecs().jpeg2k_encode(image, reversible=True, codecformat="J2K", numthreads=1))


def _jpegxl(image: Pixels, near: int) -> bytes:
    return bytes(imagecodecs().jpegxl_encode(image, lossless=True, effort=7, numthreads=1))


def _zstd(image: Pixels, near: int) -> bytes:
    return bytes(imagecodecs().zstd_encode(image, level=19))


def _blosc(shuffle: str, image: Pixels, near: int) -> bytes:
    settings = {"level": 9, "compressor": "zstd", "shuffle": shuffle, "typesize": image.itemsize}
    return bytes(imagecodecs().blosc2_encode(image, numthreads=os.cpu_count(), **settings))


def _decode(name: str, data: bytes) -> Any:
    return getattr(imagecodecs(), f"{name}_decode")(data)


def _ways(
    setting: str,
    encode: Callable[[Pixels, int], bytes],
    decode: str,
    forms: Sequence[Form],
    *,
    whole: bool = False,
) -> tuple[Way, ...]:
    """Return one way for each form; `decode` is the name that imagecodecs has for the codec."""
    return tuple(
        Way(f"{setting}, {form}", encode, partial(_decode, decode), form, whole=whole) for form in forms
    )


EITHER: tuple[Form, ...] = ("slices", "z-differences")
FOLDED: tuple[Form, ...] = ("slices", "folded z-differences")
NEAR = Way("NEAR", _jpegls, partial(_decode, "jpegls"), near=True)
BOUNDED: dict[str, BoundedCodec] = {
    "jpegls": BoundedCodec("JPEG-LS", (*_ways("lossless", _jpegls, "jpegls", EITHER[:1]), NEAR)),
    "jpegls-z": BoundedCodec("JPEG-LS of z-differences", _ways("lossless", _jpegls, "jpegls", EITHER[1:])),
    "jpeg2000": BoundedCodec("JPEG 2000", _ways("reversible", _jpeg2000, "jpeg2k", EITHER)),
    "jpegxl": BoundedCodec("JPEG XL", _ways("effort 7", _jpegxl, "jpegxl", EITHER[:1])),
    "jpegxl-z": BoundedCodec("JPEG XL of z-differences", _ways("effort 7", _jpegxl, "jpegxl", EITHER[1:])),
    "zstd": BoundedCodec("zstd", _ways("level 19", _zstd, "zstd", FOLDED, whole=True)),
    "blosc": BoundedCodec(
        "blosc",
        tuple(
            way
            for shuffle in ("shuffle", "bitshuffle")
            for way in _ways(
                f"zstd level 9, {shuffle}", partial(_blosc, shuffle), "blosc2", FOLDED, whole=True
            )
        ),
    ),
}
