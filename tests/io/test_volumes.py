"""What is not DICOM: read with its geometry and its meaning, written whole, refused in one line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from napari_inr_volume.core.errors import InrError, SourceError, VolumeError
from napari_inr_volume.core.volume import Geometry, Volume
from napari_inr_volume.io.nrrd import write_nrrd
from napari_inr_volume.io.volumes import READERS, WRITERS, check_output, read_volume, write_volume

DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]


def ramp(shape: tuple[int, ...] = (3, 4, 5), low: int = 0, dtype: str = "int16") -> NDArray[Any]:
    return (np.arange(np.prod(shape)).reshape(shape) + low).astype(dtype)


def unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)


@st.composite
def directions(draw: st.DrawFn) -> NDArray[np.float64]:
    """Any orientation: a rotation, its axes swapped and flipped, the first leaning over (gantry tilt)."""
    numbers = draw(hnp.arrays(float, (3, 3), elements=st.floats(-1, 1)))
    rotation, _ = np.linalg.qr(numbers + 3 * np.eye(3))
    columns = rotation[:, draw(st.permutations([0, 1, 2]))] * draw(
        st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3)
    )
    lean = draw(st.floats(-0.6, 0.6))
    columns[:, 0] = unit(columns[:, 0] + lean * columns[:, 1])
    return columns


@st.composite
def volumes(draw: st.DrawFn, dtypes: list[str]) -> Volume:
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3).filter(lambda shape: max(shape) > 1))
    spacing = draw(st.tuples(*[st.floats(0.1, 10)] * 3))
    return Volume.from_array(
        ramp(shape, dtype=draw(st.sampled_from(dtypes))),
        spacing,
        origin=draw(st.tuples(*[st.floats(-1000, 1000)] * 3)),
        direction=draw(directions()),
        units=draw(st.sampled_from(["HU", "raw"])),
        padding=draw(st.sampled_from([None, 3.0])),
    )


@pytest.fixture
def head(tmp_path: Path) -> Volume:
    """A small volume in HU in which every value is different, leaning and off the origin."""
    z_axis = unit(np.array([0.0, 0.3, 1.0]))
    direction = np.stack([z_axis, [0, 1, 0], [1, 0, 0]], axis=1)
    return Volume.from_array(
        ramp(low=-1020), (2.5, 0.75, 0.5), origin=(-10, 20, 30), direction=direction, padding=-1020
    )


# Round trips -----------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(volume=volumes(DTYPES), suffix=st.sampled_from([".nii", ".nii.gz"]))
def test_nifti_keeps_voxels_orientation_and_meaning(
    volume: Volume, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("nifti") / f"v{suffix}"
    write_volume(volume, path)
    back = read_volume(path)
    np.testing.assert_array_equal(back.voxels, volume.voxels)
    assert back.voxels.dtype == volume.voxels.dtype
    # NIfTI-1 keeps the affine in single precision
    np.testing.assert_allclose(back.geometry.affine, volume.geometry.affine, rtol=1e-6, atol=1e-4)
    assert (back.units, back.padding) == (volume.units, volume.padding)


@settings(max_examples=40, deadline=None)
@given(volume=volumes([*DTYPES, "float16"]))
def test_tiff_keeps_everything_exactly(volume: Volume, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("tiff") / "v.tif"
    write_volume(volume, path)
    back = read_volume(path)
    np.testing.assert_array_equal(back.voxels, volume.voxels)
    assert back.voxels.dtype == volume.voxels.dtype
    assert back.geometry == volume.geometry
    assert (back.units, back.padding) == (volume.units, volume.padding)


@settings(max_examples=40, deadline=None)
@given(volume=volumes(DTYPES))
def test_nrrd_keeps_everything(volume: Volume, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("nrrd") / "v.nrrd"
    write_volume(volume, path)
    back = read_volume(path)
    np.testing.assert_array_equal(back.voxels, volume.voxels)
    assert back.voxels.dtype == volume.voxels.dtype
    np.testing.assert_allclose(back.geometry.affine, volume.geometry.affine, rtol=1e-12, atol=1e-12)
    assert (back.units, back.padding, back.notes) == (volume.units, volume.padding, ())


@pytest.mark.parametrize("suffix", [".nii", ".nrrd"])
def test_half_floats_are_widened_where_the_format_has_none(tmp_path: Path, suffix: str) -> None:
    write_volume(Volume.from_array(ramp(dtype="float16")), tmp_path / f"v{suffix}")
    np.testing.assert_array_equal(read_volume(tmp_path / f"v{suffix}").read(), ramp())


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_what_we_wrote_is_read_with_nothing_assumed(head: Volume, tmp_path: Path, suffix: str) -> None:
    write_volume(head, tmp_path / f"v{suffix}")
    volume = read_volume(tmp_path / f"v{suffix}")
    assert volume.notes == (("1 mm assumed, the file gives no spacing",) if suffix == ".npy" else ())
    assert len(volume.found) == 1


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_a_volume_of_one_value_is_written_and_read(tmp_path: Path, suffix: str) -> None:
    write_volume(Volume.from_array(np.zeros((30, 40, 50), np.int16)), tmp_path / f"v{suffix}")
    assert not read_volume(tmp_path / f"v{suffix}").read().any()


def test_npy_keeps_the_voxels(head: Volume, tmp_path: Path) -> None:
    write_volume(head, tmp_path / "v.npy")
    back = read_volume(tmp_path / "v.npy")
    np.testing.assert_array_equal(back.voxels, head.voxels)
    assert back.geometry == Geometry(shape=head.shape)


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_the_same_volume_gives_the_same_bytes(head: Volume, tmp_path: Path, suffix: str) -> None:
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        write_volume(head, path)
    assert contents(paths[0]) == contents(paths[1])


def contents(path: Path) -> dict[str, bytes]:
    """Return the bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.mark.parametrize("suffix", [".NII", ".NII.GZ", ".NRRD", ".TIF", ".NPY"])
