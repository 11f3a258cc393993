"""Codecs of images, slice by slice, and of arrays: what imagecodecs and pysz have."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .codec import Codec, Pixels, check, imagecodecs


def _of_slices(encode: Callable[[Pixels, float, int], bytes], decode: str, **about: Any) -> Codec:
    """Return a codec of single slices; `decode` is the name that imagecodecs has for the way back."""

    def encode_all(pixels: Pixels, quality: float, bits: int, stop: Event) -> list[bytes]:
        coded = []
        for plane in pixels:
            check(stop)
            coded.append(encode(np.ascontiguousarray(plane), quality, bits))
        return coded

    def decode_all(coded: list[bytes], shape: tuple[int, int, int], bits: int, stop: Event) -> NDArray[Any]:
        back = getattr(imagecodecs(), decode)
        planes = []
        for plane in coded:
            check(stop)
            planes.append(back(plane).reshape(shape[1:]))
        return np.stack(planes)

    return Codec(encode=encode_all, decode=decode_all, **about)


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


def _sz3(pixels: Pixels, quality: float, bits: int, stop: Event) -> bytes:
    import pysz

    config = pysz.szConfig()
    config.errorBoundMode = pysz.szErrorBoundMode.ABS
    config.absErrorBound = quality
    compressed, _ = pysz.sz.compress(np.ascontiguousarray(pixels, dtype=np.float32), config)
    return bytes(compressed.tobytes())


def _sz3_back(coded: bytes, shape: tuple[int, int, int], bits: int, stop: Event) -> NDArray[Any]:
    import pysz

    decoded, _ = pysz.sz.decompress(np.frombuffer(coded, np.uint8), np.float32, shape)
    return np.asarray(decoded)


def _sperr(pixels: Pixels, quality: float, bits: int, stop: Event) -> bytes:
    """All slices as one block; at given bits a voxel it came out 0.05 dB above SPERR's own aim at a PSNR."""
    whole = np.ascontiguousarray(pixels, dtype=np.float32)
    return bytes(
        imagecodecs().sperr_encode(whole, quality, "bpp", chunks=whole.shape, numthreads=os.cpu_count())
    )


def _sperr_back(coded: bytes, shape: tuple[int, int, int], bits: int, stop: Event) -> NDArray[Any]:
    return np.asarray(imagecodecs().sperr_decode(coded)).reshape(shape)


IMAGES = (
    _of_slices(
        _jpeg2000,
        "jpeg2k_decode",
        name="jpeg2000",
        label="JPEG 2000",
        setting="slices, OpenJPEG",
        scale="PSNR",
        coarse=20.0,
        fine=80.0,
        step=1.0,
    ),
    _of_slices(
        _htj2k,
        "htj2k_decode",
        name="htj2k",
        label="HTJ2K",
        setting="slices, OpenJPH, 9/7 wavelet",
        scale="step",
        coarse=4.0,
        fine=1e-3,
        even_ratios=True,
    ),
    _of_slices(
        _jpegls,
        "jpegls_decode",
        name="jpegls",
        label="JPEG-LS near-lossless",
        setting="slices, CharLS",
        scale="NEAR",
        coarse=255.0,
        fine=0.0,
        step=1.0,
    ),
    _of_slices(
        _jpegxl,
        "jpegxl_decode",
        name="jpegxl",
        label="JPEG XL",
        setting="slices, libjxl, effort 7",
        scale="distance",
        coarse=25.0,
        fine=0.05,
        even_ratios=True,
    ),
    Codec(
        name="sz3",
        label="SZ3",
        setting="one block",
        scale="absolute bound",
        coarse=1500.0,
        fine=0.5,
        encode=_sz3,
        decode=_sz3_back,
        even_ratios=True,
        needs="pysz",
    ),
    Codec(
        name="sperr",
        label="SPERR",
        setting="one block, 3D wavelet",
        scale="bits a voxel",
        coarse=5e-4,
        fine=12.0,
        encode=_sperr,
        decode=_sperr_back,
        even_ratios=True,
    ),
)
