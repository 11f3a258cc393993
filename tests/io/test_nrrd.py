"""NRRD as others write it: patient axes, units, encodings, files apart; and as we write it."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest
import SimpleITK

from napari_inr_volume.core.errors import InrError, SourceError, VolumeError
from napari_inr_volume.core.volume import Geometry, Volume
from napari_inr_volume.io.volumes import read_volume, write_volume

DATA = np.arange(60, dtype=np.int16).reshape(3, 4, 5) - 1020  # z, y, x
BASE = {
    "type": "short",
    "dimension": "3",
    "sizes": "5 4 3",
    "space": "left-posterior-superior",
    "space directions": "(0.5,0,0) (0,0.75,0) (0,0,2.5)",
    "space origin": "(1,2,3)",
    "space units": '"mm" "mm" "mm"',
    "endian": "little",
    "encoding": "raw",
}


def save(path: Path, data: bytes = DATA.tobytes(), **changed: str | None) -> Path:
    """Write a header with fields changed, added or (None) left out, and the voxels behind it."""
    fields = BASE | {name.replace("_", " "): value for name, value in changed.items()}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    path.write_bytes("\n".join(["NRRD0005", "# a comment", *lines, "", ""]).encode() + data)
    return path


def test_a_plain_file_is_read_where_it_lies(tmp_path: Path) -> None:
    volume = read_volume(save(tmp_path / "v.nrrd"))
    np.testing.assert_array_equal(volume.voxels, DATA)
    assert volume.geometry == Geometry(shape=(3, 4, 5), spacing=(2.5, 0.75, 0.5), origin=(1, 2, 3))
    assert (volume.units, volume.found, volume.notes) == ("HU", ("NRRD",), ())


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (1, 1, 1)),
        ("LPS", (1, 1, 1)),
        ("right-anterior-superior", (-1, -1, 1)),
        ("RAS", (-1, -1, 1)),
        ("Left-Anterior-Superior", (1, -1, 1)),
        ("las", (1, -1, 1)),
    ],
)
def test_patient_axes_become_ours(tmp_path: Path, space: str, signs: tuple[int, ...]) -> None:
    volume = read_volume(save(tmp_path / "v.nrrd", space=space))
    assert volume.notes == ()
    point = volume.geometry.affine @ [2, 3, 4, 1]
    np.testing.assert_allclose(point[:3], np.array([3, 4.25, 8]) * signs)


@pytest.mark.parametrize(
    ("changed", "spacing", "note"),
    [
        pytest.param({"space": "scanner-xyz"}, (2.5, 0.75, 0.5), "LPS assumed", id="scanner axes"),
        pytest.param({"space": None, "space_dimension": "3"}, (2.5, 0.75, 0.5), "LPS assumed", id="no axes"),
        pytest.param({"space_units": None}, (2.5, 0.75, 0.5), "mm assumed", id="no units"),
        pytest.param({"space_units": '"a" "b" "c"'}, (2.5, 0.75, 0.5), "mm assumed", id="odd units"),
        pytest.param({"space_origin": None}, (2.5, 0.75, 0.5), "put at 0, 0, 0", id="no origin"),
        pytest.param({"space_origin": "(nan,0,0)"}, (2.5, 0.75, 0.5), "put at 0, 0, 0", id="origin NaN"),
        pytest.param(
            {"space_directions": None, "space": None, "spacings": "1 2 3"},
            (3, 2, 1),
            "orientation is not known",
            id="spacings alone",
        ),
        pytest.param(
            {"space_directions": None, "spacings": "0.5 0.5 nan"},
            (1, 0.5, 0.5),
            "1 mm assumed along z",
            id="no z",
        ),
        pytest.param({"space_directions": None}, (1, 1, 1), "1 mm assumed, the file", id="nothing"),
    ],
)
def test_what_is_assumed_is_said(
    tmp_path: Path, changed: dict[str, Any], spacing: tuple[float, ...], note: str
) -> None:
    volume = read_volume(save(tmp_path / "v.nrrd", **changed))
    assert volume.geometry.spacing == pytest.approx(spacing)
    assert note in "; ".join(volume.notes)


def test_units_become_millimetres(tmp_path: Path) -> None:
    volume = read_volume(save(tmp_path / "v.nrrd", space_units='"um" "um" "um"'))
    assert volume.geometry.spacing == pytest.approx((2.5e-3, 0.75e-3, 0.5e-3))
    assert volume.geometry.origin == pytest.approx((1e-3, 2e-3, 3e-3))
    path = save(
        tmp_path / "w.nrrd", space_directions=None, space=None, spacings="1 1 2", units='"cm" "cm" "cm"'
    )
    assert read_volume(path).geometry.spacing == (20, 10, 10)


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("raw", bytes),
        ("gzip", gzip.compress),
        ("gz", gzip.compress),
        ("bzip2", bz2.compress),
        ("BZ2", bz2.compress),
        ("text", lambda data: " ".join(str(v) for v in np.frombuffer(data, "<i2")).encode()),
    ],
)
def test_every_encoding_is_read_and_its_loss_refused(
    tmp_path: Path, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    path = save(tmp_path / "v.nrrd", pack(DATA.tobytes()), encoding=encoding)
    np.testing.assert_array_equal(read_volume(path).voxels, DATA)
    save(path, pack(DATA.tobytes())[:-10], encoding=encoding)
    with pytest.raises(SourceError, match=r"is cut off|claims 60 numbers and holds"):
        read_volume(path)


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i2", "<u2", ">i4", "<u4", ">f4", "<f8", "<i8"])
def test_every_type_and_byte_order_is_read_as_pynrrd_writes_it(tmp_path: Path, dtype: str) -> None:
    data = np.arange(60).reshape(5, 4, 3).astype(dtype)
    nrrd.write(str(tmp_path / "v.nrrd"), data, {"encoding": "gzip"})
    volume = read_volume(tmp_path / "v.nrrd")
    np.testing.assert_array_equal(volume.voxels, data.T)
    assert volume.voxels.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("signed char", "i1"), ("uchar", "u1"), ("unsigned short int", "u2"), ("int16_t", "i2"),
     ("uint32", "u4"), ("long long", "i8"), ("unsigned long long int", "u8"), ("longlong", "i8"),
     ("double", "f8")],
)  # fmt: skip
def test_every_name_of_a_type_is_known(tmp_path: Path, name: str, dtype: str) -> None:
    data = np.arange(60).astype(dtype)
    volume = read_volume(save(tmp_path / "v.nrrd", data.tobytes(), type=name))
    assert volume.voxels.dtype == dtype


def test_a_channel_axis_of_length_one_is_no_axis(tmp_path: Path) -> None:
    path = save(
        tmp_path / "v.nrrd",
        dimension="4",
        sizes="1 5 4 3",
        kinds="list domain domain domain",
        space_directions="none (0.5,0,0) (0,0.75,0) (0,0,2.5)",
    )
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.voxels, DATA)
    assert volume.geometry.spacing == (2.5, 0.75, 0.5)


def test_sitk_and_we_place_oblique_voxels_alike(tmp_path: Path) -> None:
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    image = SimpleITK.GetImageFromArray(DATA)
    image.SetDirection((rotation * np.sign(np.linalg.det(rotation))).ravel().tolist())
    image.SetSpacing((0.5, 0.75, 2.5))
    image.SetOrigin((-10, 20, 30))
    SimpleITK.WriteImage(image, str(tmp_path / "v.nrrd"))
    point = read_volume(tmp_path / "v.nrrd").geometry.affine @ [2, 3, 4, 1]
    np.testing.assert_allclose(point[:3], image.TransformIndexToPhysicalPoint((4, 3, 2)))


def test_other_programs_find_our_voxels_where_they_lie(tmp_path: Path) -> None:
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    volume = Volume.from_array(DATA, (2.5, 0.75, 0.5), origin=(-10, 20, 30), direction=rotation)
    write_volume(volume, tmp_path / "v.nrrd")
    image = SimpleITK.ReadImage(str(tmp_path / "v.nrrd"))
    point = volume.geometry.affine @ [2, 3, 4, 1]
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint((4, 3, 2)), point[:3])
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), DATA)


# Files apart ---------------------------------------------------------------------------------------------


def test_a_header_reads_the_data_beside_it(tmp_path: Path) -> None:
    (tmp_path / "v.raw").write_bytes(b"a line\n" + bytes(7) + DATA.tobytes())
    path = save(tmp_path / "v.nhdr", b"", data_file="v.raw", line_skip="1", byte_skip="7")
    np.testing.assert_array_equal(read_volume(path).voxels, DATA)
    np.testing.assert_array_equal(
        read_volume(save(path, b"", data_file="v.raw", byte_skip="-1")).voxels, DATA
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("gone.raw", r"'gone\.raw', which is missing", id="missing"),
        pytest.param("../v.raw", "outside its own folder", id="above"),
        pytest.param("sub/../../v.raw", "outside its own folder", id="above by a detour"),
        pytest.param("..\\v.raw", "outside its own folder", id="above, backslash"),
        pytest.param("/etc/hostname", "outside its own folder", id="absolute"),
        pytest.param("C:\\v.raw", "outside its own folder", id="drive"),
        pytest.param("link.raw", "outside its own folder", id="a link that leads out"),
        pytest.param("v%02d.raw 1 3 1", "in several files", id="pattern"),
        pytest.param("LIST", "in several files", id="list"),
    ],
)
def test_data_elsewhere_are_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "v.raw").write_bytes(DATA.tobytes())
    folder = tmp_path / "folder"
    folder.mkdir()
    if name == "link.raw":
        try:
            (folder / name).symlink_to(tmp_path / "v.raw")
        except OSError as error:
            pytest.skip(f"links need a privilege: {error}")
    with pytest.raises(SourceError, match=message):
        read_volume(save(folder / "v.nhdr", b"", data_file=name))


# Refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"sizes": "5 4 3000000"}, "but its file has 120 bytes", id="claims more"),
        pytest.param({"sizes": "5 4 3000000", "encoding": "gzip"}, "which hold .* at most", id="gzip bomb"),
        pytest.param({"sizes": "5 4 3000000", "encoding": "bzip2"}, "which hold .* at most", id="bzip2 bomb"),
        pytest.param({"sizes": "5 4 -3"}, "claims a size of -3 x 4 x 5", id="negative"),
        pytest.param({"sizes": "5 4"}, "has 3 axes, but sizes", id="fewer sizes"),
        pytest.param({"sizes": "5 2 2 3", "dimension": "4", "space_directions": None}, "more axes", id="4D"),
        pytest.param(
            {"kinds": "vector domain domain", "space_directions": None}, r"more axes .*vector", id="vectors"
        ),
        pytest.param({"kinds": "domain domain list"}, "more axes", id="list"),
        pytest.param({"endian": None}, "little or big", id="no byte order"),
        pytest.param({"encoding": "hex"}, "is encoded as hex", id="hex"),
        pytest.param({"type": "block"}, "of type block", id="block"),
        pytest.param({"type": None}, "its header has no type", id="no type"),
        pytest.param({"space_directions": "(1,0,0) (0,1,0) (0,0,0)"}, "place no voxels", id="no z"),
        pytest.param({"space_directions": "(1,0,0) (0,1,0) (0,2,0)"}, "place no voxels", id="in a plane"),
        pytest.param(
            {"space_directions": "(1,0) (0,1) (0,0)"}, "three numbers for every axis", id="2D space"
        ),
    ],
)
def test_headers_that_make_no_volume_are_refused(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        read_volume(save(tmp_path / "v.nrrd", **changed))


def test_a_single_slice_of_two_axes_is_no_volume(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nrrd", dimension="2", sizes="15 4", space_directions=None, space=None)
    with pytest.raises(VolumeError, match="three axes"):
        read_volume(path)


@pytest.mark.parametrize("notes", ["{", "[]", '{"units": "HU"}', '{"units": 3, "padding": 1}'])
def test_odd_notes_under_our_own_key_are_passed_over(tmp_path: Path, notes: str) -> None:
    path = save(tmp_path / "v.nrrd")
    path.write_bytes(path.read_bytes().replace(b"# a comment", f"napari-inr-volume:={notes}".encode()))
    assert read_volume(path).padding is None


def test_hostile_notes_under_our_own_key_are_an_error_of_ours(tmp_path: Path) -> None:
    path = save(tmp_path / "v.nrrd")
    notes = '{"units": "HU", "padding": null, "slice_positions_mm": [1, "x", {}]}'
    path.write_bytes(path.read_bytes().replace(b"# a comment", f"napari-inr-volume:={notes}".encode()))
    with pytest.raises(InrError, match=r"v\.nrrd"):
        read_volume(path)
