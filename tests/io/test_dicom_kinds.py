"""Kinds of DICOM that readers get wrong in silence: each is read right, or refused by its true reason."""

from __future__ import annotations

import gc
import tracemalloc
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from ct_files import ct_dataset, enhanced, pixels_of, save, write_series
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.fileset import FileSet
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    RLELossless,
    XRay3DCraniofacialImageStorage,
)

from napari_inr_volume.core.errors import SourceError
from napari_inr_volume.io.dicom import is_dicom_source, list_series, read_dicom
from napari_inr_volume.io.dicom.codestream import check_frame

LOSSLESS = [JPEGLSLossless, JPEG2000Lossless]
COS, SIN = np.cos(np.radians(20.0)), np.sin(np.radians(20.0))


def parts(source: Path) -> list[tuple[str, int]]:
    """Name and slices of each acquisition in a source."""
    return [(line.part, line.slices) for line in list_series(source).series]


# ---- stored bits ----------------------------------------------------------------------------------


def twelve_bits(signed: bool, seed: int = 0) -> np.ndarray:
    low, high = (-2048, 2048) if signed else (0, 4096)
    values = np.random.default_rng(seed).integers(low, high, (64, 64))
    values[0, :2] = low, high - 1
    return values.astype(np.int16)


def with_junk_above(values: np.ndarray, signed: bool) -> np.ndarray:
    """Twelve bits in sixteen, of which the upper four hold something else, as overlays of old do."""
    junk = np.random.default_rng(9).integers(0, 16, values.shape).astype(np.uint16) << 12
    return ((values.view(np.uint16) & 0x0FFF) | junk).view(np.int16 if signed else np.uint16)


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize("syntax", [None, RLELossless, *LOSSLESS], ids=["raw", "RLE", "JPEG-LS", "J2K"])
def test_bits_above_those_stored_never_count(tmp_path: Path, syntax: Any, signed: bool) -> None:
    values = twelve_bits(signed)
    dataset = ct_dataset(0, with_junk_above(values, signed), RescaleIntercept=0)
    if syntax is not None:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.BitsStored, dataset.HighBit = 12, 11
    volume = read_dicom(save(dataset, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(volume.voxels[0], values)


def test_bits_stored_at_the_top_are_shifted_down(tmp_path: Path) -> None:
    values = twelve_bits(signed=False)
    dataset = ct_dataset(0, values.astype(np.uint16) << 4, RescaleIntercept=0, BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(read_dicom(save(dataset, tmp_path / "a.dcm")).voxels[0], values)


def test_high_bit_that_fits_no_codestream_is_refused(tmp_path: Path) -> None:
    dataset = ct_dataset(0, twelve_bits(signed=False).astype(np.uint16) << 4)
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.BitsStored, dataset.HighBit = 12, 15
    with pytest.raises(SourceError, match="HighBit 15 and BitsStored 12 in compressed pixels"):
        read_dicom(save(dataset, tmp_path / "a.dcm"))


@pytest.mark.parametrize(("stored", "high"), [(17, 16), (12, 9), (12, 16)], ids=str)
def test_bits_that_cannot_be_are_refused(tmp_path: Path, stored: int, high: int) -> None:
    write_series(tmp_path, (0, 1), BitsStored=stored, HighBit=high)
    with pytest.raises(SourceError, match=f"BitsStored {stored} and HighBit {high} in 16 bits"):
        read_dicom(tmp_path)


# ---- what a pixel stands for ----------------------------------------------------------------------


def lut_sequence(values: Sequence[int], first: int = 0, kind: str = "HU") -> list[Dataset]:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(values), first % 2**16, 16])
    item.ModalityLUTType = kind
    item.add_new("LUTData", "OW", np.array(values, "<u2").tobytes())
    return [item]


@pytest.mark.parametrize(("kind", "units"), [("HU", "HU"), ("US", "raw")])
def test_modality_lut_is_applied(tmp_path: Path, kind: str, units: str) -> None:
    pixels = np.array([[-5, 0, 3], [4, 9, 10]], np.int16)  # the ends of the table hold beyond it
    rescale = {"RescaleSlope": None, "RescaleIntercept": None}
    sequence = lut_sequence([100, 110, 125, 150, 200], first=0, kind=kind)
    for z in (0, 1):
        save(ct_dataset(z, pixels, ModalityLUTSequence=sequence, **rescale), tmp_path / f"{z}.dcm")
    volume = read_dicom(tmp_path)
    assert volume.units == units
    np.testing.assert_array_equal(volume.voxels[1], [[100, 100, 150], [200, 200, 200]])


def test_modality_lut_may_begin_below_zero(tmp_path: Path) -> None:
    pixels = np.array([[-2, -1, 0]], np.int16)
    sequence = lut_sequence([7, 8, 9], first=-2)
    rescale = {"RescaleSlope": None, "RescaleIntercept": None}
    path = save(ct_dataset(0, pixels, ModalityLUTSequence=sequence, **rescale), tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_dicom(path).voxels, [[[7, 8, 9]]])


def test_damaged_modality_lut_is_refused_by_name(tmp_path: Path) -> None:
    sequence = lut_sequence([7, 8, 9])
    sequence[0].LUTDescriptor = [300, 0, 16]
    write_series(tmp_path, (0, 1), ModalityLUTSequence=sequence)
    with pytest.raises(SourceError, match="ModalityLUTSequence declares 300 entries"):
        read_dicom(tmp_path)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "2 image in PALETTE COLOR"),
        ({"PhotometricInterpretation": "YBR_FULL"}, "pixels in YBR_FULL"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "2 colour images"),
    ],
    ids=["palette", "luma", "RGB"],
)
def test_colour_is_refused_by_its_name(tmp_path: Path, tags: dict[str, Any], words: str) -> None:
    write_series(tmp_path, (0, 1), **tags)
    with pytest.raises(SourceError, match=words):
        read_dicom(tmp_path)


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
def test_floating_point_pixels_are_refused_by_their_name(tmp_path: Path, keyword: str, dtype: str) -> None:
    for z in (0, 1):
        dataset = ct_dataset(z, PixelData=None, PixelRepresentation=None, BitsStored=None, HighBit=None)
        dataset.BitsAllocated = 8 * np.dtype(dtype).itemsize
        setattr(dataset, keyword, np.zeros((6, 8), dtype).tobytes())
        save(dataset, tmp_path / f"{z}.dcm")
    with pytest.raises(SourceError, match=rf"floating-point numbers \({keyword}\)"):
        read_dicom(tmp_path)


