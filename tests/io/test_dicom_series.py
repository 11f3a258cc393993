"""A decoded volume as a DICOM series: what its images must say, and that any volume comes back from it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.uid import CTImageStorage, SecondaryCaptureImageStorage

from napari_inr_volume.core.errors import InrError, SourceError, VolumeError
from napari_inr_volume.core.region import Region
from napari_inr_volume.core.volume import Geometry, Volume
from napari_inr_volume.io.dicom import list_series, read_dicom
from napari_inr_volume.io.dicom_export import Derivation, OwnHeader, Series, write_series

LOSSY = Derivation(lossy=True, ratio=54.321, max_error=812.4, description="Decoded by a test.")
EXACT = Derivation(lossy=False, ratio=2.5, max_error=0, description="Decoded by a test.")

# DICOM part 3, A.3.3 and A.8.1: the attributes of the mandatory modules, without those whose condition is
# not met. Type 1 has a value, type 2 is there.
PATIENT = {"PatientName": 2, "PatientID": 2, "PatientBirthDate": 2, "PatientSex": 2}
STUDY = {"StudyInstanceUID": 1, "StudyDate": 2, "StudyTime": 2, "ReferringPhysicianName": 2, "StudyID": 2}
STUDY |= {"AccessionNumber": 2}
SERIES = {"Modality": 1, "SeriesInstanceUID": 1, "SeriesNumber": 2, "Laterality": 2}
IMAGE = {"InstanceNumber": 2, "ImageType": 1, "SOPClassUID": 1, "SOPInstanceUID": 1}
IMAGE |= {"SpecificCharacterSet": 1, "Manufacturer": 2}
PIXELS = {"SamplesPerPixel": 1, "PhotometricInterpretation": 1, "Rows": 1, "Columns": 1, "BitsAllocated": 1}
PIXELS |= {"BitsStored": 1, "HighBit": 1, "PixelRepresentation": 1, "PixelData": 1}
PIXELS |= {"RescaleIntercept": 1, "RescaleSlope": 1, "RescaleType": 1}
PLACE = {"FrameOfReferenceUID": 1, "PositionReferenceIndicator": 2, "PixelSpacing": 1}
PLACE |= {"ImageOrientationPatient": 1, "ImagePositionPatient": 1, "SliceThickness": 2}
COMMON = PATIENT | STUDY | SERIES | IMAGE | PIXELS | PLACE
CT = COMMON | {"KVP": 2, "AcquisitionNumber": 2, "PatientPosition": 2}
CAPTURE = COMMON | {"ConversionType": 1, "PatientOrientation": 2}
DERIVED = {"DerivationDescription", "LossyImageCompression", "LossyImageCompressionRatio"}
DERIVED |= {"LossyImageCompressionMethod", "DerivationCodeSequence"}
OF_OURS = {"SeriesDescription", "ManufacturerModelName", "SoftwareVersions", "SpacingBetweenSlices"}
OF_OURS |= {"WindowCenter", "WindowWidth", "PixelPaddingValue"}

FLOATS = ["float16", "float32", "float64"]


def written(
    volume: Any, folder: Path, derivation: Derivation | None = LOSSY, seed: str = "x", **options: Any
) -> Series:
    header = OwnHeader(volume, seed=seed, description="a test", **options)
    return write_series(volume, folder, header, derivation)


def ct(depth: int) -> Volume:
    """Return so many small slices in HU."""
    voxels = np.arange(depth * 20, dtype=np.int16).reshape(depth, 4, 5) * 7 - 500
    return Volume.from_array(voxels, (2.0, 0.7, 0.7), units="HU")


def images(series: Series) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in series.paths]


def random_volume(dtype: str, low: float, high: float, **place: Any) -> Volume:
    rng = np.random.default_rng(0)
    voxels = low + (high - low) * rng.random((3, 5, 7))
    voxels.flat[:2] = low, high
    kind = np.dtype(dtype)
    return Volume.from_array((np.rint(voxels) if kind.kind != "f" else voxels).astype(kind), **place)


# ---- what an image says -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "sop_class", "modality", "needed"),
    [
        ("HU", CTImageStorage, "CT", CT),
        ("raw", SecondaryCaptureImageStorage, "OT", CAPTURE),
        ("Bq/ml", SecondaryCaptureImageStorage, "OT", CAPTURE),
    ],
)
def test_an_image_has_all_that_its_kind_must_have_and_nothing_of_anybody(
    tmp_path: Path, units: str, sop_class: str, modality: str, needed: dict[str, int]
) -> None:
    volume = replace(random_volume("int16", 0, 3000, units=units), padding=-5.0)
    for image in images(written(volume, tmp_path / "series")):
        assert (image.SOPClassUID, image.Modality) == (sop_class, modality)
        for keyword, kind in needed.items():
            assert keyword in image, keyword
            assert kind == 2 or image[keyword].value not in (None, ""), keyword
        assert {element.keyword for element in image} <= set(needed) | DERIVED | OF_OURS
        assert list(image.ImageType)[:2] == ["DERIVED", "SECONDARY"]
        empty = {keyword for keyword in needed if image[keyword].value in (None, "")}
        assert empty >= {*PATIENT, "StudyDate", "StudyTime", "ReferringPhysicianName", "AccessionNumber"}
        assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID
        assert image.file_meta.MediaStorageSOPClassUID == sop_class


def test_lossy_images_say_so_by_the_rules_for_that(tmp_path: Path) -> None:
    for image in images(written(ct(4), tmp_path / "series")):
        assert image.LossyImageCompression == "01"
        assert image.LossyImageCompressionRatio == pytest.approx(54.32)
        assert image.LossyImageCompressionMethod == "INR_VOLUME"
        assert "Decoded by a test." in image.DerivationDescription
        assert "812.4 HU" in image.DerivationDescription
        assert [item.CodeValue for item in image.DerivationCodeSequence] == ["113040"]


def test_exact_images_say_that_nothing_was_lost(tmp_path: Path) -> None:
    for image in images(written(ct(4), tmp_path / "series", EXACT)):
        assert image.LossyImageCompression == "00"
        assert "LossyImageCompressionRatio" not in image
        assert "DerivationCodeSequence" not in image
        assert "exactly" in image.DerivationDescription


def test_exact_values_that_have_to_be_rounded_are_lossy(tmp_path: Path) -> None:
    series = written(random_volume("float32", 0, 1, units="raw"), tmp_path / "series", EXACT)
    image = images(series)[0]
    assert series.stored.step == pytest.approx(1 / 65535)
    assert (image.LossyImageCompression, image.LossyImageCompressionRatio) == ("01", 2.5)
    assert "rounded" in image.DerivationDescription


def test_the_same_content_gives_the_same_bytes_and_other_content_other_instances(tmp_path: Path) -> None:
    head = ct(4)
    first, again = (written(head, tmp_path / name) for name in ("a", "b"))
    assert [path.read_bytes() for path in first.paths] == [path.read_bytes() for path in again.paths]
    for change, same in (
        ({"seed": "y"}, set()),
        ({"variant": "y"}, {"StudyInstanceUID", "FrameOfReferenceUID"}),
    ):
        other = images(written(head, tmp_path / str(same), **change))
        for one, two in zip(images(first), other, strict=True):
            for keyword in PLACE | STUDY | SERIES | IMAGE:
                if keyword.endswith("InstanceUID") or keyword == "FrameOfReferenceUID":
                    assert (one[keyword] == two[keyword]) == (keyword in same), keyword
    brighter = replace(head, voxels=head.voxels + 1)
    for one, two in zip(images(first), images(written(brighter, tmp_path / "c")), strict=True):
        assert one.SOPInstanceUID != two.SOPInstanceUID


@pytest.mark.parametrize("depth", [1, 3])
def test_thickness_is_said_of_a_single_slice_only_whose_spacing_it_is(tmp_path: Path, depth: int) -> None:
    volume = Volume.from_array(np.arange(depth * 12).reshape(depth, 3, 4), (2.5, 1, 1), units="HU")
    image = images(written(volume, tmp_path / "series"))[0]
    assert image.SliceThickness == (2.5 if depth == 1 else None)
    assert image.get("SpacingBetweenSlices") == (None if depth == 1 else 2.5)
    assert read_dicom(tmp_path / "series").geometry.spacing == (2.5, 1.0, 1.0)


# ---- there and back ---------------------------------------------------------------------------------


def rotated(angles: tuple[float, float, float], tilt: float) -> NDArray[np.float64]:
    """Direction of slices turned about x, y, z, with a gantry tilt (degrees)."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(angles)):
        one, two = (other for other in range(3) if other != axis)
        step = np.eye(3)
        step[[one, one, two, two], [one, two, one, two]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        turn = step @ turn
    sin, cos = np.sin(np.radians(tilt)), np.cos(np.radians(tilt))
    lying = np.array([[cos, 0, 0], [sin, 1, 0], [0, 0, 1]])  # of z, y, x, in axes along normal, y and x
    axes = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])
    found: NDArray[np.float64] = turn @ axes @ lying
    return found


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spacing=st.tuples(*[st.floats(0.05, 9)] * 3),
    origin=st.tuples(*[st.floats(-1500, 1500)] * 3),
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    tilt=st.sampled_from([0.0, 0.0, -12.5, 25.0]),
    steps=st.sampled_from([None, (1.0, 1.6, 1.3, 1.9)]),
    units=st.sampled_from(["HU", "raw", "Bq/ml"]),
)
def test_a_volume_comes_back_wherever_it_lies(
    tmp_path_factory: pytest.TempPathFactory,
    spacing: tuple[float, float, float],
    origin: tuple[float, float, float],
    angles: tuple[float, float, float],
    tilt: float,
    steps: tuple[float, ...] | None,
    units: str,
) -> None:
    direction = rotated(angles, tilt)
    geometry = Volume.from_array(
        np.zeros((5, 3, 4)), spacing, origin=origin, direction=direction, units=units
    ).geometry
    if steps is not None:
        places = (0.0, *np.cumsum(steps) * spacing[0])
        geometry = replace(geometry, slice_positions=places, spacing=(places[-1] / 4, *spacing[1:]))
    voxels = np.arange(60, dtype=np.int16).reshape(5, 3, 4) * 50 - 1000
    folder = tmp_path_factory.mktemp("there") / "series"
    written(Volume(voxels=voxels, geometry=geometry, units=units), folder)
    back = read_dicom(folder)
    np.testing.assert_array_equal(back.voxels, voxels)
    np.testing.assert_allclose(back.geometry.affine, geometry.affine, atol=1e-6)
    assert back.units == units
    if steps is None:
        assert back.geometry.slice_positions is None
    else:
        assert back.geometry.slice_positions == pytest.approx(geometry.slice_positions, abs=1e-6)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dtype=st.sampled_from(
        ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float16", "float32", "float64"]
    ),
    ends=st.tuples(*[st.integers(-1000, 60_000)] * 2),  # far below air, a reader takes all for padding
    units=st.sampled_from(["HU", "raw"]),
    whole=st.booleans(),
)
def test_values_come_back_as_well_as_16_bits_can_hold_them(
    tmp_path_factory: pytest.TempPathFactory, dtype: str, ends: tuple[int, int], units: str, whole: bool
) -> None:
    kind = np.dtype(dtype)
    info: Any = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    low, high = (float(np.clip(end, info.min, info.max)) for end in sorted(ends))
    volume = random_volume(dtype, low, high + (low == high), units=units)
    if whole and kind.kind == "f":
        volume = replace(volume, voxels=np.rint(volume.voxels))
    series = written(volume, tmp_path_factory.mktemp("values") / "series", EXACT)
    back = read_dicom(series.paths[0].parent).voxels
    low, high = volume.intensity_range
    if np.array_equal(volume.voxels, np.rint(volume.voxels)):
        assert series.stored.step == 0
        np.testing.assert_array_equal(back, volume.voxels)
    else:
        assert 0 < series.stored.step <= 1.001 * (high - low) / 65534
        error = np.abs(back - volume.voxels.astype(np.float64)).max()
        assert error <= 0.51 * series.stored.step + 1e-6 * max(abs(low), abs(high))


