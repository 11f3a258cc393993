"""The exact layer by commands: made, decoded, proven, left out, and damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import QUICK, complaints, in_this_process

from napari_inr_volume import compress, load
from napari_inr_volume.cli import fitting
from napari_inr_volume.core.errors import InrError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.exact.encode import Coding
from napari_inr_volume.exact.growing import Growing
from napari_inr_volume.io.inr_file import read_inr
from napari_inr_volume.picture import is_picture
from napari_inr_volume.plugin import kept_fits
from napari_inr_volume.plugin.job import Control
from napari_inr_volume.plugin.work.exact import add_exact


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DICOM series with noise, in more than one slab."""
    from napari_inr_volume.core.volume import Volume
    from napari_inr_volume.io.dicom_export import write_dicom_series

    voxels = head_phantom((20, 24, 28)).voxels.astype(np.int16)
    voxels += np.random.default_rng(1).normal(0, 6, voxels.shape).astype(np.int16)
    folder = tmp_path_factory.mktemp("noisy") / "series"
    folder.mkdir()
    write_dicom_series(Volume.from_array(voxels, units="HU"), folder)
    return folder


@pytest.fixture(scope="module")
def lossless(noisy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inr") / "lossless.inr"
    assert in_this_process("compress", noisy, path, *QUICK, "--upscaler", "lanczos", "--lossless") == 0
    return path


@pytest.fixture(scope="module")
def within_three(noisy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inr") / "three.inr"
    options = [*QUICK, "--upscaler", "lanczos", "--max-error", "3"]
    assert in_this_process("compress", noisy, path, *options) == 0
    return path


def test_lossless_gives_every_voxel_back(run: Any, noisy: Path, lossless: Path, tmp_path: Path) -> None:
    code, out, err = run("decompress", lossless, tmp_path / "again.npy", "--json")
    assert code == 0, err
    assert (json.loads(out)["level"], json.loads(out)["max_error"]) == ("exact", 0)
    original = load(noisy).voxels
    decoded = np.load(tmp_path / "again.npy")
    assert decoded.dtype == original.dtype
    np.testing.assert_array_equal(decoded, original)


def test_a_bound_is_kept_and_takes_fewer_bytes(
    run: Any, noisy: Path, lossless: Path, within_three: Path, tmp_path: Path
) -> None:
    assert run("decompress", within_three, tmp_path / "again.npy")[0] == 0
    off = np.abs(np.load(tmp_path / "again.npy").astype(int) - load(noisy).voxels.astype(int))
    assert 0 < off.max() <= 3
    assert within_three.stat().st_size < 0.8 * lossless.stat().st_size


def test_compare_proves_the_bound(run: Any, noisy: Path, within_three: Path, tmp_path: Path) -> None:
    code, out, err = run("compare", noisy, within_three, "--figure", tmp_path / "x.png", "--json")
    assert code == 0, err
    exact = json.loads(out)["exact"]
    assert exact["promised"] == 3
    assert 0 < exact["max_error"] <= 3


def test_info_says_the_bound(run: Any, within_three: Path) -> None:
    declared = json.loads(run("info", within_three, "--json")[1])
    assert declared["exact"]["max_error"] == 3
    assert declared["exact"]["damaged_slabs"] == []
    assert 0 < declared["exact"]["bytes"] < declared["file_bytes"]


def test_the_preview_is_there_without_the_layer(run: Any, lossless: Path, tmp_path: Path) -> None:
    stripped = tmp_path / "preview.inr"
    assert run("strip", lossless, stripped)[0] == 0
    assert stripped.stat().st_size < lossless.stat().st_size / 2
    assert read_inr(stripped).exact is None
    for path, level in ((lossless, ["--level", "preview"]), (stripped, [])):
        assert run("decompress", path, tmp_path / f"{path.stem}.npy", *level)[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "lossless.npy"), np.load(tmp_path / "preview.npy"))


def test_a_stripped_file_is_the_one_of_no_layer(
    run: Any, noisy: Path, lossless: Path, tmp_path: Path
) -> None:
    assert run("strip", lossless, tmp_path / "stripped.inr")[0] == 0
    assert run("compress", noisy, tmp_path / "never.inr", *QUICK, "--upscaler", "lanczos")[0] == 0
    assert (tmp_path / "stripped.inr").read_bytes() == (tmp_path / "never.inr").read_bytes()


def test_the_exact_level_of_a_file_without_one_is_refused(run: Any, compressed: Path, tmp_path: Path) -> None:
    code, _, err = run("decompress", compressed, tmp_path / "x.npy", "--level", "exact")
    assert code == 2
    assert "no exact layer" in err
    assert not (tmp_path / "x.npy").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--lossless", "--max-error", "2"], "only one"),
        (["--max-error", "1.5"], "give 1 or 2"),
        (["--max-error", "-1"], "0 or more"),
    ],
)
def test_bounds_that_cannot_be_are_refused_before_the_fit(
    run: Any, source: Path, tmp_path: Path, options: list[str], words: str
) -> None:
    code, _, err = run("compress", source, tmp_path / "x.inr", *QUICK, *options)
    assert code == 2
    assert words in err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_slab_costs_that_slab(run: Any, noisy: Path, lossless: Path, tmp_path: Path) -> None:
    data = bytearray(lossless.read_bytes())
    data[-10] ^= 0xFF  # in the last slab, slices 16 to 19
    damaged = tmp_path / "damaged.inr"
    damaged.write_bytes(data)
    code, out, err = run("decompress", damaged, tmp_path / "again.npy")
    assert code == 0
    assert "slices 16 to 19" in err
    assert "but for the damaged" in out
    original, decoded = load(noisy).voxels, np.load(tmp_path / "again.npy")
    np.testing.assert_array_equal(decoded[:16], original[:16])
    assert run("decompress", damaged, tmp_path / "exact.npy", "--level", "exact")[0] == 2
    assert not (tmp_path / "exact.npy").exists()
    assert json.loads(run("info", damaged, "--json")[1])["exact"]["damaged_slabs"] == [1]


