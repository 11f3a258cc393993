"""The codecs that a person would use instead: a volume to bytes and back, at a quality or within some bytes.

Voxels go to a codec as whole numbers from 0, the lowest intensity; padding counts as that. What it gives back
is limited to the intensity range. Bytes are those of the coded pixels alone, without any file around them.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InrError
from ..core.volume import Volume

Pixels = NDArray[np.uint16]  # (z, y, x)
INSTALL = "pip install 'napari-inr-volume[codecs]'"
SEARCH = 7  # halvings of the range of qualities within which a size is looked for


class CodecError(InrError):
    """A codec is missing, failed, or was stopped."""


@dataclass(frozen=True)
class Codec:
    """One codec. Its quality goes from `coarse`, the fewest bytes, to `fine`."""

    name: str
    label: str
    coarse: float
    fine: float
    encode: Callable[[Pixels, float, int], bytes | list[bytes]]  # pixels, quality, bits a pixel
    decode: Callable[[Any, tuple[int, ...], int], NDArray[Any]]  # coded, shape, bits a pixel
    whole: bool = False  # qualities are whole numbers
    bits: int = 16  # a pixel at most; intensities of more are scaled
    needs: str = "imagecodecs"  # a program or package that may be missing
    install: str = INSTALL  # how to install it

    def quality(self, part: float) -> float:
        """Return the quality at this part of the way from coarse to fine, in even ratios where it is wide."""
        if self.fine > 0 and self.coarse > 20 * self.fine:
            return float(self.coarse * (self.fine / self.coarse) ** part)
        value = self.coarse + (self.fine - self.coarse) * part
        return float(round(value)) if self.whole else value


@dataclass(frozen=True, eq=False)
class Coded:
    """A volume as a codec gives it back."""

    codec: str
    quality: float
    size: int  # bytes
    voxels: NDArray[Any]  # (z, y, x), in the original's units and dtype
    encode_seconds: float
    decode_seconds: float


def missing(codec: Codec) -> str | None:
    """Return why a codec cannot run here and what to do, or None if it can."""
    if importlib.util.find_spec(codec.needs) or _can_hevc(codec.needs):
        return None
    return f"{codec.label} needs {codec.needs}, which is not installed: {codec.install}"


def code(codec: Codec, volume: Volume, quality: float, stop: Event | None = None) -> Coded:
    """Encode and decode a volume. Raises CodecError if the codec is missing or fails, or `stop` was set."""
    if (words := missing(codec)) is not None:
        raise CodecError(words)
    pixels, scale, bits = _pixels(volume, codec.bits)
    started = time.perf_counter()
    try:
        coded = codec.encode(pixels, quality, bits)
        encoded = time.perf_counter()
        if stop is not None and stop.is_set():
            raise CodecError("stopped before the codec had finished")
        decoded = codec.decode(coded, pixels.shape, bits)
    except (RuntimeError, ValueError, OSError, subprocess.CalledProcessError) as error:
        raise CodecError(f"{codec.label} failed at quality {quality:g}: {error}") from error
    ended = time.perf_counter()
    low, high = volume.intensity_range
    voxels = np.clip(decoded.astype(np.float64) * scale + low, low, high)
    dtype = volume.dtype
    return Coded(
        codec=codec.name,
        quality=quality,
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
    tell = on_point or (lambda _: None)
    best = code(codec, volume, codec.quality(0.0), stop)
    tell(best)
    low, high = 0.0, 1.0
    for _ in range(SEARCH if best.size <= most_bytes else 0):
        middle = (low + high) / 2
        found = code(codec, volume, codec.quality(middle), stop)
        tell(found)
        if found.size <= most_bytes:
            low, best = middle, max(best, found, key=lambda one: one.size)
        else:
            high = middle
    return best


def _pixels(volume: Volume, most_bits: int) -> tuple[Pixels, float, int]:
    """Return the voxels as whole numbers, the intensity of one, and how many bits they take (12 or 16)."""
    low, high = volume.intensity_range
    voxels = volume.read()
    whole = voxels.dtype.kind in "iu" and high - low < 2**most_bits
    bits = 12 if whole and high - low < 2**12 else most_bits
    scale = 1.0 if whole else (high - low) / (2**bits - 1)
    numbers = np.clip((voxels.astype(np.float64) - low) / scale, 0, (high - low) / scale)
    if (measured := volume.measured()) is not None:
        numbers = np.where(measured, numbers, 0)
    return np.rint(numbers).astype(np.uint16), scale, bits


def _by_slice(
    encode: Callable[[Pixels, float, int], bytes], decode: str
) -> tuple[Callable[[Pixels, float, int], list[bytes]], Callable[[list[bytes], tuple[int, ...], int], Any]]:
    """Return the two ways of a codec of single slices; `decode` is the name that imagecodecs has for it."""

    def encode_all(pixels: Pixels, quality: float, bits: int) -> list[bytes]:
        return [encode(np.ascontiguousarray(plane), quality, bits) for plane in pixels]

    def decode_all(coded: list[bytes], shape: tuple[int, ...], bits: int) -> NDArray[Any]:
        return np.stack([getattr(imagecodecs(), decode)(plane).reshape(shape[1:]) for plane in coded])

    return encode_all, decode_all


def imagecodecs() -> Any:
    """Return the package, which takes a moment to load and may be missing."""
    import imagecodecs

    return imagecodecs


def _jpeg2000(plane: Pixels, quality: float, bits: int) -> bytes:
    return bytes(
        imagecodecs().jpeg2k_encode(
            plane, level=int(quality), codecformat="J2K", bitspersample=bits, numthreads=1
        )
    )


def _htj2k(plane: Pixels, quality: float, bits: int) -> bytes:
    step = quality * 2 ** (bits - 16)  # in shares of 16 bits, whatever the pixels take
    return bytes(imagecodecs().htj2k_encode(plane, level=step, reversible=False))


def _jpegls(plane: Pixels, quality: float, bits: int) -> bytes:
    return bytes(imagecodecs().jpegls_encode(plane, level=int(quality)))


def _jpegxl(plane: Pixels, quality: float, bits: int) -> bytes:
    return bytes(imagecodecs().jpegxl_encode(plane, distance=quality, bitspersample=bits, numthreads=1))


def _sz3(pixels: Pixels, quality: float, bits: int) -> bytes:
    import pysz

    config = pysz.szConfig()
    config.errorBoundMode = pysz.szErrorBoundMode.ABS
    config.absErrorBound = quality
    compressed, _ = pysz.sz.compress(np.ascontiguousarray(pixels, dtype=np.float32), config)
    return bytes(compressed.tobytes())


def _sz3_back(coded: bytes, shape: tuple[int, ...], bits: int) -> NDArray[Any]:
    import pysz

    decoded, _ = pysz.sz.decompress(np.frombuffer(coded, np.uint8), np.float32, shape)
    return np.asarray(decoded)


def _ffmpeg(arguments: list[str], data: bytes) -> bytes:
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", *arguments, "-"]
    try:
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout
    except subprocess.CalledProcessError as error:
        raise CodecError(f"ffmpeg failed: {error.stderr.decode(errors='replace').strip()[:200]}") from error


@functools.cache
def _can_hevc(program: str) -> bool:
    """Return whether this is ffmpeg, there, and with x265 of 12 bits."""
    if program != "ffmpeg" or shutil.which(program) is None:
        return False
    asked = [program, "-hide_banner", "-h", "encoder=libx265"]
    return b"gray12le" in subprocess.run(asked, capture_output=True, check=False).stdout


def _even(length: int) -> int:
    """Return the next length that HEVC's frames can have."""
    return max(32, math.ceil(length / 8) * 8)


