"""The series that the demo writes must be one that any DICOM reader takes for a CT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.uid import CTImageStorage

from napari_inr_volume.core.errors import SourceError, VolumeError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Geometry, Volume
from napari_inr_volume.io.dicom import read_dicom
from napari_inr_volume.io.dicom_export import write_dicom_series


def ramp(low: int, high: int, shape: tuple[int, int, int] = (3, 5, 7)) -> NDArray[np.int32]:
    return np.linspace(low, high, np.prod(shape)).reshape(shape).astype(np.int32)


def hu(voxels: NDArray[Any], **place: Any) -> Volume:
    return Volume.from_array(voxels, units="HU", **place)


def tilted(angle: float) -> NDArray[np.float64]:
    """Direction of a gantry tilted about x by `angle` degrees: slices lean, the table moves along z."""
    sin, cos = np.sin(np.radians(angle)), np.cos(np.radians(angle))
    return np.array([[0, 0, 1], [0, cos, 0], [1, sin, 0]], dtype=float)


@pytest.fixture(scope="module")
def head() -> Volume:
    return head_phantom((8, 32, 40))


def test_the_reader_gives_the_head_back_with_geometry_and_padding(head: Volume, tmp_path: Path) -> None:
    write_dicom_series(head, tmp_path / "series")
    back = read_dicom(tmp_path / "series")
    np.testing.assert_array_equal(back.voxels, head.voxels)
    np.testing.assert_allclose(back.geometry.affine, head.geometry.affine)
    assert (back.units, back.padding) == ("HU", head.padding)
    assert back.source_bytes == head.voxels.size * 2


def replace_voxels(volume: Volume, voxels: NDArray[np.int16]) -> Volume:
    return Volume(voxels=voxels, geometry=volume.geometry, units="HU")


def test_highdicom_finds_the_same_voxels_in_the_same_place(head: Volume, tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    paths = write_dicom_series(replace_voxels(head, head.voxels.clip(-1024)), tmp_path / "series")
    other = highdicom.get_volume_from_series([pydicom.dcmread(path) for path in paths])
    other = other.flip_spatial(0)  # its first axis runs against the normal
    np.testing.assert_array_equal(other.array, head.voxels.clip(-1024))
    np.testing.assert_allclose(other.affine, head.geometry.affine, atol=1e-9)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spacing=st.tuples(st.floats(0.3, 8), st.floats(0.3, 2), st.floats(0.3, 2)),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
    angle=st.floats(-25, 25),
)
def test_spacing_origin_and_tilt_survive(
    tmp_path_factory: pytest.TempPathFactory,
    spacing: tuple[float, float, float],
    origin: tuple[float, float, float],
    angle: float,
) -> None:
    volume = Volume.from_array(ramp(-1000, 1000), spacing, origin=origin, direction=tilted(angle), units="HU")
    folder = tmp_path_factory.mktemp("series")
    write_dicom_series(volume, folder)
    back = read_dicom(folder)
    np.testing.assert_array_equal(back.voxels, volume.voxels)
    np.testing.assert_allclose(back.geometry.affine, volume.geometry.affine, atol=1e-6)


def test_irregular_slices_keep_their_places(tmp_path: Path) -> None:
    geometry = Geometry(shape=(4, 5, 7), spacing=(2.0, 1, 1), slice_positions=(0.0, 1.7, 3.2, 6.0))
    write_dicom_series(Volume(voxels=ramp(0, 99, (4, 5, 7)), geometry=geometry, units="HU"), tmp_path)
    back = read_dicom(tmp_path).geometry
    assert back.slice_positions == pytest.approx((0.0, 1.7, 3.2, 6.0))
    assert back.spacing == pytest.approx(geometry.spacing)


@pytest.mark.parametrize(
    ("low", "high", "bits", "signed"),
    [
        pytest.param(-1024, 3071, 12, 0, id="12 bits where they suffice"),
        pytest.param(-2000, 3071, 16, 1, id="padding below -1024"),
        pytest.param(-1024, 3072, 16, 1, id="one HU too bright"),
        pytest.param(-33792, 31743, 16, 1, id="all that signed 16 bits hold"),
        pytest.param(0, 40_000, 16, 0, id="brighter than that"),
        pytest.param(-1024, 64511, 16, 0, id="all that unsigned 16 bits hold"),
    ],
)
def test_values_are_stored_in_as_few_bits_as_scanners_do(
    tmp_path: Path, low: int, high: int, bits: int, signed: int
) -> None:
    volume = hu(ramp(low, high))
    image = pydicom.dcmread(write_dicom_series(volume, tmp_path)[0])
    assert (image.BitsStored, image.PixelRepresentation) == (bits, signed)
    assert (image.RescaleSlope, image.RescaleIntercept) == (1, -1024)
    np.testing.assert_array_equal(image.pixel_array.astype(int) - 1024, volume.voxels[0])


def test_each_file_is_a_ct_image_of_one_series_and_names_no_patient(head: Volume, tmp_path: Path) -> None:
    paths = write_dicom_series(head, tmp_path, description="Köpfchen")
    images = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    assert {image.SOPClassUID for image in images} == {CTImageStorage}
    assert len({image.SeriesInstanceUID for image in images}) == 1
    assert len({image.SOPInstanceUID for image in images}) == len(images)
    assert all(image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID for image in images)
    assert [image.InstanceNumber for image in images] == list(range(1, 9))
    assert {str(image.PatientName) for image in images} == {"Phantom"}
    assert {image.SeriesDescription for image in images} == {"Köpfchen"}
    rows_apart, columns_apart = images[0].PixelSpacing
    assert (rows_apart, columns_apart) == pytest.approx(head.geometry.spacing[1:])


def test_the_same_volume_gives_the_same_bytes_and_another_another_series(
    head: Volume, tmp_path: Path
) -> None:
    first = write_dicom_series(head, tmp_path / "a")
    second = write_dicom_series(head, tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    other = write_dicom_series(replace_voxels(head, head.voxels + 1), tmp_path / "c")
    uids = [pydicom.dcmread(paths[0]).SeriesInstanceUID for paths in (first, other)]
    assert uids[0] != uids[1]


def test_whole_numbers_in_floats_are_stored(tmp_path: Path) -> None:
    write_dicom_series(Volume.from_array(ramp(0, 50).astype(np.float32), units="HU"), tmp_path)
    np.testing.assert_array_equal(read_dicom(tmp_path).voxels, ramp(0, 50))


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        pytest.param(
            replace(hu(np.where(ramp(0, 9) < 1, -70_000, ramp(0, 9))), padding=-70_000.0),
            "holds -1024 to 3071, and a slice -70000 to 2; clip",
            id="padding out of reach",
        ),
        pytest.param(
            Volume.from_array(
                ramp(0, 9), direction=np.array([[0, 0.6, 1], [0, 0.8, 0], [1, 0, 0]]), units="HU"
            ),
            "right angles",
            id="sheared slices",
        ),
    ],
)
def test_what_a_series_cannot_hold_is_refused_before_anything_is_written(
    tmp_path: Path, volume: Volume, message: str
) -> None:
    with pytest.raises(VolumeError, match=message):
        write_dicom_series(volume, tmp_path / "series")
    assert not (tmp_path / "series").exists()


def test_a_second_export_replaces_the_first(head: Volume, tmp_path: Path) -> None:
    write_dicom_series(replace_voxels(head, head.voxels + 1), tmp_path)
    paths = write_dicom_series(head, tmp_path)
    assert sorted(tmp_path.iterdir()) == paths
    np.testing.assert_array_equal(read_dicom(tmp_path).voxels, head.voxels)


def test_a_folder_with_other_files_is_left_alone(head: Volume, tmp_path: Path) -> None:
    (tmp_path / "slice-0009.dcm").write_text("of a longer series")
    with pytest.raises(SourceError, match=r"1 other files.*slice-0009\.dcm"):
        write_dicom_series(head, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["slice-0009.dcm"]


def test_a_failed_export_leaves_the_earlier_one_whole(
    head: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_dicom_series(head, tmp_path)
    before = [path.read_bytes() for path in paths]
    save_as = pydicom.Dataset.save_as

    def full_disk(image: pydicom.Dataset, path: Path, **options: bool) -> None:
        if image.InstanceNumber == 5:
            raise OSError(28, "No space left on device")
        save_as(image, path, **options)

    monkeypatch.setattr(pydicom.Dataset, "save_as", full_disk)
    with pytest.raises(SourceError, match="No space left"):
        write_dicom_series(replace_voxels(head, head.voxels + 1), tmp_path)
    assert [path.read_bytes() for path in paths] == before
    assert sorted(tmp_path.iterdir()) == paths


def test_a_file_in_place_of_the_folder_is_an_error_of_ours(head: Volume, tmp_path: Path) -> None:
    (tmp_path / "series").write_text("a file")
    with pytest.raises(SourceError, match="cannot write DICOM to"):
        write_dicom_series(head, tmp_path / "series")


def test_padding_that_16_bits_cannot_hold_is_not_declared(head: Volume, tmp_path: Path) -> None:
    image = pydicom.dcmread(write_dicom_series(replace(hu(ramp(0, 9)), padding=-1e6), tmp_path)[0])
    assert "PixelPaddingValue" not in image