def test_the_series_comes_back(run: Any, noisy: Path, lossless: Path, tmp_path: Path) -> None:
    import pydicom

    assert run("decompress", lossless, f"{tmp_path / 'series'}/", "--like", noisy)[0] == 0
    np.testing.assert_array_equal(load(tmp_path / "series").voxels, load(noisy).voxels)
    image = pydicom.dcmread(next((tmp_path / "series").iterdir()))
    assert image.get("LossyImageCompression", "00") == "00"


def test_a_file_without_a_network_holds_every_voxel(run: Any, noisy: Path, tmp_path: Path) -> None:
    only = tmp_path / "only.inr"
    code, out, err = run("compress", noisy, only, "--exact-only")
    assert code == 0, err
    assert "every voxel as it was" in out
    assert "dB" not in out  # of a network that is not there
    assert run("decompress", only, tmp_path / "again.npy")[0] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "again.npy"), load(noisy).voxels)
    code, _, err = run("strip", only, tmp_path / "nothing.inr")
    assert code == 2
    assert "no network" in err
    assert not (tmp_path / "nothing.inr").exists()
    code, _, err = run("decompress", only, tmp_path / "preview.npy", "--level", "preview")
    assert code == 2
    assert "so no preview" in err
    assert not (tmp_path / "preview.npy").exists()
    code, out, err = run("compare", noisy, only)
    assert code == 0, err
    assert "off by 0" in out
    assert not {"PSNR", "SSIM", "RMSE"} & set(out.split())
    assert json.loads(run("compress", noisy, only, "--exact-only", "--force", "--json")[1])["hr_psnr"] is None


def test_the_comparison_of_a_file_without_a_network_is_that_of_its_exact_layer(
    run: Any, noisy: Path, tmp_path: Path
) -> None:
    only = tmp_path / "only.inr"
    run("compress", noisy, only, "--exact-only", "--max-error", "2")
    code, out, err = run("compare", noisy, only, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["exact"] == {"promised": 2, "max_error": 2}
    assert {report[name] for name in ("hr_psnr", "lr_psnr", "ssim", "rmse", "max_error", "upscaler")} == {
        None
    }
    assert is_picture(Path(report["figure"]))


def test_another_volume_than_that_of_a_file_without_a_network_is_refused(
    run: Any, noisy: Path, tmp_path: Path
) -> None:
    only, other = tmp_path / "only.inr", tmp_path / "other.npy"
    run("compress", noisy, only, "--exact-only")
    np.save(other, load(noisy).voxels[:, 1:])
    code, _, err = run("compare", other, only)
    assert code == 2
    assert "give the volume that it was made from" in err
    assert not only.with_name("only-compare.png").exists()


@pytest.mark.parametrize("more", [["--steps", "5"], ["--ratio", "100"], ["--embed-model"]])
def test_options_of_a_network_are_refused_where_there_is_none(
    run: Any, noisy: Path, tmp_path: Path, more: list[str]
) -> None:
    code, _, err = run("compress", noisy, tmp_path / "x.inr", "--exact-only", *more)
    assert code == 2
    assert "fits no network" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [["--exact-only"], [*QUICK, "--upscaler", "lanczos", "--lossless"]])
