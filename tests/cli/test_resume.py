"""An interrupted `inr-volume compress` is resumed, and nothing is mixed or lost."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from commands import LONGER, QUICK, complaints, in_this_process

from napari_inr_volume import session
from napari_inr_volume.cli import fitting
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.fields.base import FitState
from napari_inr_volume.fields.siren import fit
from napari_inr_volume.fields.state_file import save_state
from napari_inr_volume.io.inr_file import read_inr


@pytest.mark.skipif(sys.platform == "win32", reason="there is no pseudo-terminal")
@pytest.mark.slow
def test_ctrl_c_during_a_fit_saves_what_was_reached(source: Path, tmp_path: Path) -> None:
    """A real process with its progress on a real terminal, and nobody at the keyboard to be asked."""
    screen, terminal = os.openpty()
    command = [sys.executable, "-c", "from napari_inr_volume.cli import main; main()", "compress"]
    process = subprocess.Popen(
        [*command, source, tmp_path / "x.inr", *QUICK, "--steps", "20000", "--json"],
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


# From here on a fit is interrupted in this process; tests/test_safety.py kills processes at any moment.


class Killed(BaseException):
    """Ends a fit as nothing else does."""


def interrupt_after(patch: pytest.MonkeyPatch, states: int, interrupt: Callable[[], object]) -> None:
    """Have each step keep its state, and the fit interrupted once so many were kept."""
    patch.setattr(fit, "SECONDS_PER_RECORD", 0.0)
    patch.setattr(session, "SECONDS_PER_CHECKPOINT", 0.0)
    kept = count(1)

    def save(state: FitState, path: Path) -> None:
        save_state(state, path)
        if next(kept) == states:
            interrupt()

    patch.setattr(fitting, "save_state", save)


@pytest.fixture(scope="module")
def in_one_go(source: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The .inr of a fit that nothing interrupted."""
    path = tmp_path_factory.mktemp("whole") / "x.inr"
    assert in_this_process("compress", source, path, *LONGER) == 0
    assert [file.name for file in path.parent.iterdir()] == ["x.inr"]
    return path.read_bytes()


@pytest.fixture(scope="module")
def killed_once(source: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a killed fit leaves beside the .inr that it did not come to write."""
    output = tmp_path_factory.mktemp("killed") / "x.inr"

    def kill() -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 50, kill)
        with pytest.raises(Killed):
            in_this_process("compress", source, output, *LONGER)
    assert not output.exists()
    return output.with_name("x.inr.fit").read_bytes()


@pytest.fixture
def killed(killed_once: bytes, tmp_path: Path) -> Path:
    """A folder in which a fit to x.inr was killed."""
    (tmp_path / "x.inr.fit").write_bytes(killed_once)
    return tmp_path


@pytest.mark.slow
def test_killed_and_resumed_gives_the_file_of_a_fit_in_one_go(
    run: Any, source: Path, killed: Path, in_one_go: bytes
) -> None:
    code, out, _ = run("compress", source, killed / "x.inr", *LONGER, "--resume", "--json")
    assert (code, json.loads(out)["interrupted"]) == (0, False)
    assert (killed / "x.inr").read_bytes() == in_one_go
    assert [path.name for path in killed.iterdir()] == ["x.inr"]


@pytest.mark.slow
def test_ctrl_c_leaves_a_result_and_the_way_to_go_on(
    run: Any, source: Path, tmp_path: Path, in_one_go: bytes
) -> None:
    output = tmp_path / "x.inr"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(patch, 50, lambda: signal.raise_signal(signal.SIGINT))
        code, out, err = run("compress", source, output, *LONGER, "--json")
    assert (code, json.loads(out)["interrupted"]) == (130, True)
    assert "--resume can continue it later" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.inr", "x.inr.fit"]
    assert 0 < read_inr(output).fit.steps <= 50
    code, out, _ = run("compress", source, output, *LONGER, "--resume", "--json")
    assert (code, json.loads(out)["interrupted"]) == (0, False)
    assert output.read_bytes() == in_one_go
    assert [path.name for path in tmp_path.iterdir()] == ["x.inr"]


@pytest.mark.parametrize("resumed", [False, True], ids=["begun here", "resumed"])
def test_a_partial_result_that_is_not_wanted_leaves_nothing_but_what_was_there(
    run: Any,
    source: Path,
    tmp_path: Path,
    killed_once: bytes,
    monkeypatch: pytest.MonkeyPatch,
    resumed: bool,
) -> None:
    asked: list[str] = []

    def confirm(question: str, **_: object) -> bool:
        asked.append(question)
        return False

    state = tmp_path / "x.inr.fit"
    if resumed:
        state.write_bytes(killed_once)
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(typer, "confirm", confirm)
    interrupt_after(monkeypatch, 20, lambda: signal.raise_signal(signal.SIGINT))
    code, out, _ = run("compress", source, tmp_path / "x.inr", *LONGER, *(["--resume"] if resumed else []))
    assert (code, out) == (130, "")
    assert len(asked) == 1
    assert "save the best result so far to" in asked[0]
    assert list(tmp_path.iterdir()) == ([state] if resumed else [])


class Terminal(io.StringIO):
    """A standard input at which somebody sits."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "x.inr.fit holds the state of an interrupted fit; add --resume to continue it"),
        (["--resume", "--seed", "3"], "other settings: seed was 0, now 3; give the same"),
        (["--resume", "--factor", "1,2,2"], "factor was (1.0, 4.0, 4.0), now (1.0, 2.0, 2.0)"),
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