def test_whole_numbers_over_a_wider_range_are_rounded_to_whole_steps(tmp_path: Path) -> None:
    volume = random_volume("int32", -100_000, 100_000, units="raw")
    series = written(volume, tmp_path / "series")
    assert series.stored.step == 4
    assert np.abs(read_dicom(tmp_path / "series").voxels - volume.voxels).max() == 2


@pytest.mark.parametrize("value", [-3024.0, -1024.0, -2048.0])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_padding_comes_back_as_padding(tmp_path: Path, value: float, dtype: str) -> None:
    voxels = np.full((3, 8, 8), value, dtype)
    voxels[:, 2:6, 2:6] = np.linspace(-900, 1500.25, 48).reshape(3, 4, 4)
    volume = Volume.from_array(voxels, units="HU", padding=value)
    written(volume, tmp_path / "series", EXACT)
    back = read_dicom(tmp_path / "series")
    assert back.padding is not None
    np.testing.assert_array_equal(back.voxels == back.padding, voxels == value)
    assert np.abs(back.voxels - voxels)[:, 2:6, 2:6].max() < 0.04
    if dtype == "int16":
        np.testing.assert_array_equal(back.voxels, voxels)


def test_padding_out_of_reach_costs_the_measured_values_nothing(tmp_path: Path) -> None:
    voxels = np.linspace(-900, 1500.25, 48, dtype=np.float32).reshape(3, 4, 4)
    voxels[:, 0] = -1e9
    series = written(replace(Volume.from_array(voxels, units="HU"), padding=-1e9), tmp_path / "series")
    assert series.stored.step < 0.04
    np.testing.assert_array_equal(images(series)[0].pixel_array == 0, voxels[0] == -1e9)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_no_number_is_refused(tmp_path: Path, number: float) -> None:
    class Source:
        geometry = Geometry(shape=(1, 2, 2))
        dtype, units, padding, intensity_range = np.dtype(np.float32), "raw", None, (0.0, 1.0)

        def read(self, region: Region) -> NDArray[np.float32]:
            return np.stack([*self.slices()])[region]

        def slices(self) -> Iterator[NDArray[np.float32]]:
            yield np.array([[0, 0.5], [1, number]], np.float32)

    with pytest.raises(VolumeError, match="NaN or infinity"):
        written(Source(), tmp_path / "series")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("units", ["HU", "raw"])
