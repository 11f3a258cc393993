"""Volumes of a single value, of nothing but padding, or of next to no range: no network, every voxel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_inr_volume import compress, decompress, save
from napari_inr_volume.core.errors import VolumeError
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.io.inr_file import read_inr
from napari_inr_volume.measuring import measure
from napari_inr_volume.reader import Reader

TINY = np.array([0, 1e-40, 3e-41, 0] * 6).reshape(2, 3, 4)

VOLUMES = [
    pytest.param(np.full((2, 3, 4), 7, np.int16), None, id="one value"),
    pytest.param(np.full((2, 3, 4), 7, np.int16), 7.0, id="padding alone"),
    pytest.param(np.full((20, 30, 31), -1024, np.int16), -2000.0, id="one value, padding that is not there"),
    pytest.param(np.full((20, 30, 31), -2000, np.int16), -2000.0, id="much padding alone"),
    pytest.param(np.where(np.arange(24) % 5, 7, -2000).reshape(2, 3, 4), -2000.0, id="one value and padding"),
    pytest.param(np.full((1, 1, 1), -5, np.int8), None, id="one voxel"),
    pytest.param(np.full((1, 1, 1), -5, np.int8), -5.0, id="one voxel of padding"),
    pytest.param(np.full((1, 1, 9), 2**31 - 1, np.int32), None, id="a row of the largest int32"),
    pytest.param(np.full((9, 1, 1), 2**62 + 1), None, id="a column beyond float64"),
    pytest.param(np.full((2, 3, 4), 0.1), None, id="a value that float32 rounds"),
    pytest.param(np.full((2, 3, 4), -0.0, np.float32), 0.0, id="negative zero as padding"),
    pytest.param(np.full((2, 3, 4), 9e29, np.float32), None, id="as large as they come"),
    pytest.param(TINY, None, id="values that float32 barely tells apart"),
    pytest.param(TINY * 1e-100, None, id="values that float32 does not tell apart"),
    pytest.param(np.arange(9, dtype=np.uint8).reshape(1, 1, 9), None, id="one row"),
    pytest.param(np.arange(9, dtype=np.float32).reshape(1, 3, 3), None, id="an LR of one voxel"),
]


@pytest.mark.parametrize("max_error", [0, 3])
@pytest.mark.parametrize(("voxels", "padding"), VOLUMES)
def test_they_come_back_from_a_file_without_a_network(
    tmp_path: Path, voxels: NDArray[Any], padding: float | None, max_error: int
) -> None:
    volume = Volume.from_array(voxels, padding=padding)
    save(compress(volume, None, max_error=max_error, device="cpu"), tmp_path / "x.inr")
    inr = read_inr(tmp_path / "x.inr")
    assert inr.quality is None  # there is no network to say it of
    back = decompress(inr, device="cpu")
    assert (back.voxels.dtype, back.padding) == (volume.dtype, padding)
    if max_error == 0:
        assert back.voxels.tobytes() == volume.voxels.tobytes()
    assert np.abs(back.voxels.astype(float) - volume.voxels.astype(float)).max() <= max_error
    reader = Reader(inr, device="cpu")
    assert np.isfinite(measure(volume, reader).reconstruction.max_error)
    assert np.isfinite(reader.read(level="lr")).all()


@pytest.mark.parametrize(("voxels", "padding"), VOLUMES[:-2])
def test_no_network_is_fitted_to_them_and_the_way_out_is_named(
    voxels: NDArray[Any], padding: float | None
) -> None:
    with pytest.raises(VolumeError, match="--exact-only"):
        compress(Volume.from_array(voxels, padding=padding), "fast", max_error=0, device="cpu")


def test_a_large_one_takes_next_to_nothing(tmp_path: Path) -> None:
    for padding in (None, 9.0):
        volume = Volume.from_array(np.full((40, 256, 256), 9, np.int16), padding=padding)
        save(compress(volume, None, max_error=0, device="cpu"), tmp_path / "x.inr")
        assert (tmp_path / "x.inr").stat().st_size < 4000
