"""A decoded volume with the headers of its original: what is kept, what is replaced, what is refused."""

from __future__ import annotations

import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from ct_files import ct_dataset, enhanced, jpeg_lossless, pixels_of, save, write_series
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from napari_inr_volume.core.errors import InrError, SourceError, VolumeError
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.io.dicom import list_series, read_dicom
from napari_inr_volume.io.dicom_export import (
    Closeness,
    Derivation,
    Original,
    OwnHeader,
    Series,
    headers_like,
)
from napari_inr_volume.io.dicom_export import write_series as export

LOSSY = Derivation(lossy=True, ratio=20.0, max_error=5.0, description="Decoded by a test.")
EXACT = Derivation(lossy=False, ratio=2.0, max_error=0.0, description="Decoded by a test.")
ALIKE = Closeness(rmse=4.0, max_error=5.0)


def changed(volume: Volume, by: float = 5) -> Volume:
    """Return the volume with errors of up to so much."""
    errors = np.random.default_rng(1).uniform(-by, by, volume.shape).astype(volume.dtype)
    low, high = volume.intensity_range
    return replace(volume, voxels=np.clip(volume.voxels + errors, low, high), padding=None)


def written(
    volume: Volume,
    original: Path,
    folder: Path,
    derivation: Derivation = LOSSY,
    closeness: Closeness = ALIKE,
    **choice: Any,
) -> Series:
    words = {"seed": "x", "variant": "", "description": "Decoded, lossy"}
    with headers_like(Original(path=original, **choice), volume, closeness, **words) as header:
        return export(volume, folder, header, derivation)


def pairs(series: Series, originals: list[Path]) -> list[tuple[Dataset, Dataset]]:
    """Return each written image with the one that it was made from, both by their place."""
    height = {float(one.ImagePositionPatient[2]): one for one in map(pydicom.dcmread, originals)}
    return [(image, height[image.ImagePositionPatient[2]]) for image in map(pydicom.dcmread, series.paths)]


PATIENT = {
    "PatientName": "Zoë^Test",
    "PatientID": "17",
    "PatientAge": "052Y",
    "StudyInstanceUID": "1.2.3.9",
    "StudyDate": "20200102",
    "SpecificCharacterSet": "ISO_IR 100",
    "AcquisitionTime": "101010",
    "ConvolutionKernel": "B30f",
    "KVP": 120,
    "SliceThickness": 3,
    "WindowCenter": 30,
    "WindowWidth": 300,
    "SeriesNumber": 4,
    "SeriesDescription": "thorax",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"],
}


def test_patient_study_place_and_window_stay_and_uids_of_image_and_series_are_new(tmp_path: Path) -> None:
    originals = write_series(tmp_path / "original", (7, 1, 4), **PATIENT)
    volume = changed(read_dicom(tmp_path / "original"))
    series = written(volume, tmp_path / "original", tmp_path / "new")
    new = {"SeriesNumber", "SeriesDescription", "ImageType"}
    for image, original in pairs(series, originals):
        for keyword in {*PATIENT, "ImagePositionPatient", "FrameOfReferenceUID", "PixelSpacing"} - new:
            assert image[keyword].value == original[keyword].value, keyword
        assert image.ImageType == ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 SPI"]
        assert (image.SeriesNumber, image.SeriesDescription) == (1004, "thorax, Decoded, lossy")
        assert image.SOPInstanceUID != original.SOPInstanceUID
        assert image.SeriesInstanceUID != original.SeriesInstanceUID
        (source,) = image.SourceImageSequence
        assert source.ReferencedSOPInstanceUID == original.SOPInstanceUID
        assert source.PurposeOfReferenceCodeSequence[0].CodeValue == "121320"
        assert image.ContributingEquipmentSequence[-1].Manufacturer == "napari-inr-volume"
        assert (image.LossyImageCompression, image.LossyImageCompressionRatio) == ("01", 20)
    assert len({image.SeriesInstanceUID for image, _ in pairs(series, originals)}) == 1
    back = read_dicom(tmp_path / "new")
    np.testing.assert_array_equal(back.voxels, volume.voxels)
    assert back.geometry == volume.geometry


