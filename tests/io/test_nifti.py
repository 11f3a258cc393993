"""NIfTI and Analyze headers of every make: where the voxels lie, what is assumed, what is refused."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from napari_inr_volume.core.errors import SourceError
from napari_inr_volume.io.volumes import read_volume

DATA = np.arange(60, dtype=np.int16).reshape(5, 4, 3)  # x, y, z
AFFINE = np.diag([-0.5, -0.75, 2.5, 1.0])
AFFINE[:3, 3] = [16, 17, -30]
TURNED = np.array([[0, -0.75, 0, 5], [0.5, 0, 0, 6], [0, 0, 2.5, 7], [0, 0, 0, 1]], dtype=np.float64)


def header_of(
    sform: NDArray[np.float64] | None = AFFINE, qform: NDArray[np.float64] | None = None, **fields: Any
) -> nibabel.Nifti1Header:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(DATA.dtype)
    header.set_data_shape(DATA.shape)
    header.set_zooms((0.5, 0.75, 2.5))
    header.set_xyzt_units("mm")
    if qform is not None:
        header.set_qform(qform, code=1)
    if sform is not None:
        header.set_sform(sform, code=1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    for name, value in fields.items():
        header[name] = value
    return header


def save(path: Path, header: nibabel.Nifti1Header, data: bytes = DATA.tobytes(order="F")) -> Path:
    content = header.binaryblock + bytes(4) + data
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def lps(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine[:, [2, 1, 0, 3]]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("header", "affine"),
    [
        pytest.param(header_of(AFFINE), AFFINE, id="sform"),
        pytest.param(header_of(None, TURNED), TURNED, id="qform"),
        pytest.param(header_of(TURNED, TURNED), TURNED, id="both alike"),
        pytest.param(header_of(np.diag([0, 0, 0, 1.0]), TURNED), TURNED, id="sform of nothing"),
        pytest.param(header_of(np.full((4, 4), np.nan), TURNED), TURNED, id="sform of NaN"),
        pytest.param(header_of(AFFINE, None, pixdim=[1, 0, np.nan, -1, 1, 1, 1, 1]), AFFINE, id="bad pixdim"),
    ],
)
def test_the_form_that_is_set_places_the_voxels_without_a_word(
    tmp_path: Path, header: nibabel.Nifti1Header, affine: NDArray[np.float64], suffix: str
) -> None:
    volume = read_volume(save(tmp_path / f"v{suffix}", header))
    np.testing.assert_allclose(volume.geometry.affine, lps(affine), atol=1e-5)
    np.testing.assert_array_equal(volume.voxels, DATA.T)
    assert (volume.found, volume.notes) == (("NIfTI",), ())


@pytest.mark.parametrize(
    ("header", "note"),
    [
        pytest.param(
            header_of(AFFINE, TURNED), r"sform used; the qform differs from it by up to", id="conflict"
        ),
        pytest.param(
            header_of(AFFINE, None, qform_code=1, quatern_b=3), "the qform is damaged", id="bad qform"
        ),
        pytest.param(header_of(None), "orientation is not known and was assumed", id="neither"),
        pytest.param(
            header_of(AFFINE, None, xyzt_units=0), "mm assumed, the header names no unit", id="no unit"
        ),
        pytest.param(header_of(AFFINE, None, xyzt_units=5), "mm assumed", id="odd unit"),
        pytest.param(
            header_of(None, None, pixdim=[1, 0, 0, 0, 1, 1, 1, 1]),
            "1 mm assumed where .* of 0",
            id="no sizes",
        ),
        pytest.param(
            header_of(None, TURNED, pixdim=[1, 0.5, -0.75, 2.5, 1, 1, 1, 1]),
            "negative voxel sizes",
            id="minus",
        ),
    ],
)
def test_what_was_chosen_or_assumed_is_said(tmp_path: Path, header: nibabel.Nifti1Header, note: str) -> None:
    volume = read_volume(save(tmp_path / "v.nii", header))
    assert re.search(note, "; ".join(volume.notes))
    assert volume.summary.endswith("; ".join(volume.notes))


def test_a_qform_that_differs_by_less_than_a_voxel_is_no_conflict(tmp_path: Path) -> None:
    near = TURNED.copy()
    near[:3, 3] += 0.2
    assert read_volume(save(tmp_path / "v.nii", header_of(near, TURNED))).notes == ()


def test_microns_become_millimetres(tmp_path: Path) -> None:
    volume = read_volume(save(tmp_path / "v.nii", header_of(AFFINE, None, xyzt_units=3)))
    assert volume.geometry.spacing == pytest.approx((2.5e-3, 0.75e-3, 0.5e-3))
    assert volume.geometry.origin == pytest.approx((-16e-3, -17e-3, -30e-3))


def test_a_sheared_affine_is_said(tmp_path: Path) -> None:
    sheared = AFFINE.copy()
    sheared[1, 2] = -0.8
    assert "sheared by 17." in read_volume(save(tmp_path / "v.nii", header_of(sheared))).summary


@pytest.mark.parametrize(
    ("header", "message"),
    [
        pytest.param(header_of(np.diag([1, 1, 0, 1.0])), "sform that places no voxels", id="flat sform"),
        pytest.param(
            header_of(None, None, qform_code=1, quatern_b=3), "its quaternion is", id="bad quaternion"
        ),
        pytest.param(
            header_of(None, TURNED, pixdim=[1, 0.5, 0, 2.5, 1, 1, 1, 1]),
            r"voxels are 0\.5 x 0 x 2\.5",
            id="size 0",
        ),
        pytest.param(
            header_of(None, None, pixdim=[1, np.nan, 1, 1, 1, 1, 1, 1]),
            "voxels of nan x 1 x 1 mm",
            id="size NaN",
        ),
        pytest.param(header_of(scl_slope=1, scl_inter=np.nan), "damaged or not supported", id="offset NaN"),
        pytest.param(
            header_of(dim=[3, 5, -4, 3, 1, 1, 1, 1]), "claims a size of 3 x -4 x 5", id="negative size"
        ),
        pytest.param(header_of(datatype=999), "damaged or not supported", id="type unknown"),
        pytest.param(header_of(vox_offset=1e9), "but its file has", id="offset beyond the end"),
        pytest.param(header_of(dim=[4, 5, 4, 3, 2, 1, 1, 1]), "more axes than x, y, z", id="time points"),
    ],
)
def test_headers_that_make_no_volume_are_refused(
    tmp_path: Path, header: nibabel.Nifti1Header, message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        read_volume(save(tmp_path / "v.nii", header))


@pytest.mark.parametrize("slope", [0, np.nan, np.inf, -np.inf])
def test_a_slope_that_is_none_scales_nothing(tmp_path: Path, slope: float) -> None:
    volume = read_volume(save(tmp_path / "v.nii", header_of(scl_slope=slope, scl_inter=7)))
    np.testing.assert_array_equal(volume.voxels, DATA.T)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("missing", [1, 50, 119])
def test_voxels_that_break_off_are_refused(tmp_path: Path, suffix: str, missing: int) -> None:
    path = save(tmp_path / f"v{suffix}", header_of(), DATA.tobytes()[:-missing])
    with pytest.raises(SourceError, match="cut off"):
        read_volume(path)


@pytest.mark.parametrize("missing", [1, 8, 30])
def test_a_gzip_stream_that_breaks_off_is_refused(tmp_path: Path, missing: int) -> None:
    path = save(tmp_path / "v.nii.gz", header_of())
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(SourceError, match=r"v\.nii\.gz' is cut off"):
        read_volume(path)


def test_a_wrong_gzip_checksum_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii.gz", header_of())
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(SourceError, match="CRC"):
        read_volume(path)


def test_a_wrong_size_in_a_gzip_trailer_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii.gz", header_of())
    path.write_bytes(path.read_bytes()[:-4] + b"\xff\xff\xff\xff")
    with pytest.raises(SourceError, match="Incorrect length"):
        read_volume(path)


def test_more_than_deflate_can_hold_is_refused_before_it_is_allocated(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nii.gz", header_of(dim=[3, 5000, 5000, 500, 1, 1, 1, 1]))
    with pytest.raises(SourceError, match=r"25\.0 GB, but its file has .* at most"):
        read_volume(path)


# Pairs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nibabel.Nifti1Pair, nibabel.Nifti2Pair])
@pytest.mark.parametrize("given", ["v.hdr", "v.img"])
def test_either_file_of_a_nifti_pair_reads_the_pair(tmp_path: Path, kind: Any, given: str) -> None:
    nibabel.save(kind(DATA, AFFINE), tmp_path / "v.img")
    volume = read_volume(tmp_path / given)
    np.testing.assert_array_equal(volume.voxels, DATA.T)
    np.testing.assert_allclose(volume.geometry.affine, lps(AFFINE), atol=1e-5)


@pytest.mark.parametrize("given", ["v.hdr.gz", "v.img.gz"])
def test_either_file_of_a_compressed_pair_reads_the_pair(tmp_path: Path, given: str) -> None:
    nibabel.save(nibabel.Nifti1Pair(DATA, AFFINE), tmp_path / "v.img.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / given).voxels, DATA.T)


@pytest.mark.parametrize("kind", [nibabel.AnalyzeImage, nibabel.Spm2AnalyzeImage])
def test_analyze_is_read_with_its_orientation_said_to_be_assumed(tmp_path: Path, kind: Any) -> None:
    image = kind(DATA, np.diag([0.5, 0.75, 2.5, 1]))
    image.header.set_zooms((0.5, 0.75, 2.5))
    image.to_filename(tmp_path / "v.img")
    volume = read_volume(tmp_path / "v.hdr")
    np.testing.assert_array_equal(volume.voxels, DATA.T)
    assert volume.geometry.spacing == pytest.approx((2.5, 0.75, 0.5))
    assert volume.found == ("Analyze 7.5",)
    (note,) = volume.notes
    assert "orientation is not known" in note


@pytest.mark.parametrize(("given", "partner"), [("v.hdr", "v.img"), ("v.img", "v.hdr")])
def test_the_missing_half_of_a_pair_is_named(tmp_path: Path, given: str, partner: str) -> None:
    nibabel.save(nibabel.Nifti1Pair(DATA, AFFINE), tmp_path / "v.img")
    (tmp_path / partner).unlink()
    with pytest.raises(SourceError, match=f"'{partner}' is missing"):
        read_volume(tmp_path / given)


def test_the_voxels_of_a_pair_that_break_off_are_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Pair(DATA, AFFINE), tmp_path / "v.img")
    (tmp_path / "v.img").write_bytes((tmp_path / "v.img").read_bytes()[:-3])
    with pytest.raises(SourceError, match=r"'v\.img' is cut off"):
        read_volume(tmp_path / "v.hdr")
