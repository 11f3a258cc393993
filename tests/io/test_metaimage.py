"""MetaImage held against SimpleITK's own: numbers and places alike, and what is cut off refused by us."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_inr_volume.core.errors import SourceError
from napari_inr_volume.io.volumes import read_volume

DATA = np.arange(60, dtype=np.int16).reshape(3, 4, 5) - 1020  # z, y, x


def image_of(data: Any = DATA, seed: int = 0, **options: Any) -> SimpleITK.Image:
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    image = SimpleITK.GetImageFromArray(data, **options)
    if image.GetDimension() == 3:
        image.SetDirection((rotation * np.sign(np.linalg.det(rotation))).ravel().tolist())
        image.SetSpacing((0.5, 0.75, 2.5))
        image.SetOrigin((-10, 20, 30))
    return image


@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
@pytest.mark.parametrize("compressed", [False, True])
@settings(max_examples=10)
@given(
    seed=st.integers(0, 999),
    dtype=st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]),
    shape=st.tuples(*[st.integers(1, 5)] * 3),
)
def test_numbers_and_places_are_those_of_sitk(
    tmp_path_factory: pytest.TempPathFactory,
    suffix: str,
    compressed: bool,
    seed: int,
    dtype: str,
    shape: tuple[int, ...],
) -> None:
    data = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    image = image_of(data, seed)
    path = tmp_path_factory.mktemp("meta") / f"v{suffix}"
    SimpleITK.WriteImage(image, str(path), compressed)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.voxels, data)
    assert volume.voxels.dtype == dtype
    last = tuple(length - 1 for length in shape)
    point = volume.geometry.affine @ [*last, 1]
    np.testing.assert_allclose(point[:3], image.TransformIndexToPhysicalPoint(last[::-1]), atol=1e-9)
    assert (volume.found, volume.notes) == (("MetaImage",), ())


def saved(path: Path, compressed: bool = False, **replaced: str) -> Path:
    """Write a file by SimpleITK, with lines of its header replaced."""
    SimpleITK.WriteImage(image_of(), str(path), compressed)
    content = path.read_bytes()
    for name, line in replaced.items():
        start = content.index(f"{name} =".encode())
        content = content[:start] + line.encode() + content[content.index(b"\n", start) + (not line) :]
    path.write_bytes(content)
    return path


def test_sizes_that_are_not_given_are_said_to_be_assumed(tmp_path: Path) -> None:
    path = saved(tmp_path / "v.mha", ElementSpacing="", TransformMatrix="")
    assert read_volume(path).notes == (
        "1 mm assumed, the file gives no spacing",
        "its orientation is not known and was assumed, the header gives none",
    )


def test_a_fourth_axis_of_length_one_is_no_axis(tmp_path: Path) -> None:
    SimpleITK.WriteImage(image_of(DATA[np.newaxis], isVector=False), str(tmp_path / "v.mha"))
    np.testing.assert_array_equal(read_volume(tmp_path / "v.mha").voxels, DATA)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("suffix", [".mha", ".mhd"])
@pytest.mark.parametrize("missing", [1, 20])
def test_voxels_that_break_off_are_refused_and_nothing_is_printed(
    tmp_path: Path, suffix: str, compressed: bool, missing: int, capfd: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path / f"v{suffix}", compressed)
    data = path if suffix == ".mha" else path.with_suffix(".zraw" if compressed else ".raw")
    data.write_bytes(data.read_bytes()[:-missing])
    with pytest.raises(SourceError, match=rf"'{data.name}' is cut off"):
        read_volume(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("field", "line", "message"),
    [
        ("DimSize", "DimSize = 5 4 9000000", "but its file has"),
        ("DimSize", "DimSize = 5 4 -3", "claims a size of -3 x 4 x 5"),
        ("DimSize", "DimSize = 5 4", r"has 3 axes, but sizes \[5, 4\]"),
        ("DimSize", "DimSize = 5 4 x", "damaged or not supported"),
        ("ElementSpacing", "ElementSpacing = 0 1 1", "Zero-valued spacing"),
        ("TransformMatrix", "TransformMatrix = 0 0 0 0 1 0 0 0 1", "direction"),
        ("ElementSpacing", "ElementSpacing = 1 1", "has the ElementSpacing '1 1', not 3 finite numbers"),
        ("ElementSpacing", "ElementSpacing = 1 nan 1", "not 3 finite numbers"),
        ("Offset", "Offset = ", "has the Offset '', not 3 finite numbers"),
        ("TransformMatrix", "TransformMatrix = 1 0 0", "not 9 finite numbers"),
        ("ElementType", "ElementType = MET_OTHER", "of type MET_OTHER"),
        ("ElementType", "ElementNumberOfChannels = 3\nElementType = MET_SHORT", "3 channels"),
        ("BinaryData", "BinaryData = False", "voxels as text"),
        ("ElementDataFile", "ElementDataFile = gone.raw", r"'gone\.raw', which is missing"),
        ("ElementDataFile", "ElementDataFile = ../v.raw", "outside its own folder"),
        ("ElementDataFile", "ElementDataFile = /etc/hostname", "outside its own folder"),
        ("ElementDataFile", "ElementDataFile = LIST", "in several files"),
        ("ElementDataFile", "ElementDataFile = %03d.raw 1 3 1", "in several files"),
        ("ElementDataFile", "Comment = none", "its header is cut off"),
    ],
)
def test_headers_that_make_no_volume_are_refused(
    tmp_path: Path, field: str, line: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SourceError, match=message):
        read_volume(saved(tmp_path / "v.mha", **{field: line}))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("line", ["", *[f"CompressedDataSize = {n}" for n in (7, -1, 0, 999, 10**11)]])
def test_a_wrong_size_of_the_packed_voxels_is_refused(
    tmp_path: Path, line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path / "v.mha", compressed=True, CompressedDataSize=line)
    with pytest.raises(SourceError, match=r"v\.mha"):
        read_volume(path)
    assert capfd.readouterr() == ("", "")


def test_several_channels_and_time_points_are_refused(tmp_path: Path) -> None:
    SimpleITK.WriteImage(image_of(np.stack([DATA] * 3, -1), isVector=True), str(tmp_path / "rgb.mha"))
    SimpleITK.WriteImage(image_of(np.stack([DATA] * 2), isVector=False), str(tmp_path / "time.mha"))
    for name in ("rgb.mha", "time.mha"):
        with pytest.raises(SourceError, match="holds more than x, y, z"):
            read_volume(tmp_path / name)


def test_without_sitk_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "v.mha")
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(SourceError, match=r"pip install 'napari-inr-volume\[formats\]'"):
        read_volume(path)


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        pytest.param(f"Comment = {'x' * 499}", False, id="as long as may be"),
        pytest.param(f"Comment = {'x' * 500}", True, id="too long"),
        pytest.param(f"BinaryDataByteOrderMSB = False{' ' * 500}", True, id="blanks"),
        pytest.param(f"Scanner = {'x' * 30_000}", False, id="a field of someone's own"),
        pytest.param(f"Scanner = {'x' * 40_000}", True, id="a field of someone's own, too long"),
    ],
)
def test_values_that_itk_would_take_for_two_lines_are_refused(
    tmp_path: Path, line: str, refused: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path / "v.mha", BinaryDataByteOrderMSB=f"BinaryDataByteOrderMSB = False\n{line}")
    if refused:
        with pytest.raises(SourceError, match=r"characters, where [0-9,]+ are allowed"):
            read_volume(path)
    else:
        np.testing.assert_array_equal(read_volume(path).voxels, DATA)
    assert capfd.readouterr() == ("", "")
