"""The command `inr-volume`, as a user meets it: results, one-line errors, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_inr_volume import compress, load
from napari_inr_volume.core.advice import advice
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren import ladder
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.io.dicom_export import write_dicom_series
from napari_inr_volume.io.inr_file import read_inr, write_inr
from napari_inr_volume.superres.model_file import ModelInfo
from napari_inr_volume.superres.upscale import LanczosUpscaler, Upscaler, find_upscaler

QUICK = ["--layers", "2", "--hidden", "16", "--steps", "30", "--batch", "512", "--device", "cpu"]

MakeWeights = Callable[..., ModelInfo]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "head.npy"
    np.save(path, head_phantom((8, 48, 48)).voxels)
    return path


@pytest.fixture(scope="session")
def compressed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inr") / "head.inr"
    command = [sys.executable, "-c", "from napari_inr_volume.cli import main; main()"]
    options = [*QUICK, "--upscaler", "lanczos"]
    subprocess.run([*command, "compress", source, path, *options], check=True, capture_output=True)
    return path


def complaints(err: str) -> list[str]:
    """Return the lines of standard error but those on what was read."""
    return [line for line in err.splitlines() if not line.startswith("read ")]


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
    assert (inr.field.layers, inr.field.hidden_features, inr.field.omega_0) == (2, 16, 20)
    assert inr.factor == (1, 2, 2)
    assert inr.fit.seed == 7


def test_a_psnr_of_the_lr_ends_the_fit_early(run: Any, source: Path, tmp_path: Path) -> None:
    options = ["--steps", "100000", "--lr-psnr", "15", "--json"]
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
    assert report["hr_psnr"] == report["lanczos_psnr"]  # as it names Lanczos
    assert Path(report["figure"]).read_bytes().startswith(b"\x89PNG")


def test_compare_in_words_names_the_range_of_every_psnr(run: Any, source: Path, compressed: Path) -> None:
    _, out, _ = run("compare", source, compressed, "--window", "brain", "--device", "cpu")
    lines = [line for line in out.splitlines() if "dB" in line]
    assert len(lines) == 4
    assert all("range, peak " in line or "window brain (40 / 80)" in line for line in lines)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".tif", ".npy"])
def test_decompress_writes_what_decodes(run: Any, compressed: Path, tmp_path: Path, suffix: str) -> None:
    from napari_inr_volume import decompress

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
    write_dicom_series(head_phantom((8, 32, 32)), tmp_path / "study" / "one", description="first")
    write_dicom_series(head_phantom((9, 32, 32)), tmp_path / "study" / "two", description="second")
    code, out, _ = run("series", tmp_path / "study", "--json")
    assert code == 0
    series = json.loads(out)["series"]
    assert {(line["description"], line["slices"]) for line in series} == {("first", 8), ("second", 9)}
    code, out, err = run("compress", tmp_path / "study", tmp_path / "x.inr", *QUICK)
    assert (code, out) == (2, "")
    assert "--series" in err
    for chosen in ("2", series[1]["key"]):
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
        (["compress", "SOURCE", "x.inr", "--upscaler", "bicubic"], "or a .safetensors file"),
        (
            ["compress", "SOURCE", "x.inr", "--upscaler", "no.safetensors"],
            "no.safetensors: No such file or directory; give a .safetensors file as inr-volume train-sr",
        ),
        (
            ["train-sr", "nowhere", "--validate", "SOURCE", "--output", "w.safetensors"],
            "there is no file or folder 'nowhere'",
        ),
        (["compress", "SOURCE", "x.inr", "--upscaler", "BAD"], "bad.safetensors is damaged or not a weights"),
        (
            ["compress", "SOURCE", "x.inr", "--upscaler", "srdensenet", "--factor", "2"],
            "use the upscaler auto or lanczos",
        ),
        (["decompress", "INR", "x.npy", "--upscaler", "BAD"], "bad.safetensors is damaged or not a weights"),
        (["compare", "SOURCE", "INR", "--upscaler", "BAD"], "bad.safetensors is damaged or not a weights"),
        (["compress", "INR", "x.inr"], "compressed already"),
        (["compress", "SOURCE", "x.inr", "--resume"], "no fit to resume, no file x.inr.fit; start over"),
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
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    bad = tmp_path_factory.mktemp("bad") / "bad.safetensors"
    bad.write_bytes(b"hello")
    monkeypatch.chdir(tmp_path)
    places = {"SOURCE": str(source), "INR": str(compressed), "BAD": str(bad)}
    code, out, err = run(*(places.get(argument, argument) for argument in arguments))
    assert code == 2
    assert out == ""
    assert words in err
    assert len(complaints(err)) == 1
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
    reader = threading.Thread(target=_read_to_the_end, args=(screen,))  # a full terminal would stop it
    reader.start()
    out, _ = process.communicate()
    reader.join()
    os.close(screen)
    report = json.loads(out)
    assert process.returncode == 130
    assert report["interrupted"]
    assert read_inr(tmp_path / "x.inr").fit.steps == report["steps"] > 0
    assert (tmp_path / "x.inr.fit").is_file()


def _read_to_the_end(screen: int) -> None:
    with suppress(OSError):  # which is how Linux tells that nobody writes to it any more
        while os.read(screen, 1024):
            pass


# Resuming

LONGER = [*QUICK, "--steps", "2000", "--upscaler", "lanczos"]
EAGER = """
from napari_inr_volume import cli
from napari_inr_volume.fields.siren import fit
fit.SECONDS_PER_RECORD = cli.SECONDS_PER_CHECKPOINT = 0.0  # a checkpoint after every step
cli.main()
"""


def start_and_await_checkpoint(source: Path, output: Path, **streams: Any) -> subprocess.Popen[bytes]:
    """Compress in a process of its own, and return once the fit can be resumed."""
    process = subprocess.Popen([sys.executable, "-c", EAGER, "compress", source, output, *LONGER], **streams)
    while not output.with_name("x.inr.fit").exists():
        assert process.poll() is None
        time.sleep(0.01)
    return process


def resumed(source: Path, output: Path) -> dict[str, Any]:
    """Go on in another process, with the threads of the first: in this one a test may have set others."""
    command = [sys.executable, "-c", "from napari_inr_volume.cli import main; main()", "compress"]
    options = [*LONGER, "--resume", "--json"]
    done = subprocess.run([*command, source, output, *options], check=True, capture_output=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.fixture(scope="session")
def in_one_go(source: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The .inr of a fit that nothing interrupted."""
    path = tmp_path_factory.mktemp("whole") / "x.inr"
    command = [sys.executable, "-c", EAGER.replace("= 0.0", "= 60.0"), "compress", source, path, *LONGER]
    subprocess.run(command, check=True, capture_output=True)
    assert [file.name for file in path.parent.iterdir()] == ["x.inr"]  # it took less than a minute
    return path.read_bytes()