# ---- elements that are odd, or missing ------------------------------------------------------------


def replaced(path: Path, keyword: str, vr: str, value: bytes) -> None:
    """Put bytes into an element that no writer would let pass."""
    dataset = pydicom.dcmread(path)
    dataset[keyword] = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(keyword), vr, len(value), value, 0, False, True
    )
    dataset.save_as(path)


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("SeriesNumber", "IS", b"3A"),
        ("SliceThickness", "DS", b"N/A "),
        ("InstanceNumber", "IS", b"first "),
        ("AcquisitionNumber", "IS", b"1\\2 "),
        ("KVP", "DS", b"high"),
        ("TriggerTime", "DS", b"-"),
        ("AcquisitionTime", "TM", b"noon"),
        ("PixelPaddingRangeLimit", "SS", b"\x00"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) > 2 else "",
)
def test_elements_that_are_not_needed_never_refuse_a_file(
    tmp_path: Path, keyword: str, vr: str, value: bytes
) -> None:
    for path in write_series(tmp_path, range(4)):
        replaced(path, keyword, vr, value)
    assert read_dicom(tmp_path).shape == (4, 6, 8)


def test_spacing_of_one_number_is_refused_with_the_name_of_its_tag(tmp_path: Path) -> None:
    for path in write_series(tmp_path, (0, 1)):
        replaced(path, "PixelSpacing", "DS", b"0.7 ")
    with pytest.raises(SourceError, match=r"'000.dcm' has no usable PixelSpacing \(two numbers\)"):
        read_dicom(tmp_path)


def test_missing_sop_class_is_the_reason_that_is_given(tmp_path: Path) -> None:
    paths = write_series(tmp_path, range(3))
    for path in paths:
        dataset = pydicom.dcmread(path)
        del dataset.SOPClassUID
        del dataset.file_meta.MediaStorageSOPClassUID
        dataset.save_as(path, enforce_file_format=False)
    with pytest.raises(SourceError, match=r"'000.dcm', '001.dcm', '002.dcm' .it lacks SOPClassUID"):
        read_dicom(tmp_path)


def test_series_without_a_uid_is_read(tmp_path: Path) -> None:
    write_series(tmp_path, range(3), SeriesInstanceUID=None)
    assert read_dicom(tmp_path).shape[0] == 3


def test_text_of_a_header_is_printable_and_kept_as_it_is_otherwise(tmp_path: Path) -> None:
    for path in write_series(tmp_path, range(3), SeriesDescription="x"):
        replaced(path, "SeriesDescription", "LO", b"\x1b]0;me\x07 [lung] <b>[/b]")
    line = list_series(tmp_path).series[0]
    assert line.description == r"\x1b]0;me\x07 [lung] <b>[/b]"
    assert str(line).isprintable()


# ---- functional groups ----------------------------------------------------------------------------


def private_group(**tags: Any) -> Dataset:
    """A private sequence with public attributes in it, as Philips writes."""
    group = Dataset()
    item = Dataset()
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    group.private_block(0x2005, "Philips Imaging DD 005", create=True).add_new(0x0F, "SQ", [item])
    return group


