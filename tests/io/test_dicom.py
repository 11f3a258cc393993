"""DICOM in, Volume out: real series of four vendors where they are, and small synthetic ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from ct_files import AXIAL, ct_dataset, enhanced, jpeg_lossless, pixels_of, save, write_series
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from napari_inr_volume.core.errors import SourceError, VolumeError
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.io.dicom import list_series, looks_like_dicom, read_dicom
from napari_inr_volume.io.dicom.frames import Traits
from napari_inr_volume.io.dicom.header import Slice
from napari_inr_volume.io.dicom.stack import stack

COS, SIN = np.cos(np.radians(20.0)), np.sin(np.radians(20.0))


# ---- synthetic series -----------------------------------------------------------------------------


def slice_at(position: Sequence[float], name: str = "a", **changes: Any) -> Slice:
    fields: dict[str, Any] = {
        "path": Path(name),
        "frame": 0,
        "frames": 1,
        "instance": None,
        "size": (6, 8),
        "position": tuple(map(float, position)),
        "orientation": tuple(map(float, AXIAL)),
        "pixel_spacing": (0.5, 0.25),
        "sop": name,
        "traits": Traits(*[None] * len(Traits._fields))._replace(thickness=3.0),
        "frame_of_reference": "",
        "slope": 1.0,
        "intercept": 0.0,
        "rescale_type": "HU",
        "lut": None,
        "padding": None,
        "bits_allocated": 16,
        "bits_stored": 16,
        "high_bit": 15,
        "signed": True,
        "photometric": "MONOCHROME2",
        "lossy": False,
        "syntax": ExplicitVRLittleEndian,
    }
    return Slice(**fields | changes)


def stack_at(heights: Sequence[float]) -> Any:
    return stack([slice_at((0, 0, z), f"at{z:g}") for z in heights]).geometry


# ---- order and geometry ---------------------------------------------------------------------------


def test_order_comes_from_positions_not_from_names_or_instance_numbers(tmp_path: Path) -> None:
    for name, instance, z in (("c", 1, 4.0), ("a", 3, 0.0), ("b", 2, 8.0), ("d", 9, 2.0), ("e", 4, 6.0)):
        save(ct_dataset(z, InstanceNumber=instance), tmp_path / name)
    volume = read_dicom(tmp_path)
    for z, plane in zip((0.0, 2.0, 4.0, 6.0, 8.0), volume.voxels, strict=True):
        np.testing.assert_array_equal(plane, ct_dataset(z).pixel_array - 1024)
    assert volume.geometry.spacing == (2.0, 0.5, 0.25)  # not SliceThickness, which says 3
    assert volume.geometry.origin == (-10.0, -20.0, 0.0)
    assert volume.geometry.slice_positions is None


def test_volume_holds_hu_in_int16_with_the_stored_bytes(tmp_path: Path) -> None:
    write_series(tmp_path, range(4))
    volume = read_dicom(tmp_path)
    assert (volume.voxels.dtype, volume.units, volume.padding) == (np.int16, "HU", None)
    assert volume.source_bytes == 4 * 6 * 8 * 2


@settings(deadline=None)
@given(
    angles=st.tuples(*[st.floats(-3, 3)] * 3),
    shear=st.floats(-0.4, 0.4),
    count=st.integers(2, 9),
    distance=st.floats(0.4, 10),
    seed=st.integers(0, 99),
)
def test_affine_carries_every_slice_to_its_header_position(
    angles: tuple[float, float, float], shear: float, count: int, distance: float, seed: int
) -> None:
    from scipy.spatial.transform import Rotation

    along_row, down_column, normal = Rotation.from_euler("xyz", angles).as_matrix().T
    step = distance * (normal + shear * down_column)  # sheared as by a tilted gantry
    positions = [np.array([3.0, -4.0, 5.0]) + i * step for i in range(count)]
    orientation = (*along_row.tolist(), *down_column.tolist())
    slices = [slice_at(p, f"{i}", orientation=orientation) for i, p in enumerate(positions)]
    np.random.default_rng(seed).shuffle(slices)
    ordered = stack(slices)
    assert [int(plane[0].path.name) for plane in ordered.planes] == list(range(count))
    affine = ordered.geometry.affine
    for z, position in enumerate(positions):
        for y, x in ((0, 0), (5, 7)):
            expected = position + 0.5 * y * down_column + 0.25 * x * along_row
            np.testing.assert_allclose(affine @ (z, y, x, 1), [*expected, 1], atol=1e-6)


def test_gantry_tilt_shears_the_stack_and_leaves_the_voxels(tmp_path: Path) -> None:
    paths = write_series(tmp_path, (0, 5, 10), ImageOrientationPatient=[1, 0, 0, 0, COS, -SIN])
    volume = read_dicom(tmp_path)
    z, y, x = np.array(volume.geometry.direction).T
    np.testing.assert_allclose(z, [0, 0, 1], atol=1e-12)  # the table moves along the patient
    np.testing.assert_allclose(y, [0, COS, -SIN], atol=1e-12)
    np.testing.assert_allclose(x, [1, 0, 0], atol=1e-12)
    assert volume.geometry.spacing[0] == pytest.approx(5.0)  # origin to origin, not 5 cos(20)
    np.testing.assert_array_equal(volume.voxels[1], pydicom.dcmread(paths[1]).pixel_array - 1024)


def test_reversed_rows_put_slice_zero_at_the_head(tmp_path: Path) -> None:
    write_series(tmp_path, (0, 1, 2), ImageOrientationPatient=[1, 0, 0, 0, -1, 0])
    geometry = read_dicom(tmp_path).geometry
    assert geometry.origin[2] == 2.0
    assert np.array(geometry.direction)[:, 0].tolist() == [0, 0, -1]


def test_uneven_distances_are_kept(tmp_path: Path) -> None:
    write_series(tmp_path, (0, 4, 8, 12, 13.08, 20, 27, 34))
    geometry = read_dicom(tmp_path).geometry
    assert geometry.slice_positions == (0, 4, 8, 12, 13.08, 20, 27, 34)
    assert geometry.spacing[0] == pytest.approx(34 / 7)


def test_one_slice_off_the_even_grid_is_kept_there() -> None:
    assert stack_at((0, 4, 8, 12.3, 16)).slice_positions == (0, 4, 8, 12.3, 16)


def test_rounded_positions_count_as_even() -> None:
    assert stack_at([round(1.2345 * i, 2) for i in range(30)]).slice_positions is None


@pytest.mark.parametrize(
    ("heights", "named"),
    [
        ((0, 1, 2, 4, 5), "'at2' and 'at4', which lie 2 mm apart where the others have 1 mm"),
        ((0, 5, 10, 20), "'at10' and 'at20'"),
        ((0, 1, 4, 5, 6), "'at1' and 'at4'"),
        ((0, 1, 3, 4, 5, 6, 8), "'at1' and 'at3', 'at6' and 'at8'"),
        ((0, 1, 2, 3, 5, 7, 8, 9), "'at3' and 'at5', 'at5' and 'at7'"),
    ],
    ids=["one inside", "one near the end", "two at once", "two places", "every other"],
)
def test_missing_slices_are_refused_by_name(heights: tuple[int, ...], named: str) -> None:
    with pytest.raises(SourceError, match=f"slices are missing between {named}"):
        stack_at(heights)


def test_scan_plan_that_doubles_its_distance_is_no_gap() -> None:
    assert stack_at((0, 5, 10, 15, 20, 30, 40, 50)).slice_positions is not None


def test_images_beside_each_other_are_refused() -> None:
    with pytest.raises(SourceError, match=r"'b' lies 7\.00 mm beside the line"):
        stack([slice_at((0, 0, 0), "a"), slice_at((7, 0, 1), "b"), slice_at((0, 0, 2), "c")])
    with pytest.raises(SourceError, match="'a' and 'b' lie in one plane, side by side"):
        stack([slice_at((0, 0, 0), "a"), slice_at((7, 0, 0), "b")])


@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ({"Columns": 6, "Rows": 8}, "rows x columns"),
        ({"PixelSpacing": [0.5, 0.5]}, "PixelSpacing"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, COS, -SIN]}, "ImageOrientationPatient"),
        ({"RescaleType": "US"}, "RescaleType"),
        ({"FrameOfReferenceUID": "1.2.9"}, "FrameOfReferenceUID"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_images_that_do_not_fit_together_are_refused(
    tmp_path: Path, tags: dict[str, Any], named: str
) -> None:
    write_series(tmp_path, (0, 1, 2))
    save(ct_dataset(3.0, **tags), tmp_path / "odd.dcm")
    with pytest.raises(SourceError, match=rf"{named} is .* in '000.dcm' and .* in 'odd.dcm'"):
        read_dicom(tmp_path)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_image_without_its_place_is_listed_but_not_read(tmp_path: Path, keyword: str) -> None:
    write_series(tmp_path, (0, 1), **{keyword: None})
    assert len(list_series(tmp_path).series) == 1
    with pytest.raises(SourceError, match=f"has no usable {keyword}"):
        read_dicom(tmp_path)


def test_orientation_that_is_no_pair_of_unit_vectors_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, (0, 1), ImageOrientationPatient=[1, 0, 0, 1, 0, 0])
    with pytest.raises(SourceError, match="perpendicular"):
        read_dicom(tmp_path)


def test_single_image_is_a_volume_of_one_slice_as_thick_as_it_says(tmp_path: Path) -> None:
    path = save(ct_dataset(7.0), tmp_path / "one.dcm")
    volume = read_dicom(path)
    assert (volume.shape, volume.geometry.spacing) == ((1, 6, 8), (3.0, 0.5, 0.25))


# ---- duplicates -----------------------------------------------------------------------------------


def test_copies_are_read_once_and_counted_in_the_listing(tmp_path: Path) -> None:
    write_series(tmp_path / "a", (0, 1, 2))
    write_series(tmp_path / "b", (1, 2))
    line = list_series(tmp_path).series[0]
    assert (line.slices, line.duplicates, len(line.paths)) == (3, 2, 5)
    volume = read_dicom(tmp_path)
    assert volume.shape == (3, 6, 8)
    assert volume.source_bytes == 3 * 6 * 8 * 2


def test_two_images_at_one_position_are_refused_by_name(tmp_path: Path) -> None:
    write_series(tmp_path, (0, 1, 2))
    save(ct_dataset(1.0, pixels_of(1), InstanceNumber=7), tmp_path / "late.dcm")
    expected = r"'001.dcm' and 'late.dcm' \(instance 7\) lie at the same position with different pixels"
    with pytest.raises(SourceError, match=expected):
        read_dicom(tmp_path)


# ---- values ---------------------------------------------------------------------------------------


def test_slope_and_intercept_are_those_of_each_slice(tmp_path: Path) -> None:
    pixels = pixels_of(0)
    save(ct_dataset(0, pixels, RescaleSlope=2, RescaleIntercept=-100), tmp_path / "a")
    save(ct_dataset(1, pixels, RescaleSlope=1, RescaleIntercept=-1024), tmp_path / "b")
    volume = read_dicom(tmp_path)
    np.testing.assert_array_equal(volume.voxels[0], pixels * 2 - 100)
    np.testing.assert_array_equal(volume.voxels[1], pixels - 1024)
    assert volume.voxels.dtype == np.int16


def test_broken_slope_gives_float32(tmp_path: Path) -> None:
    pixels = pixels_of(0)
    save(ct_dataset(0, pixels, RescaleSlope=0.5, RescaleIntercept=-3.25), tmp_path / "a")
    save(ct_dataset(1, pixels), tmp_path / "b")
    volume = read_dicom(tmp_path)
    assert volume.voxels.dtype == np.float32
    np.testing.assert_array_equal(volume.voxels[0], pixels * 0.5 - 3.25)
    np.testing.assert_array_equal(volume.voxels[1], pixels - 1024)


def test_values_beyond_int16_give_int32(tmp_path: Path) -> None:
    pixels = pixels_of(0).astype(np.uint16)
    save(ct_dataset(0, pixels), tmp_path / "a")
    pixels[2, 3] = 60_000
    save(ct_dataset(1, pixels), tmp_path / "b")
    volume = read_dicom(tmp_path)
    assert volume.voxels.dtype == np.int32
    assert volume.voxels[1, 2, 3] == 60_000 - 1024
    np.testing.assert_array_equal(volume.voxels[0], ct_dataset(0, pixels_of(0)).pixel_array - 1024)


@pytest.mark.parametrize(
    "tags", [{"RescaleType": "US"}, {"RescaleSlope": None, "RescaleIntercept": None}], ids=["type", "none"]
)
def test_rescale_to_anything_but_hu_is_raw(tmp_path: Path, tags: dict[str, Any]) -> None:
    write_series(tmp_path, (0, 1), **tags)
    assert read_dicom(tmp_path).units == "raw"


def test_slope_of_zero_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, (0, 1), RescaleSlope=0)
    with pytest.raises(SourceError, match="RescaleSlope 0 "):
        read_dicom(tmp_path)


def test_flat_series_is_a_volume_that_nothing_can_be_fitted_to(tmp_path: Path) -> None:
    write_series(tmp_path, (0, 1), pixels=np.zeros((6, 8), np.int16))
    volume = read_dicom(tmp_path)
    with pytest.raises(VolumeError, match="single value -1024"):
        volume.check_fittable()


# ---- padding --------------------------------------------------------------------------------------


def circle(size: int = 24) -> np.ndarray:
    """True outside the reconstructed circle."""
    y, x = np.indices((size, size)) - (size - 1) / 2
    return np.hypot(y, x) > size / 2


def padded_series(
    folder: Path, fills: Sequence[int], dtype: Any = np.int16, only: np.ndarray | None = None, **tags: Any
) -> Volume:
    """One slice a stored fill value outside the circle (or in `only`), noise from 0 elsewhere."""
    for z, fill in enumerate(fills):
        pixels = pixels_of(z, 24, 24).astype(dtype)
        pixels[circle() if only is None else only] = np.array(fill).astype(dtype)
        save(ct_dataset(z, pixels, **tags), folder / f"{z}.dcm")
    return read_dicom(folder)


@pytest.mark.parametrize("fill", [-2000, -1024, -500], ids=["HU -3024", "HU -2048", "HU -1524"])
def test_fill_outside_the_circle_is_padding_without_a_tag(tmp_path: Path, fill: int) -> None:
    volume = padded_series(tmp_path, [fill] * 3)
    assert volume.padding == fill - 1024
    np.testing.assert_array_equal(volume.voxels == volume.padding, [circle()] * 3)
    assert volume.intensity_range[0] >= -1024


def test_circle_off_centre_leaves_its_fill_in_few_corners(tmp_path: Path) -> None:
    one_corner = np.zeros((24, 24), bool)
    one_corner[18:, 19:] = True
    volume = padded_series(tmp_path, [-2000, -2000], only=one_corner)
    assert volume.padding == -3024
    np.testing.assert_array_equal(volume.voxels == -3024, [one_corner] * 2)


def test_corners_of_many_values_far_below_air_are_measured(tmp_path: Path) -> None:
    pixels = (pixels_of(0) > 1500).astype(np.int16)  # mostly one value, but not all of a block
    write_series(tmp_path, (0, 1), pixels=pixels, RescaleIntercept=-2000)
    assert read_dicom(tmp_path).padding is None


def test_raw_units_have_no_value_that_is_too_low(tmp_path: Path) -> None:
    assert padded_series(tmp_path, [-2000] * 2, RescaleType="US").padding is None


def test_air_clipped_at_minus_1024_is_measured(tmp_path: Path) -> None:
    assert padded_series(tmp_path, [0, 0]).padding is None


def in_the_middle() -> np.ndarray:
    hole = np.zeros((24, 24), bool)
    hole[10:13, 5:9] = True
    return hole


def test_declared_padding_far_below_air_is_padding_anywhere(tmp_path: Path) -> None:
    hole = in_the_middle()
    volume = padded_series(tmp_path, [-300, -300], only=hole, PixelPaddingValue=-300)
    assert (volume.padding, volume.notes) == (-1324, ())
    np.testing.assert_array_equal(volume.voxels == volume.padding, [hole] * 2)


def test_declared_padding_that_reaches_in_from_the_edge_is_padding(tmp_path: Path) -> None:
    volume = padded_series(tmp_path, [-7, -7], PixelPaddingValue=-7)
    assert (volume.padding, volume.notes) == (-1031, ())
    np.testing.assert_array_equal(volume.voxels == volume.padding, [circle()] * 2)


def test_declared_padding_as_air_inside_the_body_is_measured_and_said(tmp_path: Path) -> None:
    holes = circle() | in_the_middle()
    volume = padded_series(tmp_path, [-7, -7], only=holes, PixelPaddingValue=-7)
    assert volume.padding is None
    assert volume.intensity_range[0] == -1031
    assert "PixelPaddingValue (-1031) also occurs inside the body" in volume.summary


@pytest.mark.parametrize("only", [circle(), in_the_middle()], ids=["edge", "inside"])
def test_declared_padding_that_is_tissue_is_measured_and_said(tmp_path: Path, only: np.ndarray) -> None:
    volume = padded_series(tmp_path, [1024, 1024], only=only, PixelPaddingValue=1024)
    assert volume.padding is None
    np.testing.assert_array_equal(volume.voxels[0][only], 0)
    assert "PixelPaddingValue stands for 0 HU" in volume.summary


def test_declared_padding_that_does_not_occur_gives_none(tmp_path: Path) -> None:
    write_series(tmp_path, (0, 1), PixelPaddingValue=-2000)
    assert read_dicom(tmp_path).padding is None


def test_all_kinds_of_padding_become_one_value(tmp_path: Path) -> None:
    volume = padded_series(tmp_path, [-2000, -500, -1024], PixelPaddingValue=-500)
    assert volume.padding == -3024
    np.testing.assert_array_equal(volume.voxels == -3024, [circle()] * 3)


def test_padding_range_takes_in_both_ends(tmp_path: Path) -> None:
    volume = padded_series(tmp_path, [-40, -50, -60, -61], PixelPaddingValue=-60, PixelPaddingRangeLimit=-40)
    assert volume.padding == -1064
    assert [int((plane == -1064).sum()) for plane in volume.voxels] == [circle().sum()] * 3 + [0]


def test_unsigned_padding_tag_beside_signed_pixels_means_the_same_bits(tmp_path: Path) -> None:
    for z in (0, 1):
        pixels = pixels_of(z, 24, 24)
        pixels[10:13, 5:9] = -2000
        dataset = ct_dataset(z, pixels)
        dataset.add_new("PixelPaddingValue", "US", 63536)
        save(dataset, tmp_path / f"{z}")
    volume = read_dicom(tmp_path)
    assert volume.padding == -3024
    assert volume.intensity_range[0] >= -1024


def test_padding_below_int16_is_held_at_its_end(tmp_path: Path) -> None:
    volume = padded_series(tmp_path, [-32768, -32768], PixelPaddingValue=-32768)
    assert (volume.voxels.dtype, volume.padding) == (np.int16, -32768)
    np.testing.assert_array_equal(volume.voxels == -32768, [circle()] * 2)


def test_padding_of_a_float_volume_is_found_again(tmp_path: Path) -> None:
    volume = padded_series(tmp_path, [-2000, -2000], RescaleSlope=1.0001)
    assert volume.voxels.dtype == np.float32
    assert volume.padding == float(volume.voxels.min())  # in float32, not in float64
    np.testing.assert_array_equal(volume.voxels == volume.padding, [circle()] * 2)


def test_lossy_compression_that_smears_the_fill_leaves_no_value_far_below_air(tmp_path: Path) -> None:
    for z in (0, 1):
        pixels = pixels_of(z, 24, 24)
        pixels[circle()] = -2000 + np.arange(circle().sum()) % 9
        save(ct_dataset(z, pixels, LossyImageCompression="01"), tmp_path / f"{z}")
    volume = read_dicom(tmp_path)
    np.testing.assert_array_equal(volume.voxels == volume.padding, [circle()] * 2)


def test_streaks_far_below_air_are_measured_values(tmp_path: Path) -> None:
    streak = np.zeros((24, 24), bool)
    streak[12, 4:20] = True
    volume = padded_series(tmp_path, [-900, -900], only=streak)
    assert volume.padding is None
    assert volume.intensity_range[0] == -1924


# ---- multi-frame ----------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless], ids=["raw", "RLE"])
def test_enhanced_multiframe_is_sorted_and_rescaled_frame_by_frame(tmp_path: Path, syntax: Any) -> None:
    dataset = enhanced((4, 0, 2), slopes=(1, 2, 3))
    if syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
    volume = read_dicom(save(dataset, tmp_path / "frames.dcm"))
    assert volume.geometry.spacing == (2.0, 0.5, 0.25)
    assert volume.geometry.origin == (-10, -20, 0)
    for plane, frame, slope in zip(volume.voxels, (1, 2, 0), (2, 3, 1), strict=True):
        np.testing.assert_array_equal(plane, pixels_of(frame) * slope - 1024)
    assert volume.source_bytes == 3 * 6 * 8 * 2


def test_frames_at_one_position_are_refused_by_number(tmp_path: Path) -> None:
    path = save(enhanced((0, 2, 2), slopes=(1, 1, 1)), tmp_path / "frames.dcm")
    with pytest.raises(SourceError, match=r"\(frame 2\) and 'frames.dcm' \(frame 3\) lie at the same"):
        read_dicom(path)


def test_frames_that_are_not_all_described_are_refused(tmp_path: Path) -> None:
    dataset = enhanced((0, 1, 2), slopes=(1, 1, 1))
    del dataset.PerFrameFunctionalGroupsSequence[2]
    path = save(dataset, tmp_path / "frames.dcm")
    with pytest.raises(SourceError, match="NumberOfFrames is 3, but 2 frames are described"):
        read_dicom(path)


# ---- choosing a series ----------------------------------------------------------------------------


def test_two_series_need_a_choice_by_number_or_uid(tmp_path: Path) -> None:
    write_series(tmp_path / "a", range(3), SeriesInstanceUID="1.2.77", SeriesNumber=9)
    write_series(tmp_path / "b", range(4), SeriesInstanceUID="1.2.88", SeriesNumber=2, ConvolutionKernel="B")
    listing = list_series(tmp_path)
    assert [(line.number, line.slices, line.kernel) for line in listing.series] == [(2, 4, "B"), (9, 3, "")]
    with pytest.raises(SourceError, match=r"2 CT series: \[1\] B 4 of 6x8.*\[2\] 3 of 6x8.* with --series"):
        read_dicom(tmp_path)
    for choice, slices in (("1", 4), ("2", 3), ("1.2.77", 3), ("88", 4)):
        assert read_dicom(tmp_path, choice).shape[0] == slices
    for choice in ("1.2", "3", "", "0"):
        with pytest.raises(SourceError, match="Choose one with --series"):
            read_dicom(tmp_path, choice)
    assert read_dicom(listing.series[1].paths).shape[0] == 3


def test_stack_is_preferred_to_single_images_and_localizers(tmp_path: Path) -> None:
    write_series(tmp_path / "scan", range(3))
    write_series(tmp_path / "key", [0], SeriesInstanceUID="1.2.6")
    scout = {"SeriesInstanceUID": "1.2.7", "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    write_series(tmp_path / "scout", range(2), **scout)
    assert read_dicom(tmp_path).shape[0] == 3
    assert list_series(tmp_path).skipped_by_reason == {"localizer": 2}


# ---- files ----------------------------------------------------------------------------------------


def test_junk_and_other_objects_are_skipped_and_counted(tmp_path: Path) -> None:
    write_series(tmp_path / "deep" / "er", range(3))
    (tmp_path / "notes.txt").write_text("DICM, but not DICOM" * 20)
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "short").write_bytes(b"\x08\x00")
    write_series(tmp_path / "mr", range(2), SOPClassUID=MRImageStorage)
    write_series(tmp_path / "sc", [0], SOPClassUID=SecondaryCaptureImageStorage)
    colour = ct_dataset(0.0, np.zeros((8, 24), np.uint8), Columns=8, SamplesPerPixel=3)
    colour.PhotometricInterpretation, colour.PlanarConfiguration = "RGB", 0
    save(colour, tmp_path / "colour.dcm")
    listing = list_series(tmp_path)
    assert listing.skipped_by_reason == {
        "not DICOM": 2,
        "MR Image Storage": 2,
        "Secondary Capture Image Storage": 1,
        "colour image": 1,
    }
    assert listing.skipped == 6
    assert [(one.path.name, one.reason) for one in listing.broken] == [("empty.dcm", "it is empty")]
    volume = read_dicom(tmp_path)  # the broken file lies in another folder than the series
    assert volume.shape[0] == 3
    assert "3 files of 10 (" in volume.summary
    assert "1 broken left out)" in volume.summary


def test_probe_tells_dicom_from_other_files(tmp_path: Path) -> None:
    with_preamble = save(ct_dataset(), tmp_path / "a.dcm")
    (tmp_path / "b.dcm").write_bytes(b"P5 8 6 255 " + bytes(300))
    assert looks_like_dicom(with_preamble)
    assert not looks_like_dicom(tmp_path / "b.dcm")
    assert not looks_like_dicom(tmp_path)
    assert not looks_like_dicom(tmp_path / "none")


@pytest.mark.parametrize("implicit", [True, False], ids=["implicit VR", "explicit VR"])
def test_files_without_preamble_and_meta_information_are_read(tmp_path: Path, implicit: bool) -> None:
    for z in (0, 1):
        dataset = ct_dataset(z)
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        meta = dataset.file_meta
        del dataset.file_meta
        path = tmp_path / f"{z}"
        dataset.save_as(path, implicit_vr=meta.TransferSyntaxUID.is_implicit_VR, little_endian=True)
        assert path.read_bytes()[128:132] != b"DICM"
        assert looks_like_dicom(path)
    np.testing.assert_array_equal(read_dicom(tmp_path).voxels[1], ct_dataset(1).pixel_array - 1024)


def test_empty_folder_and_missing_path_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no CT image in .*: it is empty"):
        read_dicom(tmp_path)
    with pytest.raises(SourceError, match="there is no file or folder"):
        read_dicom(tmp_path / "none")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(SourceError, match=r"no CT image in .*: 1 skipped \(1 not DICOM\)"):
        read_dicom(tmp_path)


def test_truncated_compressed_file_is_refused_by_name(tmp_path: Path) -> None:
    path = save(jpeg_lossless(pixels_of(0, 24, 24)), tmp_path / "jpeg.dcm")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SourceError, match=r"'jpeg.dcm' cannot be decoded"):
        read_dicom(path)


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.2], ids=["pixels", "header", "start"])
def test_truncated_file_is_refused_by_name(tmp_path: Path, kept: float) -> None:
    paths = write_series(tmp_path, range(4), pixels=pixels_of(0, 24, 24))
    whole = paths[3].read_bytes()
    header = len(whole) - 2 * 24 * 24
    paths[3].write_bytes(whole[: len(whole) - 100 if kept == 0.9 else int(kept * header)])
    with pytest.raises(SourceError, match=r"003\.dcm"):
        read_dicom(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission_is_refused_by_name(tmp_path: Path) -> None:
    paths = write_series(tmp_path, range(3))
    paths[1].chmod(0)
    with pytest.raises(SourceError, match=r"001.dcm' cannot be read: Permission denied"):
        read_dicom(tmp_path)
    paths[1].unlink()
    (tmp_path / "locked").mkdir(mode=0)
    with pytest.raises(SourceError, match=r"locked' cannot be read: Permission denied"):
        read_dicom(tmp_path)


def test_progress_rises_to_its_total_and_may_stop_the_reading(tmp_path: Path) -> None:
    write_series(tmp_path, range(5))
    seen: list[tuple[int, int]] = []
    read_dicom(tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(1, 11))
    assert {total for _, total in seen} == {10}

    def stop(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_dicom(tmp_path, on_progress=stop)


def test_nothing_of_the_patient_reaches_the_volume(tmp_path: Path) -> None:
    write_series(tmp_path, range(3), PatientName="Doe^Jane", PatientID="4711", SeriesDescription="secret")
    volume = read_dicom(tmp_path)
    shown = repr(volume.geometry) + repr({k: v for k, v in vars(volume).items() if k != "voxels"})
    assert not [word for word in ("Doe", "4711", "secret", "1.2.3.4", str(tmp_path)) if word in shown]


# ---- compressed pixels ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("syntax", "needs"),
    [(RLELossless, "pydicom"), (JPEGLSLossless, "jpeg_ls"), (JPEG2000Lossless, "openjpeg")],
    ids=["RLE", "JPEG-LS", "JPEG 2000"],
)
def test_lossless_compression_gives_the_same_volume(tmp_path: Path, syntax: Any, needs: str) -> None:
    pytest.importorskip(needs)
    pixels = pixels_of(0, 64, 64) - 900
    for z in (0, 1):
        dataset = ct_dataset(z, pixels + z)
        dataset.compress(syntax, generate_instance_uid=False)
        save(dataset, tmp_path / f"{z}")
    np.testing.assert_array_equal(read_dicom(tmp_path).voxels, [pixels - 1024, pixels - 1023])


def test_jpeg_lossless_keeps_signed_pixels(tmp_path: Path) -> None:
    pixels = pixels_of(0, 24, 24) - 900
    volume = read_dicom(save(jpeg_lossless(pixels), tmp_path / "jpeg.dcm"))
    np.testing.assert_array_equal(volume.voxels, [pixels - 1024])


def test_damaged_jpeg_lossless_is_refused_and_not_fatal(tmp_path: Path) -> None:
    path = save(jpeg_lossless(pixels_of(0, 24, 24)), tmp_path / "jpeg.dcm")
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"\xff\xc3\x00\x0b") + 4] = 156  # bits a sample
    path.write_bytes(damaged)
    with pytest.raises(SourceError, match=r"'jpeg.dcm' cannot be decoded as JPEG Lossless.* precision 156"):
        read_dicom(path)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_ls_is_decoded_whatever_its_bits(tmp_path: Path, bits: int) -> None:
    dtype = np.uint8 if bits == 8 else np.uint16
    pixels = (pixels_of(0, 24, 24).astype(np.int64) * 40 % 2**bits).astype(dtype)
    frame = imagecodecs.jpegls_encode(pixels)
    dataset = ct_dataset(0, pixels, PixelData=encapsulate([frame]), BitsStored=bits, HighBit=bits - 1)
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    volume = read_dicom(save(dataset, tmp_path / "jls.dcm"))
    np.testing.assert_array_equal(volume.voxels[0], pixels.astype(np.int64) - 1024)


def test_jpeg_ls_that_breaks_off_is_refused_and_not_read_for_ever(tmp_path: Path) -> None:
    pixels = pixels_of(1, 24, 32).view(np.uint16)
    frame = imagecodecs.jpegls_encode(pixels)
    start = frame.index(b"\xff\xda") + 10
    for length in range(start, len(frame) - 4, 7):
        damaged = frame[:length] + b"\x01\x00"
        dataset = ct_dataset(0, pixels, PixelData=encapsulate([damaged]))
        dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
        with pytest.raises(SourceError, match=r"'jls.dcm' cannot be decoded as JPEG-LS Lossless"):
            read_dicom(save(dataset, tmp_path / "jls.dcm"))


def test_damaged_rle_is_refused_and_not_fatal(tmp_path: Path) -> None:
    dataset = ct_dataset(0, pixels_of(0, 24, 24))
    dataset.compress(RLELossless, generate_instance_uid=False)
    path = save(dataset, tmp_path / "rle.dcm")
    start = path.read_bytes().index(b"\x02\x00\x00\x00\x40\x00\x00\x00")  # 2 segments, the first at 64
    damaged = bytearray(path.read_bytes())
    damaged[start + 64 : start + 84] = b"\x80" * 20  # the code for nothing at all
    path.write_bytes(damaged)
    with pytest.raises(SourceError, match=r"'rle.dcm' cannot be decoded as RLE Lossless"):
        read_dicom(path)


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGExtended12Bit], ids=["baseline", "extended"])
def test_signed_pixels_in_lossy_jpeg_are_refused(tmp_path: Path, syntax: Any) -> None:
    dataset = ct_dataset(PixelData=encapsulate([b"\xff\xd8\xff\xd9"]))
    dataset.file_meta.TransferSyntaxUID = syntax
    path = save(dataset, tmp_path / "jpeg.dcm")
    with pytest.raises(SourceError, match=r"'jpeg.dcm' holds signed pixels in lossy JPEG"):
        read_dicom(path)


@pytest.mark.parametrize("number", [53, 55])
def test_syntax_without_any_decoder_is_refused_by_its_name(tmp_path: Path, number: int) -> None:
    dataset = ct_dataset(PixelData=encapsulate([b"\xff\xd8\xff\xd9"]))
    dataset.file_meta.TransferSyntaxUID = f"1.2.840.10008.1.2.4.{number}"
    path = save(dataset, tmp_path / "jpeg.dcm")
    with pytest.raises(SourceError, match=r"'jpeg.dcm' is compressed as JPEG .* no decoder here"):
        read_dicom(path)


@pytest.mark.slow
def test_missing_decoder_names_the_extra(tmp_path: Path) -> None:
    pytest.importorskip("openjpeg")
    dataset = ct_dataset(0, pixels_of(0, 64, 64))
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    path = save(dataset, tmp_path / "j2k.dcm")
    script = f"""
