"""Codecs of video, run for the highest PSNR: slices are frames, from the first to the last, of 10 bits.

The settings are what measured best: no perceptual tuning, no pictures that start anew, and few of the short
cuts that save time. 12 bits were no better than 10 with x265, which alone has them, and take as long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .codec import Codec, CodecError, Pixels
from .program import run

BITS = 10
BLOCK, LEAST = 8, 64  # voxels: sides are multiples of the one, and at least the other, which SVT-AV1 takes
RATE = 25  # frames a second, which changes nothing
FOREVER = "1000000"  # seconds between pictures that start anew


def _side(length: int) -> int:
    """Return the next length that a frame can have."""
    return max(LEAST, math.ceil(length / BLOCK) * BLOCK)


def _frames(pixels: Pixels, colour: bool) -> bytes:
    """Return raw frames, grown to sides that every encoder takes; colour, if it must be there, is flat."""
    z, y, x = pixels.shape
    grey = np.pad(pixels, ((0, 0), (0, _side(y) - y), (0, _side(x) - x)), mode="edge").astype("<u2")
    if not colour:
        return grey.tobytes()
    flat = np.full((z, _side(y) * _side(x) // 2), 2 ** (BITS - 1), "<u2")
    return np.concatenate([grey.reshape(z, -1), flat], axis=1).tobytes()


def _codec(encoder: str, container: str, colour: bool, options: Sequence[str], **about: Any) -> Codec:
    """Return a codec; "{}" in its options stands for the quality."""
    layout = f"yuv420p{BITS}le" if colour else f"gray{BITS}le"

    def encode(pixels: Pixels, quality: float, bits: int, stop: Event) -> bytes:
        _, y, x = pixels.shape
        raw = [
            "-f",
            "rawvideo",
            "-pix_fmt",
            layout,
            "-s",
            f"{_side(x)}x{_side(y)}",
            "-r",
            str(RATE),
            "-i",
            "-",
        ]
        way = [option.replace("{}", f"{quality:g}") for option in options]
        coded = ["-c:v", encoder, *way, "-pix_fmt", layout, "-f", container, "-"]
        return run([*raw, *coded], _frames(pixels, colour), stop)

    def decode(coded: bytes, shape: tuple[int, int, int], bits: int, stop: Event) -> NDArray[Any]:
        z, y, x = shape
        # Grey is the first plane of either layout: colour is cut off without being computed with.
        way = [
            "-f",
            container,
            "-i",
            "-",
            "-pix_fmt",
            layout,
            "-fps_mode",
            "passthrough",
            "-f",
            "rawvideo",
            "-",
        ]
        numbers = np.frombuffer(run(way, coded, stop), "<u2")
        rows, columns = _side(y), _side(x)
        frame = rows * columns * 3 // 2 if colour else rows * columns
        if numbers.size != z * frame:
            raise CodecError(f"{numbers.size / frame:g} slices came back instead of {z}")
        grey = numbers.reshape(z, frame)[:, : rows * columns].reshape(z, rows, columns)
        return grey[:, :y, :x].astype(np.uint16)

    return Codec(
        encode=encode, decode=decode, encoder=encoder, needs="imageio_ffmpeg", bits=BITS, fills=True, **about
    )


X265 = "psy-rd=0:psy-rdoq=0:aq-mode=0:keyint=-1:bframes=16"
FLAT = f"4:2:0 of {BITS} bits with flat colour"
SVT = "tune=1:film-grain=0:keyint=-1"  # tuned for PSNR


def _vvenc(preset: str, name: str) -> Codec:
    return _codec(
        "libvvenc",
        "vvc",
        True,
        ["-preset", preset, "-qp", "{}", "-qpa", "0", "-period", FOREVER],
        name=name,
        label=f"VVC (VVenC {preset})",
        setting=f"libvvenc, preset {preset}, qpa=0, one key frame, {FLAT}",
        scale="qp",
        coarse=63.0,
        fine=8.0,  # below, VVenC was seen never to end
        step=1.0,
    )


VIDEO = (
    _codec(
        "libx265",
        "hevc",
        False,
        ["-preset", "veryslow", "-x265-params", f"crf={{}}:{X265}:log-level=none:info=0"],
        name="hevc",
        label="HEVC (x265)",
        setting=f"libx265, preset veryslow, {X265.replace(':', ', ')}, grey of {BITS} bits",
        scale="crf",
        coarse=51.0,
        fine=0.0,
    ),
    _codec(
        "libsvtav1",
        "obu",
        True,
        ["-preset", "3", "-svtav1-params", f"crf={{}}:{SVT}"],
        name="av1",
        label="AV1 (SVT-AV1)",
        setting=f"libsvtav1, preset 3, {SVT.replace(':', ', ')}, {FLAT}",
        scale="crf",
        coarse=70.0,
        fine=1.0,
        step=0.25,
    ),
    _vvenc("faster", "vvc"),
    _vvenc("medium", "vvc-medium"),
)