def test_capital_suffixes_mean_the_same(head: Volume, tmp_path: Path, suffix: str) -> None:
    write_volume(head, tmp_path / f"V{suffix}")
    np.testing.assert_array_equal(read_volume(tmp_path / f"V{suffix}").voxels, head.voxels)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("suffix", [".tiff", ".nrrd"])
def test_irregular_slices_are_kept(tmp_path: Path, suffix: str) -> None:
    geometry = Geometry(shape=(3, 4, 5), spacing=(2.0, 1, 1), slice_positions=(0.0, 1.5, 4.0))
    write_volume(Volume(voxels=ramp(), geometry=geometry), tmp_path / f"v{suffix}")
    assert read_volume(tmp_path / f"v{suffix}").geometry == geometry


def test_nifti_of_irregular_slices_says_that_their_distance_is_a_mean(tmp_path: Path) -> None:
    geometry = Geometry(shape=(3, 4, 5), spacing=(2.0, 1, 1), slice_positions=(0.0, 1.5, 4.0))
    write_volume(Volume(voxels=ramp(), geometry=geometry), tmp_path / "v.nii")
    assert read_volume(tmp_path / "v.nii").geometry == replace(geometry, slice_positions=None)
    assert b"irregular" in nibabel.load(tmp_path / "v.nii").header["descrip"].item()


# NIfTI -----------------------------------------------------------------------------------------------


