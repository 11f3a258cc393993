"""The codecs in Zarr's format 2, where numcodecs calls them, and what other libraries make of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrays import blob

zarr = pytest.importorskip("zarr", reason="the extra zarr is not installed")
numcodecs = pytest.importorskip("numcodecs", reason="the extra zarr is not installed")

from zarr.storage import MemoryStore  # noqa: E402

from napari_inr_volume.core.errors import FitError, InrFileError  # noqa: E402
from napari_inr_volume.zarr import Exact, ExactCodec  # noqa: E402


def stored(data: Any, codec: Exact, chunks: tuple[int, ...], **more: Any) -> Any:
    store = MemoryStore()
    array = zarr.create_array(
        store, shape=data.shape, dtype=data.dtype, chunks=chunks, compressors=codec, zarr_format=2, **more
    )
    array[...] = data
    return zarr.open_array(store, mode="r")


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i2", "<u4", "int64", "float32", "bool"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_format_2_come_back(dtype: str, order: Any) -> None:
    data = blob((5, 17, 19), dtype)
    back = stored(data, Exact(), (4, 8, 16), order=order)[...]
    assert back.dtype == data.dtype
    assert np.array_equal(back, data)


def test_the_bound_holds_in_format_2() -> None:
    data = np.random.default_rng(1).integers(-1000, 1000, (4, 30, 31)).astype(np.int16)
    back = stored(data, Exact(max_error=2), (4, 16, 16))[...].astype(int)
    assert 0 < np.abs(back - data).max() <= 2


def test_numcodecs_makes_it_of_its_configuration() -> None:
    config = Exact(max_error=2).get_config()
    assert config == {"id": "napari_inr_volume.exact", "max_error": 2}
    assert numcodecs.get_codec(config) == Exact(max_error=2)


def test_it_fills_what_it_is_given() -> None:
    data, out = blob((3, 8, 9)), np.empty((3, 8, 9), np.int16)
    codec = Exact()
    assert codec.decode(codec.encode(data), out) is out
    assert np.array_equal(out, data)


def test_damage_and_other_dtypes_are_refused() -> None:
    codec = Exact()
    data = codec.encode(blob((3, 8, 9)))
    for damaged in (b"", data[:1], data[:9], b"\xff\xff" + data[2:]):
        with pytest.raises(InrFileError):
            codec.decode(damaged)
    with pytest.raises(FitError, match="integers, floats or truth values"):
        codec.encode(np.zeros(3, complex))


@pytest.mark.parametrize("codec", [Exact(), ExactCodec()], ids=["format 2", "format 3"])
def test_dask_writes_and_reads_it(codec: Any, tmp_path: Path) -> None:
    dask = pytest.importorskip("dask.array", reason="dask is not installed")
    data = blob((8, 24, 24))
    of_format = {"zarr_format": 2, "compressors": codec}
    if isinstance(codec, ExactCodec):
        of_format = {"zarr_format": 3, "serializer": codec, "compressors": None}
    path = tmp_path / "a.zarr"
    array = zarr.create_array(path, shape=data.shape, dtype="int16", chunks=(4, 12, 12), **of_format)
    dask.from_array(data, chunks=(4, 12, 12)).store(array)
    lazy = dask.from_zarr(str(path))
    assert np.array_equal(lazy[3, :, 5:].compute(), data[3, :, 5:])
    assert lazy.sum().compute() == data.sum()


@pytest.mark.parametrize("version", [2, 3])
def test_xarray_writes_and_reads_it(version: int, tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray", reason="xarray is not installed")
    data = xarray.Dataset({"ct": (("z", "y", "x"), blob((6, 20, 20)))})
    codec = {"compressors": Exact()} if version == 2 else {"serializer": ExactCodec(), "compressors": None}
    data.to_zarr(
        tmp_path / "a.zarr",
        encoding={"ct": codec | {"chunks": (3, 10, 10)}},
        zarr_format=version,
        consolidated=version == 2,
    )
    with xarray.open_zarr(tmp_path / "a.zarr", consolidated=version == 2) as back:
        assert np.array_equal(back["ct"].values, data["ct"].values)