def _hevc(pixels: Pixels, quality: float, bits: int) -> bytes:
    """Slices as frames, in grey of 12 bits."""
    _, y, x = pixels.shape
    frames = np.pad(pixels, ((0, 0), (0, _even(y) - y), (0, _even(x) - x)), mode="edge")
    raw = ["-f", "rawvideo", "-pix_fmt", "gray12le", "-s", f"{_even(x)}x{_even(y)}", "-r", "25", "-i", "-"]
    way = ["-c:v", "libx265", "-preset", "medium", "-pix_fmt", "gray12le", "-x265-params"]
    return _ffmpeg([*raw, *way, f"crf={quality:.3f}:log-level=none:info=0", "-f", "hevc"], frames.tobytes())


def _hevc_back(coded: bytes, shape: tuple[int, ...], bits: int) -> NDArray[Any]:
    z, y, x = shape
    raw = _ffmpeg(
        ["-f", "hevc", "-i", "-", "-pix_fmt", "gray12le", "-fps_mode", "passthrough", "-f", "rawvideo"], coded
    )
    frames = np.frombuffer(raw, "<u2").reshape(z, _even(y), _even(x))[:, :y, :x]
    return frames.astype(np.uint16)


CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec("jpeg2000", "JPEG 2000", 20.0, 80.0, *_by_slice(_jpeg2000, "jpeg2k_decode"), whole=True),
        Codec("htj2k", "HTJ2K", 4.0, 1e-3, *_by_slice(_htj2k, "htj2k_decode")),
        Codec(
            "jpegls",
            "JPEG-LS near-lossless",
            255.0,
            0.0,
            *_by_slice(_jpegls, "jpegls_decode"),
            whole=True,
        ),
        Codec("jpegxl", "JPEG XL", 25.0, 0.05, *_by_slice(_jpegxl, "jpegxl_decode")),
        Codec(
            "sz3",
            "SZ3",
            1500.0,
            0.5,
            _sz3,
            _sz3_back,
            needs="pysz",
        ),
        Codec(
            "hevc",
            "HEVC (x265)",
            51.0,
            0.0,
            _hevc,
            _hevc_back,
            bits=12,
            needs="ffmpeg",
            install="install ffmpeg with libx265",
        ),
    )
}
