"""Voxels on their way to another process: where they lie, or themselves; each is pickled and read again."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest

from napari_inr_volume.core.errors import SourceError
from napari_inr_volume.core.portable import portable
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.io.sources import read_source
from napari_inr_volume.io.volumes import write_volume

SHAPE = (20, 30, 40)
REGION = (slice(3, 9), slice(5, 30), slice(None))
SMALL = 3_000  # bytes: fewer than a slice has


@pytest.fixture
def voxels() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, SHAPE, dtype=np.int16)


def test_what_is_in_memory_travels_itself(voxels: np.ndarray) -> None:
    body = pickle.dumps(portable(Volume.from_array(voxels), REGION))
    assert voxels[REGION].nbytes < len(body) < voxels.nbytes
    assert np.array_equal(pickle.loads(body)(), voxels[REGION])


@pytest.mark.parametrize("view", ["as it is", "turned", "from another place on"])
def test_what_lies_in_a_file_is_read_there(voxels: np.ndarray, tmp_path: Path, view: str) -> None:
    np.save(tmp_path / "a.npy", voxels)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    shown = {"as it is": mapped, "turned": mapped.T[:, ::-1], "from another place on": mapped[2:, 1:]}[view]
    body = pickle.dumps(portable(Volume.from_array(shown), REGION))
    assert len(body) < SMALL
    assert np.array_equal(pickle.loads(body)(), shown[REGION])


def test_a_nameless_file_is_not_looked_for_elsewhere(voxels: np.ndarray) -> None:
    with tempfile.TemporaryFile() as file:
        scratch = np.memmap(file, np.int16, "w+", shape=SHAPE)
    scratch[:] = voxels
    body = pickle.dumps(portable(Volume.from_array(scratch), REGION))
    assert np.array_equal(pickle.loads(body)(), voxels[REGION])


@pytest.mark.parametrize("what", ["gone", "changed"])
def test_another_file_is_not_taken_for_it(voxels: np.ndarray, tmp_path: Path, what: str) -> None:
    path = tmp_path / "a.npy"
    np.save(path, voxels)
    read = pickle.loads(pickle.dumps(portable(Volume.from_array(np.load(path, mmap_mode="r")), REGION)))
    if what == "gone":
        path.unlink()
    else:
        np.save(path, voxels[:4])
    with pytest.raises(SourceError, match=r"cannot be read|is another file here"):
        read()


def test_an_ome_zarr_image_is_read_where_it_lies(voxels: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("zarr", reason="the extra zarr is not installed")
    path = tmp_path / "a.ome.zarr"
    write_volume(Volume.from_array(voxels), path)
    body = pickle.dumps(portable(read_source(path), REGION))
    assert len(body) < SMALL
    assert np.array_equal(pickle.loads(body)(), voxels[REGION])
    path.rename(tmp_path / "b.ome.zarr")  # zarr itself takes chunks that are missing for zeros
    with pytest.raises(SourceError, match="there is no such OME-Zarr image"):
        pickle.loads(body)