def test_private_sequences_in_functional_groups_never_count(tmp_path: Path) -> None:
    dataset = enhanced((0, 2, 4), slopes=(1, 1, 1))
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame.update(private_group(RescaleSlope=3.5, RescaleIntercept=7, ImagePositionPatient=[9, 9, 9]))
    dataset.SharedFunctionalGroupsSequence[0].update(private_group(PixelSpacing=[7, 7]))
    volume = read_dicom(save(dataset, tmp_path / "a.dcm"))
    assert volume.geometry.spacing == (2.0, 0.5, 0.25)
    np.testing.assert_array_equal(volume.voxels, [pixels_of(z) - 1024 for z in range(3)])


def test_attribute_in_a_foreign_functional_group_does_not_count(tmp_path: Path) -> None:
    dataset = enhanced((0, 2, 4), slopes=(1, 1, 1))
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        other = Dataset()
        other.RescaleSlope, other.ImagePositionPatient = 9, [0, 0, 0]
        frame.FrameAnatomySequence = [other]
    volume = read_dicom(save(dataset, tmp_path / "a.dcm"))
    assert volume.geometry.spacing[0] == 2.0
    np.testing.assert_array_equal(volume.voxels[0], pixels_of(0) - 1024)


def test_attributes_beside_functional_groups_do_not_count(tmp_path: Path) -> None:
    dataset = enhanced((0, 2, 4), slopes=(1, 1, 1))
    dataset.ImagePositionPatient, dataset.RescaleSlope, dataset.RescaleIntercept = [0, 0, 0], 5, 5
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        del frame.PixelValueTransformationSequence
    volume = read_dicom(save(dataset, tmp_path / "a.dcm"))
    assert volume.units == "raw"
    np.testing.assert_array_equal(volume.voxels[1], pixels_of(1))


def test_own_group_of_a_frame_goes_before_the_shared_one(tmp_path: Path) -> None:
    dataset = enhanced((0, 2, 4), slopes=(1, 2, 3))
    shared = Dataset()
    shared.RescaleSlope, shared.RescaleIntercept, shared.RescaleType = 100, 0, "HU"
    dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = [shared]
    volume = read_dicom(save(dataset, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(volume.voxels[2], pixels_of(2) * 3 - 1024)


# ---- one series, several acquisitions -------------------------------------------------------------


def two_of(folder: Path, shift: float, first: dict[str, Any], second: dict[str, Any], count: int = 6) -> None:
    """Two acquisitions under one SeriesInstanceUID, the second `shift` mm further on."""
    for number, (tags, offset) in enumerate(((first, 0.0), (second, shift))):
        for i in range(count):
            image = ct_dataset(2.0 * i + offset, pixels_of(100 * number + i), **tags)
            save(image, folder / f"{number}-{i}.dcm")


ALTERNATING = {
    "kernel": ({"ConvolutionKernel": "B30f"}, {"ConvolutionKernel": "B70f"}, "kernel B70f"),
    "thickness": ({"SliceThickness": 1}, {"SliceThickness": 5}, "slices of 5 mm"),
    "image type": (
        {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]},
        {"ImageType": ["DERIVED", "SECONDARY", "MIP"]},
        "image type ORIGINAL, PRIMARY, AXIAL",
    ),
    "temporal position": (
        {"TemporalPositionIdentifier": 1},
        {"TemporalPositionIdentifier": 2},
        "time point 2",
    ),
    "trigger time": ({"TriggerTime": 80}, {"TriggerTime": 320}, "trigger time 320 ms"),
    "phase": (
        {"NominalPercentageOfCardiacPhase": 40, "TriggerTime": 1},
        {"NominalPercentageOfCardiacPhase": 70, "TriggerTime": 2},
        "phase 70 %",
    ),
    "energy": ({"KVP": 80}, {"KVP": 140}, "140 kV"),
    "echo": ({"EchoNumbers": 1}, {"EchoNumbers": 2}, "echo 2"),
    "acquisition number": ({"AcquisitionNumber": 3}, {"AcquisitionNumber": 4}, "acquisition 4"),
    "acquisition time": (
        {"AcquisitionTime": "100000.5"},
        {"AcquisitionTime": "100500"},
        "taken at 10:05:00.00",
    ),
    "contrast": ({}, {"ContrastBolusAgent": "Iomeprol"}, "contrast Iomeprol"),
    "description": ({"SeriesDescription": "soft"}, {"SeriesDescription": "sharp"}, "soft"),
}


@pytest.mark.parametrize("shift", [0.0, 1.0], ids=["same positions", "alternating"])
@pytest.mark.parametrize(("first", "second", "part"), ALTERNATING.values(), ids=ALTERNATING)
def test_acquisitions_in_one_series_are_listed_and_chosen(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], part: str, shift: float
) -> None:
    two_of(tmp_path, shift, first, second)
    listing = list_series(tmp_path)
    assert [line.slices for line in listing.series] == [6, 6]
    assert listing.series[1].part == part
    held = "a series with 2 images at each of 6 positions" if shift == 0 else "a series of 2 acquisitions"
    with pytest.raises(SourceError, match=f"holds {held}: .*{part}.* Choose one with --series"):
        read_dicom(tmp_path)
    seen = set()
    for number, line in enumerate(listing.series, start=1):
        volume = read_dicom(tmp_path, str(number))
        np.testing.assert_array_equal(volume.voxels, read_dicom(tmp_path, line.key).voxels)
        assert volume.geometry.spacing[0] == 2.0
        assert "6 of other parts left out" in volume.summary
        seen.add(volume.voxels.tobytes())
    assert len(seen) == 2