import sys
for name in ("gdcm", "jpeg_ls", "pylibjpeg", "openjpeg", "rle", "libjpeg"):
    sys.modules[name] = None  # as if not installed
from napari_inr_volume.core.errors import SourceError
from napari_inr_volume.io.dicom import read_dicom
try:
    read_dicom({str(path)!r})
except SourceError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install 'napari-inr-volume[dicom]'" in result.stdout
    assert "JPEG 2000" in result.stdout


# ---- real series ----------------------------------------------------------------------------------


def assert_lies_as_its_headers_say(volume: Volume, folder: Path, uid: str | None = None) -> None:
    """Hold every slice against its file: order, values and where its corners lie, tilted or not."""
    datasets = [pydicom.dcmread(path) for path in sorted(folder.rglob("*")) if looks_like_dicom(path)]
    datasets = [d for d in datasets if "ImagePositionPatient" in d and uid in (None, d.SeriesInstanceUID)]
    datasets.sort(key=lambda d: d.ImagePositionPatient[2])
    assert len(datasets) == volume.shape[0]
    geometry = volume.geometry
    for z, dataset in enumerate(datasets):
        hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        measured = volume.measured(z)
        measured = np.ones(hu.shape, bool) if measured is None else measured
        np.testing.assert_array_equal(volume.voxels[z][measured], hu[measured])
        cosines = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
        between_rows, between_columns = map(float, dataset.PixelSpacing)
        place = geometry.slice_positions[z] / geometry.spacing[0] if geometry.slice_positions else z
        for y, x in ((0, 0), (dataset.Rows - 1, 0), (0, dataset.Columns - 1)):
            expected = np.array(dataset.ImagePositionPatient, float)
            expected += y * between_rows * cosines[1] + x * between_columns * cosines[0]
            found = geometry.affine @ (place, y, x, 1)
            np.testing.assert_allclose(found[:3], expected, atol=1e-4)


