"""Locks and atomic saves by the code that Windows runs, with what Windows does acted out on Linux.

Of its system calls there is a stand-in for the lock of one byte, and for the refusal to remove a file that is
open. Whether the real ones behave so is seen where the tests run on Windows.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from napari_inr_volume.core.atomic import atomic_write
from napari_inr_volume.core.errors import InrError

WINDOWS = """
import fcntl, os, pathlib, sys, types

def locking(file, mode, length):
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, 0, os.SEEK_CUR)
    except BlockingIOError as error:
        raise PermissionError(13, "Permission denied") from error

def unlink(path, missing_ok=False, real=pathlib.Path.unlink):
    links = (f"/proc/self/fd/{each}" for each in os.listdir("/proc/self/fd"))
    if os.path.realpath(path) in {os.path.realpath(link) for link in links}:
        raise PermissionError(13, "The process cannot access the file")
    real(path, missing_ok=missing_ok)

pathlib.Path.unlink = unlink
sys.modules["msvcrt"] = types.SimpleNamespace(locking=locking, LK_NBLCK=2)
sys.platform = "win32"
from pathlib import Path
from napari_inr_volume.core.atomic import atomic_write
from napari_inr_volume.core.errors import InrError
path = Path(sys.argv[1])
"""
HOLD = """
with atomic_write(path) as temporary:
    temporary.write_bytes(b"first")
    print("writing", flush=True)
    sys.stdin.read()
"""
SAVE = """
try:
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"second")
except InrError as error:
    print(error)
"""


def save(path: Path) -> str:
    command = [sys.executable, "-c", WINDOWS + SAVE, path]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="acted out with the means of Linux")
def test_a_second_run_is_refused_and_no_lock_is_left(tmp_path: Path) -> None:
    path = tmp_path / "x.inr"
    command = [sys.executable, "-c", WINDOWS + HOLD, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline().strip() == b"writing"
        assert f"is being written by another run (process {first.pid})" in save(path)
        first.communicate()
    assert path.read_bytes() == b"first"
    assert save(path) == ""
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_another_program_has_open_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.inr"
    path.write_bytes(b"old")

    def refused(self: Path, target: Path) -> None:
        raise PermissionError(13, "The process cannot access the file", str(target))

    monkeypatch.setattr(Path, "replace", refused)
    with (
        pytest.raises(InrError, match=r"cannot save .*x\.inr: The process cannot"),
        atomic_write(path) as new,
    ):
        new.write_bytes(b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
