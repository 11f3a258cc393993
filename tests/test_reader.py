"""The one way back: any region of any level is the same part of the whole, whatever was read before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_inr_volume import compress, decompress
from napari_inr_volume.coding.quantise import STEP_CODES, Quantised
from napari_inr_volume.coding.range_coding import encode
from napari_inr_volume.core.errors import InrFileError, VolumeError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.inr_volume import InrVolume
from napari_inr_volume.measuring import measure
from napari_inr_volume.reader import Level, Reader
from napari_inr_volume.superres.upscale import LanczosUpscaler

ends = st.one_of(st.none(), st.integers(-15, 15))
parts = st.builds(slice, ends, ends)
FIT = FitConfig(steps=60, batch=256)
FACTORS = {"in the plane": (1.0, 4.0, 4.0), "on every axis": (3.0, 4.0, 4.0)}


@pytest.fixture(scope="module")
def volume() -> Volume:
    return head_phantom((10, 24, 20))


@pytest.fixture(scope="module", params=FACTORS.values(), ids=FACTORS)
def inr(request: pytest.FixtureRequest, volume: Volume) -> InrVolume:
    siren = SirenConfig(layers=2, hidden_features=16)
    return compress(
        volume, Settings(factor=request.param, field=siren, fit=FIT), device="cpu", upscaler="lanczos"
    )


@pytest.fixture(scope="module")
def wholes(inr: InrVolume) -> dict[str, Any]:
    return {level: Reader(inr, device="cpu").read(level=level) for level in ("lr", "hr")}


@given(region=st.tuples(parts, parts, parts), level=st.sampled_from(["lr", "hr"]))
def test_a_region_is_that_part_of_the_whole(
    inr: InrVolume, wholes: dict[str, Any], region: tuple[slice, slice, slice], level: Level
) -> None:
    reader = Reader(inr, device="cpu")
    read, whole = reader.read(region, level), wholes[level]
    assert whole.shape == reader.shape(level) == reader.geometry(level).shape
    assert read.dtype == reader.dtype(level)
    assert np.array_equal(read, whole[region])


def test_what_decompresses_is_the_whole(inr: InrVolume) -> None:
    assert np.array_equal(decompress(inr, device="cpu").voxels, Reader(inr, device="cpu").read())


def test_slices_are_decoded_once_and_only_those_asked_for(inr: InrVolume) -> None:
    reader = Reader(inr, device="cpu")
    rows = [reader.read((slice(2, 5), slice(row, row + 1), slice(None))) for row in range(24)]
    assert reader.decoded == 3
    assert np.array_equal(np.concatenate(rows, axis=1), reader.read((slice(2, 5), slice(None), slice(None))))
    assert reader.decoded == 3


def test_a_full_cache_lets_the_oldest_slice_go(inr: InrVolume) -> None:
    a_slice = reader_bytes = 24 * 20 * 2
    reader = Reader(inr, device="cpu", cache_bytes=2 * reader_bytes + a_slice // 2)
    for z in (0, 1, 0, 2):  # 1 was looked at longest ago
        reader.plane(z)
    assert reader.decoded == 3
    reader.plane(0)
    assert reader.decoded == 3
    reader.plane(1)
    assert reader.decoded == 4


def test_planes_are_read_only(inr: InrVolume) -> None:
    with pytest.raises(ValueError, match="read-only"):
        Reader(inr, device="cpu").plane(0)[0, 0] = 1


def test_another_upscaler_reads_the_same_lr(inr: InrVolume) -> None:
    class Doubled(LanczosUpscaler):
        name = "doubled"

        def __call__(self, lr: Any, shape: tuple[int, int]) -> Any:
            return 2 * super().__call__(lr, shape)

    plain = Reader(inr, device="cpu")
    other = plain.by(Doubled(inr.factor[1:]))
    assert np.array_equal(plain.read(level="lr"), other.read(level="lr"))
    assert not np.array_equal(plain.plane(4), other.plane(4))
    assert np.array_equal(plain.plane(4), Reader(inr, device="cpu").plane(4))


def test_measuring_by_a_reader_finds_what_the_file_records(inr: InrVolume, volume: Volume) -> None:
    assert measure(volume, Reader(inr, device="cpu")).quality == inr.quality


def test_another_volume_is_not_measured(inr: InrVolume) -> None:
    with pytest.raises(VolumeError, match="give the volume that it was made from"):
        measure(head_phantom((12, 24, 20)), Reader(inr, device="cpu"))


def test_a_network_far_from_its_range_is_named_damaged(inr: InrVolume) -> None:
    field = inr.field
    assert isinstance(field, SirenConfig)
    rows = [layout.row_shape for layout in field.layouts.values()]
    huge = [Quantised(np.ones(shape, np.int32), np.full(shape[0], STEP_CODES[1], np.int32)) for shape in rows]
    reader = Reader(replace(inr, payload=encode(huge)), device="cpu")
    for level in ("lr", "hr"):
        with pytest.raises(InrFileError, match="the file is damaged"):
            reader.plane(0, level)
