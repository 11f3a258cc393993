"""A volume whose voxels are not in memory is read a slice at a time, when its values are asked for."""

from __future__ import annotations

import shutil
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_inr_volume.core import memory
from napari_inr_volume.core.errors import VolumeError
from napari_inr_volume.core.lowres import low_res
from napari_inr_volume.core.metrics import compare_volumes
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.region import WHOLE
from napari_inr_volume.core.volume import Volume


class OnDemand:
    """An array that is read on demand, as those of Zarr are; it notes the largest part that was read."""

    def __init__(self, voxels: np.ndarray) -> None:
        self._voxels = voxels
        self.shape, self.dtype = voxels.shape, voxels.dtype
        self.largest = 0

    def __getitem__(self, part: Any) -> np.ndarray:
        read = self._voxels[part].copy()
        self.largest = max(self.largest, read.size)
        return read


@pytest.fixture
def phantom() -> Volume:
    return head_phantom((10, 24, 20))


@pytest.fixture
def on_demand(phantom: Volume) -> Volume:
    return Volume(
        voxels=OnDemand(phantom.voxels), geometry=phantom.geometry, units="HU", padding=phantom.padding
    )


def test_a_large_lr_lies_in_a_file_and_is_the_same(phantom: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    small = low_res(phantom, (1.0, 4.0, 4.0))
    monkeypatch.setattr(memory, "available", lambda: 600)  # a quarter of which the LR is larger than
    large = low_res(phantom, (1.0, 4.0, 4.0))
    for one, other in ((small.voxels, large.voxels), (small.counted, large.counted)):
        assert isinstance(other, np.memmap)
        assert not isinstance(one, np.memmap)
        assert np.array_equal(one, other)


def test_an_lr_for_which_the_disk_does_not_suffice_is_refused(
    phantom: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 600)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    with pytest.raises(VolumeError, match=r"grid of the fit, 10 x 6 x 5, needs .* which has 100 bytes"):
        low_res(phantom, (1.0, 4.0, 4.0))


def test_nothing_is_read_before_it_is_asked_for(on_demand: Volume) -> None:
    assert on_demand.voxels.largest == 0


def test_its_statistics_and_lr_are_those_of_the_same_in_memory(phantom: Volume, on_demand: Volume) -> None:
    assert on_demand.intensity_range == phantom.intensity_range
    assert on_demand.source_bytes == phantom.source_bytes
    one, other = low_res(phantom, (1.0, 4.0, 4.0)), low_res(on_demand, (1.0, 4.0, 4.0))
    assert np.array_equal(one.voxels, other.voxels)
    assert one.counted is not None
    assert other.counted is not None
    assert np.array_equal(one.counted, other.counted)
    decoded = phantom.voxels + 3
    assert compare_volumes(on_demand, decoded).psnr == compare_volumes(phantom, decoded).psnr
    assert on_demand.voxels.largest == 24 * 20  # a slice


def test_a_region_is_read(phantom: Volume, on_demand: Volume) -> None:
    region = slice(1, 3), slice(None, 7), slice(-4, None)
    assert np.array_equal(on_demand.read(region), phantom.voxels[region])
    assert np.array_equal(on_demand.read(WHOLE), phantom.voxels)


def test_dask_arrays_are_voxels_too(phantom: Volume) -> None:
    array = pytest.importorskip("dask.array")
    lazy = Volume(voxels=array.from_array(phantom.voxels, chunks=(1, 24, 20)), geometry=phantom.geometry)
    assert Volume(voxels=phantom.voxels, geometry=phantom.geometry).intensity_range == lazy.intensity_range
    assert np.array_equal(lazy.read(), phantom.voxels)


def test_nan_is_found_when_the_values_are_asked_for() -> None:
    voxels = np.zeros((2, 3, 4))
    voxels[1, 2, 3] = np.nan
    volume = Volume.from_array(OnDemand(voxels))
    with pytest.raises(VolumeError, match="slice 1 holds NaN"):
        _ = volume.intensity_range


def test_a_flat_region_is_a_volume() -> None:
    volume = Volume.from_array(OnDemand(np.full((2, 3, 4), 7, np.int16)))
    assert volume.intensity_range == (7, 7)
    with pytest.raises(VolumeError, match="single value 7"):
        volume.check_fittable()