def test_phases_by_times_of_their_own_are_told_apart(tmp_path: Path) -> None:
    for phase in range(3):
        for i in range(6):
            seconds = 60 * phase + i  # a pause of 55 s between two phases
            time = f"10{seconds // 60:02}{seconds % 60:02}"
            image = ct_dataset(2.0 * i, pixels_of(10 * phase + i), AcquisitionTime=time)
            save(image, tmp_path / f"{phase}{i}.dcm")
    assert parts(tmp_path) == [(f"taken at 10:0{phase}:00.00", 6) for phase in range(3)]
    np.testing.assert_array_equal(read_dicom(tmp_path, "2").voxels[5], pixels_of(15) - 1024)


def test_phases_that_only_their_numbers_tell_apart_are_parted_by_order(tmp_path: Path) -> None:
    for phase in range(3):
        for i in range(4):
            number = 10 * phase + i
            save(ct_dataset(i, pixels_of(number), InstanceNumber=number), tmp_path / f"{number}.dcm")
    assert parts(tmp_path) == [(f"image {rank} of 3 at each position", 4) for rank in (1, 2, 3)]
    np.testing.assert_array_equal(read_dicom(tmp_path, "3").voxels[1], pixels_of(21) - 1024)


def test_parts_are_parted_again(tmp_path: Path) -> None:
    for kernel in ("B30f", "B70f"):
        for phase in (0, 50):
            two = {"ConvolutionKernel": kernel, "NominalPercentageOfCardiacPhase": phase}
            for i in range(3):
                save(ct_dataset(i, pixels_of(i), **two), tmp_path / f"{kernel}{phase}{i}")
    assert [part for part, _ in parts(tmp_path)] == [
        *("kernel B30f, phase 0 %", "kernel B30f, phase 50 %"),
        *("kernel B70f, phase 0 %", "kernel B70f, phase 50 %"),
    ]


def test_time_points_of_a_multiframe_file_are_listed_and_chosen(tmp_path: Path) -> None:
    dataset = enhanced((0, 2, 4, 0, 2, 4), slopes=(1,) * 6)
    for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        content = Dataset()
        content.TemporalPositionIndex = 1 + number // 3
        frame.FrameContentSequence = [content]
    path = save(dataset, tmp_path / "a.dcm")
    assert parts(path) == [("time point 1", 3), ("time point 2", 3)]
    np.testing.assert_array_equal(read_dicom(path, "2").voxels, [pixels_of(z) - 1024 for z in (3, 4, 5)])


def test_scan_plan_that_changes_along_z_is_one_acquisition_and_said(tmp_path: Path) -> None:
    for i in range(8):
        tags = {"SliceThickness": 4 if i < 4 else 7, "ConvolutionKernel": "H30" if i < 4 else "H60"}
        save(ct_dataset(float(i), **tags), tmp_path / f"{i}.dcm")
    volume = read_dicom(tmp_path)
    assert volume.shape[0] == 8
    assert volume.notes == ("kernel H30, then H60 along z", "slice thickness 4, then 7 mm along z")


def test_values_that_each_image_has_for_itself_part_nothing(tmp_path: Path) -> None:
    for i in range(6):
        time = f"1000{10 + i}.{i}"
        tags = {"AcquisitionNumber": i, "AcquisitionTime": time, "TriggerTime": 100 * i}
        save(ct_dataset(float((i * 5) % 6), **tags), tmp_path / f"{i}.dcm")
    assert parts(tmp_path) == [("", 6)]


def test_measured_thicknesses_that_nearly_agree_part_nothing(tmp_path: Path) -> None:
    for i in range(6):
        save(ct_dataset(float(i), SliceThickness=1 + 0.01 * (i % 3)), tmp_path / f"{i}.dcm")
    assert parts(tmp_path) == [("", 6)]