def test_lungfcp0001_reads_as_98_regular_slices(shared_data: Path) -> None:
    folder = shared_data / "dicom" / "lungfcp0001"
    volume = read_dicom(folder)
    assert (volume.shape, volume.voxels.dtype) == ((98, 512, 512), np.int16)
    assert volume.geometry.spacing == (1.0, 0.759765625, 0.759765625)
    assert volume.geometry.slice_positions is None
    assert (volume.padding, volume.intensity_range) == (None, (-1024.0, 3071.0))  # clipped at air
    assert volume.source_bytes == 98 * 512 * 512 * 2
    assert_lies_as_its_headers_say(volume, folder)


def test_ge_head_keeps_its_tilt_and_its_uneven_distances(shared_data: Path) -> None:
    folder = shared_data / "dicom" / "ge_head_tilt"
    volume = read_dicom(folder)
    assert volume.geometry.slice_positions is not None
    across = np.diff(volume.geometry.slice_positions) * 0.9483237  # along the normal of the slices
    assert [round(float(step), 1) for step in across] == [4.0] * 13 + [1.1] + [7.0] * 13
    z, y, _ = np.array(volume.geometry.direction).T
    assert np.degrees(np.arcsin(abs(z @ y))) == pytest.approx(18.5, abs=0.01)
    assert volume.padding == -1500
    assert volume.intensity_range[0] == -1023
    assert_lies_as_its_headers_say(volume, folder)