def save_nifti(path: Path, data: NDArray[Any], affine: Any = None, **header: Any) -> Path:
    image = nibabel.Nifti1Image(data, np.eye(4) if affine is None else affine, dtype=data.dtype)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def test_nifti_axes_and_signs_become_ours(tmp_path: Path) -> None:
    """Index (x, y, z) to the right, front and top; ours (z, y, x) with x to the left, y to the back."""
    data = ramp((5, 4, 3))
    affine = np.array([[0.5, 0, 0, 10], [0, 0.75, 0, 20], [0, 0, 2.5, 30], [0, 0, 0, 1]])
    volume = read_volume(save_nifti(tmp_path / "v.nii", data, affine))
    assert volume.voxels[2, 3, 4] == data[4, 3, 2]
    assert volume.geometry.spacing == (2.5, 0.75, 0.5)
    assert volume.geometry.origin == (-10, -20, 30)
    np.testing.assert_array_equal(volume.geometry.affine @ [2, 3, 4, 1], [-12, -22.25, 35, 1])


def test_other_programs_find_our_voxels_where_they_lie(head: Volume, tmp_path: Path) -> None:
    write_volume(head, tmp_path / "v.nii")
    image = nibabel.load(tmp_path / "v.nii")
    lps = head.geometry.affine @ [2, 3, 4, 1]
    np.testing.assert_allclose(image.affine @ [4, 3, 2, 1], lps * [-1, -1, 1, 1], atol=1e-4)
    assert image.get_fdata()[4, 3, 2] == head.voxels[2, 3, 4]
    assert image.header.get_xyzt_units()[0] == "mm"


def test_a_quaternion_is_written_only_where_it_tells_the_truth(head: Volume, tmp_path: Path) -> None:
    write_volume(head, tmp_path / "leaning.nii")
    assert nibabel.load(tmp_path / "leaning.nii").header["qform_code"] == 0
    write_volume(Volume.from_array(ramp(), (3, 2, 1)), tmp_path / "upright.nii")
    upright = nibabel.load(tmp_path / "upright.nii")
    np.testing.assert_allclose(upright.get_qform(coded=True)[0], upright.affine)


@pytest.mark.parametrize(
    ("stored", "slope", "intercept", "dtype", "values"),
    [
        pytest.param("int16", 1, 0, "int16", [0, 59], id="unscaled"),
        pytest.param("uint16", 1, -1024, "int16", [-1024, -965], id="offset of HU"),
        pytest.param("int16", 1000, 5, "int32", [5, 59005], id="beyond 16 bits"),
        pytest.param("uint8", -1, 0, "int16", [0, -59], id="upside down"),
        pytest.param("int16", 0.5, 0, "float32", [0, 29.5], id="halves"),
        pytest.param("float32", 1, -1024, "float32", [-1024, -965], id="floats"),
    ],
)
def test_scaling_is_applied_and_integers_stay_so_where_they_can(
    tmp_path: Path, stored: str, slope: float, intercept: float, dtype: str, values: list[float]
) -> None:
    data = ramp((5, 4, 3), dtype=stored)
    image = nibabel.Nifti1Image(data, np.eye(4), dtype=data.dtype)
    image.header.set_slope_inter(slope, intercept)
    nibabel.save(image, tmp_path / "v.nii")
    # nibabel divides when it saves: put the stored numbers back
    raw = bytearray((tmp_path / "v.nii").read_bytes())
    raw[-data.nbytes :] = data.tobytes(order="F")
    (tmp_path / "v.nii").write_bytes(raw)
    volume = read_volume(tmp_path / "v.nii")
    assert volume.voxels.dtype == dtype
    assert [volume.voxels[0, 0, 0], volume.voxels[-1, -1, -1]] == values
    assert volume.source_bytes == data.nbytes


def test_big_endian_files_give_native_voxels(tmp_path: Path) -> None:
    volume = read_volume(save_nifti(tmp_path / "v.nii", ramp((5, 4, 3), dtype=">i2")))
    assert volume.voxels.dtype.isnative
    np.testing.assert_array_equal(volume.voxels, ramp((5, 4, 3)).T)


def test_a_fourth_axis_of_length_one_is_no_axis(tmp_path: Path) -> None:
    volume = read_volume(save_nifti(tmp_path / "v.nii", ramp((5, 4, 3, 1))))
    np.testing.assert_array_equal(volume.voxels, ramp((5, 4, 3)).T)