def test_rescan_of_one_slice_leaves_the_stack_and_is_said(tmp_path: Path) -> None:
    write_series(tmp_path, range(5), AcquisitionNumber=1)
    save(ct_dataset(2.0, pixels_of(9), AcquisitionNumber=2), tmp_path / "again.dcm")
    assert parts(tmp_path) == [("acquisition 1", 5), ("acquisition 2", 1)]
    assert "5 files of 6 (1 of other parts left out)" in read_dicom(tmp_path).summary


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "coronal"),
        ({"PixelSpacing": [1, 1]}, "pixels of 1 x 1 mm"),
        ({"RescaleType": "US"}, "values in US"),
    ],
    ids=["orientation", "spacing", "rescale type"],
)
def test_stacks_of_different_grids_are_listed_apart(tmp_path: Path, tags: dict[str, Any], words: str) -> None:
    write_series(tmp_path / "a", range(4))
    for i in range(3):
        save(ct_dataset(0.0, pixels_of(i), ImagePositionPatient=[0, i, 3 * i], **tags), tmp_path / f"b{i}")
    assert (words, 3) in parts(tmp_path)
    assert len(parts(tmp_path)) == 2


# ---- one acquisition, several UIDs ----------------------------------------------------------------


def test_files_with_a_series_uid_each_are_put_together_and_said(tmp_path: Path) -> None:
    for i in range(5):
        uids = {"SeriesInstanceUID": f"1.2.{i}", "FrameOfReferenceUID": f"1.3.{i}", "StudyInstanceUID": "1.9"}
        save(ct_dataset(2.0 * i, InstanceNumber=i, **uids), tmp_path / f"{i}.dcm")
    assert parts(tmp_path) == [("", 5)]
    volume = read_dicom(tmp_path)
    assert (volume.shape[0], volume.geometry.spacing[0]) == (5, 2.0)
    assert "each of 5 files has a series of its own" in volume.summary


def test_phases_of_files_with_a_series_uid_each_are_put_together_and_parted(tmp_path: Path) -> None:
    for phase in (10, 60):
        for i in range(4):
            tags = {"SeriesInstanceUID": f"1.2.{phase + i}", "NominalPercentageOfCardiacPhase": phase}
            save(ct_dataset(2.0 * i, **tags), tmp_path / f"{phase + i}.dcm")
    assert parts(tmp_path) == [("phase 10 %", 4), ("phase 60 %", 4)]


@pytest.mark.parametrize(
    "odd",
    [{"StudyInstanceUID": "1.8"}, {"PixelSpacing": [1, 1]}, {"ImagePositionPatient": [-10, -20, 99]}],
    ids=["study", "spacing", "distance"],
)
def test_single_images_that_make_no_even_stack_stay_apart(tmp_path: Path, odd: dict[str, Any]) -> None:
    for i in range(3):
        tags = {"SeriesInstanceUID": f"1.2.{i}", "StudyInstanceUID": "1.9"} | (odd if i == 2 else {})
        save(ct_dataset(2.0 * i, **tags), tmp_path / f"{i}.dcm")
    assert len(parts(tmp_path)) == 3


def test_frames_of_reference_that_each_file_has_for_itself_are_ignored_and_said(tmp_path: Path) -> None:
    for i in range(4):
        save(ct_dataset(float(i), FrameOfReferenceUID=f"1.3.{i}"), tmp_path / f"{i}.dcm")
    assert "frame of reference of its own, which was ignored" in read_dicom(tmp_path).summary


def test_images_that_all_claim_one_position_are_refused_by_that_reason(tmp_path: Path) -> None:
    for i in range(5):
        save(ct_dataset(0.0, pixels_of(i), SliceLocation=i, InstanceNumber=i), tmp_path / f"{i}.dcm")
    with pytest.raises(SourceError, match="all 5 images give the same ImagePositionPatient"):
        read_dicom(tmp_path)


# ---- several frames, one position -----------------------------------------------------------------


def cone_beam(count: int = 4, **tags: Any) -> Dataset:
    frames = np.stack([pixels_of(i) for i in range(count)])
    return ct_dataset(5.0, frames, NumberOfFrames=count, **tags)


@pytest.mark.parametrize(
    "tags",
    [
        {"SpacingBetweenSlices": 0.4},
        {"SOPClassUID": MultiFrameGrayscaleWordSecondaryCaptureImageStorage, "SpacingBetweenSlices": 0.4},
    ],
    ids=["CT", "secondary capture"],
)
def test_frames_at_even_distances_from_one_position_are_read(tmp_path: Path, tags: dict[str, Any]) -> None:
    volume = read_dicom(save(cone_beam(**tags), tmp_path / "a.dcm"))
    assert volume.shape == (4, 6, 8)
    assert volume.geometry.spacing == pytest.approx((0.4, 0.5, 0.25))
    assert volume.geometry.origin == (-10.0, -20.0, 5.0)
    np.testing.assert_array_equal(volume.voxels, [pixels_of(i) - 1024 for i in range(4)])
    assert "frames taken to follow each other along their normal" in volume.summary


