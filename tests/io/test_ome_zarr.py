"""OME-Zarr in and out: geometry, units, pyramid, contrast, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_inr_volume.core.errors import InrError, SourceError
from napari_inr_volume.core.volume import Geometry, Volume
from napari_inr_volume.io.ome_zarr import OmeVoxels, is_ours
from napari_inr_volume.io.sources import read_source
from napari_inr_volume.io.volumes import write_volume

zarr = pytest.importorskip("zarr", reason="the extra zarr is not installed")

TILTED = ((0.0, 0.0, 1.0), (0.2, np.sqrt(0.96), 0.0), (np.sqrt(0.96), -0.2, 0.0))


def ct(shape: tuple[int, int, int] = (6, 30, 40), **geometry: Any) -> Volume:
    voxels = np.random.default_rng(0).integers(-1000, 1500, shape).astype(np.int16)
    voxels[:, 0, 0] = voxels[:, -1, 0] = voxels[:, 0, -1] = voxels[:, -1, -1] = -2000
    known = {"spacing": (1.5, 0.7, 0.8), "origin": (-12.5, 3.25, 100.0)} | geometry
    return Volume(voxels=voxels, geometry=Geometry(shape=shape, **known), units="HU", padding=-2000.0)


def test_any_level_is_read_and_lies_over_the_finest(tmp_path: Path) -> None:
    volume = ct((4, 300, 600), spacing=(5.0, 0.5, 0.5), direction=TILTED)
    write_volume(volume, tmp_path / "a.ome.zarr")
    coarse = read_source(tmp_path / "a.ome.zarr" / "2")
    assert coarse.shape == (4, 75, 150)
    expected = volume.geometry.coarser((1.0, 4.0, 4.0), coarse.shape)
    assert np.allclose(coarse.geometry.affine, expected.affine)
    assert (coarse.units, coarse.padding) == ("HU", None)
    stored = zarr.open_array(tmp_path / "a.ome.zarr" / "2", mode="r")
    assert np.array_equal(coarse.read(), stored[...])
    (tmp_path / "a.ome.zarr" / "7").mkdir()
    with pytest.raises(SourceError, match=r"'a\.ome\.zarr' has no level '7'; it has 0, 1, 2"):
        read_source(tmp_path / "a.ome.zarr" / "7")


@pytest.mark.parametrize(
    "geometry",
    [{}, {"direction": TILTED}, {"slice_positions": (0.0, 1.0, 3.0, 4.0, 6.5, 9.0)}],
    ids=["axial", "turned", "uneven slices"],
)
def test_a_volume_comes_back_whole(geometry: dict[str, Any], tmp_path: Path) -> None:
    volume = ct(**geometry)
    write_volume(volume, tmp_path / "a.ome.zarr")
    back = read_source(tmp_path / "a.ome.zarr")
    assert np.array_equal(back.read(), volume.read())
    assert back.dtype == volume.dtype
    assert back.geometry == volume.geometry
    assert (back.units, back.padding) == ("HU", -2000.0)
    assert back.found == ("OME-Zarr",)


def test_coarser_levels_lie_over_the_finest(tmp_path: Path) -> None:
    volume = ct((4, 300, 600), spacing=(5.0, 0.5, 0.5))
    write_volume(volume, tmp_path / "a.ome.zarr")
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="r")
    image = group.attrs["ome"]["multiscales"][0]
    assert [group[each["path"]].shape for each in image["datasets"]] == [
        (4, 300, 600), (4, 150, 300), (4, 75, 150),
    ]  # fmt: skip
    for each in image["datasets"]:
        array, (scale, shift) = group[each["path"]], each["coordinateTransformations"]
        outer = np.array(shift["translation"]) - np.array(scale["scale"]) / 2  # faces of the first voxels
        assert np.allclose(outer, np.array([100.0, 3.25, -12.5]) - [2.5, 0.25, 0.25])
        assert np.allclose(np.array(scale["scale"]) * array.shape, [20, 150, 300])
        assert array.dtype == np.int16
        assert array[...].min() >= (-2000 if each["path"] == "0" else -1000)  # no padding blurred into air


def test_voxels_of_one_length_are_halved_along_z_too(tmp_path: Path) -> None:
    write_volume(ct((9, 300, 40), spacing=(1.0, 1.0, 1.0)), tmp_path / "a.zarr")
    assert zarr.open_group(tmp_path / "a.zarr")["1"].shape == (5, 150, 20)


def test_axes_units_and_contrast_are_said_in_the_words_of_ome(tmp_path: Path) -> None:
    write_volume(ct(), tmp_path / "a.ome.zarr")
    ome = json.loads((tmp_path / "a.ome.zarr" / "zarr.json").read_text())["attributes"]["ome"]
    assert ome["version"] == "0.5"
    assert ome["multiscales"][0]["axes"] == [
        {"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"
    ]
    window = ome["omero"]["channels"][0]["window"]
    low, high = ct().intensity_range
    assert window == {"min": low, "max": high, "start": low, "end": high}


def foreign(path: Path, *, axes: str = "tczyx", unit: str | None = "micrometer", version: int = 2) -> Any:
    """Write an image as other programs do: 0.4 in format 2, 0.5 in format 3."""
    group = zarr.open_group(path, mode="w", zarr_format=version)
    shape = tuple({"t": 1, "c": 1, "z": 5, "y": 8, "x": 9}[axis] for axis in axes)
    data = np.arange(np.prod(shape), dtype=">u2").reshape(shape)
    group.create_array("0", data=data, chunks=tuple(min(3, length) for length in shape))
    kinds = {"t": "time", "c": "channel"}
    named = [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes]
    for axis in named:
        if axis["type"] == "space" and unit:
            axis["unit"] = unit
    scale = [{"t": 1, "c": 1, "z": 2000, "y": 500, "x": 250}[axis] for axis in axes]
    transformations = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": scale}]
    image = {"axes": named, "datasets": [{"path": "0", "coordinateTransformations": transformations}]}
    if version == 2:
        group.attrs["multiscales"] = [image | {"version": "0.4"}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    return data


@pytest.mark.parametrize("version", [2, 3], ids=["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["zyx", "czyx", "tczyx"])
def test_images_of_others_are_read(axes: str, version: int, tmp_path: Path) -> None:
    data = foreign(tmp_path / "a.zarr", axes=axes, version=version)
    volume = read_source(tmp_path / "a.zarr")
    assert np.array_equal(volume.read(), data.reshape(5, 8, 9))
    assert volume.dtype == np.dtype("uint16")
    assert volume.geometry.spacing == (2.0, 0.5, 0.25)
    assert volume.geometry.origin == (0.25, 0.5, 2.0)


def test_slices_are_read_by_rows_of_chunks_each_once() -> None:
    class Counting:
        shape, chunks, dtype, ndim, reads = (7, 6, 5), (3, 6, 5), np.dtype("int16"), 3, 0

        def __getitem__(self, key: Any) -> Any:
            self.reads += 1
            return data[key]

    data = np.random.default_rng(0).integers(0, 99, (7, 6, 5)).astype(np.int16)
    array = Counting()
    voxels = OmeVoxels(array, (0, 1, 2), Path("a.zarr"))
    for z in range(7):
        assert np.array_equal(voxels[z], data[z])
    assert array.reads == 3
    assert np.array_equal(voxels[1:6, 2:4, :3], data[1:6, 2:4, :3])
    assert np.array_equal(voxels[-1], data[-1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: foreign(path, axes="tcyx"), "has the axes t c y x, not z, y, x in this order"),
        (lambda path: zarr.open_group(path, mode="w"), "without the metadata of an OME-Zarr image"),
        (lambda path: path.mkdir(), "no OME-Zarr image"),
    ],
    ids=["no z", "plain Zarr", "an empty folder"],
)
def test_what_is_no_volume_is_refused(change: Any, words: str, tmp_path: Path) -> None:
    change(tmp_path / "a.zarr")
    with pytest.raises(SourceError, match=words):
        read_source(tmp_path / "a.zarr")


def test_several_time_points_are_refused(tmp_path: Path) -> None:
    foreign(tmp_path / "a.zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    group.create_array("0", data=np.zeros((2, 1, 3, 4, 5), np.int16), overwrite=True)
    with pytest.raises(SourceError, match="t 2; extract one channel or time point"):
        read_source(tmp_path / "a.zarr")


def test_only_what_this_software_wrote_is_replaced(tmp_path: Path) -> None:
    write_volume(ct(), tmp_path / "ours.zarr")
    assert is_ours(tmp_path / "ours.zarr")
    write_volume(ct((3, 10, 10)), tmp_path / "ours.zarr")
    assert read_source(tmp_path / "ours.zarr").shape == (3, 10, 10)
    foreign(tmp_path / "theirs.zarr")
    with pytest.raises(InrError, match="was not written by this software"):
        write_volume(ct(), tmp_path / "theirs.zarr")
    assert read_source(tmp_path / "theirs.zarr").shape == (5, 8, 9)
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == [
        "ours.zarr", "theirs.zarr",
    ]  # fmt: skip


def test_damaged_files_in_it_give_one_line(tmp_path: Path) -> None:
    write_volume(ct(), tmp_path / "a.zarr")
    for name in ("0/zarr.json", "zarr.json"):
        for content in (b"", b"{", b'{"zarr_format": 3}', b"\xff\x00"):
            (tmp_path / "a.zarr" / name).write_bytes(content)
            with pytest.raises(SourceError, match=r"a\.zarr") as caught:
                read_source(tmp_path / "a.zarr")
            assert "\n" not in str(caught.value)
    (tmp_path / "file.zarr").write_bytes(b"PK")
    with pytest.raises(SourceError, match="no OME-Zarr image"):
        read_source(tmp_path / "file.zarr")


def test_a_damaged_chunk_is_named(tmp_path: Path) -> None:
    write_volume(ct(), tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "0" / "c" / "0" / "0" / "0").write_bytes(b"noise")
    with pytest.raises(SourceError, match=r"a\.zarr"):
        read_source(tmp_path / "a.zarr").read()


@pytest.mark.slow
@pytest.mark.gui
def test_napari_ome_zarr_opens_what_we_write(tmp_path: Path) -> None:
    plugin = pytest.importorskip("napari_ome_zarr", reason="napari-ome-zarr is not installed")
    volume = ct((4, 300, 400))
    write_volume(volume, tmp_path / "a.ome.zarr")
    ((levels, options, kind), *_) = plugin.napari_get_reader(str(tmp_path / "a.ome.zarr"))()
    assert kind == "image"
    assert np.array_equal(np.asarray(levels[0]), volume.read())
    assert len(levels) == 2
    assert np.allclose(np.ravel(options["scale"])[-3:], volume.geometry.spacing)


@pytest.mark.slow
@pytest.mark.gui
def test_napari_ome_zarr_opens_an_array_in_our_codec(tmp_path: Path) -> None:
    plugin = pytest.importorskip("napari_ome_zarr", reason="napari-ome-zarr is not installed")
    from napari_inr_volume.zarr import ExactCodec

    foreign(tmp_path / "a.ome.zarr", axes="zyx", version=3)
    group = zarr.open_group(tmp_path / "a.ome.zarr", mode="r+")
    del group["0"]
    voxels = ct((5, 32, 40)).read()
    group.create_array("0", data=voxels, chunks=(3, 32, 40), serializer=ExactCodec(), compressors=None)
    ((levels, _, kind), *_) = plugin.napari_get_reader(str(tmp_path / "a.ome.zarr"))()
    assert kind == "image"
    assert np.array_equal(np.asarray(levels[0]), voxels)