def test_a_header_in_metres_gives_millimetres(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "v.nii", ramp((5, 4, 3)), np.diag([0.001, 0.002, 0.003, 1]), xyzt_units=1)
    assert read_volume(path).geometry.spacing == pytest.approx((3, 2, 1))


def test_an_odd_header_is_repaired_without_a_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = save_nifti(tmp_path / "v.nii", ramp((5, 4, 3)))
    raw = bytearray(path.read_bytes())
    raw[76:80] = np.float32(0).tobytes()  # pixdim[0] must be 1 or -1; nibabel logs it
    path.write_bytes(raw)
    assert read_volume(path).shape == (3, 4, 5)
    assert capfd.readouterr() == ("", "")


# Units and padding of files that say nothing -------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "dtype", "units"),
    [
        pytest.param(-1000, "int16", "HU", id="air of a CT"),
        pytest.param(-1000, "float32", "HU", id="air of a CT in floats"),
        pytest.param(-200, "int16", "raw", id="nothing below -200"),
        pytest.param(0, "uint16", "raw", id="grey values"),
    ],
)
def test_values_that_only_ct_has_are_hu(tmp_path: Path, low: int, dtype: str, units: str) -> None:
    np.save(tmp_path / "v.npy", ramp(low=low, dtype=dtype))
    assert read_volume(tmp_path / "v.npy").units == units


def test_a_value_below_12_bits_in_all_corners_is_padding(tmp_path: Path) -> None:
    voxels = ramp((3, 6, 6), low=-900)
    y, x = np.indices((6, 6)) - 2.5
    voxels[:, np.hypot(y, x) > 3] = -3024
    np.save(tmp_path / "v.npy", voxels)
    volume = read_volume(tmp_path / "v.npy")
    assert (volume.units, volume.padding) == ("HU", -3024)
    assert volume.intensity_range[0] >= -900
    voxels[0, 0, 0] = -1000
    np.save(tmp_path / "v.npy", voxels)
    assert read_volume(tmp_path / "v.npy").padding is None


# TIFF ------------------------------------------------------------------------------------------------


def save_tiff(path: Path, data: NDArray[Any], description: Any = None, **options: Any) -> Path:
    text = json.dumps(description) if isinstance(description, dict) else description
    options = {"photometric": "minisblack", "metadata": None, **options}
    tifffile.imwrite(path, data, description=text, **options)
    return path


def test_offset_and_spacing_in_the_description_give_hu_in_place(tmp_path: Path) -> None:
    notes = {"axes": "ZYX", "spacing_mm": [2.5, 0.7, 0.6], "offset": -1024, "units": "HU"}
    path = save_tiff(tmp_path / "v.tif", ramp(dtype="uint16"), notes, compression="jpegxl")
    volume = read_volume(path)
    assert volume.voxels.dtype == np.int16
    np.testing.assert_array_equal(volume.voxels, ramp(low=-1024))
    assert (volume.units, volume.geometry.spacing) == ("HU", (2.5, 0.7, 0.6))
    assert volume.source_bytes == 120


@pytest.mark.parametrize("description", [None, "a head", '["a", "list"]', "{"], ids=str)
def test_a_stack_without_metadata_is_raw_with_voxels_of_1_mm(tmp_path: Path, description: str | None) -> None:
    volume = read_volume(save_tiff(tmp_path / "v.tif", ramp(dtype="uint8"), description))
    np.testing.assert_array_equal(volume.voxels, ramp(dtype="uint8"))
    assert (volume.units, volume.geometry) == ("raw", Geometry(shape=(3, 4, 5)))