def test_an_exact_layer_that_was_interrupted_is_resumed(
    run: Any, noisy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    whole, output = tmp_path / "whole.inr", tmp_path / "x.inr"
    assert run("compress", noisy, whole, *options)[0] == 0

    def killed_by(record: object) -> None:
        if isinstance(record, Coding) and record.done >= 16:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(fitting.Fitting, "_on_exact", lambda self, record: killed_by(record))
        with pytest.raises(Killed):
            in_this_process("compress", noisy, output, *options)
    assert output.with_name("x.inr.exact").exists()
    assert output.exists() == ("--exact-only" not in options)  # a file without anything in it is none
    code, _, err = run("compress", noisy, output, *options)
    assert code == 2
    assert "--resume" in err
    code, _, err = run("compress", noisy, output, *options, "--resume")
    assert code == 0, err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole.inr", "x.inr"]
    assert output.read_bytes() == whole.read_bytes()


@pytest.fixture
def floats(tmp_path: Path) -> Path:
    """A volume of three slabs that no network codes."""
    voxels = np.random.default_rng(0).normal(size=(40, 32, 32)).astype(np.float32)
    np.save(tmp_path / "floats.npy", voxels)
    return tmp_path / "floats.npy"


@contextmanager
def disk_full_after(nbytes: int) -> Iterator[None]:
    """Let no file grow beyond so many bytes."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("when", ["at the head", "in a slab", "at the end"])
def test_a_full_disk_is_said_in_a_line_and_costs_nothing_that_was_coded(
    run: Any, floats: Path, when: str
) -> None:
    whole, output = floats.with_name("whole.inr"), floats.with_name("x.inr")
    assert run("compress", floats, whole, "--exact-only")[0] == 0
    size = whole.stat().st_size
    with disk_full_after({"at the head": 50, "in a slab": size // 2, "at the end": size - 1}[when]):
        code, out, err = run("compress", floats, output, "--exact-only")
    assert (code, out) == (2, "")
    (line,) = complaints(err)
    assert "File too large" in line
    assert "free some space" in line
    assert not output.exists()
    kept = output.with_name("x.inr.exact")
    assert [path.name for path in floats.parent.glob("*x.inr*")] == [kept.name]
    if when == "in a slab":
        assert kept.stat().st_size > size // 4
        assert "--resume" in err
    code, _, err = run("compress", floats, output, "--exact-only", "--resume")
    assert code == 0, err
    assert output.read_bytes() == whole.read_bytes()
    assert not kept.exists()


def test_a_full_disk_costs_the_panel_nothing_that_was_coded(
    floats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_fits, "FOLDER", tmp_path / "fits")
    volume = load(floats)
    inr = compress(volume, None, max_error=0)
    coded: list[int] = []
    add = Growing.add

    def count(self: Growing, *slab: Any) -> None:
        add(self, *slab)
        coded.append(len(self.layer.slabs))

    monkeypatch.setattr(Growing, "add", count)
    with disk_full_after(inr.exact.nbytes // 2), pytest.raises(InrError, match="free some space"):
        add_exact(Control(), volume, replace(inr, exact=None), 0, keep=True)
    assert coded == [1]
    added = add_exact(Control(), volume, replace(inr, exact=None), 0, keep=True)
    assert coded == [1, 2, 3]
    assert added.inr.exact == inr.exact
    assert not list((tmp_path / "fits").glob("*.exact"))


class Killed(BaseException):
    """Ends a run as nothing else does."""