def test_distance_of_frames_taken_from_their_thickness_is_said(tmp_path: Path) -> None:
    volume = read_dicom(save(cone_beam(SliceThickness=3), tmp_path / "a.dcm"))
    assert volume.geometry.spacing[0] == 3.0
    assert "distance of frames taken from SliceThickness, 3 mm" in volume.summary


def test_frames_without_any_distance_are_refused_by_what_is_missing(tmp_path: Path) -> None:
    path = save(cone_beam(SliceThickness=None), tmp_path / "a.dcm")
    with pytest.raises(SourceError, match="neither SpacingBetweenSlices nor SliceThickness"):
        read_dicom(path)


def test_secondary_capture_without_a_place_is_skipped_by_what_is_missing(tmp_path: Path) -> None:
    tags = {"SOPClassUID": MultiFrameGrayscaleWordSecondaryCaptureImageStorage, "PixelSpacing": None}
    save(cone_beam(ImagePositionPatient=None, **tags), tmp_path / "a.dcm")
    with pytest.raises(SourceError, match="without ImagePositionPatient, PixelSpacing"):
        read_dicom(tmp_path)


def test_cone_beam_with_functional_groups_is_read(tmp_path: Path) -> None:
    dataset = enhanced((0, 2, 4), slopes=(1, 1, 1))
    dataset.SOPClassUID = XRay3DCraniofacialImageStorage
    assert read_dicom(save(dataset, tmp_path / "a.dcm")).shape == (3, 6, 8)


# ---- gaps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "heights",
    [
        (*range(10), 13.4, *(13.4 + i for i in range(1, 5))),
        (0, 1, 2, 3, 4.5, 5.5, 6.5),
        (0, 1.1, 1.9, 3.2, 4.0, 20, 21, 22.3),
    ],
    ids=["no multiple", "half a step", "among uneven ones"],
)
def test_one_gap_unlike_the_others_is_refused(tmp_path: Path, heights: Sequence[float]) -> None:
    write_series(tmp_path, heights)
    with pytest.raises(SourceError, match="slices are missing between"):
        read_dicom(tmp_path)


@pytest.mark.parametrize(
    "heights",
    [
        (*range(8), *range(9, 20, 2)),
        (0, 1, 2, 3, 5.5, 8, 12, 16, 20, 24),
        (0, 1.1, 1.9, 3.2, 4.0, 5.1, 5.9),
    ],
    ids=["every other lost", "a step between two plans", "uneven all over"],
)
def test_uneven_distances_that_are_kept_are_said(tmp_path: Path, heights: Sequence[float]) -> None:
    write_series(tmp_path, heights)
    volume = read_dicom(tmp_path)
    assert volume.geometry.slice_positions == pytest.approx(heights)
    assert "slice distances are uneven" in volume.summary


def test_tilt_is_said(tmp_path: Path) -> None:
    write_series(tmp_path, (0, 5, 10), ImageOrientationPatient=[1, 0, 0, 0, COS, -SIN])
    assert "sheared by 20.0 degrees" in read_dicom(tmp_path).summary


# ---- broken files among those of a series ---------------------------------------------------------


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def cut_in_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:400])


def cut_in_pixels(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def overwritten(path: Path) -> None:
    path.write_bytes(b"\0" * 800)


BREAKS = [empty, cut_off, cut_in_header, cut_in_pixels, overwritten]


@pytest.mark.parametrize("name", ["{:03}.dcm", "IM{:04}", "1.2.840.{}"])
@pytest.mark.parametrize("breaks", BREAKS, ids=lambda function: function.__name__)
@pytest.mark.parametrize("place", [0, 2, 4], ids=["first", "inside", "last"])
def test_broken_file_is_named_and_left_out_only_if_asked(
    tmp_path: Path, breaks: Any, place: int, name: str
) -> None:
    paths = [save(ct_dataset(float(z)), tmp_path / name.format(z)) for z in range(5)]
    (tmp_path / "README.txt").write_text("not an image")
    breaks(paths[place])
    with pytest.raises(SourceError, match=paths[place].name):
        read_dicom(tmp_path)
    volume = read_dicom(tmp_path, skip_broken=True)
    assert volume.shape[0] == 4
    assert f"left out as broken: '{paths[place].name}'" in volume.summary
    assert "1 broken left out)" in volume.summary
    expected = [ct_dataset(float(z)).pixel_array - 1024 for z in range(5) if z != place]
    np.testing.assert_array_equal(volume.voxels, expected)


def test_broken_files_are_listed_with_their_reasons(tmp_path: Path) -> None:
    paths = write_series(tmp_path, range(4))
    empty(paths[1])
    listing = list_series(tmp_path)
    assert [line.slices for line in listing.series] == [3]
    assert [str(one) for one in listing.broken] == ["'001.dcm' (it is empty)"]


def test_hidden_and_unrelated_files_are_not_taken_for_broken(tmp_path: Path) -> None:
    write_series(tmp_path, range(3))
    for name in (".DS_Store", "._000.dcm", "Thumbs.db", "notes", "000.txt", "report.pdf"):
        (tmp_path / name).write_bytes(b"")
    assert list_series(tmp_path).broken == ()
    assert "3 files of 9 (6 not DICOM left out)" in read_dicom(tmp_path).summary


def test_series_of_nothing_but_broken_files_says_so(tmp_path: Path) -> None:
    for path in write_series(tmp_path, range(3)):
        cut_in_header(path)
    with pytest.raises(SourceError, match=r"3 are broken: '000.dcm', '001.dcm', '002.dcm'"):
        read_dicom(tmp_path, skip_broken=True)


# ---- one line of what was read --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("manufacturer", "vendor"),
    [
        ("GE MEDICAL SYSTEMS", "GE"),
        ("SIEMENS", "Siemens"),
        ("Philips", "Philips"),
        ("Acme CT", "Acme CT"),
    ],
)
def test_summary_names_the_vendor_and_the_files(tmp_path: Path, manufacturer: str, vendor: str) -> None:
    write_series(tmp_path, range(3), Manufacturer=manufacturer)
    scout = {"SeriesInstanceUID": "1.2.7", "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    write_series(tmp_path / "scout", range(2), **scout)
    assert read_dicom(tmp_path).found == (vendor, "3 files of 5 (2 localizers left out)")


# ---- zip and DICOMDIR -----------------------------------------------------------------------------


def zipped(folder: Path, path: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent))
    return path


