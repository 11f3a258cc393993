"""Classical codecs give back what they were given, nearer the more bytes they have."""

from __future__ import annotations

import shutil
from dataclasses import replace
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_inr_volume.classical.by_bytes import CODECS, Codec, CodecError, code, code_within, missing
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume

PRESENT = [codec for codec in CODECS.values() if missing(codec) is None]


@pytest.fixture(scope="module")
def volume() -> Volume:
    return head_phantom((8, 64, 48))


def mean_square(volume: Volume, voxels: np.ndarray) -> float:
    expected = np.maximum(volume.voxels, volume.intensity_range[0])
    return float(np.mean(np.square(voxels.astype(np.float64) - expected)))


@pytest.mark.parametrize("codec", PRESENT, ids=lambda codec: codec.name)
def test_more_bytes_come_nearer(codec: Codec, volume: Volume) -> None:
    coarse, middle, fine = (code(codec, volume, codec.quality(part)) for part in (0.0, 0.5, 1.0))
    assert coarse.size < middle.size < fine.size
    errors = [mean_square(volume, found.voxels) for found in (coarse, middle, fine)]
    assert errors[0] > errors[1] > errors[2]
    assert fine.voxels.dtype == volume.voxels.dtype
    assert fine.voxels.shape == volume.shape


def test_jpeg_ls_without_an_error_is_lossless(volume: Volume) -> None:
    found = code(CODECS["jpegls"], volume, 0.0)
    assert mean_square(volume, found.voxels) == 0


@pytest.mark.parametrize("codec", PRESENT, ids=lambda codec: codec.name)
@pytest.mark.parametrize("kind", ["float32", "wide"])
def test_other_dtypes_come_back_as_such(codec: Codec, kind: str) -> None:
    ramp = np.linspace(-1000, 40_000 if kind == "wide" else 1.5, 4 * 33 * 35).reshape(4, 33, 35)
    volume = Volume.from_array(ramp.astype(np.int32 if kind == "wide" else np.float32))
    found = code(codec, volume, codec.quality(0.9))
    assert found.voxels.dtype == volume.voxels.dtype
    low, high = volume.intensity_range
    assert mean_square(volume, found.voxels) < (0.02 * (high - low)) ** 2


@settings(max_examples=10)
@given(st.tuples(st.integers(1, 4), st.integers(17, 40), st.integers(17, 40)))
def test_any_shape_comes_back(shape: tuple[int, int, int]) -> None:
    voxels = np.random.default_rng(0).integers(-1000, 1000, shape).astype(np.int16)
    for name in ("jpeg2000", "htj2k", "jpegls", "jpegxl"):
        assert code(CODECS[name], Volume.from_array(voxels), CODECS[name].quality(0.7)).voxels.shape == shape


@pytest.mark.parametrize("codec", PRESENT, ids=lambda codec: codec.name)
def test_a_size_is_kept_and_nearly_used(codec: Codec, volume: Volume) -> None:
    most = code(codec, volume, codec.quality(0.8)).size
    points = []
    best = code_within(codec, volume, most, on_point=points.append)
    assert 0.8 * most <= best.size <= most
    assert best.size == max(point.size for point in points if point.size <= most)


def test_where_the_coarsest_is_too_large_it_is_returned(volume: Volume) -> None:
    codec = CODECS["jpegls"]
    best = code_within(codec, volume, 10)
    assert best.size > 10
    assert best.quality == codec.coarse


def test_a_codec_that_is_missing_says_what_to_install(volume: Volume) -> None:
    absent = replace(CODECS["sz3"], needs="no_such_package")
    with pytest.raises(CodecError, match=r"SZ3 needs no_such_package.*napari-inr-volume\[codecs\]"):
        code(absent, volume, 1.0)


def test_a_stopped_codec_ends_in_words(volume: Volume) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(CodecError, match="stopped"):
        code(CODECS["jpegls"], volume, 3.0, stop)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_what_hevc_makes_of_damage_is_told_in_words(volume: Volume) -> None:
    codec = CODECS["hevc"]
    broken = replace(codec, encode=lambda *_: b"no video")
    with pytest.raises(CodecError, match="failed"):
        code(broken, volume, 30.0)