def test_three_patients_need_a_choice(shared_data: Path) -> None:
    folder = shared_data / "dicom" / "three_patients"
    with pytest.raises(SourceError, match="holds 3 CT series"):
        read_dicom(folder)
    listing = list_series(folder)
    found = {}
    for number, line in enumerate(listing.series, start=1):
        volume = read_dicom(folder, str(number))
        assert volume.voxels.shape[0] == line.slices
        found[line.slices] = (volume.geometry.spacing[0], volume.padding)
        assert_lies_as_its_headers_say(volume, folder, line.uid)
    # Two of them declare -2000 (one as the unsigned 63536), and hold -1024: HU -2048.
    assert found == {12: (1.25, -3024.0), 16: (2.5, -2048.0), 11: (2.5, -2048.0)}


def test_mixed_study_lists_three_stacks_and_skips_the_rest(shared_data: Path) -> None:
    folder = shared_data / "dicom" / "mixed_study"
    listing = list_series(folder)
    assert [(line.number, line.slices, line.description) for line in listing.series] == [
        (201, 6, "STD BRAIN 5MM"),
        (201, 6, "STEREOTAXIS"),
        (202, 6, "STD BRAIN 1MM, iDose"),
    ]
    assert listing.skipped_by_reason == {
        "DICOMDIR": 6,
        "localizer": 2,
        "Secondary Capture Image Storage": 11,
    }
    for line, distance in zip(listing.series, (5.0, 2.5, 1.0), strict=True):
        volume = read_dicom(folder, line.uid)
        assert volume.geometry.spacing[0] == distance
        assert_lies_as_its_headers_say(volume, folder, line.uid)
    assert read_dicom(folder / "S21610").shape[0] == 6  # its only stack needs no choice
    with pytest.raises(SourceError, match="no CT image"):
        read_dicom(folder / "S21570" / "S1000")


