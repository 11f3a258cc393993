"""The door for everything that can be compressed: what lies behind a path decides how it is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from napari_inr_volume.core.errors import SourceError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Geometry, Volume
from napari_inr_volume.io.dicom_export import write_dicom_series
from napari_inr_volume.io.sources import read_source
from napari_inr_volume.io.volumes import write_volume


@pytest.fixture(scope="module")
def head() -> Volume:
    return head_phantom((8, 16, 20))


def write_slices(volume: Volume, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for z, plane in enumerate((volume.voxels + 2000).astype(np.uint16)):
        (folder / f"{z}.png").write_bytes(imagecodecs.png_encode(plane))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".tif", ".npy"])
def test_files_are_read_by_their_suffix(head: Volume, tmp_path: Path, suffix: str) -> None:
    write_volume(head, tmp_path / f"head{suffix}")
    np.testing.assert_array_equal(read_source(tmp_path / f"head{suffix}").voxels, head.voxels)


def test_a_folder_of_slices_is_one_stack(head: Volume, tmp_path: Path) -> None:
    write_slices(head, tmp_path)
    np.testing.assert_array_equal(read_source(tmp_path).voxels, head.voxels.astype(int) + 2000)


def test_dicom_anywhere_below_a_folder_wins_over_slices(head: Volume, tmp_path: Path) -> None:
    write_slices(head, tmp_path)
    write_dicom_series(head, tmp_path / "study" / "series")
    volume = read_source(tmp_path)
    np.testing.assert_array_equal(volume.voxels, head.voxels)
    assert volume.units == "HU"


@pytest.mark.parametrize("name", ["slice.dcm", "IM0001", "1.2.840.10008"])
def test_a_dicom_file_may_have_any_name(head: Volume, tmp_path: Path, name: str) -> None:
    first = write_dicom_series(head, tmp_path / "series")[0].rename(tmp_path / name)
    np.testing.assert_array_equal(read_source(first).voxels, head.voxels[:1])


def test_the_series_is_passed_on(head: Volume, tmp_path: Path) -> None:
    write_dicom_series(head, tmp_path / "a", description="first")
    other = Volume(voxels=head.voxels + 1, geometry=head.geometry, units="HU")
    write_dicom_series(other, tmp_path / "b", description="second")
    with pytest.raises(SourceError, match="2 CT series"):
        read_source(tmp_path)
    voxels = [read_source(tmp_path, series).voxels for series in "12"]
    assert {int(array.max()) for array in voxels} == {int(head.voxels.max()), int(other.voxels.max())}


@pytest.mark.parametrize("write", [write_slices, write_dicom_series], ids=["slices", "dicom"])
def test_progress_ends_with_everything_done(
    head: Volume, tmp_path: Path, write: Callable[[Volume, Path], Any]
) -> None:
    write(head, tmp_path)
    told: list[tuple[int, int]] = []
    read_source(tmp_path, on_progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 0
    assert sorted(told) == told


def nothing(path: Path) -> None:
    """Leave the path empty."""


@pytest.mark.parametrize(
    ("name", "make", "series", "message"),
    [
        pytest.param("no.nii", nothing, None, "there is no file or folder", id="missing"),
        pytest.param("folder", Path.mkdir, None, "neither DICOM files nor PNG or TIFF", id="empty folder"),
        pytest.param(
            "head.vtk", Path.touch, None, r"not DICOM and none .*\.nii, \.nii\.gz, \.hdr", id="kind"
        ),
        pytest.param("head", Path.touch, None, "is not DICOM", id="no suffix"),
        pytest.param("head.INR", Path.touch, None, "compressed already; decompress it", id="inr"),
        pytest.param("head.npy", Path.touch, "1", "has no series to choose from", id="series without DICOM"),
    ],
)
def test_what_is_no_source_is_refused_with_what_to_do(
    tmp_path: Path, name: str, make: Callable[[Path], None], series: str | None, message: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(SourceError, match=message):
        read_source(tmp_path / name, series)


def test_real_sources_of_every_kind_are_told_apart(shared_data: Path) -> None:
    assert read_source(shared_data / "dicom" / "ge_head_tilt").padding == -1500
    assert read_source(shared_data / "dicom" / "edge" / "nema_wg04" / "CT1_UNC").shape == (1, 512, 512)
    assert read_source(shared_data / "other" / "totalseg_ct_3mm.nii.gz").shape == (112, 101, 122)


def picture_folder(head: Volume, folder: Path) -> Path:
    write_slices(head, folder)
    write_dicom_series(
        Volume(voxels=head.voxels[:1], geometry=Geometry(shape=(1, 16, 20)), units="HU"), folder / "below"
    )
    return folder


def test_a_folder_of_pictures_with_a_dicom_file_says_what_it_holds(head: Volume, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds 8 pictures and 1 DICOM file,.*give the DICOM file itself"):
        read_source(picture_folder(head, tmp_path))


def test_naming_a_series_reads_the_dicom_among_pictures(head: Volume, tmp_path: Path) -> None:
    assert read_source(picture_folder(head, tmp_path), "1").shape == (1, 16, 20)


def test_dicom_that_old_archives_call_img_is_read_as_dicom(head: Volume, tmp_path: Path) -> None:
    first = write_dicom_series(head, tmp_path / "series")[0].rename(tmp_path / "0001.img")
    np.testing.assert_array_equal(read_source(first).voxels, head.voxels[:1])