def test_the_same_original_gives_the_same_bytes(tmp_path: Path) -> None:
    write_series(tmp_path / "original", (1, 4), **PATIENT)
    volume = read_dicom(tmp_path / "original")
    one, two = (written(volume, tmp_path / "original", tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in one.paths] == [path.read_bytes() for path in two.paths]


@pytest.mark.parametrize(
    ("character_set", "name"),
    [
        (None, "Smith^John"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小东"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO_IR 144", "Люкceмбypг"),
    ],
)
def test_names_in_every_script_stay_what_they_are(
    tmp_path: Path, character_set: str | list[str] | None, name: str
) -> None:
    tags = {} if character_set is None else {"SpecificCharacterSet": character_set}
    write_series(tmp_path / "original", [1], PatientName=name, **tags)
    (path,) = written(read_dicom(tmp_path / "original"), tmp_path / "original", tmp_path / "new").paths
    assert pydicom.dcmread(path).PatientName == name


def test_what_is_said_of_the_pixels_is_replaced_and_what_shows_or_signs_them_left_out(tmp_path: Path) -> None:
    icon = Dataset()
    icon.Rows = icon.Columns = 1
    private = Dataset()
    private.add_new((0x0029, 0x0010), "LO", "IN A SEQUENCE")
    private.StudyID = "kept"
    dataset = ct_dataset(
        3.0,
        np.full((6, 8), -2000, np.int16),
        RescaleSlope=2,
        RescaleIntercept=5,
        SmallestImagePixelValue=-2000,
        PixelPaddingValue=-2000,
        IconImageSequence=[icon],
        ReferencedStudySequence=[private],
    )
    dataset.PixelData = np.array([[-2000] * 8] + [[300] * 8] * 5, np.int16).tobytes()
    for tag, vr, value in (
        ((0x0029, 0x0010), "LO", "SOME VENDOR"),
        ((0x0029, 0x1001), "OB", b"1234"),
        ((0x6000, 0x0010), "US", 6),
        ((0x601E, 0x3000), "OW", b"12345678"),
        ((0x5000, 0x0005), "US", 1),
        ((0xFFFA, 0xFFFA), "SQ", []),
    ):
        dataset.add_new(tag, vr, value)
    original = save(dataset, tmp_path / "original" / "a.dcm")
    volume = read_dicom(tmp_path / "original")
    (path,) = written(volume, tmp_path / "original", tmp_path / "new", EXACT).paths
    image = pydicom.dcmread(path)
    assert not [element for element in image.iterall() if element.tag.is_private]
    assert not {element.tag.group for element in image} & {0x5000, 0x6000, 0x601E, 0xFFFA}
    assert "IconImageSequence" not in image
    assert image.ReferencedStudySequence[0].StudyID == "kept"
    assert "SmallestImagePixelValue" not in image
    assert (image.RescaleSlope, image.RescaleIntercept) == (1, -1024)
    assert image.PixelPaddingValue - 1024 == volume.padding == -3995
    np.testing.assert_array_equal(image.pixel_array - 1024, volume.voxels[0])
    assert image.LossyImageCompression == "00"
    assert pydicom.dcmread(original).RescaleSlope == 2  # which nobody touched


def test_loss_of_earlier_compression_stays_said(tmp_path: Path) -> None:
    earlier = {"": "01", "Ratio": 8, "Method": "ISO_10918_1"}
    tags = {f"LossyImageCompression{name}": value for name, value in earlier.items()}
    write_series(tmp_path / "original", (1, 4), **tags)
    volume = read_dicom(tmp_path / "original")
    for derivation, ratios, methods in (
        (LOSSY, [8, 20], ["ISO_10918_1", "INR_VOLUME"]),
        (EXACT, 8, "ISO_10918_1"),
    ):
        path, *_ = written(volume, tmp_path / "original", tmp_path / str(derivation.lossy), derivation).paths
        image = pydicom.dcmread(path)
        assert image.LossyImageCompression == "01"
        assert image.LossyImageCompressionRatio == ratios
        assert image.LossyImageCompressionMethod == methods


@pytest.mark.parametrize("kind", ["implicit VR", "JPEG Lossless", "MONOCHROME1", "zip", "in 8 bits"])
def test_originals_of_every_kind_lend_their_headers(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "original"
    if kind == "JPEG Lossless":
        save(jpeg_lossless(pixels_of(1)), source / "a.dcm")
    elif kind == "in 8 bits":
        write_series(source, [2], pixels=pixels_of(1).astype(np.uint8))
    else:
        dataset = ct_dataset(2.0, PatientID="17")
        if kind == "MONOCHROME1":
            dataset.PhotometricInterpretation = "MONOCHROME1"
        if kind == "implicit VR":
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
            dataset.SmallestImagePixelValue = -1  # of a kind that the sign of the pixels decides
        save(dataset, source / "a.dcm")
    volume = changed(read_dicom(source))
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "original.zip", "w") as archive:
            archive.write(source / "a.dcm", "a.dcm")
        source = tmp_path / "original.zip"
    (path,) = written(volume, source, tmp_path / "new").paths
    image = pydicom.dcmread(path)
    np.testing.assert_array_equal(read_dicom(path).voxels, volume.voxels)
    assert image.PhotometricInterpretation == ("MONOCHROME1" if kind == "MONOCHROME1" else "MONOCHROME2")


@pytest.mark.parametrize("slopes", [(0.3, 0.3), (0.3, 0.7)], ids=["one slope", "a slope a slice"])
def test_fractions_are_stored_as_the_original_did_if_its_slices_agree(
    tmp_path: Path, slopes: tuple[float, ...]
) -> None:
    for z, slope in enumerate(slopes, start=1):
        dataset = ct_dataset(z, pixels_of(z), RescaleSlope=slope, PixelPaddingValue=-32768)
        dataset["PixelPaddingValue"].VR = "SS"
        save(dataset, tmp_path / "original" / f"{z}.dcm")
    volume = read_dicom(tmp_path / "original")
    assert volume.dtype == np.float32
    series = written(volume, tmp_path / "original", tmp_path / "new", EXACT, Closeness(max_error=0.0))
    image, back = pydicom.dcmread(series.paths[0]), read_dicom(tmp_path / "new")
    if len(set(slopes)) == 1:
        np.testing.assert_array_equal(image.pixel_array, pixels_of(1))
        np.testing.assert_array_equal(back.voxels, volume.voxels)
        assert image.LossyImageCompression == "00"
    else:
        assert np.abs(back.voxels - volume.voxels).max() <= series.stored.step
        assert image.LossyImageCompression == "01"
    lossy = written(changed(volume), tmp_path / "original", tmp_path / "lossy")
    assert np.abs(read_dicom(tmp_path / "lossy").voxels - volume.voxels).max() <= 5 + lossy.stored.step


def test_an_element_that_holds_nonsense_stops_nothing(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = ct_dataset(2.0)
        dataset.add_new("SeriesNumber", "LO", "3A")
        dataset.add_new("PatientWeight", "LO", "heavy")
        save(dataset, tmp_path / "original" / "a.dcm")
        data = (tmp_path / "original" / "a.dcm").read_bytes()
        for tag, vr in ((b"\x20\x00\x11\x00", b"IS"), (b"\x10\x00\x30\x10", b"DS")):
            data = data.replace(tag + b"LO", tag + vr)
        (tmp_path / "original" / "a.dcm").write_bytes(data)
    (path,) = written(read_dicom(tmp_path / "original"), tmp_path / "original", tmp_path / "new").paths
    assert pydicom.dcmread(path).SeriesNumber is None


def test_one_of_several_series_is_chosen(tmp_path: Path) -> None:
    write_series(tmp_path / "study" / "one", (1, 4), PatientID="one")
    write_series(tmp_path / "study" / "two", (1, 4, 7), PatientID="two", SeriesInstanceUID="1.2.3.77")
    volume = read_dicom(tmp_path / "study" / "two")
    with pytest.raises(SourceError, match="holds 2 CT series"):
        written(volume, tmp_path / "study", tmp_path / "new")
    path, *_ = written(volume, tmp_path / "study", tmp_path / "new", series="1.2.3.77").paths
    assert pydicom.dcmread(path).PatientID == "two"


# ---- what is no original ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heights": (1, 4)}, "has slices x rows x columns 2 x 6 x 8, and the volume 3 x 6 x 8"),
        ({"heights": (2, 5, 8)}, r"no slice at \(-10\.00, -20\.00, 1\.00\) mm, where slice 0"),
        ({"PixelSpacing": [0.5, 0.26]}, "has pixels 0.5 x 0.26, and the volume 0.5 x 0.25"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, -1, 0]}, "rows and columns along"),
        ({"RescaleType": "US"}, "is in raw, and the volume in HU"),
    ],
)
def test_a_series_in_another_place_is_refused_by_what_differs(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    write_series(tmp_path / "original", (1, 4, 7))
    write_series(tmp_path / "other", **({"heights": (1, 4, 7)} | change))
    with pytest.raises(SourceError, match=message):
        written(read_dicom(tmp_path / "original"), tmp_path / "other", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "closeness", [Closeness(rmse=4.0), Closeness(max_error=5.0)], ids=["RMSE", "maximum"]
)
def test_a_scan_of_another_in_the_same_place_is_refused_by_its_voxels(
    tmp_path: Path, closeness: Closeness
) -> None:
    write_series(tmp_path / "original", (1, 4, 7))
    for z in (1, 4, 7):
        save(ct_dataset(z, pixels_of(z)), tmp_path / "other" / f"{z}.dcm")
    volume = changed(read_dicom(tmp_path / "original"))
    written(volume, tmp_path / "original", tmp_path / "new", closeness=closeness)
    with pytest.raises(VolumeError, match=r"the voxels are not those of '1\.dcm'"):
        written(volume, tmp_path / "other", tmp_path / "other new", closeness=closeness)
    assert not (tmp_path / "other new").exists()


def test_padding_of_the_original_counts_as_no_error(tmp_path: Path) -> None:
    pixels = np.full((6, 8), -2000, np.int16)
    pixels[1:5, 1:7] = pixels_of(1, 4, 6)
    for z in (1, 4, 7):
        save(ct_dataset(z, pixels, PixelPaddingValue=-2000), tmp_path / "original" / f"{z}.dcm")
    original = read_dicom(tmp_path / "original")
    assert original.padding == -3024
    low, _ = original.intensity_range
    decoded = replace(original, voxels=original.voxels.clip(low), padding=None)
    exact = Closeness(rmse=0.0, max_error=0.0)
    for name, volume in (("preview", decoded), ("exact", original)):
        written(volume, tmp_path / "original", tmp_path / name, closeness=exact)


def test_many_images_in_a_file_are_refused(tmp_path: Path) -> None:
    path = save(enhanced((0, 2, 4), slopes=(1, 1, 1)), tmp_path / "original" / "a.dcm")
    with pytest.raises(SourceError, match="holds 3 images in one file"):
        written(read_dicom(path), path, tmp_path / "new")


def test_a_source_that_is_no_dicom_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "original", (1, 4))
    (tmp_path / "empty").mkdir()
    for other in ("empty", "nowhere"):
        with pytest.raises(InrError, match=other):
            written(read_dicom(tmp_path / "original"), tmp_path / other, tmp_path / "new")


# ---- real CT ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["own header", "the original's"])
@pytest.mark.parametrize(
    "name", ["ge_head_tilt", "mixed_study", "three_patients", "edge/series_3slice_qiicr", "edge/misc"]
)
def test_real_series_come_back_voxel_for_voxel(
    shared_data: Path, tmp_path: Path, name: str, how: str
) -> None:
    folder, count = shared_data / "dicom" / name, 0
    for line in list_series(folder).series:
        try:
            volume = read_dicom(folder, line.key)
        except SourceError:  # two images at one place
            continue
        place = tmp_path / str(count)
        if how == "own header":
            export(volume, place, OwnHeader(volume, seed="x", description="a test"), EXACT)
        else:
            written(volume, folder, place, EXACT, Closeness(max_error=0.0), series=line.key)
        back, count = read_dicom(place), count + 1
        np.testing.assert_array_equal(back.voxels, volume.voxels)
        np.testing.assert_allclose(back.geometry.affine, volume.geometry.affine, atol=1e-6)
        assert (back.units, back.padding) == (volume.units, volume.padding)
        if how != "own header":
            assert back.geometry == volume.geometry
    assert count > 0
