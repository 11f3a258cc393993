"""An interrupted `inr-volume compress` is resumed, and nothing is mixed or lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import LONGER, QUICK, complaints

from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.io.inr_file import read_inr


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


EAGER = """
from napari_inr_volume import cli, session
from napari_inr_volume.fields.siren import fit
fit.SECONDS_PER_RECORD = session.SECONDS_PER_CHECKPOINT = 0.0  # a checkpoint after every step
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
    assert b"--resume can continue it later" in err
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
    assert b"save the best result so far to" in out + err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "x.inr.fit holds the state of an interrupted fit; add --resume to continue it"),
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