LOSSLESS = ["JPLL", "JLSL", "J2KR", "RLE"]


@pytest.mark.parametrize("image", ["CT1", "CT2"])
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_nema_lossless_images_equal_the_raw_one(shared_data: Path, image: str, syntax: str) -> None:
    pytest.importorskip("openjpeg")
    folder = shared_data / "dicom" / "edge" / "nema_wg04"
    volume, raw = read_dicom(folder / f"{image}_{syntax}"), read_dicom(folder / f"{image}_UNC")
    np.testing.assert_array_equal(volume.voxels, raw.voxels)
    assert volume.padding == raw.padding == {"CT1": -3024.0, "CT2": -2048.0}[image]


@pytest.mark.parametrize("image", ["CT1", "CT2"])
@pytest.mark.parametrize(("syntax", "largest", "mean"), [("JLSN", 4, 4), ("J2KI", 500, 30)])
def test_nema_lossy_images_are_near_the_raw_one(
    shared_data: Path, image: str, syntax: str, largest: int, mean: int
) -> None:
    pytest.importorskip("openjpeg")
    folder = shared_data / "dicom" / "edge" / "nema_wg04"
    volume, raw = read_dicom(folder / f"{image}_{syntax}"), read_dicom(folder / f"{image}_UNC")
    both = (volume.voxels != volume.padding) & (raw.voxels != raw.padding)
    assert np.mean((raw.voxels == raw.padding) == (volume.voxels == volume.padding)) > 0.99
    error = np.abs(volume.voxels[both].astype(int) - raw.voxels[both])
    assert error.max() <= largest
    assert error.mean() <= mean


