"""Volumes that are large for the memory: read where they lie or by way of a file, written as they come."""

from __future__ import annotations

import gzip
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from ct_files import pixels_of, write_series
from numpy.typing import NDArray

from napari_inr_volume.core import memory
from napari_inr_volume.core.errors import InrError, SourceError
from napari_inr_volume.core.region import Region
from napari_inr_volume.core.scratch import room
from napari_inr_volume.core.volume import Geometry, Volume
from napari_inr_volume.io.sources import read_source
from napari_inr_volume.io.volumes import READERS, WRITERS, write_volume

VOXELS = np.random.default_rng(0).integers(-1000, 1500, (12, 40, 50)).astype(np.int16)
FREE = 2 * VOXELS.nbytes  # bytes of memory: enough for the volume, and for little beside it


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: FREE)


def as_npy(path: Path) -> Path:
    np.save(path / "v.npy", VOXELS)
    return path / "v.npy"


def as_swapped_npy(path: Path) -> Path:
    np.save(path / "v.npy", VOXELS.astype(">i2"))
    return path / "v.npy"


def as_npy_by_columns(path: Path) -> Path:
    np.save(path / "v.npy", np.asfortranarray(VOXELS))
    return path / "v.npy"


def as_packed_npz(path: Path) -> Path:
    np.savez_compressed(path / "v.npz", voxels=VOXELS)
    return path / "v.npz"


def as_tiff(path: Path) -> Path:
    write_volume(Volume.from_array(VOXELS), path / "v.tif")
    return path / "v.tif"


def as_packed_tiff(path: Path) -> Path:
    tifffile.imwrite(path / "v.tif", VOXELS, compression="zlib", photometric="minisblack")
    return path / "v.tif"


def as_swapped_tiff(path: Path) -> Path:
    tifffile.imwrite(path / "v.tif", VOXELS, byteorder=">", photometric="minisblack")
    return path / "v.tif"


def as_nifti(path: Path) -> Path:
    write_volume(Volume.from_array(VOXELS), path / "v.nii")
    return path / "v.nii"


def as_packed_nifti(path: Path) -> Path:
    (path / "v.nii.gz").write_bytes(gzip.compress(as_nifti(path).read_bytes()))
    return path / "v.nii.gz"


def as_nrrd(path: Path) -> Path:
    write_volume(Volume.from_array(VOXELS), path / "v.nrrd")
    return path / "v.nrrd"


def as_slices(path: Path) -> Path:
    for z, plane in enumerate(VOXELS):
        tifffile.imwrite(path / f"{z:03}.tif", plane, photometric="minisblack")
    return path


@pytest.mark.parametrize(
    ("make", "in_place"),
    [
        (as_npy, True),
        (as_swapped_npy, False),
        (as_npy_by_columns, True),
        (as_packed_npz, False),
        (as_tiff, True),
        (as_packed_tiff, False),
        (as_swapped_tiff, False),
        (as_nifti, True),
        (as_packed_nifti, False),
        (as_nrrd, False),
        (as_slices, False),
    ],
)
@pytest.mark.usefixtures("little_memory")
def test_a_large_volume_is_read_into_no_memory(
    tmp_path: Path, make: Callable[[Path], Path], in_place: bool
) -> None:
    path = make(tmp_path)
    volume = read_source(path)
    assert np.array_equal(volume.read(), VOXELS)
    found: Any = volume.voxels
    while not isinstance(found, np.memmap) and found is not None:  # behind views of it
        found = found.base
    assert found is not None
    assert (found.filename == str(path)) is in_place


@pytest.mark.usefixtures("little_memory")
def test_a_large_series_is_read_into_no_memory(tmp_path: Path) -> None:
    # The last is beyond 16 bits once it is rescaled.
    planes = [pixels_of(z, 50, 60) for z in range(11)] + [np.full((50, 60), 30_000, np.int16)]
    for z, plane in enumerate(planes):
        write_series(tmp_path / str(z), [float(z)], pixels=plane, RescaleSlope=2, SeriesInstanceUID="1.2.3")
    volume = read_source(tmp_path)
    assert isinstance(volume.voxels, np.memmap)
    assert volume.dtype == np.int32
    assert volume.plane(11).max() == 60_000 - 1024
    assert np.array_equal(volume.read(), 2 * np.stack(planes).astype(np.int32) - 1024)


@pytest.mark.usefixtures("little_memory")
def test_a_disk_without_space_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = as_packed_nifti(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000))
    words = r"'v\.nii\.gz', 12 x 40 x 50 voxels, needs 48\.0 kB, .* which has 1\.0 kB; set TMPDIR to a folder"
    with pytest.raises(SourceError, match=words):
        read_source(path)


def test_a_folder_that_cannot_be_written_to_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(memory, "available", lambda: 1)
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(InrError, match=r"the volume needs 24 bytes, .*: No space left on device; set TMPDIR"):
        room((2, 3, 4), np.uint8, "the volume", "crop it")


class Passing:
    """A source whose slices exist one by one, and that knows how many of them are held."""

    geometry = Geometry(shape=(70, 300, 280), spacing=(1.0, 0.5, 0.5), origin=(1.0, 2.0, 3.0))
    dtype, units, padding, intensity_range = np.dtype(np.int16), "HU", None, (-1024.0, 1000.0)

    def __init__(self) -> None:
        self.alive = self.most = 0

    def read(self, region: Region) -> NDArray[Any]:
        raise AssertionError(f"{region} is asked for, not slices")

    def slices(self) -> Iterator[NDArray[Any]]:
        for z in range(70):
            plane = plane_of(z)
            self.alive += 1
            self.most = max(self.most, self.alive)
            weakref.finalize(plane, self._gone)
            yield plane

    def _gone(self) -> None:
        self.alive -= 1


def plane_of(z: int) -> NDArray[Any]:
    return np.random.default_rng(z).integers(-1024, 1000, (300, 280)).astype(np.int16)


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_a_source_is_written_a_slice_at_a_time(tmp_path: Path, suffix: str) -> None:
    source, told = Passing(), []
    write_volume(source, tmp_path / f"v{suffix}", lambda done, total: told.append((done, total)))
    assert source.most <= 3
    assert told == [(done, 70) for done in range(1, 71)]
    back = READERS[suffix](tmp_path / f"v{suffix}")
    assert np.array_equal(back.read(), np.stack([plane_of(z) for z in range(70)]))


class Stopped(BaseException):
    pass


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_writing_that_is_stopped_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    def stop(done: int, _: int) -> None:
        if done == 40:
            raise Stopped

    with pytest.raises(Stopped):
        write_volume(Passing(), tmp_path / f"v{suffix}", stop)
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []
