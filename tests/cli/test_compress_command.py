"""`inr-volume compress`: options, what is reported, targets, own weights, interruption."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import QUICK, decompressed, voxels_by

from napari_inr_volume.core.advice import advice
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.fields.siren import ladder
from napari_inr_volume.io.dicom_export import write_dicom_series
from napari_inr_volume.io.inr_file import read_inr
from napari_inr_volume.superres.model_file import ModelInfo
from napari_inr_volume.superres.upscale import find_upscaler

pytestmark = pytest.mark.slow  # real fits, windows or processes

MakeWeights = Callable[..., ModelInfo]


def test_compress_prints_one_json_object_that_is_true(run: Any, source: Path, tmp_path: Path) -> None:
    code, out, _ = run("compress", source, tmp_path / "x.inr", *QUICK, "--preset", "paper-2", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["preset"] == "paper-2"
    assert report["device"] == "cpu"
    assert 0 < report["steps"] <= 30
    assert report["file_bytes"] == (tmp_path / "x.inr").stat().st_size
    assert report["ratio"] == pytest.approx(2 * 8 * 48 * 48 / report["file_bytes"])
    assert report["lr_psnr"] == read_inr(tmp_path / "x.inr").quality.lr_psnr
    assert report["seconds"] > 0


def test_options_reach_the_fit(run: Any, source: Path, tmp_path: Path) -> None:
    options = ["--omega", "20", "--factor", "1,2,2", "--seed", "7", "--learning-rate", "0.01"]
    assert run("compress", source, tmp_path / "x.inr", *QUICK, *options)[0] == 0
    inr = read_inr(tmp_path / "x.inr")
    assert (inr.field.layers, inr.field.hidden_features, inr.field.omega_0) == (2, 16, 20)
    assert inr.factor == (1, 2, 2)
    assert inr.fit.seed == 7


@pytest.mark.slow
def test_a_psnr_of_the_lr_ends_the_fit_early(run: Any, source: Path, tmp_path: Path) -> None:
    options = ["--steps", "5000", "--lr-psnr", "15", "--json"]
    _, out, _ = run("compress", source, tmp_path / "x.inr", *QUICK, *options)
    assert json.loads(out)["lr_psnr"] >= 15
    assert json.loads(out)["steps"] < 5_000


def test_a_ratio_beyond_the_diagnostic_ones_is_said_once_in_every_report(
    run: Any, source: Path, tmp_path: Path
) -> None:
    options = [source, tmp_path / "x.inr", *QUICK, "--upscaler", "lanczos"]
    _, out, err = run("compress", *options)
    assert "Preview quality" not in out
    assert err.count("Preview quality, not for diagnosis") == 1
    _, out, err = run("compress", *options, "--json")
    assert json.loads(out)["advice"] == advice(1000.0, "HU")
    assert "Preview quality" not in err
    declared = json.loads(run("info", tmp_path / "x.inr", "--json")[1])
    assert declared["ratio"] == pytest.approx(declared["source_bytes"] / declared["file_bytes"])
    assert declared["advice"] == advice(1000.0, "HU")
    assert run("info", tmp_path / "x.inr")[1].count("Preview quality, not for diagnosis") == 1
    _, out, err = run("compress", *options, "--hidden", "128")  # a network as large as the volume
    assert "Preview quality" not in out + err
    assert json.loads(run("info", tmp_path / "x.inr", "--json")[1])["advice"] is None


TARGET = ["--layers", "2", "--steps", "30", "--batch", "512", "--device", "cpu", "--upscaler", "lanczos"]


@pytest.fixture
def short_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "PROBED_WIDTHS", (8, 16))
    monkeypatch.setattr(ladder, "PROBED_STEPS", 20)


@pytest.mark.usefixtures("short_probe")
def test_a_file_of_a_size_has_no_more_bytes(run: Any, source: Path, tmp_path: Path) -> None:
    code, out, err = run("compress", source, tmp_path / "x.inr", *TARGET, "--max-bytes", 2_000, "--json")
    report = json.loads(out)
    assert code == 0
    assert (tmp_path / "x.inr").stat().st_size == report["file_bytes"] <= 2_000
    assert report["target"] == {"kind": "bytes", "value": 2000, "met": True}
    assert 0.9 * report["expected"]["file_bytes"] <= report["file_bytes"] <= report["expected"]["file_bytes"]
    assert "expected: at most 2.0 kB" in err


@pytest.mark.usefixtures("short_probe")
def test_a_plan_shows_what_there_is_to_choose_from_and_writes_nothing(
    run: Any, source: Path, tmp_path: Path
) -> None:
    command = ["compress", source, *TARGET, "--plan"]
    code, out, _ = run(*command, "--json")
    assert code == 0
    points = json.loads(out)["points"]
    assert len(points) > 2
    for smaller, larger in itertools.pairwise(points):
        assert smaller["file_bytes"] < larger["file_bytes"]
        assert smaller["hr_psnr"] < larger["hr_psnr"]
    for point in points:
        assert point["ratio"] * point["file_bytes"] == pytest.approx(json.loads(out)["source_bytes"])
    code, out, _ = run(*command)
    assert code == 0
    assert len(out.splitlines()) == len(points) + 2
    assert f"{points[0]['hr_psnr']:.1f} dB" in out
    code, named, _ = run(*command[:2], tmp_path / "x.inr", *command[2:])
    assert (code, named) == (0, out)
    assert not list(tmp_path.iterdir())


def test_without_a_plan_the_file_to_write_must_be_said(run: Any, source: Path) -> None:
    code, out, err = run("compress", source, *QUICK)
    assert (code, out) == (2, "")
    expected = "inr-volume: the .inr file to write is missing: give it after SRC; only --plan needs none"
    assert err.splitlines() == [expected]


@pytest.mark.parametrize(
    "options",
    [["--ratio", 20], ["--hidden", 16], ["--boxes", 2], ["--lossless"], ["--resume"]],
    ids=lambda one: one[0],
)
def test_a_plan_takes_nothing_that_it_chooses(
    run: Any, source: Path, tmp_path: Path, options: list[Any]
) -> None:
    code, _, err = run("compress", source, tmp_path / "x.inr", "--plan", *options)
    assert code == 2
    assert "--plan" in err


@pytest.mark.usefixtures("short_probe")
def test_a_ratio_is_kept(run: Any, source: Path, tmp_path: Path) -> None:
    report = json.loads(run("compress", source, tmp_path / "x.inr", *TARGET, "--ratio", 20, "--json")[1])
    assert report["ratio"] >= 20


@pytest.mark.slow
@pytest.mark.usefixtures("short_probe")
def test_a_quality_that_is_not_reached_is_said_with_what_was(run: Any, source: Path, tmp_path: Path) -> None:
    code, out, err = run("compress", source, tmp_path / "x.inr", *TARGET, "--target-psnr", 60, "--json")
    report = json.loads(out)
    assert code == 0
    assert not report["target"]["met"]
    assert f"the target of 60 dB was not met: {report['hr_psnr']:.2f} dB (range)" in err


@pytest.mark.usefixtures("short_probe")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-bytes", 100], "no .inr of this volume can be as small as 100 bytes; ask for"),
        (["--max-bytes", 9_000, "--ratio", 20], "give only one of them"),
        (["--ratio", 20, "--hidden", 16], "a target chooses --factor, --hidden, --boxes and --bits"),
        (["--ratio", 20, "--boxes", 2], "a target chooses --factor, --hidden, --boxes and --bits"),
        (["--ratio", 0.1], "a ratio must be from 1"),
    ],
)
def test_targets_that_cannot_be_are_refused_in_words(
    run: Any, source: Path, tmp_path: Path, options: list[Any], message: str
) -> None:
    code, _, err = run("compress", source, tmp_path / "x.inr", *TARGET, *options)
    assert code == 2
    assert message in err
    assert not (tmp_path / "x.inr").exists()


def test_own_weights_are_recorded_by_name_and_hash(run: Any, own: Path, by_own: Path) -> None:
    declared = json.loads(run("info", by_own, "--json")[1])
    assert declared["upscaler"] == {"name": "span", "sha256": sha256(own.read_bytes()).hexdigest()}
    assert "srmd" not in [section["tag"] for section in declared["sections"]]
    assert declared["quality"]["hr_psnr"] != declared["quality"]["lanczos_psnr"]


def test_embedded_weights_need_no_file(run: Any, source: Path, own: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.inr"
    options = ["--upscaler", own, "--embed-model", "--json"]
    report = json.loads(run("compress", source, path, *QUICK, *options)[1])
    assert report["file_bytes"] == path.stat().st_size > own.stat().st_size
    assert report["ratio_with_model"] == report["ratio"]  # it counts already
    found, err, voxels = decompressed(run, path, to=tmp_path / "x.npy")
    assert (found["upscaler_sha256"], err) == (report["upscaler_sha256"], "")
    np.testing.assert_array_equal(voxels, voxels_by(find_upscaler(own, (4, 4), device="cpu"), path))
    figures = json.loads(run("compare", source, path, "--device", "cpu", "--json")[1])
    assert (figures["upscaler"], figures["ratio_with_model"]) == ("span", figures["ratio"])


def test_embedding_without_weights_changes_nothing(run: Any, source: Path, tmp_path: Path) -> None:
    options = [*QUICK, "--upscaler", "lanczos"]
    run("compress", source, tmp_path / "a.inr", *options)
    run("compress", source, tmp_path / "b.inr", *options, "--embed-model")
    assert (tmp_path / "a.inr").read_bytes() == (tmp_path / "b.inr").read_bytes()


def test_ratio_counts_the_model_that_is_used_and_no_other(
    run: Any, source: Path, own: Path, tmp_path: Path
) -> None:
    _, out, _ = run("compress", source, tmp_path / "x.inr", *QUICK, "--upscaler", own, "--json")
    report = json.loads(out)
    with_model = report["file_bytes"] + own.stat().st_size
    assert report["ratio_with_model"] == pytest.approx(report["source_bytes"] / with_model)
    assert (
        "with the SR model's bytes"
        in run("compress", source, tmp_path / "y.inr", *QUICK, "--upscaler", own)[1]
    )


def test_auto_names_the_better_of_the_network_that_ships_and_lanczos(
    run: Any, source: Path, shipped: Path, make_weights: MakeWeights, tmp_path: Path
) -> None:
    make_weights(shipped / "span-x4.safetensors")  # random ones, which are worse
    code, out, err = run("compress", source, tmp_path / "x.inr", *QUICK, "--embed-model", "--json")
    assert code == 0
    assert err.count("Lanczos restores this volume better than SPAN, ") == 1
    report = json.loads(out)
    assert (report["upscaler"], report["upscaler_sha256"]) == ("lanczos", None)
    assert report["hr_psnr"] == report["lanczos_psnr"]
    assert report["ratio_with_model"] == report["ratio"]
    assert report["file_bytes"] == (tmp_path / "x.inr").stat().st_size < 20_000  # and nothing is embedded
    report, err, _ = decompressed(run, tmp_path / "x.inr", to=tmp_path / "x.npy")
    assert (report["upscaler"], err) == ("lanczos", "")


def test_a_broken_file_is_passed_over_only_if_it_is_asked_for(run: Any, tmp_path: Path) -> None:
    first, *_ = write_dicom_series(head_phantom((8, 48, 48)), tmp_path / "one")
    first.write_bytes(first.read_bytes()[:200])
    code, _, err = run("compress", tmp_path / "one", tmp_path / "x.inr", *QUICK)
    assert code == 2
    assert first.name in err
    assert "--skip-broken" in err
    code, _, err = run("compress", tmp_path / "one", tmp_path / "x.inr", *QUICK, "--skip-broken")
    assert code == 0
    assert err.startswith("read 7 x 48 x 48, ")
    assert run("compare", tmp_path / "one", tmp_path / "x.inr", "--skip-broken", "--device", "cpu")[0] == 0
