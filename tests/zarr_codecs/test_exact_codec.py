"""The exact codec in Zarr's format 3, put to what zarr asks of its own codecs."""

from __future__ import annotations

import asyncio
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from arrays import blob

zarr = pytest.importorskip("zarr", reason="the extra zarr is not installed")

from zarr.codecs import ShardingCodec, TransposeCodec  # noqa: E402
from zarr.registry import get_codec_class  # noqa: E402
from zarr.storage import MemoryStore  # noqa: E402

from napari_inr_volume.core.errors import FitError, InrFileError  # noqa: E402
from napari_inr_volume.zarr import ExactCodec  # noqa: E402

DTYPES = [
    "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64",
    "float16", "float32", "float64", "bool", ">i2", ">u4", ">f4",
]  # fmt: skip


def stored(data: Any, codec: ExactCodec | None = None, chunks: Any = None, **more: Any) -> Any:
    """Return a new array of a store in memory that holds the data, opened again."""
    store = MemoryStore()
    array = zarr.create_array(
        store,
        shape=data.shape,
        dtype=data.dtype,
        chunks=chunks or data.shape,
        serializer=codec or ExactCodec(),
        compressors=None,
        **more,
    )
    array[...] = data
    return zarr.open_array(store, mode="r+")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_back_as_it_was(dtype: str) -> None:
    data = blob((5, 17, 19), dtype)
    back = stored(data)[...]
    assert back.dtype == data.dtype.newbyteorder("=")  # format 3 keeps no byte order
    assert np.array_equal(back, data)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "uint64", "float32", "float64"])
def test_the_ends_of_a_dtype_come_back(dtype: str) -> None:
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    data = np.array([[limits.min, 0, limits.max, 1], [1, 2, 3, limits.max]], dtype)
    assert np.array_equal(stored(data)[...], data)


def test_what_are_no_numbers_comes_back_bit_by_bit() -> None:
    data = blob((3, 9, 9), "float32")
    data[0, :3, 0] = np.nan, np.inf, -np.inf
    data[1, 0, 0] = -0.0
    for bound in (0, 0.5):
        assert stored(data, ExactCodec(max_error=bound))[...].tobytes() == data.tobytes()


@pytest.mark.parametrize(
    "shape", [(), (1,), (37,), (9, 8), (1, 7, 9), (2, 3, 7, 9), (2, 1, 3, 7, 9), (5, 1, 1)]
)
def test_any_number_of_axes_comes_back(shape: tuple[int, ...]) -> None:
    data = blob(shape) if shape else np.array(7, np.int16)
    assert np.array_equal(stored(data)[...], data)


@pytest.mark.parametrize("chunks", [(4, 8, 8), (1, 17, 19), (5, 17, 19), (16, 32, 32), (5, 1, 1)])
def test_chunks_of_any_shape_come_back_those_over_the_edge_too(chunks: tuple[int, ...]) -> None:
    data = blob((5, 17, 19))
    array = stored(data, chunks=chunks)
    assert np.array_equal(array[...], data)
    assert np.array_equal(array[2:4, 3, 5:18:2], data[2:4, 3, 5:18:2])


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("transposed", [False, True], ids=["as it is", "transposed"])
def test_memory_order_makes_no_difference_to_the_values(order: Any, transposed: bool) -> None:
    data = blob((5, 17, 19))
    filters = [TransposeCodec(order=(2, 0, 1))] if transposed else None
    array = stored(np.asarray(data, order=order), chunks=(4, 8, 16), filters=filters, config={"order": order})
    assert np.array_equal(array[...], data)


@pytest.mark.parametrize("bound", [1, 2, 20])
def test_no_voxel_is_further_off_than_the_bound(bound: int) -> None:
    data = np.random.default_rng(1).integers(-1000, 1000, (4, 30, 31)).astype(np.int16)
    back = stored(data, ExactCodec(max_error=bound), chunks=(4, 16, 16))[...].astype(int)
    assert 0 < np.abs(back - data).max() <= bound


def test_floats_keep_to_the_bound() -> None:
    data = np.random.default_rng(1).normal(0, 5, (4, 20, 21)).astype(np.float32)
    back = stored(data, ExactCodec(max_error=0.25))[...]
    assert 0 < np.abs(back.astype(float) - data).max() <= 0.25


@pytest.mark.parametrize("fill", [0, 7, -1000])
def test_chunks_of_the_fill_value_are_not_written(fill: int) -> None:
    data = np.full((8, 16, 16), fill, np.int16)
    data[4:, 8:, 8:] = blob((4, 8, 8))
    store = MemoryStore()
    array = zarr.create_array(
        store, shape=data.shape, dtype="int16", chunks=(4, 8, 8), fill_value=fill,
        serializer=ExactCodec(), compressors=None,
    )  # fmt: skip
    array[...] = data
    assert sum("c/" in key for key in store._store_dict) == 1
    assert np.array_equal(array[...], data)


def test_nan_as_fill_value_comes_back() -> None:
    data = np.full((4, 8, 8), np.nan, np.float32)
    data[1] = 3
    array = stored(data, chunks=(2, 8, 8), fill_value=np.nan)
    assert np.array_equal(array[...], data, equal_nan=True)