def test_zip_of_dicom_reads_as_its_folder(tmp_path: Path) -> None:
    write_series(tmp_path / "ct" / "a", range(3))
    write_series(tmp_path / "ct" / "b", range(4), SeriesInstanceUID="1.2.9")
    path = zipped(tmp_path / "ct", tmp_path / "ct.zip")
    assert is_dicom_source(path)
    assert [line.slices for line in list_series(path).series] == [3, 4]
    np.testing.assert_array_equal(read_dicom(path, "2").voxels, read_dicom(tmp_path / "ct", "2").voxels)


def test_broken_file_in_a_zip_is_named(tmp_path: Path) -> None:
    empty(write_series(tmp_path / "ct", range(3))[1])
    with pytest.raises(SourceError, match=r"'001.dcm' \(it is empty\)"):
        read_dicom(zipped(tmp_path / "ct", tmp_path / "ct.zip"))


def test_names_in_a_zip_lead_nowhere(tmp_path: Path) -> None:
    image = write_series(tmp_path / "ct", [0])[0].read_bytes()
    path = tmp_path / "ct.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../../evil.dcm", "/evil.dcm", "a/x.dcm", "a/X.dcm"):
            archive.writestr(name, image)
    assert list_series(path).series[0].duplicates == 3
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["000.dcm", "ct", "ct.zip"]


def test_zip_that_declares_more_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ct.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", b"\0" * 2**20)
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (2**31).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(SourceError, match="cannot hold; it is damaged"):
        read_dicom(path)


