"""Every command: bad input in one line, help, text of files on the terminal."""

from __future__ import annotations

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
