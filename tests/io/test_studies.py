"""What is found in a tree of folders: `io/studies.py`."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import tifffile
from ct_files import ct_dataset, save, write_series
from PIL import Image
from pydicom.uid import generate_uid

from napari_inr_volume.core.errors import SourceError
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.io.ome_zarr import write_ome_zarr
from napari_inr_volume.io.studies import Studies, find_studies


def names(found: Studies) -> list[str]:
    return [study.name for study in found.studies]


def test_series_are_found_at_any_depth_and_read(tmp_path: Path) -> None:
    for name in ("a", "b/c"):
        write_series(
            tmp_path / name,
            [0, 1, 2],
            SeriesInstanceUID=generate_uid(),
            SeriesNumber=4,
            SeriesDescription="Thorax /1",
        )
    found = find_studies(tmp_path)
    assert names(found) == ["a/4-Thorax-1", "b/c/4-Thorax-1"]
    assert all(study.read().shape == (3, 6, 8) for study in found.studies)
    assert found.studies[0].source_bytes == 2 * 3 * 6 * 8


def test_two_series_of_a_folder_are_two_studies(tmp_path: Path) -> None:
    write_series(tmp_path / "a", [0, 1, 2], SeriesInstanceUID=generate_uid(), SeriesNumber=2)
    for path in write_series(tmp_path / "b", [0, 1], SeriesInstanceUID=generate_uid(), SeriesNumber=3):
        path.rename(tmp_path / "a" / f"other-{path.name}")
    found = find_studies(tmp_path)
    assert sorted(study.read().shape[0] for study in found.studies) == [2, 3]


def test_a_series_over_several_folders_is_one(tmp_path: Path) -> None:
    uid = generate_uid()
    write_series(tmp_path / "s" / "1", [0, 1], SeriesInstanceUID=uid)
    write_series(tmp_path / "s" / "2", [2, 3], SeriesInstanceUID=uid)
    (study,) = find_studies(tmp_path).studies
    assert study.name.startswith("s/")
    assert study.read().shape[0] == 4


def test_copies_of_a_series_are_studies_of_their_own(tmp_path: Path) -> None:
    uid = generate_uid()
    for folder in ("first", "second"):
        write_series(tmp_path / folder, [0, 1, 2], SeriesInstanceUID=uid)
    found = find_studies(tmp_path)
    assert [name.partition("/")[0] for name in names(found)] == ["first", "second"]
    assert [study.read().shape[0] for study in found.studies] == [3, 3]


def test_a_broken_file_refuses_the_series_beside_it(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "a", [0, 1, 2, 3], SeriesInstanceUID=generate_uid())
    paths[3].write_bytes(b"")
    (study,) = find_studies(tmp_path).studies
    with pytest.raises(SourceError, match="it is empty"):
        study.read()
    assert study.read(skip_broken=True).shape[0] == 3


def test_a_broken_file_beside_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "lost.dcm").write_bytes(b"DICM?")
    found = find_studies(tmp_path)
    assert found.studies == ()
    assert [one.path.name for one in found.broken] == ["lost.dcm"]


def test_volume_files_zips_and_slices_are_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    np.save(tmp_path / "head.npy", rng.integers(0, 99, (3, 4, 5), dtype=np.int16))
    tifffile.imwrite(
        tmp_path / "stack.tif", rng.integers(0, 99, (3, 4, 5), dtype=np.uint16), photometric="minisblack"
    )
    for z in range(3):
        for folder, suffix in (("png", "png"), ("tiff", "tif")):
            (tmp_path / folder).mkdir(exist_ok=True)
            plane = rng.integers(0, 99, (4, 5), dtype=np.uint8)
            if suffix == "png":
                Image.fromarray(plane).save(tmp_path / folder / f"{z}.png")
            else:
                tifffile.imwrite(tmp_path / folder / f"{z}.tif", plane)
    with ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in write_series(tmp_path / "tmp", [0, 1], SeriesInstanceUID=generate_uid(), SeriesNumber=9):
            archive.write(path, path.name)
            path.unlink()
    (tmp_path / "tmp").rmdir()
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "made.inr").write_bytes(b"earlier")
    found = find_studies(tmp_path)
    assert names(found)[0] == "head"
    assert names(found)[1:3] == ["png/slices", "stack"]
    assert names(found)[3].startswith("study/9-")
    assert names(found)[4:] == ["tiff/slices"]
    shapes = [study.read().shape for study in found.studies]
    assert shapes == [(3, 4, 5), (3, 4, 5), (3, 4, 5), (2, 6, 8), (3, 4, 5)]
    assert sum(found.skipped.values()) == 1


def test_an_ome_zarr_image_is_one_volume(tmp_path: Path) -> None:
    pytest.importorskip("zarr", reason="OME-Zarr needs the extra zarr")
    volume = Volume.from_array(np.random.default_rng(1).integers(0, 99, (3, 8, 9), dtype=np.int16))
    (tmp_path / "deep").mkdir()
    write_ome_zarr(volume, iter(volume.voxels), tmp_path / "deep" / "scan.ome.zarr")
    found = find_studies(tmp_path)
    (study,) = found.studies
    assert study.name == "deep/scan.ome"
    np.testing.assert_array_equal(study.read().read(), volume.voxels)
    assert found.skipped == {}


def test_names_are_alike_on_no_system(tmp_path: Path) -> None:
    for name in ("scan.npy", "Scan.npz"):
        target = tmp_path / name
        if target.suffix == ".npy":
            np.save(target, np.zeros((2, 3, 4), np.int16))
        else:
            np.savez(target, volume=np.zeros((2, 3, 4), np.int16))
    found = [name.casefold() for name in names(find_studies(tmp_path))]
    assert len(set(found)) == 2


def test_a_localizer_is_left_out_and_counted(tmp_path: Path) -> None:
    write_series(tmp_path, [0, 1], SeriesInstanceUID=generate_uid())
    save(
        ct_dataset(5.0, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SeriesInstanceUID=generate_uid()),
        tmp_path / "scout.dcm",
    )
    found = find_studies(tmp_path)
    assert len(found.studies) == 1
    assert found.skipped == {"localizer": 1}


def test_one_file_is_found_without_those_beside_it(tmp_path: Path) -> None:
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, np.zeros((2, 3, 4)))
    (found,) = find_studies(tmp_path / "a.npy").studies
    assert (found.name, found.sources) == ("a", (tmp_path / "a.npy",))


def test_a_zip_by_itself_holds_its_series(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "in", [0, 1, 2])
    with ZipFile(tmp_path / "study.zip", "w") as archive:
        for path in paths:
            archive.write(path, path.name)
    (found,) = find_studies(tmp_path / "study.zip").studies
    assert found.name.startswith("study/")
    assert found.read().shape[0] == 3


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no file or folder"):
        find_studies(tmp_path / "nothing")
