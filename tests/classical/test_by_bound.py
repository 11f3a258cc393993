"""Codecs at a bound: every voxel comes back within it, by whatever way takes the fewest bytes."""

from __future__ import annotations

from dataclasses import replace
from threading import Event

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_inr_volume.classical.by_bound import BOUNDED, code_to_bound, from_form, to_form
from napari_inr_volume.classical.codec import CodecError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume

VOLUME = head_phantom((8, 48, 40))
PADDED = replace(VOLUME, voxels=np.where(VOLUME.voxels < -990, np.int16(-3024), VOLUME.voxels), padding=-3024)


@pytest.mark.parametrize("volume", [VOLUME, PADDED], ids=["measured", "padded"])
@pytest.mark.parametrize("max_error", [0, 2, 10])
@pytest.mark.parametrize("name", BOUNDED)
def test_every_codec_keeps_the_bound_and_says_how(name: str, max_error: int, volume: Volume) -> None:
    found = code_to_bound(BOUNDED[name], volume, max_error)
    assert 0 < found.size < volume.nbytes
    assert found.max_error <= max_error
    assert (found.max_error == 0) == (max_error == 0)
    assert ("steps of" in found.setting or "NEAR" in found.setting) == (max_error > 0)


@pytest.mark.parametrize("name", BOUNDED)
def test_a_larger_error_takes_fewer_bytes(name: str) -> None:
    lossless, near, far = (code_to_bound(BOUNDED[name], VOLUME, error).size for error in (0, 2, 10))
    assert lossless > near > far


@pytest.mark.parametrize("name", ["jpegls", "zstd"])
def test_the_better_way_is_shown(name: str) -> None:
    codec = BOUNDED[name]
    each = [code_to_bound(replace(codec, ways=(way,)), VOLUME, 2).size for way in codec.ways]
    assert code_to_bound(codec, VOLUME, 2).size == min(each)


@settings(max_examples=15, deadline=None)
@given(
    st.sampled_from(["uint8", "int16", "uint16", "int32", "float32"]),
    st.tuples(st.integers(1, 4), st.integers(17, 24), st.integers(17, 24)),
    st.sampled_from([0, 1, 5]),
)
def test_dtypes_and_shapes(dtype: str, shape: tuple[int, int, int], max_error: int) -> None:
    voxels = np.random.default_rng(0).integers(0, 256, shape).astype(dtype)
    for name in ("jpegls", "jpegxl-z", "blosc"):
        assert code_to_bound(BOUNDED[name], Volume.from_array(voxels), max_error).max_error <= max_error


@pytest.mark.parametrize("form", ["slices", "z-differences", "folded z-differences"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_differences_come_back_over_the_whole_range(form: str, dtype: type) -> None:
    levels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (5, 6, 7), dtype, endpoint=True)
    pixels = to_form(levels, form)
    assert pixels.dtype == levels.dtype
    np.testing.assert_array_equal(from_form(pixels, form), levels)


def test_small_differences_are_small_numbers_when_folded() -> None:
    levels = np.array([10, 9, 11, 11], np.uint16).reshape(4, 1, 1)
    assert to_form(levels, "folded z-differences").ravel().tolist() == [10, 1, 4, 0]


def test_what_takes_too_many_levels_is_refused_in_words() -> None:
    wide = Volume.from_array(np.array([0, 2**17] * 8, np.int32).reshape(1, 4, 4))
    with pytest.raises(CodecError, match=r"65,536 levels.*allow a larger error"):
        code_to_bound(BOUNDED["jpegls"], wide, 0)
    assert code_to_bound(BOUNDED["jpegls"], wide, 1).max_error <= 1


def test_a_broken_bound_is_an_error() -> None:
    codec = BOUNDED["jpegls"]
    lossy = replace(codec.ways[0], encode=lambda image, near: codec.ways[0].encode(image, 3))
    with pytest.raises(CodecError, match=r"JPEG-LS .* is off by .* where 0 is allowed"):
        code_to_bound(replace(codec, ways=(lossy,)), VOLUME, 0)


def test_progress_counts_to_the_end_and_a_stop_is_heard() -> None:
    told = []
    code_to_bound(BOUNDED["jpegls"], VOLUME, 2, on_images=lambda *done: told.append(done))
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert told[-1] == (len(told), len(told))
    stop = Event()
    stop.set()
    with pytest.raises(CodecError, match="stopped"):
        code_to_bound(BOUNDED["jpegls"], VOLUME, 2, stop=stop)
