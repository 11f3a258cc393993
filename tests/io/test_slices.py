"""Folders of pictures: what is stacked, what is assumed, and which pictures are refused by name."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from napari_inr_volume.core.errors import SourceError
from napari_inr_volume.io.png import ADAM7, SIGNATURE
from napari_inr_volume.io.volumes import read_volume

PLANES = np.random.default_rng(0).integers(0, 60000, (3, 8, 9)).astype(np.uint16)


def save_png(path: Path, pixels: NDArray[Any], *chunks: tuple[bytes, bytes]) -> None:
    """Write a PNG, with chunks put in behind its header."""
    content = imagecodecs.png_encode(np.ascontiguousarray(pixels))
    extra = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    path.write_bytes(content[:33] + extra + content[33:])


def resolution(columns: int, rows: int, unit: int = 1) -> tuple[bytes, bytes]:
    return b"pHYs", struct.pack(">IIB", columns, rows, unit)


def test_a_stack_says_what_it_was_read_from_and_what_was_assumed(tmp_path: Path) -> None:
    for z, plane in enumerate(PLANES):
        save_png(tmp_path / f"{z}.png", plane)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels, PLANES)
    assert volume.voxels.dtype == np.uint16
    assert volume.found == ("3 PNG files",)
    assert volume.notes == ("1 mm assumed, the file gives no spacing",)


def test_png_and_tiff_slices_may_be_mixed(tmp_path: Path) -> None:
    save_png(tmp_path / "1.png", PLANES[0])
    tifffile.imwrite(tmp_path / "2.tif", PLANES[1])
    tifffile.imwrite(tmp_path / "3.TIFF", PLANES[2])
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.voxels, PLANES)
    assert volume.found == ("1 PNG file and 2 TIFF files",)


@pytest.mark.parametrize(
    ("chunks", "spacing"),
    [
        pytest.param([resolution(2000, 4000)] * 3, (1, 0.25, 0.5), id="all alike"),
        pytest.param([resolution(2000, 4000)] * 2 + [resolution(2000, 2000)], (1, 1, 1), id="one unlike"),
        pytest.param([resolution(2835, 2835)] * 3, (1, 1, 1), id="72 dpi"),
        pytest.param([resolution(2000, 4000, 0)] * 3, (1, 1, 1), id="no unit"),
        pytest.param([resolution(0, 0)] * 3, (1, 1, 1), id="zero"),
    ],
)
def test_the_resolution_of_png_counts_where_it_was_measured(
    tmp_path: Path, chunks: list[tuple[bytes, bytes]], spacing: tuple[float, ...]
) -> None:
    for z, plane in enumerate(PLANES):
        save_png(tmp_path / f"{z}.png", plane, chunks[z])
    volume = read_volume(tmp_path)
    assert volume.geometry.spacing == pytest.approx(spacing)
    assert volume.notes[0].startswith("1 mm assumed along z" if spacing[1] < 1 else "1 mm assumed, ")


def test_the_resolution_of_tiff_slices_counts(tmp_path: Path) -> None:
    for z, plane in enumerate(PLANES):
        options: dict[str, Any] = {"resolution": (20, 40), "resolutionunit": "CENTIMETER", "metadata": None}
        tifffile.imwrite(tmp_path / f"{z}.tif", plane, **options)
    assert read_volume(tmp_path).geometry.spacing == pytest.approx((1, 0.25, 0.5))


def test_steps_and_pictures_left_out_are_said(tmp_path: Path) -> None:
    for z, plane in enumerate(PLANES):
        save_png(tmp_path / f"{2 * z}.png", plane)
    Image.fromarray(PLANES[0].astype(np.uint8)).save(tmp_path / "cover.jpg")
    notes = "; ".join(read_volume(tmp_path).notes)
    assert "the numbers of the files rise by 2; 1 other pictures left out, such as cover.jpg" in notes


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".gif"])
def test_pictures_of_other_kinds_are_refused_by_name(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(PLANES[0].astype(np.uint8)).save(tmp_path / f"0{suffix}")
    with pytest.raises(SourceError, match=rf"'0\{suffix}' is a \w+ picture; save the slices as PNG or TIFF"):
        read_volume(tmp_path)


def palette(path: Path) -> None:
    Image.fromarray(PLANES[0].astype(np.uint8)).convert("P").save(path)


def animation(path: Path) -> None:
    frames = [Image.fromarray(plane.astype(np.uint8)) for plane in PLANES]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def bomb(path: Path) -> None:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    save_png(path, PLANES[0])
    content = bytearray(path.read_bytes())
    content[16:29] = header
    content[29:33] = struct.pack(">I", zlib.crc32(b"IHDR" + header))
    path.write_bytes(content)


def changed(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        save_png(path, PLANES[0])
        path.write_bytes(change(path.read_bytes()))

    return make


def reheaded(rows: int, at: int, value: bytes) -> Callable[[Path], None]:
    """Write a PNG of so many rows, all checksums right, with other bytes in its header."""

    def make(path: Path) -> None:
        save_png(path, PLANES[0][:rows])
        content = bytearray(path.read_bytes())
        content[16 + at : 16 + at + len(value)] = value
        content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
        path.write_bytes(content)

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(palette, "has a colour table", id="palette"),
        pytest.param(animation, "is an animation", id="animation"),
        pytest.param(bomb, "50000 x 50000 x 1 voxels, 2.5 GB, but", id="bomb"),
        pytest.param(
            reheaded(2, 4, struct.pack(">I", 8)), "it holds fewer pixels than it claims", id="rows missing"
        ),
        pytest.param(
            reheaded(6, 4, struct.pack(">I", 1)), "it holds more pixels than it claims", id="rows too many"
        ),
        pytest.param(reheaded(6, 0, struct.pack(">I", 2**20)), "1,000,000 a side are allowed", id="too wide"),
        pytest.param(reheaded(6, 8, b"\3"), "its header is not that of a PNG", id="three bits"),
        pytest.param(reheaded(6, 9, b"\5"), "its header is not that of a PNG", id="unknown colour type"),
        pytest.param(reheaded(6, 10, b"\1"), "its header is not that of a PNG", id="unknown compression"),
        pytest.param(changed(lambda content: content[:-1]), "cut off", id="end cut off"),
        pytest.param(changed(lambda content: content[:60]), "cut off", id="pixels cut off"),
        pytest.param(changed(lambda content: content[:20]), "cut off", id="header cut off"),
        pytest.param(changed(lambda content: b""), "not a PNG file", id="empty"),
        pytest.param(changed(lambda content: b"GIF89a" + content), "not a PNG file", id="another kind"),
        pytest.param(
            changed(lambda content: content[:60] + bytes([content[60] ^ 1]) + content[61:]),
            "a checksum in it is wrong",
            id="a bit turned",
        ),
    ],
)
def test_a_png_that_is_no_whole_grey_picture_is_refused_by_name(
    tmp_path: Path, make: Callable[[Path], None], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    save_png(tmp_path / "0.png", PLANES[0])
    make(tmp_path / "1.png")
    with pytest.raises(SourceError, match=message) as caught:
        read_volume(tmp_path)
    assert "1.png" in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size", [(8, 9), (1, 1), (3, 2), (1, 20)])
def test_an_interlaced_png_is_read(tmp_path: Path, size: tuple[int, int]) -> None:
    pixels = np.arange(size[0] * size[1], dtype=np.uint16).reshape(size) * 500
    passes = [pixels[top::down, left::right] for top, left, down, right in ADAM7]
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for part in passes for row in part if row.size)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", size[1], size[0], 16, 0, 0, 0, 1)),
        *((b"IDAT", zlib.compress(raw)), (b"IEND", b"")),
    )
    content = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    (tmp_path / "0.png").write_bytes(SIGNATURE + content)
    assert np.array_equal(read_volume(tmp_path).voxels[0], pixels)


@pytest.mark.parametrize(
    "chunk",
    [(b"iCCP", b"sRGB\0\0damaged"), (b"tRNS", b"\0\7"), (b"tRNS", b"nonsense"), (b"pHYs", b"short")],
    ids=["colour profile", "a transparent grey", "bad transparency", "bad resolution"],
)
def test_what_else_a_png_holds_changes_nothing_and_prints_nothing(
    tmp_path: Path, chunk: tuple[bytes, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    save_png(tmp_path / "0.png", PLANES[0], chunk)
    assert np.array_equal(read_volume(tmp_path).voxels[0], PLANES[0])
    assert capfd.readouterr() == ("", "")


def test_a_tiff_slice_that_breaks_off_is_refused_by_name(tmp_path: Path) -> None:
    for z, plane in enumerate(PLANES):
        tifffile.imwrite(tmp_path / f"{z}.tif", plane, compression="zlib")
    (tmp_path / "1.tif").write_bytes((tmp_path / "1.tif").read_bytes()[:-20])
    with pytest.raises(SourceError, match=r"1\.tif"):
        read_volume(tmp_path)


def test_masks_beside_the_slices_are_refused(tmp_path: Path) -> None:
    for z, plane in enumerate(PLANES):
        save_png(tmp_path / f"image_{z:03}.png", plane)
        save_png(tmp_path / f"mask_{z:03}.png", (plane > 9).astype(np.uint16))
    with pytest.raises(
        SourceError, match=r"'image_000\.png' and 'mask_000\.png' differ in more than a number"
    ):
        read_volume(tmp_path)


def test_a_missing_slice_is_named(tmp_path: Path) -> None:
    for z in (0, 1, 3, 4):
        save_png(tmp_path / f"slice_{z:03}.png", PLANES[0])
    with pytest.raises(SourceError, match=r"missing between 'slice_001\.png' and 'slice_003\.png': 2;"):
        read_volume(tmp_path)