@pytest.mark.parametrize("damage", ["cut", "crc"])
def test_damaged_zip_is_refused_in_words(tmp_path: Path, damage: str) -> None:
    write_series(tmp_path / "ct", range(3))
    path = zipped(tmp_path / "ct", tmp_path / "ct.zip", zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[600] ^= 255
    path.write_bytes(content[:-50] if damage == "cut" else content)
    with pytest.raises(SourceError, match=r"the zip '.*' cannot be unpacked"):
        read_dicom(path)


@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")
def test_dicomdir_stands_for_the_files_that_it_names(tmp_path: Path) -> None:
    files = FileSet()
    for z in range(3):
        dataset = ct_dataset(float(z), PatientID="1", StudyDate="20200101", StudyTime="10", StudyID="1")
        dataset.StudyInstanceUID, dataset.SeriesNumber, dataset.InstanceNumber = "1.2.3", 1, z
        dataset.PatientName, dataset.AccessionNumber = "", ""
        files.add(save(dataset, tmp_path / "in" / f"{z}.dcm"))
    disc = tmp_path / "disc"
    files.write(disc)
    del files  # whose folder for staging goes with it, and with a warning, which is this test's own
    gc.collect()
    write_series(disc / "other", range(7), SeriesInstanceUID="1.2.9")
    volume = read_dicom(disc / "DICOMDIR")
    assert volume.shape[0] == 3
    gone = next(
        path
        for path in sorted(disc.rglob("*"))
        if path.is_file() and path.name != "DICOMDIR" and "other" not in path.parts
    )
    gone.unlink()
    with pytest.raises(SourceError, match=f"'{gone.name}' .the DICOMDIR names it, but it is missing"):
        read_dicom(disc / "DICOMDIR")


# ---- hostile files --------------------------------------------------------------------------------


def test_frames_that_the_file_has_no_bytes_for_are_refused(tmp_path: Path) -> None:
    path = save(cone_beam(), tmp_path / "a.dcm")
    for count, words in ((b"2147483647", "NumberOfFrames is 2147483647, for which"), (b"5 ", "frame 5")):
        replaced(path, "NumberOfFrames", "IS", count)
        with pytest.raises(SourceError, match=words):
            read_dicom(path)


def test_deflated_file_is_read_and_a_bomb_is_not_inflated(tmp_path: Path) -> None:
    dataset = ct_dataset(0)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = save(dataset, tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_dicom(path).voxels[0], ct_dataset(0).pixel_array - 1024)
    content = path.read_bytes()
    meta = content[: 144 + int.from_bytes(content[140:144], "little")]
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    path.write_bytes(meta + squeeze.compress(b"\0" * 2**28) + squeeze.flush())
    tracemalloc.start()
    with pytest.raises(SourceError, match="too many for a file of"):
        read_dicom(path)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


@pytest.mark.parametrize("syntax", LOSSLESS, ids=["JPEG-LS", "JPEG 2000"])
def test_codestream_of_another_size_than_the_header_is_not_decoded(tmp_path: Path, syntax: Any) -> None:
    dataset = ct_dataset(0, pixels_of(0, 64, 64))
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.Rows = 96
    with pytest.raises(SourceError, match="holds 64 x 64 pixels of 1 samples, and the header says 96 x 64"):
        read_dicom(save(dataset, tmp_path / "a.dcm"))


def test_codestream_that_asks_for_more_than_its_bytes_can_justify_is_not_decoded() -> None:
    def siz(size: int, tile: int) -> bytes:
        numbers = (size, size, 0, 0, tile, tile, 0, 0)
        return b"\xff\x4f\xff\x51\x00\x29\x00\x00" + b"".join(n.to_bytes(4, "big") for n in numbers) + b"\0\1"

    check_frame(siz(512, 512) + bytes(900), JPEG2000Lossless, (512, 512), 16)
    with pytest.raises(ValueError, match="60000 x 60000 pixels are more than a frame"):
        check_frame(siz(60_000, 60_000), JPEG2000Lossless, (60_000, 60_000), 16)
    with pytest.raises(ValueError, match="declares 262144 tiles"):
        check_frame(siz(512, 1), JPEG2000Lossless, (512, 512), 16)
    with pytest.raises(ValueError, match="does not say how large"):
        check_frame(b"\xff\x4f\xff\x51", JPEG2000Lossless, (512, 512), 16)
    with pytest.raises(ValueError, match="does not say how large"):
        check_frame(b"\xff\xd8\xff\xd9", JPEGLSLossless, (512, 512), 16)
    with pytest.raises(ValueError, match="holds fewer than 512 x 512"):
        check_frame(bytes(100), RLELossless, (512, 512), 16)


def test_image_larger_than_memory_and_disk_is_refused_before_it_is_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path, range(3), pixels=pixels_of(0, 64, 64))
    monkeypatch.setattr("napari_inr_volume.core.memory.available", lambda: 1_000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000))
    words = r"the series, 3 x 64 x 64 int16, needs 24\.6 kB, .* has 1\.0 kB; set TMPDIR"
    with pytest.raises(SourceError, match=words):
        read_dicom(tmp_path)


def test_missing_pixels_are_refused_by_name(tmp_path: Path) -> None:
    write_series(tmp_path, range(3), PixelData=None)
    with pytest.raises(SourceError, match=r"'000.dcm' cannot be decoded: it has no PixelData"):
        read_dicom(tmp_path)


def test_fewer_frames_in_the_pixels_than_the_header_says_are_refused(tmp_path: Path) -> None:
    dataset = cone_beam(count=3)
    dataset.compress(RLELossless, generate_instance_uid=False)
    frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=3))
    dataset.PixelData = encapsulate(frames[:2])
    with pytest.raises(SourceError, match="cannot be decoded as RLE"):
        read_dicom(save(dataset, tmp_path / "a.dcm"))


def test_every_case_is_read_or_refused_as_told(shared_data: Path) -> None:
    cases = shared_data.parent / "cases" / "dicom"
    if not cases.is_dir():
        pytest.skip("the cases are not here")
    truth = np.load(cases / "jls_codes_16_of_12_bits.truth.npy")
    np.testing.assert_array_equal(read_dicom(cases / "jls_codes_16_of_12_bits").voxels, truth)
    for name in ("high_bit_15_of_12", "cbct_without_functional_groups", "private_rescale_in_groups"):
        np.testing.assert_array_equal(read_dicom(cases / name).voxels, truth)
    for name in ("seriesnumber_text", "slicethickness_text", "series_uid_each", "frame_uid_each"):
        np.testing.assert_array_equal(read_dicom(cases / name).voxels, truth)
    np.testing.assert_array_equal(read_dicom(cases.parent / "other" / "ct.zip").voxels, truth)
