"""Every command: bad input in one line, help, text of files on the terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import QUICK, complaints

from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.io.dicom_export import write_dicom_series


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


def test_escapes_in_a_file_never_reach_the_terminal(run: Any, tmp_path: Path) -> None:
    for path in write_dicom_series(head_phantom((8, 32, 32)), tmp_path / "one", description="lung XXXX"):
        path.write_bytes(path.read_bytes().replace(b"lung XXXX", b"lung \x1b[2J"))
    for arguments in (["series", tmp_path], ["compress", tmp_path, tmp_path / "x\x1b[2J.inr", *QUICK]):
        code, out, err = run(*arguments)
        assert code == 0
        assert "\x1b" not in out + err
        assert "\\x1b[2J" in out


LONG = "a" * 300  # of which file systems take 255


@pytest.mark.skipif(sys.platform == "win32", reason="Windows says it in words of its own")
@pytest.mark.parametrize(
    "arguments",
    [
        ["compress", f"{LONG}.npy", "x.inr"],
        ["compress", "SOURCE", f"{LONG}.inr"],
        ["decompress", "INR", f"{LONG}.npy"],
        ["decompress", "INR", f"{LONG}/"],
        ["compare", f"{LONG}.npy", "INR"],
        ["compare", "SOURCE", "INR", "--figure", f"{LONG}.png"],
        ["strip", "INR", f"{LONG}.inr"],
        ["series", LONG],
        ["batch", LONG, "out"],
        ["batch", "SOURCE", LONG],
        ["demo", LONG],
        ["train-sr", "SOURCE", "--validate", "INR", "--output", f"{LONG}.safetensors"],
    ],
    ids=lambda arguments: " ".join(arguments).replace(LONG, "LONG"),
)
def test_a_name_that_no_file_can_have_ends_in_one_line(
    run: Any,
    source: Path,
    compressed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"SOURCE": str(source), "INR": str(compressed)}
    code, out, err = run(*(places.get(argument, argument) for argument in arguments))
    (line,) = complaints(err)
    assert (code, out) == (2, "")
    assert LONG in line
    assert "name too long" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes among its files")
def test_a_pipe_is_refused_and_not_waited_for(run: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "head.npy")
    code, _, err = run("compress", tmp_path / "head.npy", tmp_path / "out.inr")
    (line,) = complaints(err)
    assert code == 2
    assert "is a device or a pipe; give a file or a folder" in line


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes among its files")
def test_pipes_in_a_folder_are_passed_over(run: Any, tmp_path: Path) -> None:
    for name in ("1.png", "2.tif", "head.npy", "scan.dcm"):
        os.mkfifo(tmp_path / name)
    code, _, err = run("compress", tmp_path, tmp_path / "out.inr")
    assert (code, len(complaints(err))) == (2, 1)
    assert "holds neither DICOM files nor PNG or TIFF slices" in err
    code, _, err = run("batch", tmp_path, tmp_path.parent / "out", "--exact-only")
    assert code == 2
    assert "there is no volume" in err