@pytest.mark.parametrize(
    ("length", "millimetres"),
    [("mm", 1), ("cm", 10), ("micron", 1e-3), ("\\u00B5m", 1e-3), ("pixel", None)],
)
def test_imagej_voxel_sizes_are_understood(tmp_path: Path, length: str, millimetres: float | None) -> None:
    tifffile.imwrite(
        tmp_path / "v.tif",
        ramp(dtype="uint16"),
        imagej=True,
        resolution=(1 / 0.5, 1 / 0.25),
        metadata={"axes": "ZYX", "spacing": 2.0, "unit": length},
    )
    expected = (2, 0.25, 0.5) if millimetres else (1, 1, 1)
    spacing = np.array(read_volume(tmp_path / "v.tif").geometry.spacing)
    assert spacing / (millimetres or 1) == pytest.approx(expected)


def test_signed_imagej_stacks_get_their_sign_back(tmp_path: Path) -> None:
    stored = (ramp(low=-1000).astype(int) + 32768).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "v.tif",
        stored,
        imagej=True,
        metadata={"axes": "ZYX", "cf": 0, "c0": -32768.0, "c1": 1.0, "vunit": "Gray Value"},
    )
    volume = read_volume(tmp_path / "v.tif")
    np.testing.assert_array_equal(volume.voxels, ramp(low=-1000))
    assert volume.units == "HU"


def test_equal_colours_are_grey(tmp_path: Path) -> None:
    grey = ramp(dtype="uint8")
    tifffile.imwrite(tmp_path / "v.tif", np.stack([grey] * 3, axis=-1), photometric="rgb")
    np.testing.assert_array_equal(read_volume(tmp_path / "v.tif").voxels, grey)


def test_axes_of_length_one_before_the_rows_are_dropped(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "v.tif",
        ramp((1, 3, 1, 4, 5), dtype="uint16"),
        photometric="minisblack",
        metadata={"axes": "TZCYX"},
    )
    np.testing.assert_array_equal(read_volume(tmp_path / "v.tif").voxels, ramp(dtype="uint16"))


# Folders of slices -------------------------------------------------------------------------------------


def save_png(path: Path, pixels: NDArray[Any]) -> None:
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("suffix", [".png", ".PNG", ".tif"])
def test_slices_are_stacked_in_the_order_of_their_numbers(tmp_path: Path, dtype: str, suffix: str) -> None:
    voxels = ramp((12, 4, 5), dtype=dtype)
    for z, plane in enumerate(voxels):
        save = save_png if suffix.lower() == ".png" else save_tiff
        save(tmp_path / f"Slice-{z}{suffix}", plane)
    (tmp_path / "notes.txt").write_text("not a slice")
    (tmp_path / f".hidden{suffix}").write_text("not a slice either")
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels, voxels)
    assert volume.voxels.dtype == dtype
    assert (volume.units, volume.source_bytes) == ("raw", voxels.nbytes)


def test_a_stack_of_one_page_is_a_slice(tmp_path: Path) -> None:
    for z in range(3):
        save_tiff(tmp_path / f"{z}.tif", ramp()[z : z + 1], metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(read_volume(tmp_path).voxels, ramp())


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_grey_pictures_saved_in_colour_are_read_as_grey(tmp_path: Path, samples: int) -> None:
    for z, plane in enumerate(ramp(dtype="uint16")):
        pixels = np.stack([plane] * samples, axis=-1)
        if samples in (2, 4):
            pixels[..., -1] = 255  # alpha
        save_png(tmp_path / f"{z}.png", pixels)
    np.testing.assert_array_equal(read_volume(tmp_path).voxels, ramp(dtype="uint16"))


def test_progress_counts_the_slices_and_can_stop_the_reading(tmp_path: Path) -> None:
    for z, plane in enumerate(ramp(dtype="uint8")):
        save_png(tmp_path / f"{z}.png", plane)
    told: list[tuple[int, int]] = []
    read_volume(tmp_path, lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]

    class StopHere(Exception):  # noqa: N818
        """Not one of ours, as a stop button would raise it."""

    def stop(done: int, total: int) -> None:
        raise StopHere

    with pytest.raises(StopHere):
        read_volume(tmp_path, stop)


def folder_of(*planes: NDArray[Any], suffix: str = ".png") -> Callable[[Path], Path]:
    def make(tmp_path: Path) -> Path:
        for z, plane in enumerate(planes):
            (save_png if suffix == ".png" else save_tiff)(tmp_path / f"{z}{suffix}", plane)
        return tmp_path

    return make


def damaged_slice(tmp_path: Path) -> Path:
    save_png(tmp_path / "0.png", ramp((4, 5), dtype="uint8"))
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes()[:40])
    return tmp_path


