"""Classical codecs give back what they were given, nearer the more bytes they have."""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from threading import Event, Timer

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_inr_volume.classical import by_bytes, program
from napari_inr_volume.classical.by_bytes import CODECS, SEARCH, code, code_within, missing, next_quality
from napari_inr_volume.classical.codec import Codec, CodecError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume

PRESENT = [codec for codec in CODECS.values() if missing(codec) is None]
VIDEO = [codec for codec in PRESENT if codec.encoder is not None]
EACH = [
    pytest.param(codec, marks=[pytest.mark.slow] if codec in VIDEO else [], id=codec.name)
    for codec in PRESENT
]
needs_program = pytest.mark.skipif(not VIDEO, reason="needs the program of imageio-ffmpeg")


@pytest.fixture(scope="module")
def volume() -> Volume:
    return head_phantom((8, 64, 48))


def mean_square(volume: Volume, voxels: np.ndarray) -> float:
    expected = np.maximum(volume.voxels, volume.intensity_range[0])
    return float(np.mean(np.square(voxels.astype(np.float64) - expected)))


@pytest.mark.parametrize("codec", EACH)
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


@pytest.mark.parametrize("codec", EACH)
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


@pytest.mark.parametrize("codec", EACH)
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
    with pytest.raises(CodecError, match=r"SZ3 needs no-such-package.*napari-inr-volume\[codecs\]"):
        code(absent, volume, 1.0)


def test_a_stopped_codec_ends_in_words(volume: Volume) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(CodecError, match="stopped"):
        code(CODECS["jpegls"], volume, 3.0, stop)


def test_each_codec_says_how_it_is_run(volume: Volume) -> None:
    for codec in CODECS.values():
        assert codec.setting in codec.words(codec.coarse)
        assert f"{codec.scale} {codec.coarse:.4g}" in codec.words(codec.coarse)
    assert "veryslow" in CODECS["hevc"].setting
    assert code(CODECS["jpegls"], volume, 3.0).setting == CODECS["jpegls"].words(3.0)


@pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.name)
def test_qualities_lie_where_they_are_on_the_way(codec: Codec) -> None:
    for part in (0.0, 0.3, 1.0):
        quality = codec.quality(part)
        assert codec.quality(codec.part(quality)) == pytest.approx(quality)
    assert (codec.part(codec.coarse), codec.part(codec.fine)) == (0.0, 1.0)


@settings(max_examples=200)
@given(
    st.sampled_from([0.0, 1.0]),
    st.floats(0.5, 12),
    st.integers(1, 10**8),
    st.sampled_from([CODECS["jpegls"], CODECS["hevc"], CODECS["sperr"]]),
)
def test_a_size_is_searched_for_among_all_qualities(
    steep: float, power: float, most: int, codec: Codec
) -> None:
    def size(quality: float) -> int:
        part = codec.part(quality)
        return round(100 * 10 ** (power * part ** (1 + steep)))

    tried: dict[float, int] = {}
    for _ in range(60):
        quality = next_quality(codec, most, tried, 100_000)
        if quality is None:
            break
        assert quality not in tried
        assert min(codec.coarse, codec.fine) <= quality <= max(codec.coarse, codec.fine)
        tried[quality] = size(quality)
    else:
        pytest.fail("the search never ends")
    fit = [one for one in tried if tried[one] <= most]
    assert bool(fit) == (size(codec.coarse) <= most)
    if fit and not codec.step and size(codec.fine) > most:
        assert max(tried[one] for one in fit) >= 0.9 * most


def test_a_whole_volume_in_one_block_takes_the_bytes_that_it_is_given(volume: Volume) -> None:
    tries = []
    best = code_within(CODECS["sperr"], volume, 3_000, on_point=tries.append)
    assert 0.98 * 3_000 <= best.size <= 3_000
    assert len(tries) <= SEARCH + 1


@needs_program
@pytest.mark.parametrize("codec", VIDEO, ids=lambda codec: codec.name)
@pytest.mark.parametrize("shape", [(1, 17, 35), (3, 70, 66)], ids=str)
@pytest.mark.slow
def test_frames_have_the_shape_of_any_slices(codec: Codec, shape: tuple[int, int, int]) -> None:
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    smooth = Volume.from_array((1000 * np.sin(z + 2 * y) * np.cos(3 * x)).astype(np.int16))
    found = code(codec, smooth, codec.quality(0.8))
    assert found.voxels.shape == shape
    low, high = smooth.intensity_range
    assert math.sqrt(mean_square(smooth, found.voxels)) < 0.01 * (high - low)


@needs_program
def test_what_video_makes_of_damage_is_told_in_words(volume: Volume) -> None:
    broken = replace(CODECS["hevc"], encode=lambda *_: b"no video")
    with pytest.raises(CodecError, match=r"HEVC .*failed"):
        code(broken, volume, 30.0)


@needs_program
def test_a_video_codec_that_is_stopped_is_killed_at_once() -> None:
    voxels = np.random.default_rng(0).integers(-1000, 1000, (24, 256, 256)).astype(np.int16)
    stop, started = Event(), time.perf_counter()
    timer = Timer(0.5, stop.set)
    timer.start()
    with pytest.raises(CodecError, match="stopped"):
        code(CODECS["hevc"], Volume.from_array(voxels), 5.0, stop)
    timer.join()
    assert time.perf_counter() - started < 10


@pytest.fixture
def another_program(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Run Python in place of the program; the list is what it runs."""
    arguments = ["-c"]
    monkeypatch.setattr(program, "program", lambda: sys.executable)
    monkeypatch.setattr(program, "OPTIONS", arguments)
    return arguments


def test_the_program_is_given_bytes_and_gives_some_back(another_program: list[str]) -> None:
    script = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])"
    data = bytes(range(256)) * 4_000
    assert program.run([script], data, Event()) == data[::-1]


def test_an_error_is_the_last_line_of_what_the_program_said(another_program: list[str]) -> None:
    script = "import sys; print('first', file=sys.stderr); sys.exit('the disk is on fire')"
    with pytest.raises(CodecError, match=r"^ffmpeg failed: the disk is on fire$"):
        program.run([script], b"", Event())


def test_a_program_that_hangs_is_killed_when_stopped(another_program: list[str]) -> None:
    stop, started = Event(), time.perf_counter()
    timer = Timer(0.3, stop.set)
    timer.start()
    with pytest.raises(CodecError, match="stopped"):
        program.run(["import time; time.sleep(60)"], bytes(10**7), stop)
    timer.join()
    assert time.perf_counter() - started < 5


def test_without_the_program_it_is_said_what_to_install(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "imageio_ffmpeg" else find(name)
    )
    with pytest.raises(CodecError, match=r"needs imageio-ffmpeg.*napari-inr-volume\[codecs\]"):
        code(CODECS["vvc"], volume, 30.0)
    assert missing(CODECS["jpegls"]) is None


def test_a_program_without_an_encoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("imageio_ffmpeg")
    monkeypatch.setattr(by_bytes, "encoders", lambda: frozenset({"libx265"}))
    assert missing(CODECS["hevc"]) is None
    assert "libvvenc" in missing(CODECS["vvc"])
