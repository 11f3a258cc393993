"""A person loses nothing: runs that are killed, told to end, out of memory or without room on the disk."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_inr_volume import compress, session
from napari_inr_volume.core.errors import InrError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.fields.state_file import load_state
from napari_inr_volume.io.inr_file import from_bytes, read_inr, write_inr

pytestmark = [  # real fits, windows or processes
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked, and told to end by signals"),
]

STEPS = 24
OPTIONS = ["--layers", "2", "--hidden", "16", "--batch", "512", "--device", "cpu", "--upscaler", "lanczos"]
QUICK = [*OPTIONS, "--steps", str(STEPS)]
ENDLESS = [*OPTIONS, "--steps", "10000000"]
OLD_STEPS = 3  # of the fit in the file that is replaced

# In the children: a checkpoint after every step; and Ctrl-C, which a shell switches off in its background.
EAGER = """
import signal, sys
from napari_inr_volume import cli, compress, session
from napari_inr_volume.fields.siren import fit
from napari_inr_volume.io import inr_file
signal.signal(signal.SIGINT, signal.default_int_handler)
fit.SECONDS_PER_RECORD = session.SECONDS_PER_CHECKPOINT = 0.0
"""
FORKING = (
    EAGER
    + """
import json, os, tempfile
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
settings = Settings(field=SirenConfig(layers=2, hidden_features=16), fit=FitConfig(steps=3, batch=512))
compress(head_phantom((8, 32, 32)), settings, device="cpu", upscaler="lanczos")  # compiles what is used
for line in sys.stdin:
    script, arguments, outputs, environment = json.loads(line)
    child = os.fork()
    if child == 0:
        for stream, path in enumerate(outputs, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(environment)
        tempfile.tempdir = None  # as in a process of its own
        sys.argv = ["inr-volume", *arguments]
        try:
            exec(script)
            cli.main()
        except SystemExit as end:
            sys.stdout.flush()
            os._exit(end.code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
)
STUCK = """
from threading import Event
def measure(*arguments, **options):
    print("measuring", flush=True)
    Event().wait()
session.measure = measure
"""
ENDING = """
atomic_write = inr_file.atomic_write
def interrupted(*arguments, **options):
    signal.raise_signal(signal.SIGTERM)
    return atomic_write(*arguments, **options)
inr_file.atomic_write = interrupted
"""
READING = """
from napari_inr_volume.io import sources
sources.read_source = lambda *arguments, **options: signal.raise_signal(signal.SIGTERM)
"""

AT_SLICE_3 = """
import pydicom
save_as = pydicom.Dataset.save_as
def interrupted(image, *arguments, **options):
    if image.InstanceNumber == 3:
        signal.raise_signal(signal.{name})
    save_as(image, *arguments, **options)
pydicom.Dataset.save_as = interrupted
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "head.npy"
    np.save(path, head_phantom((8, 32, 32)).voxels)
    return path


@pytest.fixture(scope="module")
def old(source: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An .inr of an earlier run, which has another number of steps."""
    path = tmp_path_factory.mktemp("old") / "x.inr"
    settings = Settings(
        field=SirenConfig(layers=2, hidden_features=16),
        fit=FitConfig(steps=OLD_STEPS, tuning_steps=0, batch=512),
    )
    write_inr(compress(head_phantom((8, 32, 32)), settings, device="cpu", upscaler="lanczos"), path)
    return path.read_bytes()


class Runs:
    """Runs of the command in processes of their own, one at a time, forked from one that has loaded all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder  # for what they print
        self.parent = subprocess.Popen(
            [sys.executable, "-c", FORKING],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},  # no threads, which no fork takes along
        )
        self.pid = 0

    def start(self, *arguments: str | Path, script: str = "", **environment: str) -> None:
        """Begin a run, after a script that may put something in the place of a function."""
        outputs = [self.folder / "out", self.folder / "err"]
        for path in outputs:
            path.unlink(missing_ok=True)
        line = json.dumps([script, [*map(str, arguments)], [*map(str, outputs)], environment])
        assert self.parent.stdin is not None
        self.parent.stdin.write(line.encode() + b"\n")
        self.parent.stdin.flush()
        self.pid = int(self._line())

    def await_file(self, path: Path, content: str = "") -> None:
        """Return once the file is there and holds the words; pytest's timeout ends a hang."""
        while not (path.exists() and (not content or content in path.read_text())):
            os.kill(self.pid, 0)  # raises if the run has ended
            time.sleep(1e-3)  # or it would take a core from the run

    def send(self, name: str) -> None:
        os.kill(self.pid, getattr(signal, name))

    def end(self) -> tuple[int, str, str]:
        """Wait for the run; returns exit code, standard output, standard error."""
        code = int(self._line())
        return code, (self.folder / "out").read_text(), (self.folder / "err").read_text()

    def _line(self) -> bytes:
        assert self.parent.stdout is not None
        return self.parent.stdout.readline()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    if not hasattr(os, "fork"):
        pytest.skip("no fork, and no signals to processes, here")
    runs = Runs(tmp_path_factory.mktemp("printed"))
    with runs.parent:
        yield runs
        assert runs.parent.stdin is not None
        runs.parent.stdin.close()


# Signals


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_fit_that_is_told_to_end_keeps_what_it_reached(
    runs: Runs, source: Path, tmp_path: Path, name: str, code: int
) -> None:
    output, state = tmp_path / "x.inr", tmp_path / "x.inr.fit"
    runs.start("compress", source, output, *ENDLESS)
    runs.await_file(state)
    runs.send(name)
    found, out, err = runs.end()
    assert (found, out) == (code, "")
    assert read_inr(output).fit.steps > 0
    assert load_state(state).step >= read_inr(output).fit.steps
    line = err.splitlines()[-1]
    assert f"{output} holds the network, but its quality was not measured" in line
    assert f"{state} holds the state of the fit; add --resume" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.inr", "x.inr.fit"]


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_finished_fit_is_kept_when_its_measuring_is_ended(
    runs: Runs, source: Path, tmp_path: Path, name: str, code: int
) -> None:
    output = tmp_path / "x.inr"
    runs.start("compress", source, output, *QUICK, script=STUCK)
    runs.await_file(runs.folder / "out", "measuring\n")
    runs.send(name)
    found, _, err = runs.end()
    assert found == code
    assert "x.inr holds the network, but its quality was not measured" in err.splitlines()[-1]
    assert read_inr(output).quality is None
    runs.start("compress", source, output, *QUICK, "--resume", "--json")
    found, out, err = runs.end()
    assert found == 0, err
    quality = read_inr(output).quality
    assert quality is not None
    assert json.loads(out)["lr_psnr"] == quality.lr_psnr
    assert [path.name for path in tmp_path.iterdir()] == ["x.inr"]


def test_a_signal_while_the_file_is_written_ends_the_run_after_that(
    runs: Runs, source: Path, tmp_path: Path
) -> None:
    runs.start("compress", source, tmp_path / "x.inr", *QUICK, script=ENDING)
    code, _, err = runs.end()
    assert code == 143
    assert "x.inr holds the network" in err
    assert read_inr(tmp_path / "x.inr").fit.steps > 0


def test_a_hangup_that_the_caller_ignores_is_ignored(runs: Runs, source: Path, tmp_path: Path) -> None:
    """As under nohup."""
    script = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    runs.start("compress", source, tmp_path / "x.inr", *QUICK, script=script)
    runs.await_file(tmp_path / "x.inr.fit")
    runs.send("SIGHUP")
    code, _, err = runs.end()
    assert code == 0, err
    assert [path.name for path in tmp_path.iterdir()] == ["x.inr"]


def test_a_signal_while_reading_says_that_nothing_was_written(
    runs: Runs, source: Path, tmp_path: Path
) -> None:
    runs.start("compress", source, tmp_path / "x.inr", *QUICK, script=READING)
    code, _, err = runs.end()
    assert code == 143
    assert err.splitlines() == ["inr-volume: interrupted; no result was written"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGKILL", -9)])
@pytest.mark.parametrize("earlier", [False, True], ids=["new", "replacing another"])
def test_a_dicom_series_that_is_interrupted_leaves_what_was_there(
    runs: Runs, old: bytes, tmp_path: Path, name: str, code: int, earlier: bool
) -> None:
    (tmp_path / "x.inr").write_bytes(old)
    command = "decompress", tmp_path / "x.inr", f"{tmp_path / 'series'}/", "--device", "cpu", "--force"

    def held() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (tmp_path / "series").glob("*")}

    if earlier:
        runs.start(*command, "--upscaler", "lanczos")
        assert runs.end()[0] == 0
    before = held()
    runs.start(*command, script=AT_SLICE_3.format(name=name))
    found, _, err = runs.end()
    assert (found, held()) == (code, before)
    if name == "SIGTERM":
        assert err.splitlines() == ["inr-volume: interrupted; no result was written"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["series"] * earlier + ["x.inr"]
    runs.start(*command)
    assert runs.end()[0] == 0
    assert len(held()) == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["series", "x.inr"]


# Memory


@pytest.mark.parametrize(
    "error",
    [MemoryError("Unable to allocate 1 TiB"), RuntimeError("DefaultCPUAllocator: can't allocate memory")],
    ids=["numpy's", "torch's"],
)
def test_out_of_memory_is_one_line_and_a_finished_fit_is_kept(
    run: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def measure(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(session, "measure", measure)
    code, out, err = run("compress", source, tmp_path / "x.inr", *QUICK)
    assert (code, out) == (2, "")
    line = err.splitlines()[-1]
    assert line.startswith("inr-volume: out of memory; free some")
    assert "x.inr holds the network, but its quality was not measured" in line
    assert len(err.splitlines()) == 2  # the first says what was read
    assert read_inr(tmp_path / "x.inr").quality is None


def test_an_error_of_ours_while_measuring_keeps_the_fit_too(
    run: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*_: object, **__: object) -> None:
        raise InrError("the reconstruction needs 1 TB of memory")

    monkeypatch.setattr(session, "measure", measure)
    code, _, err = run("compress", source, tmp_path / "x.inr", *QUICK)
    assert code == 2
    assert "needs 1 TB of memory; " in err
    assert "x.inr holds the network" in err
    assert read_inr(tmp_path / "x.inr").fit.steps > 0


# Room on the disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or sys.platform != "linux":
        pytest.skip("no small file system can be made here")
    made = subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True)
    if made.returncode:
        pytest.skip(f"no small file system can be mounted: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(folder: Path, *, but: int = 0) -> None:
    """Leave no more than `but` bytes."""
    with (folder / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(folder / "filler", (folder / "filler").stat().st_size - but)


def test_no_room_for_a_checkpoint_does_not_end_the_fit(runs: Runs, source: Path, small_disk: Path) -> None:
    fill(small_disk, but=16_384)  # a network fits, the state of its fit does not
    runs.start("compress", source, small_disk / "x.inr", *QUICK, "--json")
    code, out, err = runs.end()
    assert code == 0, err
    told = [line for line in err.splitlines() if "the fit continues" in line]
    assert len(told) == 1
    assert "cannot be resumed later: cannot save" in told[0]
    assert "No space left on device" in told[0]
    assert read_inr(small_disk / "x.inr").fit.steps == json.loads(out)["steps"]
    assert sorted(path.name for path in small_disk.iterdir()) == ["filler", "x.inr"]


def test_a_network_for_which_there_is_no_room_is_kept_elsewhere(
    runs: Runs, source: Path, old: bytes, small_disk: Path, tmp_path: Path
) -> None:
    output, temporary = small_disk / "x.inr", tmp_path / "temporary"
    temporary.mkdir()
    output.write_bytes(old)
    fill(small_disk)
    runs.start("compress", source, output, *QUICK, TMPDIR=str(temporary))
    code, _, err = runs.end()
    assert code == 2
    kept, line = temporary / "x-kept.inr", err.splitlines()[-1]
    assert "x.inr: No space left on device; choose another folder or free some space" in line
    assert line.endswith(f"; the result is kept in {kept}")
    assert output.read_bytes() == old
    assert read_inr(kept).fit.steps > OLD_STEPS
    assert sorted(path.name for path in small_disk.iterdir()) == ["filler", "x.inr"]


def test_a_network_whose_folder_is_gone_is_kept_elsewhere(runs: Runs, source: Path, tmp_path: Path) -> None:
    folder, temporary = tmp_path / "stick", tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    runs.start("compress", source, folder / "x.inr", *ENDLESS, TMPDIR=str(temporary))
    runs.await_file(folder / "x.inr.fit")
    folder.rename(tmp_path / "pulled out")
    runs.send("SIGINT")
    code, _, err = runs.end()
    assert code == 2
    assert f"the result is kept in {temporary / 'x-kept.inr'}" in err.splitlines()[-1]
    assert read_inr(temporary / "x-kept.inr").fit.steps > 0


# Two runs


def test_a_second_run_to_one_output_is_told_of_the_first(
    runs: Runs, run: Any, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "x.inr"
    runs.start("compress", source, output, *ENDLESS)
    runs.await_file(tmp_path / "x.inr.fit")
    code, _, err = run("compress", source, output, *QUICK)
    assert code == 2
    assert f"is being written by another run (process {runs.pid}); wait until that ends" in err
    runs.send("SIGKILL")
    assert runs.end()[0] == -signal.SIGKILL
    assert "holds the state of an interrupted fit" in run("compress", source, output, *QUICK)[2]


# What is replaced


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compress", "SOURCE", "letter.inr"], "exists, and is not an .inr"),
        (["decompress", "INR", "letter.npy"], "exists; choose another name, or replace it with --force"),
        (["decompress", "INR", "again.npy", "--force"], "is the source itself"),
        (["compare", "SOURCE", "INR", "--figure", "letter.png"], "is not a picture made by this software"),
        (["compare", "SOURCE", "INR", "--figure", "x.jpg"], "must end in .png"),
        (["compare", "PICTURES", "INR", "--figure", "pictures/1.png", "--force"], "or a part of it"),
        (
            ["train-sr", "SOURCE", "--validate", "INR", "--output", "letter.safetensors"],
            "is not a weights file of this software",
        ),
        (["demo", "letters"], "is not an .inr"),
        (["demo", "slices"], "holds other files, such as slice-0001.dcm"),
    ],
    ids=" ".join,
)
def test_what_is_not_ones_own_is_never_replaced(
    run: Any,
    source: Path,
    old: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.inr").write_bytes(old)
    Path("again.npy").hardlink_to("x.inr")
    for name in (
        *("letter.inr", "letter.npy", "letter.png", "letter.safetensors", "letters/phantom.inr"),
        *("pictures/1.png", "slices/phantom-dicom/slice-0001.dcm"),
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"Dear friend")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    places = {"SOURCE": str(source), "INR": "x.inr", "PICTURES": "pictures"}
    code, out, err = run(*(places.get(argument, argument) for argument in arguments))
    assert (code, out) == (2, "")
    assert words in err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_force_replaces_and_ones_own_needs_none(run: Any, source: Path, old: bytes, tmp_path: Path) -> None:
    inr, figure, again = tmp_path / "x.inr", tmp_path / "x-compare.png", tmp_path / "x.npy"
    inr.write_bytes(old)
    for path in (figure, again):
        path.write_bytes(b"Dear friend")
    assert run("decompress", inr, again, "--device", "cpu", "--force")[0] == 0
    assert np.load(again).shape == (8, 32, 32)
    assert run("compare", source, inr, "--device", "cpu", "--force")[0] == 0
    assert run("compare", source, inr, "--device", "cpu")[0] == 0
    inr.chmod(0o640)
    assert run("compress", source, inr, *QUICK)[0] == 0
    assert inr.read_bytes() != old
    assert sys.platform == "win32" or inr.stat().st_mode & 0o777 == 0o640


def test_a_mask_decodes_to_one_value_and_is_written_all_the_same(run: Any, tmp_path: Path) -> None:
    voxels = np.zeros((8, 32, 32), np.uint8)
    voxels[0, 0, 0] = 1
    np.save(tmp_path / "mask.npy", voxels)
    assert run("compress", tmp_path / "mask.npy", tmp_path / "x.inr", *QUICK)[0] == 0
    assert run("decompress", tmp_path / "x.inr", tmp_path / "x.nii", "--device", "cpu")[0] == 0


# Killed at any moment

MOMENTS = (  # a file that has just come, and whether the old network is still there
    (r"\.x\.inr\..*\.lock", True),
    (r"x\.inr\.fit", True),
    (r"\..*-x\.inr\.fit", True),  # half a checkpoint
    (r"\..*-x\.inr", True),  # half a network
    (r"x\.inr", False),
    (r"\..*-x\.inr", False),  # half a network with its figures
)


@pytest.mark.slow
def test_killed_at_any_moment_the_old_or_the_new_file_is_whole_and_no_finished_fit_is_lost(
    runs: Runs, kills: int, source: Path, old: bytes, tmp_path: Path
) -> None:
    output, state = tmp_path / "x.inr", tmp_path / "x.inr.fit"
    chance = random.Random(14)
    started = time.perf_counter()
    runs.start("compress", source, output, *QUICK)
    assert runs.end()[0] == 0
    lasted = time.perf_counter() - started
    whole = output.read_bytes()
    found = Counter[str]()
    for number in range(kills):
        for path in tmp_path.iterdir():
            path.unlink()
        output.write_bytes(old)
        runs.start("compress", source, output, *QUICK)
        # Every second run is killed at a moment that is told by its files, the others at any moment.
        pattern, before = MOMENTS[number // 2 % len(MOMENTS)]
        latest = time.perf_counter() + (600 if number % 2 else chance.uniform(0.0, lasted))
        kept = False
        while (content := output.read_bytes()) != whole and time.perf_counter() < latest:
            names = [path.name for path in tmp_path.iterdir()]
            kept |= state.name in names
            if number % 2 and (content == old) == before and any(re.fullmatch(pattern, n) for n in names):
                break
            time.sleep(1e-4)  # or it would take a core from the run
        runs.send("SIGKILL")
        runs.end()
        content = output.read_bytes()
        if content in (old, whole):
            found["old" if content == old else "new"] += 1
        else:
            inr = from_bytes(content)  # raises for a file that is not whole
            assert (inr.payload, inr.quality) == (from_bytes(whole).payload, None)
            found["new without figures"] += 1
        if content == old and kept:
            found["old, new in the state"] += load_state(state).step == STEPS  # raises if it is not whole
        if number % 6 == 0:
            runs.start("compress", source, output, *QUICK, *(["--resume"] if state.exists() else []))
            assert runs.end()[0] == 0
            assert output.read_bytes() == whole
            assert [path.name for path in tmp_path.iterdir()] == ["x.inr"]
    print(dict(found))
