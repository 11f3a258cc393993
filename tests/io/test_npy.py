"""NumPy's files: every layout read, nothing unpickled, and no claim believed."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_inr_volume.core.errors import SourceError, VolumeError
from napari_inr_volume.io.volumes import read_volume

DATA = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def header(shape: tuple[int, ...], dtype: str = "<i2", version: tuple[int, int] = (1, 0)) -> bytes:
    """Return the start of an `.npy` that claims a shape."""
    text = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY" + bytes(version) + len(text).to_bytes(2 if version == (1, 0) else 4, "little") + text


@pytest.mark.parametrize("dtype", ["i1", ">i2", "<u2", ">f4", "<f8", "u8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_every_layout_gives_the_same_voxels(tmp_path: Path, dtype: str, order: Any, suffix: str) -> None:
    data = np.asarray(DATA.astype(dtype), order=order)
    path = tmp_path / f"v{suffix}"
    np.save(path, data) if suffix == ".npy" else np.savez_compressed(path, data)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.voxels, DATA)
    assert volume.voxels.dtype == np.dtype(dtype).newbyteorder("=")
    assert (volume.found, volume.notes) == (("NumPy",), ("1 mm assumed, the file gives no spacing",))


def test_a_spacing_beside_the_voxels_leaves_nothing_to_assume(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", ct=DATA, spacing=[3, 2, 1])
    volume = read_volume(tmp_path / "v.npz")
    assert (volume.geometry.spacing, volume.notes) == ((3, 2, 1), ())


@pytest.mark.parametrize("missing", [1, 60, 119])
def test_voxels_that_break_off_are_refused(tmp_path: Path, missing: int) -> None:
    np.save(tmp_path / "v.npy", DATA)
    (tmp_path / "v.npy").write_bytes((tmp_path / "v.npy").read_bytes()[:-missing])
    with pytest.raises(SourceError, match="cut off"):
        read_volume(tmp_path / "v.npy")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(header((10**6, 10**6, 10**6)), "2000 PB, but its file has", id="exabytes"),
        pytest.param(header((-3, 4, 5)) + bytes(120), "claims a size of -3 x 4 x 5", id="negative"),
        pytest.param(header((3, 4, 5), "|O") + bytes(500), "never loaded", id="objects"),
        pytest.param(header((3, 4, 5), "<U4") + bytes(9000), "never loaded", id="text"),
        pytest.param(header((3, 4, 5), "<i2", (3, 0)) + bytes(120), "never loaded", id="version 3"),
        pytest.param(b"\x80\x04]q\x00.", "cannot be read", id="a bare pickle"),
    ],
)
def test_a_header_is_not_believed(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "v.npy").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        read_volume(tmp_path / "v.npy")
    with zipfile.ZipFile(tmp_path / "v.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("v.npy", content)
    with pytest.raises(SourceError, match=message):
        read_volume(tmp_path / "v.npz")


def test_a_member_that_was_changed_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", DATA)
    content = bytearray((tmp_path / "v.npz").read_bytes())
    content[content.index(DATA.tobytes()) + 7] ^= 1
    (tmp_path / "v.npz").write_bytes(content)
    with pytest.raises(SourceError, match="CRC"):
        read_volume(tmp_path / "v.npz")


@pytest.mark.parametrize("shape", [(0, 4, 5), (), (4, 5), (2, 3, 4, 5)])
def test_what_is_no_volume_is_said_to_be_none(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "v.npy", np.ones(shape, np.int16))
    with pytest.raises(VolumeError, match=r"three axes|empty"):
        read_volume(tmp_path / "v.npy")