@pytest.fixture(scope="session")
def killed_once(source: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a killed fit leaves beside the .inr that it did not come to write."""
    output = tmp_path_factory.mktemp("killed") / "x.inr"
    process = start_and_await_checkpoint(source, output)
    process.kill()
    assert process.wait() != 0
    assert not output.exists()
    return output.with_name("x.inr.fit").read_bytes()


@pytest.fixture
def killed(killed_once: bytes, tmp_path: Path) -> Path:
    """A folder in which a fit to x.inr was killed."""
    (tmp_path / "x.inr.fit").write_bytes(killed_once)
    return tmp_path


def test_killed_and_resumed_gives_the_file_of_a_fit_in_one_go(
    source: Path, killed: Path, in_one_go: bytes
) -> None:
    assert not resumed(source, killed / "x.inr")["interrupted"]
    assert (killed / "x.inr").read_bytes() == in_one_go
    assert [path.name for path in killed.iterdir()] == ["x.inr"]


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to a process there")
def test_ctrl_c_leaves_a_result_and_the_way_to_go_on(source: Path, tmp_path: Path, in_one_go: bytes) -> None:
    output = tmp_path / "x.inr"
    process = start_and_await_checkpoint(source, output, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130
    assert b"to go on later with --resume" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.inr", "x.inr.fit"]
    assert 0 < read_inr(output).fit.steps < 2000
    assert not resumed(source, output)["interrupted"]
    assert output.read_bytes() == in_one_go
    assert [path.name for path in tmp_path.iterdir()] == ["x.inr"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pseudo-terminal")
def test_a_partial_result_that_is_not_wanted_leaves_nothing(source: Path, tmp_path: Path) -> None:
    screen, terminal = os.openpty()
    process = start_and_await_checkpoint(
        source, tmp_path / "x.inr", stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    os.write(screen, b"n\n")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    os.close(terminal)
    os.close(screen)
    assert process.returncode == 130
    assert b"save it to" in out + err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "x.inr.fit keeps a fit that was interrupted; add --resume to go on with it, or delete it"),
        (["--resume", "--seed", "3"], "begun with other settings: seed was 0, now 3; give the same"),
        (["--resume", "--factor", "1,2,2"], "of another volume, or of another factor"),
    ],
    ids=["anew", "other settings", "other factor"],
)
def test_an_unfinished_fit_is_neither_mixed_with_another_nor_lost(
    run: Any, source: Path, killed: Path, killed_once: bytes, options: list[str], words: str
) -> None:
    code, out, err = run("compress", source, killed / "x.inr", *LONGER, *options)
    assert code == 2
    assert out == ""
    assert words in err
    assert len(complaints(err)) == 1
    assert [path.name for path in killed.iterdir()] == ["x.inr.fit"]
    assert (killed / "x.inr.fit").read_bytes() == killed_once


def test_a_fit_of_another_volume_is_not_resumed(run: Any, killed: Path, tmp_path_factory: Any) -> None:
    other = tmp_path_factory.mktemp("other") / "head.npy"
    np.save(other, head_phantom((8, 48, 48)).voxels[::-1])
    code, _, err = run("compress", other, killed / "x.inr", *LONGER, "--resume")
    assert code == 2
    assert "of another volume" in err


def test_a_damaged_state_is_named_and_nothing_is_fitted(run: Any, source: Path, killed: Path) -> None:
    content = (killed / "x.inr.fit").read_bytes()
    (killed / "x.inr.fit").write_bytes(content[:-100])
    code, _, err = run("compress", source, killed / "x.inr", *LONGER, "--resume")
    assert code == 2
    assert "x.inr.fit is damaged" in err
    assert not (killed / "x.inr").exists()


def test_a_state_tells_nothing_of_where_the_volume_came_from(killed_once: bytes, source: Path) -> None:
    for word in (source.parent.name, source.name, str(Path.home())):
        assert word.encode() not in killed_once


def test_a_ratio_beyond_the_diagnostic_ones_is_said_once_in_every_report(
    run: Any, source: Path, tmp_path: Path
) -> None:
    options = [source, tmp_path / "x.inr", *QUICK, "--upscaler", "lanczos"]
    _, out, err = run("compress", *options)
    assert "Preview quality" not in out
    assert err.count("Preview quality, not for diagnosis") == 1
    _, out, err = run("compress", *options, "--json")
    assert json.loads(out)["advice"] == advice(1000.0)
    assert "Preview quality" not in err
    declared = json.loads(run("info", tmp_path / "x.inr", "--json")[1])
    assert declared["ratio"] == pytest.approx(declared["source_bytes"] / declared["file_bytes"])
    assert declared["advice"] == advice(1000.0)
    assert run("info", tmp_path / "x.inr")[1].count("Preview quality, not for diagnosis") == 1
    _, out, err = run("compress", *options, "--hidden", "128")  # a network as large as the volume
    assert "Preview quality" not in out + err
    assert json.loads(run("info", tmp_path / "x.inr", "--json")[1])["advice"] is None


# Targets

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
def test_a_ratio_is_kept(run: Any, source: Path, tmp_path: Path) -> None:
    report = json.loads(run("compress", source, tmp_path / "x.inr", *TARGET, "--ratio", 20, "--json")[1])
    assert report["ratio"] >= 20


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
        (["--max-bytes", 9_000, "--ratio", 20], "exclude one another"),
        (["--ratio", 20, "--hidden", 16], "a target chooses --factor, --hidden and --bits"),
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


def test_demo_goes_the_whole_way(run: Any, tmp_path: Path) -> None:
    code, out, _ = run("demo", tmp_path / "demo", "--steps", "3", "--device", "cpu", "--json")
    assert code == 0
    assert json.loads(out)["source_bytes"] == 2 * 48 * 256 * 256
    assert len(list((tmp_path / "demo" / "phantom-dicom").iterdir())) == 48
    assert (tmp_path / "demo" / "phantom-compare.png").is_file()


# The upscaler


@pytest.fixture(scope="session")
def own(make_weights: MakeWeights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a person's own, as `train-sr` makes them."""
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    make_weights(path, "span", seed=1)
    return path


@pytest.fixture(scope="session")
def other(make_weights: MakeWeights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other weights, of another network."""
    path = tmp_path_factory.mktemp("weights") / "other.safetensors"
    make_weights(path, "srdensenet", seed=2)
    return path


@pytest.fixture(scope="session")
def by_own(source: Path, own: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .inr whose upscaler has the own weights."""
    path = tmp_path_factory.mktemp("inr") / "own.inr"
    command = [sys.executable, "-c", "from napari_inr_volume.cli import main; main()"]
    options = [*QUICK, "--upscaler", own]
    subprocess.run([*command, "compress", source, path, *options], check=True, capture_output=True)
    return path


def voxels_by(upscaler: Upscaler, inr_path: Path) -> NDArray[Any]:
    """Return what an .inr decodes to."""
    from napari_inr_volume import decompress

    return decompress(read_inr(inr_path), upscaler=upscaler, device="cpu").voxels


@pytest.fixture
def voxels_by_own(own: Path, by_own: Path) -> NDArray[Any]:
    return voxels_by(find_upscaler(own, (4, 4), device="cpu"), by_own)


@pytest.fixture
def voxels_by_lanczos(by_own: Path) -> NDArray[Any]:
    return voxels_by(LanczosUpscaler((4, 4)), by_own)


def decompressed(run: Any, *arguments: str | Path, to: Path) -> tuple[dict[str, Any], str, NDArray[Any]]:
    """Run decompress to an .npy; returns its report, standard error and the voxels."""
    code, out, err = run("decompress", *arguments, to, "--device", "cpu", "--json")
    assert code == 0, err
    return json.loads(out), err, np.load(to)


def test_own_weights_are_recorded_by_name_and_hash(run: Any, own: Path, by_own: Path) -> None:
    declared = json.loads(run("info", by_own, "--json")[1])
    assert declared["upscaler"] == {"name": "span", "sha256": sha256(own.read_bytes()).hexdigest()}
    assert "srmd" not in [section["tag"] for section in declared["sections"]]
    assert declared["quality"]["hr_psnr"] != declared["quality"]["lanczos_psnr"]


def test_own_weights_given_again_restore_what_was_saved(
    run: Any, own: Path, by_own: Path, voxels_by_own: NDArray[Any], tmp_path: Path
) -> None:
    report, err, voxels = decompressed(run, by_own, "--upscaler", own, to=tmp_path / "x.npy")
    assert (report["upscaler"], report["upscaler_sha256"]) == ("span", read_inr(by_own).upscaler.sha256)
    assert err == ""
    np.testing.assert_array_equal(voxels, voxels_by_own)


@pytest.mark.parametrize("given", ["nothing", "other weights"])
def test_missing_or_other_weights_are_told_and_lanczos_takes_their_place(
    run: Any, other: Path, by_own: Path, voxels_by_lanczos: NDArray[Any], tmp_path: Path, given: str
) -> None:
    options = ["--upscaler", other] if given == "other weights" else []
    report, err, voxels = decompressed(run, by_own, *options, to=tmp_path / "x.npy")
    assert (report["upscaler"], report["upscaler_sha256"]) == ("lanczos", None)
    assert "restored by Lanczos, not by SPAN as the file asks for" in err
    assert read_inr(by_own).upscaler.sha256[:12] in err
    assert ("other.safetensors: SHA-256" in err) == bool(options)
    assert len(err.splitlines()) == 1
    np.testing.assert_array_equal(voxels, voxels_by_lanczos)


def test_decompress_says_in_words_what_restored(run: Any, own: Path, by_own: Path, tmp_path: Path) -> None:
    _, out, _ = run("decompress", by_own, tmp_path / "x.npy", "--upscaler", own, "--device", "cpu")
    assert "restored by span" in out
    code, out, err = run("decompress", by_own, tmp_path / "y.npy", "--device", "cpu")
    assert code == 0
    assert "restored by lanczos" in out
    assert "give the weights file" in err


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


def test_compare_measures_any_weights_file(
    run: Any, source: Path, compressed: Path, by_own: Path, own: Path, other: Path
) -> None:
    figures = {}
    for inr_path in (compressed, by_own):  # one names Lanczos, one other weights
        _, out, err = run("compare", source, inr_path, "--upscaler", other, "--device", "cpu", "--json")
        figures = json.loads(out)
        assert complaints(err) == []
        assert (figures["upscaler"], figures["upscaler_sha256"]) == (
            "srdensenet",
            sha256(other.read_bytes()).hexdigest(),
        )
    _, out, _ = run("compare", source, by_own, "--upscaler", own, "--device", "cpu", "--json")
    assert json.loads(out)["hr_psnr"] != figures["hr_psnr"]
    assert json.loads(out)["hr_psnr"] == pytest.approx(read_inr(by_own).quality.hr_psnr)


def test_compare_without_the_named_weights_shows_figures_of_lanczos_only(
    run: Any, source: Path, by_own: Path
) -> None:
    _, out, err = run("compare", source, by_own, "--device", "cpu", "--json")
    figures = json.loads(out)
    assert "restored by Lanczos, not by SPAN" in err
    assert (figures["upscaler"], figures["hr_psnr"]) == ("lanczos", figures["lanczos_psnr"])
    assert figures["hr_psnr"] == pytest.approx(read_inr(by_own).quality.lanczos_psnr)


def test_another_upscaler_by_name_needs_no_weights_of_the_file(
    run: Any, by_own: Path, voxels_by_lanczos: NDArray[Any], tmp_path: Path
) -> None:
    _, err, voxels = decompressed(run, by_own, "--upscaler", "lanczos", to=tmp_path / "x.npy")
    assert err == ""
    np.testing.assert_array_equal(voxels, voxels_by_lanczos)


def test_weights_of_ones_own_restore_an_inr_that_names_none(
    run: Any, compressed: Path, own: Path, tmp_path: Path
) -> None:
    report, err, voxels = decompressed(run, compressed, "--upscaler", own, to=tmp_path / "x.npy")
    assert (report["upscaler"], err) == ("span", "")
    np.testing.assert_array_equal(voxels, voxels_by(find_upscaler(own, (4, 4), device="cpu"), compressed))


def test_auto_takes_the_network_that_ships_for_this_device(
    run: Any, source: Path, shipped: Path, make_weights: MakeWeights, tmp_path: Path
) -> None:
    info = make_weights(shipped / "span-x4.safetensors")
    _, out, _ = run("compress", source, tmp_path / "x.inr", *QUICK, "--json")
    assert json.loads(out)["upscaler_sha256"] == info.sha256
    report, err, _ = decompressed(run, tmp_path / "x.inr", to=tmp_path / "x.npy")
    assert (report["upscaler"], err) == ("span", "")


# Uneven and tilted grids

UNEVEN = replace(
    head_phantom((8, 48, 48)).geometry, slice_positions=tuple(np.cumsum([0, 24, 24, 24, 24, 24, 24, 30.0]))
)


@pytest.fixture(scope="session")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .inr of a volume whose last slice lies further away."""
    path = tmp_path_factory.mktemp("uneven") / "uneven.inr"
    volume = replace(head_phantom((8, 48, 48)), geometry=UNEVEN)
    settings = Settings(field=SirenConfig(layers=2, hidden_features=16), fit=FitConfig(steps=3, batch=512))
    write_inr(compress(volume, settings, device="cpu", upscaler="lanczos"), path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd"])
def test_an_uneven_volume_is_exported_with_a_warning_unless_it_is_made_even(
    run: Any, uneven: Path, tmp_path: Path, suffix: str
) -> None:
    code, _, err = run("decompress", uneven, tmp_path / f"as it is{suffix}", "--device", "cpu")
    assert code == 0
    (line,) = err.splitlines()
    assert "slice distances are uneven, 24 to 30 mm; --even exports an evenly spaced, orthogonal" in line
    code, _, err = run("decompress", uneven, tmp_path / f"even{suffix}", "--even", "--device", "cpu")
    assert (code, err) == (0, "")
    assert load(tmp_path / f"even{suffix}").geometry.caveats == ()


def test_a_tiff_says_uneven_distances_itself(run: Any, uneven: Path, tmp_path: Path) -> None:
    assert run("decompress", uneven, tmp_path / "x.tif", "--device", "cpu")[2] == ""


def test_an_even_volume_is_the_same_with_even(run: Any, compressed: Path, tmp_path: Path) -> None:
    run("decompress", compressed, tmp_path / "a.npy", "--device", "cpu")
    run("decompress", compressed, tmp_path / "b.npy", "--even", "--device", "cpu")
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


# Text and broken files


def test_text_of_files_is_shown_as_it_is_in_a_listing(run: Any, tmp_path: Path) -> None:
    write_dicom_series(head_phantom((8, 32, 32)), tmp_path / "one", description="[lung] [/b] :smile:")
    (tmp_path / "one" / "slice-0009[red].dcm").write_bytes(b"cut off")
    code, out, _ = run("series", tmp_path)
    assert code == 0
    assert "[lung] [/b] :smile:" in out
    assert "broken: 'slice-0009[red].dcm'" in out
    listed = json.loads(run("series", tmp_path, "--json")[1])
    assert listed["series"][0]["description"] == "[lung] [/b] :smile:"
    assert [Path(one["path"]).name for one in listed["broken"]] == ["slice-0009[red].dcm"]


def test_escapes_in_a_file_never_reach_the_terminal(run: Any, tmp_path: Path) -> None:
    for path in write_dicom_series(head_phantom((8, 32, 32)), tmp_path / "one", description="lung XXXX"):
        path.write_bytes(path.read_bytes().replace(b"lung XXXX", b"lung \x1b[2J"))
    for arguments in (["series", tmp_path], ["compress", tmp_path, tmp_path / "x\x1b[2J.inr", *QUICK]):
        code, out, err = run(*arguments)
        assert code == 0
        assert "\x1b" not in out + err
        assert "\\x1b[2J" in out


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