GREY, COLOUR = ramp((4, 5), dtype="uint8"), ramp((4, 5, 3), dtype="uint8")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(folder_of(), "there is no slice", id="empty"),
        pytest.param(folder_of(GREY, GREY.T), r"'1\.png' is 5x4 uint8, '0\.png' is 4x5", id="sizes differ"),
        pytest.param(folder_of(GREY, GREY.astype("uint16")), "is 4x5 uint16", id="depths differ"),
        pytest.param(folder_of(GREY, COLOUR), r"'1\.png' is in colour", id="colour"),
        pytest.param(folder_of(ramp(), suffix=".tif"), "a stack of its own", id="stack among slices"),
        pytest.param(damaged_slice, r"'1\.png' is cut off", id="damaged slice"),
    ],
)
def test_folders_that_are_no_stack_are_refused(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        read_volume(make(tmp_path))


# NumPy -----------------------------------------------------------------------------------------------


def test_npz_may_name_the_voxels_and_give_the_spacing(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", voxels=ramp(), mask=ramp() > 3, spacing=[2.5, 1, 0.5])
    volume = read_volume(tmp_path / "a.npz")
    np.testing.assert_array_equal(volume.voxels, ramp())
    assert volume.geometry.spacing == (2.5, 1, 0.5)
    np.savez_compressed(tmp_path / "b.npz", ct=ramp(), spacing=[1, 2, 3])
    assert read_volume(tmp_path / "b.npz").geometry.spacing == (1, 2, 3)


# What is refused -------------------------------------------------------------------------------------


def saved(save: Callable[..., Any], name: str, *content: Any, **options: Any) -> Callable[[Path], Path]:
    def make(tmp_path: Path) -> Path:
        save(tmp_path / name, *content, **options)
        return tmp_path / name

    return make


def flat_nifti(path: Path) -> None:
    raw = bytearray(save_nifti(path, ramp((5, 4, 3))).read_bytes())
    raw[312:328] = bytes(16)  # srow_z
    path.write_bytes(raw)


def two_sizes(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(ramp((4, 5)), metadata=None)
        file.write(ramp((6, 7)), metadata=None)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        pytest.param(saved(save_nifti, "v.nii", ramp((5, 4, 3, 2))), SourceError, "more axes", id="nifti 4D"),
        pytest.param(saved(save_nifti, "v.nii", ramp((5, 4))), VolumeError, "three axes", id="nifti 2D"),
        pytest.param(
            saved(flat_nifti, "v.nii"), SourceError, "places no voxels", id="nifti with a flat affine"
        ),
        pytest.param(
            saved(save_nifti, "v.nii", np.full((5, 4, 3), np.nan, "float32")),
            VolumeError,
            "NaN",
            id="nifti NaN",
        ),
        pytest.param(
            saved(save_nifti, "v.nii", ramp((5, 4, 3), dtype="complex64")),
            VolumeError,
            "integers or floats",
            id="nifti complex",
        ),
        pytest.param(saved(save_tiff, "v.tif", ramp((4, 5))), VolumeError, "three axes", id="tiff 2D"),
        pytest.param(
            saved(save_tiff, "v.tif", ramp((2, 3, 4, 5)), metadata={"axes": "TZYX"}),
            SourceError,
            "more axes than z, y, x: TZYX",
            id="tiff 4D",
        ),
        pytest.param(
            saved(save_tiff, "v.tif", ramp((2, 4, 5, 3), dtype="uint8"), photometric="rgb"),
            SourceError,
            "in colour",
            id="tiff colour",
        ),
        pytest.param(
            saved(save_tiff, "v.tif", ramp(dtype="uint8"), photometric="miniswhite"),
            SourceError,
            "MINISWHITE pixels",
            id="tiff inverted",
        ),
        pytest.param(saved(two_sizes, "v.tif"), SourceError, "several sizes", id="tiff of two sizes"),
        pytest.param(
            saved(save_tiff, "v.tif", ramp(), {"spacing_mm": [0, 1, 1]}),
            VolumeError,
            "positive",
            id="no spacing",
        ),
        pytest.param(
            saved(save_tiff, "v.tif", ramp(), {"spacing_mm": ["a", 1, 1]}),
            SourceError,
            "cannot be read",
            id="no number",
        ),
        pytest.param(saved(np.save, "v.npy", ramp((4, 5))), VolumeError, "three axes", id="npy 2D"),
        pytest.param(
            saved(np.save, "v.npy", ramp() > 3), VolumeError, "integers or floats", id="npy of bool"
        ),
        pytest.param(
            saved(np.save, "v.npy", np.array([{}]), allow_pickle=True),
            SourceError,
            "pickled objects are never loaded",
            id="npy pickle",
        ),
        pytest.param(
            saved(np.savez, "v.npz", a=ramp(), b=ramp()),
            SourceError,
            "holds the arrays a, b; name",
            id="npz of two",
        ),
        pytest.param(saved(np.savez, "v.npz"), SourceError, "holds the arrays none", id="npz of none"),
        pytest.param(
            saved(np.savez, "v.npz", a=ramp(), spacing=[1, 2]),
            SourceError,
            "three numbers in mm",
            id="npz spacing",
        ),
        pytest.param(
            saved(Path.write_text, "v.vtk", "# vtk"),
            SourceError,
            r"file types read here: .*\.nii, \.nii\.gz",
            id="kind",
        ),
        pytest.param(
            lambda tmp_path: tmp_path / "v.npy", SourceError, "v.npy' cannot be read: No such", id="missing"
        ),
    ],
)
def test_what_makes_no_volume_is_refused_with_the_reason(
    tmp_path: Path, make: Callable[[Path], Path], kind: type[InrError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        read_volume(make(tmp_path))


def save_as(volume: Volume, path: Path) -> None:
    """Write one file of any kind that is read."""
    if path.suffix == ".npz":
        np.savez(path, volume.voxels)
    elif path.suffix in (".mha", ".mhd"):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(volume.voxels), path.with_suffix(".mha"))
        path.with_suffix(".mha").rename(path)
    elif path.suffix == ".nhdr":
        write_nrrd(volume, volume.slices(), path)
    else:
        write_volume(volume, path)


FOLDERS_OR_PAIRS = (".zarr", ".hdr", ".img", ".hdr.gz", ".img.gz")


@pytest.mark.parametrize("suffix", [suffix for suffix in READERS if suffix not in FOLDERS_OR_PAIRS])
@pytest.mark.parametrize("damage", ["empty", "noise", "start only", "end missing", "header overwritten"])
def test_damaged_files_give_one_line_that_names_them(
    tmp_path: Path, suffix: str, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"v{suffix}"
    volume = Volume.from_array(np.random.default_rng(0).integers(0, 999, (8, 32, 32)).astype(np.int16))
    save_as(volume, path)
    whole = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "noise": np.random.default_rng(1).bytes(5000),
            "start only": whole[:100],
            "end missing": whole[: len(whole) * 2 // 3],
            "header overwritten": b"\xff" * 60 + whole[60:],
        }[damage]
    )
    with pytest.raises(InrError) as caught:
        read_volume(path)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_header_that_claims_more_than_there_is_allocates_nothing_for_long(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "v.nii", ramp((5, 4, 3)))
    raw = bytearray(path.read_bytes())
    raw[40:48] = np.array([3, 32767, 32767, 32767], np.int16).tobytes()
    for name, content in (("v.nii", bytes(raw)), ("v.nii.gz", gzip.compress(bytes(raw)))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=r"claims 32767 x 32767 x 32767 voxels, 70\.4 TB, but"):
            read_volume(tmp_path / name)


# Writing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("v.dcm", r"'v\.dcm' must end in \.nii or \.nii\.gz or \.nrrd or", id="kind"),
        pytest.param("v.npz", "must end in", id="a kind that is only read"),
        pytest.param("v", "must end in", id="no suffix"),
        pytest.param("no/v.nii", "there is no folder", id="no such folder"),
        pytest.param("folder.nii", "is a folder", id="a folder"),
    ],
)
def test_an_output_that_cannot_work_is_refused_before_the_work(
    head: Volume, tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "folder.nii").mkdir()
    for refuse in (lambda: check_output(tmp_path / name), lambda: write_volume(head, tmp_path / name)):
        with pytest.raises(SourceError, match=message):
            refuse()
    assert [path.name for path in tmp_path.iterdir()] == ["folder.nii"]