def test_another_program_finds_the_same_voxels_in_the_same_place(tmp_path: Path, units: str) -> None:
    itk = pytest.importorskip("SimpleITK", reason="the extra formats is not installed")
    place = {
        "spacing": (2.5, 0.7, 0.8),
        "origin": (-50.0, 20.0, 110.5),
        "direction": rotated((10, 20, 30), 0),
    }
    volume = random_volume("int16", -900, 3000, units=units, **place)
    series = written(volume, tmp_path / "series")
    image = itk.ReadImage([str(path) for path in series.paths])
    np.testing.assert_array_equal(itk.GetArrayFromImage(image), volume.voxels)
    np.testing.assert_allclose(image.GetOrigin(), volume.geometry.origin, atol=1e-6)
    np.testing.assert_allclose(image.GetSpacing(), volume.geometry.spacing[::-1], atol=1e-6)
    direction = np.array(image.GetDirection()).reshape(3, 3)[:, ::-1]
    np.testing.assert_allclose(direction, volume.geometry.direction, atol=1e-6)


def test_captures_that_do_not_say_that_they_are_a_volume_are_skipped(tmp_path: Path) -> None:
    series = written(random_volume("int16", 0, 9, units="raw"), tmp_path / "series")
    for path in series.paths:
        image = pydicom.dcmread(path)
        image.ImageType = ["DERIVED", "SECONDARY"]
        image.save_as(path)
    listing = list_series(tmp_path)
    assert (listing.series, listing.skipped_by_reason) == ((), {"Secondary Capture Image Storage": 3})