def test_nema_folder_mixes_encodings_of_one_image(shared_data: Path) -> None:
    folder = shared_data / "dicom" / "edge" / "nema_wg04"
    assert [(line.slices, line.duplicates) for line in list_series(folder).series] == [
        (1, 0),
        (1, 5),
        (1, 0),
        (1, 5),
    ]
    with pytest.raises(SourceError, match="holds 4 CT series"):
        read_dicom(folder)
    with pytest.raises(SourceError, match=r"'CT1_J2KI' .* and 'CT1_J2KR' .* lie at the same position"):
        read_dicom(folder, "2")


@pytest.mark.parametrize(
    ("name", "units_range", "padding", "needs"),
    [
        ("CT_small.dcm", (-896, 1167), None, None),
        ("D_CLUNIE_CT1_RLE_FRAGS.dcm", (-1024, 1254), -3024, None),
        ("bad_sequence.dcm", (-1011, 1243), None, None),
        ("explicit_VR-UN.dcm", (-1024, 1186), None, "openjpeg"),
        ("693_UNCR.dcm", (-1024, 1468), -3024, None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_odd_but_sound_files_are_read(
    shared_data: Path, name: str, units_range: tuple[int, int], padding: float | None, needs: str | None
) -> None:
    if needs:
        pytest.importorskip(needs)
    volume = read_dicom(shared_data / "dicom" / "edge" / "misc" / name)
    assert (volume.intensity_range, volume.padding) == (units_range, padding)


@pytest.mark.parametrize("kind", ["R", "I"], ids=["reversible", "irreversible"])
def test_jpeg_2000_that_says_unsigned_of_signed_pixels_decodes_right(shared_data: Path, kind: str) -> None:
    pytest.importorskip("openjpeg")
    folder = shared_data / "dicom" / "edge" / "misc"
    compressed, raw = (read_dicom(folder / f"693_{name}{kind}.dcm") for name in ("J2K", "UNC"))
    difference = np.abs(compressed.voxels.astype(int) - raw.voxels)
    assert difference.max() <= (0 if kind == "R" else 1)  # a decoder may round


def test_enhanced_perfusion_map_is_raw_and_lies_as_its_frames_say(shared_data: Path) -> None:
    folder = shared_data / "dicom" / "edge" / "enhanced_multiframe"
    volume = read_dicom(folder / "eCT_Supplemental.dcm")
    assert (volume.shape, volume.units) == ((2, 512, 512), "raw")  # RescaleType US: a blood flow
    assert volume.geometry.spacing == (10.0, 0.388672, 0.388672)
    assert volume.geometry.origin == (99.5, -301.5, -149.0)
    frames = pydicom.dcmread(folder / "eCT_Supplemental.dcm").pixel_array.astype(int) - 1024
    np.testing.assert_array_equal(volume.voxels, frames[::-1])  # its rows run to the right: z downwards


def test_extended_jpeg_that_no_free_decoder_reads_is_refused(shared_data: Path) -> None:
    path = shared_data / "dicom" / "edge" / "enhanced_multiframe"
    with pytest.raises(SourceError, match=r"CT0012.* cannot be decoded as JPEG Extended .* 12-bit"):
        read_dicom(path / "CT0012.fragmented_no_bot_jpeg_baseline.51.dcm")


def test_dicom2nifti_failures_are_read_or_refused_by_name(shared_data: Path) -> None:
    folder = shared_data / "dicom" / "edge" / "dicom2nifti_failing"
    tilted = read_dicom(folder / "gantrytilting" / "001")
    assert_lies_as_its_headers_say(tilted, folder / "gantrytilting" / "001")
    assert tilted.geometry.spacing[0] == 5.0
    with pytest.raises(SourceError, match=r"missing between 'IM-0001-0009-0001.dcm' .*10 mm apart"):
        read_dicom(folder / "sliceincrement" / "001")
    with pytest.raises(SourceError, match=r"missing between 'IM-0001-0003.dcm' .* and 'IM-0001-0005.dcm'"):
        read_dicom(folder / "sliceincrement" / "002")


def test_rows_and_columns_run_as_in_the_dicom2nifti_ground_truth(shared_data: Path) -> None:
    # Only its plane compares: it was straightened, the lost slice filled in, and its files' pixels replaced.
    nibabel = pytest.importorskip("nibabel")
    folder = shared_data / "dicom" / "edge" / "dicom2nifti_failing" / "sliceincrement"
    truth = np.diag([-1, -1, 1, 1]) @ nibabel.load(folder / "002_ground_truth.nii.gz").affine  # RAS to LPS
    affine = read_dicom([folder / "002" / f"IM-0001-000{i}.dcm" for i in (1, 2, 3)]).geometry.affine
    np.testing.assert_allclose(affine[:3, 2], truth[:3, 0], atol=1e-6)  # x
    np.testing.assert_allclose(affine[:3, 1], -truth[:3, 1], atol=1e-6)  # y, which it turned round


def test_qiicr_series_of_three_slices_is_sorted_upwards(shared_data: Path) -> None:
    folder = shared_data / "dicom" / "edge" / "series_3slice_qiicr"
    volume = read_dicom(folder)
    assert volume.geometry.spacing[0] == 1.0
    assert volume.geometry.origin[2] == -128.690002
    assert volume.padding == -3024
    assert_lies_as_its_headers_say(volume, folder)


@pytest.mark.parametrize("name", ["lungfcp0001", "edge/series_3slice_qiicr"])
def test_regular_series_equals_what_highdicom_reads(shared_data: Path, name: str) -> None:
    highdicom = pytest.importorskip("highdicom")
    paths = sorted((shared_data / "dicom" / name).iterdir())[:12]
    volume = read_dicom(paths)
    other = highdicom.get_volume_from_series([pydicom.dcmread(path) for path in paths], dtype=np.float32)
    other = other.flip_spatial(0)  # it counts slices against the normal
    measured = volume.voxels != volume.padding
    np.testing.assert_array_equal(volume.voxels[measured], other.array[measured])
    np.testing.assert_allclose(volume.geometry.affine, other.affine, atol=1e-6)


def test_enhanced_multiframe_equals_what_highdicom_reads(shared_data: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    path = shared_data / "dicom" / "edge" / "enhanced_multiframe" / "eCT_Supplemental.dcm"
    volume, other = read_dicom(path), highdicom.imread(path).get_volume().flip_spatial(0)
    np.testing.assert_array_equal(volume.voxels, other.array)
    np.testing.assert_allclose(volume.geometry.affine, other.affine, atol=1e-6)