def test_parts_of_chunks_are_written_over() -> None:
    data = blob((6, 20, 20))
    array = stored(data, chunks=(4, 8, 8))
    array[1:5, 3:9, :] = data[1:5, 3:9, :] = -7
    assert np.array_equal(array[...], data)


def test_async_arrays_are_read_and_written() -> None:
    data = blob((6, 20, 20))

    async def around() -> Any:
        array = await zarr.api.asynchronous.create_array(
            MemoryStore(), shape=data.shape, dtype=data.dtype, chunks=(2, 8, 8),
            serializer=ExactCodec(), compressors=None,
        )  # fmt: skip
        await array.setitem(..., data)
        return await array.getitem(...)

    assert np.array_equal(asyncio.run(around()), data)


class Counted(ExactCodec):
    """Counts the chunks that are decoded."""

    decoded = 0

    def _decode_sync(self, chunk_data: Any, chunk_spec: Any) -> Any:
        Counted.decoded += 1
        return super()._decode_sync(chunk_data, chunk_spec)


def test_a_slice_of_a_shard_decodes_its_inner_chunks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    data = blob((16, 32, 32))
    array = zarr.create_array(
        MemoryStore(), shape=data.shape, dtype=data.dtype, shards=(16, 32, 32), chunks=(4, 16, 16),
        serializer=Counted(), compressors=None,
    )  # fmt: skip
    array[...] = data
    assert isinstance(array.metadata.codecs[0], ShardingCodec)
    monkeypatch.setattr(Counted, "decoded", 0)
    assert np.array_equal(array[5], data[5])
    assert Counted.decoded == 4  # of 16
    assert np.array_equal(array[9:11, 3:9, 17:20], data[9:11, 3:9, 17:20])
    assert Counted.decoded == 5


def test_threads_side_by_side_write_the_same_bytes() -> None:
    codec = ExactCodec(max_error=1).chunks
    parts = [blob((6, 30, 30), seed=seed) for seed in range(8)]
    alone = [codec.encode(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(codec.encode, parts)) == alone
        back = pool.map(lambda data: codec.decode(data, (6, 30, 30), np.dtype("int16")), alone)
        assert all(np.abs(each.astype(int) - part).max() <= 1 for each, part in zip(back, parts, strict=True))


def test_the_codec_goes_through_json_and_pickle() -> None:
    for codec in (ExactCodec(), ExactCodec(max_error=2)):
        assert ExactCodec.from_dict(json.loads(json.dumps(codec.to_dict()))) == codec
        assert pickle.loads(pickle.dumps(codec)) == codec
    assert ExactCodec().to_dict() == {"name": "napari_inr_volume.exact", "configuration": {"max_error": 0}}


def test_zarr_finds_it_by_its_name() -> None:
    assert get_codec_class("napari_inr_volume.exact", reload_config=True).__name__ == "ExactCodec"


@pytest.mark.slow
def test_networks_fitted_once_serve_all_chunks() -> None:
    data = np.rint(np.cumsum(np.random.default_rng(0).normal(0, 9, (8, 48, 48)), axis=2)).astype(np.int16)
    codec = ExactCodec.fitted(data[:4])
    assert ExactCodec.from_dict(json.loads(json.dumps(codec.to_dict()))) == codec
    assert np.array_equal(stored(data, codec, chunks=(4, 24, 24))[...], data)
    assert len(codec.chunks.encode(data)) < len(ExactCodec().chunks.encode(data))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_error": -1}, "max_error must be a number, 0 or more, got -1"),
        ({"max_error": "2"}, "got '2'"),
        ({"max_error": float("nan")}, "got nan"),
        ({"networks": "AAAA"}, "networks must be a text that the codec made"),
        ({"bound": 2}, "options max_error, networks; found bound"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(FitError, match=words):
        ExactCodec.from_dict({"name": "napari_inr_volume.exact", "configuration": options})


@pytest.mark.parametrize(("dtype", "bound"), [("complex64", 0), ("S4", 0), ("int16", 0.5)])
def test_arrays_that_cannot_be_kept_so_are_refused_when_they_are_made(dtype: str, bound: float) -> None:
    with pytest.raises(FitError):
        stored(np.zeros((4, 4), dtype), ExactCodec(max_error=bound))


@pytest.mark.parametrize("dtype", ["int16", "bool", "float64"])
def test_a_damaged_chunk_never_gives_other_values(dtype: str) -> None:
    codec, data = ExactCodec().chunks, blob((4, 20, 20), dtype)
    if dtype == "float64":
        data /= 7  # which no lattice holds
    whole = codec.encode(data)
    refused = 0
    for at in [*range(50), *range(50, len(whole), 29), len(whole) - 1]:
        changed = whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]
        for damaged in (changed, whole[:at]):
            try:
                assert np.array_equal(codec.decode(damaged, data.shape, data.dtype), data)
            except InrFileError:
                refused += 1
    assert refused > 100


def test_a_chunk_takes_fewer_bytes_than_lzma() -> None:
    noisy, flat = blob((8, 48, 48)), np.zeros((8, 48, 48), np.int16)
    import lzma

    codec = ExactCodec().chunks
    assert len(codec.encode(noisy)) < len(lzma.compress(noisy.tobytes()))
    assert len(codec.encode(flat)) < 200
