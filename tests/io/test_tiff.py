"""TIFF by other programs: their units, their sets of files, and what of them is lost."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_inr_volume.core.errors import InrError, SourceError
from napari_inr_volume.io.volumes import read_volume

DATA = np.arange(60, dtype=np.int16).reshape(3, 4, 5) - 1020
ASSUMED = "1 mm assumed, the file gives no spacing"


def save(path: Path, data: NDArray[Any] = DATA, **options: Any) -> Path:
    tifffile.imwrite(path, data, **{"photometric": "minisblack", "metadata": {"axes": "ZYX"}, **options})
    return path


# Sizes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "millimetres"),
    [("mm", 1), ("cm", 10), ("m", 1e3), ("µm", 1e-3), ("nm", 1e-6), ("Å", 1e-7), ("hm", 1e5), ("pm", 1e-9),
     ("in", 25.4), ("pt", 25.4 / 72), ("ft", 304.8), ("yd", 914.4), ("thou", 0.0254), ("km", 1e6)],
)  # fmt: skip
def test_ome_sizes_come_in_every_unit_of_length(tmp_path: Path, unit: str, millimetres: float) -> None:
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("XYZ", (2, 3, 4), strict=True)}
    units = {f"PhysicalSize{axis}Unit": unit for axis in "XYZ"}
    path = save(tmp_path / "v.ome.tif", metadata={"axes": "ZYX", **sizes, **units})
    volume = read_volume(path)
    assert np.array(volume.geometry.spacing) / millimetres == pytest.approx([4, 3, 2])
    assert (volume.found, volume.notes) == (("TIFF, OME",), ())


@pytest.mark.parametrize(
    ("metadata", "spacing", "note"),
    [
        pytest.param(
            {"PhysicalSizeX": 500, "PhysicalSizeY": 250}, (1, 0.25, 0.5), "along z", id="no z, in µm"
        ),
        pytest.param({"PhysicalSizeX": 2, "PhysicalSizeXUnit": "pixel"}, (1, 1, 1), ASSUMED, id="pixels"),
        pytest.param(
            {"PhysicalSizeZ": 2, "PhysicalSizeZUnit": "reference frame"}, (1, 1, 1), ASSUMED, id="frame"
        ),
        pytest.param({}, (1, 1, 1), ASSUMED, id="nothing"),
    ],
)
def test_what_ome_does_not_tell_is_said_to_be_assumed(
    tmp_path: Path, metadata: dict[str, Any], spacing: tuple[float, ...], note: str
) -> None:
    volume = read_volume(save(tmp_path / "v.ome.tif", metadata={"axes": "ZYX", **metadata}))
    assert volume.geometry.spacing == pytest.approx(spacing)
    assert note in "; ".join(volume.notes)


@pytest.mark.parametrize(
    ("unit", "millimetres"),
    [("MM", 1), ("Millimeters", 1), ("Micron", 1e-3), ("\\u00B5m", 1e-3), ("um", 1e-3),
     ("inches", 25.4), ("CM", 10)],
)  # fmt: skip
def test_imagej_units_are_understood_however_spelt(tmp_path: Path, unit: str, millimetres: float) -> None:
    path = save(
        tmp_path / "v.tif",
        DATA.astype(np.float32),
        imagej=True,
        resolution=(1 / 0.5, 1 / 0.25),
        metadata={"axes": "ZYX", "spacing": 2.0, "unit": unit},
    )
    volume = read_volume(path)
    assert np.array(volume.geometry.spacing) / millimetres == pytest.approx([2, 0.25, 0.5])
    assert (volume.found, volume.notes) == (("TIFF, ImageJ",), ())


@pytest.mark.parametrize(
    ("unit", "resolution", "spacing", "note"),
    [
        pytest.param("CENTIMETER", (20, 40), (1, 0.25, 0.5), "1 mm assumed along z", id="centimetre"),
        pytest.param("INCH", (254, 127), (1, 0.2, 0.1), "1 mm assumed along z", id="inch"),
        pytest.param("INCH", (72, 72), (1, 1, 1), ASSUMED, id="72 dpi"),
        pytest.param("INCH", (96, 96), (1, 1, 1), ASSUMED, id="96 dpi"),
        pytest.param("CENTIMETER", (72 / 2.54, 72 / 2.54), (1, 1, 1), ASSUMED, id="72 dpi in cm"),
        pytest.param("INCH", (1, 1), (1, 1, 1), ASSUMED, id="1 dpi"),
        pytest.param("NONE", (20, 40), (1, 1, 1), ASSUMED, id="no unit"),
    ],
)
def test_resolution_tags_tell_the_pixels_but_not_the_slices(
    tmp_path: Path, unit: str, resolution: tuple[float, float], spacing: tuple[float, ...], note: str
) -> None:
    volume = read_volume(save(tmp_path / "v.tif", resolution=resolution, resolutionunit=unit, metadata=None))
    assert volume.geometry.spacing == pytest.approx(spacing)
    assert note in "; ".join(volume.notes)


def test_our_own_notes_come_before_the_resolution(tmp_path: Path) -> None:
    notes = {"spacing_mm": [3, 2, 1]}
    path = save(tmp_path / "v.tif", resolution=(20, 40), resolutionunit="CENTIMETER", metadata=notes)
    volume = read_volume(path)
    assert (volume.geometry.spacing, volume.notes) == ((3, 2, 1), ())


# Sets of files -----------------------------------------------------------------------------------------


def ome_set(folder: Path, files: int = 3, pages: int = 2, name: str = "set_{}.ome.tif") -> NDArray[Any]:
    """Write a stack as OME files that name one another; returns its voxels."""
    data = np.arange(files * pages * 20, dtype=np.uint16).reshape(files * pages, 4, 5)
    places = "".join(
        f'<TiffData IFD="{z % pages}" FirstZ="{z}" FirstC="0" FirstT="0" PlaneCount="1">'
        f'<UUID FileName="{name.format(z // pages)}">urn:uuid:{z // pages}</UUID></TiffData>'
        for z in range(len(data))
    )
    for file in range(files):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
            f' UUID="urn:uuid:{file}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT"'
            f' Type="uint16" SizeX="5" SizeY="4" SizeZ="{len(data)}" SizeC="1" SizeT="1">{places}</Pixels>'
            "</Image></OME>"
        )
        path = folder / name.format(file)
        with tifffile.TiffWriter(path) as writer:
            for index, page in enumerate(data[file * pages : (file + 1) * pages]):
                text = xml if index == 0 else None
                writer.write(page, photometric="minisblack", description=text, metadata=None)
    return data


@pytest.mark.parametrize("given", [0, 1, 2])
def test_any_file_of_a_whole_ome_set_reads_the_set(tmp_path: Path, given: int) -> None:
    data = ome_set(tmp_path)
    np.testing.assert_array_equal(read_volume(tmp_path / f"set_{given}.ome.tif").voxels, data)


@pytest.mark.parametrize("missing", [1, 2])
def test_the_missing_file_of_an_ome_set_is_named(
    tmp_path: Path, missing: int, capfd: pytest.CaptureFixture[str]
) -> None:
    ome_set(tmp_path)
    (tmp_path / f"set_{missing}.ome.tif").unlink()
    with pytest.raises(SourceError, match=rf"its file 'set_{missing}\.ome\.tif' is missing"):
        read_volume(tmp_path / "set_0.ome.tif")
    assert capfd.readouterr() == ("", "")


def test_a_damaged_file_of_an_ome_set_is_named(tmp_path: Path) -> None:
    ome_set(tmp_path)
    (tmp_path / "set_1.ome.tif").write_bytes(b"no TIFF")
    with pytest.raises(SourceError, match=r"set_1\.ome\.tif' cannot be read"):
        read_volume(tmp_path / "set_0.ome.tif")


# What is lost ------------------------------------------------------------------------------------------


def page_by_page(path: Path, data: NDArray[Any] = DATA, **options: Any) -> Path:
    """Write as libtiff does: each page behind its own directory, with nothing said about their number."""
    with tifffile.TiffWriter(path) as writer:
        for page in data:
            writer.write(page, photometric="minisblack", metadata=None, contiguous=False, **options)
    return path


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "zstd", "jpegxl"])
@pytest.mark.parametrize("kind", ["plain", "shaped", "imagej", "ome", "pages", "tiles"])
@pytest.mark.parametrize("kept", [0.97, 0.8, 0.6, 0.4])
def test_a_stack_that_breaks_off_is_refused(
    tmp_path: Path, kind: str, compression: str | None, kept: float, capfd: pytest.CaptureFixture[str]
) -> None:
    data = np.random.default_rng(0).integers(0, 900, (12, 32, 32)).astype(np.uint16)
    path = tmp_path / ("v.ome.tif" if kind == "ome" else "v.tif")
    if kind in ("pages", "tiles"):
        page_by_page(path, data, compression=compression, tile=(16, 16) if kind == "tiles" else None)
    elif kind == "imagej":
        save(path, data, imagej=True)
    else:
        save(path, data, compression=compression, metadata=None if kind == "plain" else {"axes": "ZYX"})
    content = path.read_bytes()
    np.testing.assert_array_equal(read_volume(path).voxels, data)
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InrError, match=re.escape(path.name)):
        read_volume(path)
    assert capfd.readouterr() == ("", "")


def test_a_plain_stack_that_breaks_off_says_so(tmp_path: Path) -> None:
    path = page_by_page(tmp_path / "v.tif")
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(SourceError, match="cut off"):
        read_volume(path)


def json_claiming(path: Path) -> None:
    save(path, metadata=None, description=json.dumps({"shape": [9, 4, 5]}))


def imagej_claiming(path: Path) -> None:
    save(path, DATA.astype(np.uint16), imagej=True)
    path.write_bytes(path.read_bytes().replace(b"=3\n", b"=9\n"))


def strip_of(**tags: int) -> Callable[[Path], None]:
    """Make a stack whose first page has one of its tags changed in place, by name."""

    def make(path: Path) -> None:
        page_by_page(path)
        with tifffile.TiffFile(path) as file:
            places = {name: file.pages.first.tags[name].valueoffset for name in tags}
        content = bytearray(path.read_bytes())
        for name, value in tags.items():
            struct.pack_into("<I", content, places[name], value)
        path.write_bytes(content)

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(json_claiming, "claims 9 pages and has 3", id="JSON claims more pages"),
        pytest.param(imagej_claiming, "claims 9 pages and has 3", id="ImageJ claims more pages"),
        pytest.param(strip_of(StripOffsets=10**8), "is cut off in page 1", id="pixels beyond the end"),
        pytest.param(strip_of(StripOffsets=0), "no pixels for page 1", id="pixels nowhere"),
        pytest.param(strip_of(StripByteCounts=0), "no pixels for page 1", id="no bytes of pixels"),
        pytest.param(strip_of(StripByteCounts=8), "is cut off in page 1", id="fewer bytes of pixels"),
        pytest.param(strip_of(ImageWidth=10**7), "claims|sizes", id="too wide"),
    ],
)
def test_pages_without_their_pixels_are_refused(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "v.tif")
    with pytest.raises(SourceError, match=message):
        read_volume(tmp_path / "v.tif")


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        pytest.param(
            DATA.astype("u1"),
            {"photometric": "palette", "colormap": np.zeros((3, 256), "u2"), "metadata": None},
            "PALETTE pixels",
            id="colour table",
        ),
        pytest.param(DATA.astype("u1"), {"photometric": "miniswhite"}, "MINISWHITE pixels", id="inverted"),
        pytest.param(
            np.zeros((3, 4, 5, 4), "u1"),
            {"photometric": "separated", "metadata": None},
            "SEPARATED",
            id="CMYK",
        ),
        pytest.param(DATA > 0, {}, "integers or floats", id="bilevel"),
        pytest.param(np.full((3, 4, 5), np.nan, "f4"), {}, "NaN", id="NaN"),
        pytest.param(
            np.zeros((2, 3, 4, 5), "u2"), {"metadata": {"axes": "CZYX"}}, "more axes", id="channels"
        ),
        pytest.param(np.zeros((2, 3, 4, 5), "u2"), {"metadata": {"axes": "TZYX"}}, "more axes", id="times"),
        pytest.param(DATA.astype("c8"), {}, "integers or floats", id="complex"),
    ],
)
def test_pixels_that_are_not_grey_values_are_refused_by_name(
    tmp_path: Path, data: NDArray[Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InrError, match=message):
        read_volume(save(tmp_path / "v.tif", data, **options))


@pytest.mark.parametrize("big", [False, True], ids=["TIFF", "BigTIFF"])
@pytest.mark.parametrize("target", [0, 1, 2], ids=["to the first", "to the second", "to itself"])
def test_pages_that_follow_one_another_in_a_circle_are_refused(
    tmp_path: Path, big: bool, target: int
) -> None:
    path = tmp_path / "circle.tif"
    tifffile.imwrite(path, np.zeros((3, 4, 5), np.int16), photometric="minisblack", bigtiff=big)
    with tifffile.TiffFile(path) as file:
        places = [page.offset for page in file.pages]
        last, form = len(file.pages[-1].tags), file.tiff
    content = bytearray(path.read_bytes())
    at = places[-1] + form.tagnosize + last * form.tagsize
    struct.pack_into(form.offsetformat, content, at, places[target])
    path.write_bytes(content)
    with pytest.raises(SourceError, match="circle"):
        read_volume(path)