def test_an_output_in_the_current_folder_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_output(Path("v.nii.gz"))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_failed_write_leaves_the_old_file_whole_and_no_litter(
    head: Volume, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"v{suffix}"
    too_long = ramp((1, 1, 40_000), dtype="int32")  # for NIfTI-1
    write_volume(head, path)
    before = path.read_bytes()
    with pytest.raises(SourceError, match="cannot be written"):
        write_volume(Volume.from_array(too_long), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_ctrl_c_while_writing_leaves_the_old_file_whole(
    head: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "v.tif"
    write_volume(head, path)
    before = path.read_bytes()

    def interrupted(target: Path, *_: Any, **__: Any) -> None:
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(tifffile, "imwrite", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_volume(head, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# Real data -------------------------------------------------------------------------------------------


def test_real_nifti_ct_is_read_in_hu_at_its_place(shared_data: Path) -> None:
    volume = read_volume(shared_data / "other" / "totalseg_ct_3mm.nii.gz")
    assert (volume.shape, volume.units, volume.voxels.dtype) == ((112, 101, 122), "HU", np.int32)
    assert volume.geometry.spacing == (3, 3, 3)
    assert volume.geometry.origin == pytest.approx((177.956, -11.319, 94.302), abs=1e-3)
    assert volume.source_bytes == 112 * 101 * 122 * 4


@pytest.mark.parametrize(
    ("name", "shape", "spacing", "units", "low"),
    [
        ("other/sts013_thigh.tif", (114, 215, 252), (3.27, 0.976562, 0.976562), "HU", -1000),
        ("train/lidc0003_sub.tif", (11, 512, 512), (2.5, 0.820312, 0.820312), "HU", -1024),
        ("train/cthead_stanford.tif", (113, 256, 256), (2, 1, 1), "raw", 0),
    ],
)
def test_real_jpeg_xl_stacks_are_read_in_their_units(
    shared_data: Path,
    name: str,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    units: str,
    low: float,
) -> None:
    volume = read_volume(shared_data / name)
    assert (volume.shape, volume.units, volume.intensity_range[0]) == (shape, units, low)
    assert volume.geometry.spacing == pytest.approx(spacing)
    assert volume.source_bytes == 2 * np.prod(shape)


def test_a_real_folder_of_png_slices_is_one_stack(shared_data: Path) -> None:
    folder = shared_data / "other" / "visible_female_head_png8"
    volume = read_volume(folder)
    assert (volume.shape, volume.units, volume.voxels.dtype) == ((234, 512, 512), "raw", np.uint8)
    tenth = imagecodecs.png_decode((folder / "texture-10.png").read_bytes())
    np.testing.assert_array_equal(volume.voxels[10], tenth)
