"""The command `inr-volume`, as a user meets it: results, one-line errors, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_inr_volume import cli
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.inr.inr_volume import UpscalerRef
from napari_inr_volume.io.inr_file import read_inr, write_inr

QUICK = ["--layers", "2", "--hidden", "16", "--steps", "30", "--batch", "512", "--device", "cpu"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command in this process; returns exit code, standard output, standard error."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["inr-volume", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return end.value.code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "head.npy"
    np.save(path, head_phantom((8, 48, 48)).voxels)
    return path


@pytest.fixture(scope="session")
def compressed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inr") / "head.inr"
    command = [sys.executable, "-c", "from napari_inr_volume.cli import main; main()"]
    subprocess.run([*command, "compress", source, path, *QUICK], check=True, capture_output=True)
    return path


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
    options = ["--omega", "20", "--factor", "1,2,2", "--seed", "7", "--lr", "0.01"]
    assert run("compress", source, tmp_path / "x.inr", *QUICK, *options)[0] == 0
    inr = read_inr(tmp_path / "x.inr")
    assert (inr.siren.layers, inr.siren.hidden_features, inr.siren.omega_0) == (2, 16, 20)
    assert inr.factor == (1, 2, 2)
    assert inr.fit.seed == 7


def test_target_psnr_ends_the_fit_early(run: Any, source: Path, tmp_path: Path) -> None:
    options = ["--steps", "100000", "--target-psnr", "15", "--json"]
    _, out, _ = run("compress", source, tmp_path / "x.inr", *QUICK, *options)
    assert json.loads(out)["lr_psnr"] >= 15
    assert json.loads(out)["steps"] < 100_000


def test_compare_reports_every_figure_and_draws_the_picture(run: Any, source: Path, compressed: Path) -> None:
    code, out, _ = run("compare", source, compressed, "--json", "--device", "cpu")
    report = json.loads(out)
    assert code == 0
    promised = (
        "file_bytes source_bytes ratio ratio_with_model lr_psnr hr_psnr lanczos_psnr"
        " hr_psnr_8bit ssim hu_rmse hu_p99 hu_max upscaler seconds"
    )
    assert set(promised.split()) <= set(report)
    assert report["hr_psnr"] == pytest.approx(read_inr(compressed).quality.hr_psnr)
    assert report["hr_psnr"] == report["lanczos_psnr"]  # no SR weights ship yet
    assert Path(report["figure"]).read_bytes().startswith(b"\x89PNG")


def test_compare_in_words_names_the_range_of_every_psnr(run: Any, source: Path, compressed: Path) -> None:
    _, out, _ = run("compare", source, compressed, "--window", "brain", "--device", "cpu")
    lines = [line for line in out.splitlines() if "dB" in line]
    assert len(lines) == 4
    assert all("range, peak " in line or "window brain (40 / 80)" in line for line in lines)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".tif", ".npy"])
def test_decompress_writes_what_decodes(run: Any, compressed: Path, tmp_path: Path, suffix: str) -> None:
    from napari_inr_volume import decompress, load

    output = tmp_path / f"again{suffix}"
    assert run("decompress", compressed, output, "--device", "cpu")[0] == 0
    np.testing.assert_array_equal(load(output).voxels, decompress(read_inr(compressed), device="cpu").voxels)


def test_info_prints_everything_the_file_declares(run: Any, compressed: Path) -> None:
    code, out, _ = run("info", compressed, "--json")
    declared = json.loads(out)
    assert code == 0
    assert declared["hr"]["shape"] == [8, 48, 48]
    assert declared["siren"]["hidden_features"] == 16
    code, out, _ = run("info", compressed)
    assert code == 0
    assert "siren.hidden_features" in out


def test_series_lists_what_can_be_chosen(run: Any, tmp_path: Path) -> None:
    from napari_inr_volume.io.dicom_export import write_dicom_series

    write_dicom_series(head_phantom((8, 32, 32)), tmp_path / "study" / "one", description="first")
    write_dicom_series(head_phantom((9, 32, 32)), tmp_path / "study" / "two", description="second")
    code, out, _ = run("series", tmp_path / "study", "--json")
    assert code == 0
    series = json.loads(out)["series"]
    assert {(line["description"], line["slices"]) for line in series} == {("first", 8), ("second", 9)}
    code, out, err = run("compress", tmp_path / "study", tmp_path / "x.inr", *QUICK)
    assert (code, out) == (2, "")
    assert "--series" in err
    for chosen in ("2", series[1]["uid"]):
        run("compress", tmp_path / "study", tmp_path / "x.inr", *QUICK, "--series", chosen)
        assert read_inr(tmp_path / "x.inr").geometry.shape[0] == series[1]["slices"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compress", "nowhere", "x.inr"], "there is no file or folder 'nowhere'"),
        (["compress", "SOURCE", "x.nii"], "must end in .inr"),
        (["compress", "SOURCE", "no/x.inr"], "there is no folder"),
        (["compress", "SOURCE", "x.inr", "--preset", "best"], "choose one of fast"),
        (["compress", "SOURCE", "x.inr", "--layers", "0"], "layers must be"),
        (["compress", "SOURCE", "x.inr", "--steps", "many"], "Invalid value for '--steps'"),
        (["compress", "SOURCE", "x.inr", "--factor", "1,4"], "three for z,y,x"),
        (["compress", "SOURCE", "x.inr", "--factor", "0.5"], "factor along z"),
        (["compress", "SOURCE", "x.inr", "--upscaler", "srdensenet"], "use the upscaler lanczos"),
        (["compress", "INR", "x.inr"], "compressed already"),
        (["decompress", "INR", "x.dcm"], "must end in .nii"),
        (["decompress", "SOURCE", "x.nii"], "not an .inr file"),
        (["info", "nowhere.inr"], "nowhere.inr"),
        (["compare", "SOURCE", "INR", "--slice", "8"], "--slice must be from 0 to 7"),
        (["compare", "SOURCE", "INR", "--window", "fog"], "--window"),
        (["explode"], "No such command 'explode'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_ends_in_one_line_and_code_2(
    run: Any,
    source: Path,
    compressed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"SOURCE": str(source), "INR": str(compressed)}
    code, out, err = run(*(places.get(argument, argument) for argument in arguments))
    assert code == 2
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_no_command_shows_the_help(run: Any) -> None:
    code, out, _ = run()
    assert code == 0
    assert "compress" in out


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pseudo-terminal")
def test_ctrl_c_during_a_fit_saves_what_was_reached(source: Path, tmp_path: Path) -> None:
    """A real process with its progress on a real terminal, and nobody at the keyboard to be asked."""
    screen, terminal = os.openpty()
    command = [sys.executable, "-c", "from napari_inr_volume.cli import main; main()", "compress"]
    process = subprocess.Popen(
        [*command, source, tmp_path / "x.inr", *QUICK, "--steps", "100000", "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    while b"dB" not in shown:  # the fit has been followed once; pytest's timeout ends a hang
        shown += os.read(screen, 1024)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    os.close(screen)
    report = json.loads(out)
    assert process.returncode == 130
    assert report["interrupted"]
    assert read_inr(tmp_path / "x.inr").fit.steps == report["steps"] > 0


def test_demo_goes_the_whole_way(run: Any, tmp_path: Path) -> None:
    code, out, _ = run("demo", tmp_path / "demo", "--steps", "3", "--device", "cpu", "--json")
    assert code == 0
    assert json.loads(out)["source_bytes"] == 2 * 48 * 256 * 256
    assert len(list((tmp_path / "demo" / "phantom-dicom").iterdir())) == 48
    assert (tmp_path / "demo" / "phantom-compare.png").is_file()


def test_file_whose_model_is_missing_says_what_to_do_and_decodes_by_lanczos(
    run: Any, compressed: Path, tmp_path: Path
) -> None:
    named = replace(read_inr(compressed), upscaler=UpscalerRef(name="srdensenet", sha256="ab" * 32))
    write_inr(named, tmp_path / "sr.inr")
    code, _, err = run("decompress", tmp_path / "sr.inr", tmp_path / "x.npy")
    assert code == 2
    assert "SRDenseNet abababababab does not ship" in err
    assert "use the upscaler lanczos" in err
    assert run("decompress", tmp_path / "sr.inr", tmp_path / "x.npy", "--upscaler", "lanczos")[0] == 0