# ---- the folder -------------------------------------------------------------------------------------


def test_slices_are_written_as_they_come_and_told(tmp_path: Path) -> None:
    head, told, written_before = ct(20), [], []

    class Watched:
        geometry, dtype, units, padding = head.geometry, head.dtype, head.units, head.padding
        intensity_range = head.intensity_range

        def read(self, region: Region) -> Any:
            raise AssertionError("the whole is not asked for")

        def slices(self) -> Iterator[Any]:
            for plane in head.slices():
                written_before.append(len([*tmp_path.rglob("*.dcm")]))
                yield plane

    header = OwnHeader(head, seed="x", description="a test")
    write_series(Watched(), tmp_path / "a", header, on_slices=lambda done, total: told.append((done, total)))
    assert written_before == list(range(20))
    assert told == [(done, 20) for done in range(1, 21)]


class Broken(BaseException):
    pass


@pytest.fixture
def fails_at_slice_3(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[BaseException]]:
    save_as = pydicom.Dataset.save_as

    def fail(image: pydicom.Dataset, *arguments: Any, **options: Any) -> None:
        if image.InstanceNumber == 3:
            raise Broken
        save_as(image, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(pydicom.Dataset, "save_as", fail)
        yield Broken


@pytest.mark.parametrize("before", ["nothing", "an empty folder", "a series"])
def test_an_interrupted_export_leaves_what_was_there(
    tmp_path: Path, fails_at_slice_3: type[BaseException], before: str
) -> None:
    folder = tmp_path / "series"
    if before == "an empty folder":
        folder.mkdir()
    elif before == "a series":
        written(ct(2), folder)
    held = {path: path.read_bytes() for path in folder.iterdir()} if folder.exists() else None
    with pytest.raises(fails_at_slice_3):
        written(ct(4), folder)
    assert [path.name for path in tmp_path.iterdir()] == ([] if held is None else ["series"])
    assert held is None or held == {path: path.read_bytes() for path in folder.iterdir()}


def test_a_shorter_series_takes_the_place_of_a_longer_one(tmp_path: Path) -> None:
    written(ct(6), tmp_path / "series")
    series = written(ct(3), tmp_path / "series")
    assert sorted((tmp_path / "series").iterdir()) == sorted(series.paths)
    assert [path.name for path in tmp_path.iterdir()] == ["series"]


@pytest.mark.parametrize("foreign", ["notes.txt", ".hidden", "of another scanner.dcm", "folder"])
def test_a_folder_that_holds_anything_else_is_refused(tmp_path: Path, foreign: str) -> None:
    series = written(ct(2), tmp_path / "series")
    place = tmp_path / "series" / foreign
    if foreign == "folder":
        place.mkdir()
    elif foreign.endswith(".dcm"):
        image = pydicom.dcmread(series.paths[0])
        image.file_meta.ImplementationClassUID = "1.2.3"
        image.save_as(place)
    else:
        place.write_text("kept")
    with pytest.raises(SourceError, match=f"1 other files or folders, such as {foreign}"):
        written(ct(2), tmp_path / "series")
    assert place.exists()


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    try:
        os.symlink(tmp_path / "real", tmp_path / "link", target_is_directory=True)
    except OSError as error:
        pytest.skip(f"no such links here: {error}")
    written(ct(2), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert len(list((tmp_path / "real").iterdir())) == 2


def test_only_one_run_writes_a_folder(tmp_path: Path) -> None:
    import subprocess
    import sys

    script = (
        "import sys; from pathlib import Path; from napari_inr_volume.core.atomic import claimed\n"
        "with claimed(Path(sys.argv[1])):\n    print('held', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "series")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InrError, match="another run"):
            written(ct(2), tmp_path / "series")
    finally:
        other.communicate("\n", timeout=60)
    assert not (tmp_path / "series").exists()
