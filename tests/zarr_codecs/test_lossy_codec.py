"""The lossy codec: a network a chunk, by ratio or PSNR."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from arrays import blob

zarr = pytest.importorskip("zarr", reason="the extra zarr is not installed")

from zarr.storage import MemoryStore  # noqa: E402

from napari_inr_volume.core.errors import FitError, InrFileError  # noqa: E402
from napari_inr_volume.core.phantom import head_phantom  # noqa: E402
from napari_inr_volume.fields.registry import PRESETS  # noqa: E402
from napari_inr_volume.fields.siren import ladder  # noqa: E402
from napari_inr_volume.zarr import Lossy, LossyCodec  # noqa: E402


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look at a chunk and the preset `fast` take few steps."""
    monkeypatch.setattr(ladder, "PROBED_WIDTHS", (8, 16))
    monkeypatch.setattr(ladder, "PROBED_STEPS", 20)
    fast = PRESETS["fast"]
    monkeypatch.setitem(PRESETS, "fast", replace(fast, fit=fast.fit.with_all_steps(200)))


@pytest.mark.slow
def test_a_chunk_has_the_ratio_that_was_asked_for(few_steps: None) -> None:
    data = head_phantom((16, 64, 64)).read().astype(np.int16)
    store = MemoryStore()
    array = zarr.create_array(
        store, shape=data.shape, dtype="int16", chunks=data.shape,
        serializer=LossyCodec(ratio=30, preset="fast"), compressors=None,
    )  # fmt: skip
    array[...] = data
    (chunk,) = (value for key, value in store._store_dict.items() if "c/" in key)
    assert len(chunk) <= data.nbytes / 30
    back = zarr.open_array(store, mode="r")[...]
    assert back.dtype == data.dtype
    error = np.sqrt(np.mean((back.astype(float) - data) ** 2))
    assert 20 * np.log10(float(np.ptp(data)) / error) > 20


def test_what_no_network_can_be_fitted_to_is_kept_as_it_is() -> None:
    flat = np.full((4, 16, 16), -7, np.int16)
    holes = blob((4, 16, 16), "float32")
    holes[0, 0, 0] = np.nan
    for data, codec in ((flat, LossyCodec(ratio=20)), (holes, LossyCodec(psnr=30))):
        chunk = codec.chunks.encode(data)
        assert codec.chunks.decode(chunk, data.shape, data.dtype).tobytes() == data.tobytes()


@pytest.mark.slow  # it looks at the chunk first
def test_a_ratio_that_cannot_be_had_is_refused(few_steps: None) -> None:
    with pytest.raises(FitError, match="choose larger chunks, or a smaller ratio"):
        LossyCodec(ratio=500).chunks.encode(blob((4, 16, 16)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "needs either a ratio or a psnr"),
        ({"ratio": 10, "psnr": 40}, "give one of them"),
        ({"ratio": "10"}, "ratio must be a number, got '10'"),
        ({"ratio": 0.5}, "a ratio must be from 1"),
        ({"psnr": 40, "preset": "best"}, "best"),
        ({"psnr": 40, "steps": 5}, "found steps"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(FitError, match=words):
        LossyCodec.from_dict({"name": "napari_inr_volume.lossy", "configuration": options})
    with pytest.raises(FitError, match=words):
        Lossy.from_config({"id": "napari_inr_volume.lossy", **options})


def test_damaged_chunks_are_refused() -> None:
    codec, data = LossyCodec(psnr=30).chunks, np.full((4, 16, 16), 3, np.int16)
    chunk = codec.encode(data)
    for damaged in (b"", b"N", b"X" + chunk[1:], b"N" + chunk[1:]):
        with pytest.raises(InrFileError):
            codec.decode(damaged, data.shape, data.dtype)
