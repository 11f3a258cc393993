"""`inr-volume batch`: every volume of a tree, with real processes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from commands import QUICK, in_this_process

from napari_inr_volume.batch import Ended, run_tasks
from napari_inr_volume.batch_report import Report, Row
from napari_inr_volume.batch_task import Outcome, Task
from napari_inr_volume.core.errors import InrError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.constant import NO_NETWORK
from napari_inr_volume.fields.state_file import load_state
from napari_inr_volume.io.dicom_export import write_dicom_series
from napari_inr_volume.io.inr_file import read_inr
from napari_inr_volume.io.studies import Study
from napari_inr_volume.records import Request

LOSSLESS = ["--exact-only", "--workers", "1", "--json"]
SCRIPT = """
import sys
from pathlib import Path
from napari_inr_volume.batch import Ended, run_tasks
from napari_inr_volume.batch_task import Task
from napari_inr_volume.fields.constant import NO_NETWORK
from napari_inr_volume.io.studies import find_studies
from napari_inr_volume.records import Request

print("run", flush=True)
folder = Path(sys.argv[1])
(study,) = find_studies(folder / "a.npy").studies
request = Request(settings=NO_NETWORK, upscaler="lanczos", device="cpu", max_error=0.0)
for told in run_tasks([Task(study=study, output=folder / "a.inr", request=request)], 1):
    if isinstance(told, Ended):
        print(told.outcome.status)
"""
ROW = Row(name="a", title="a", source="a", status="done")


def fill(folder: Path) -> None:
    """Put a good DICOM series, one with a slice missing, and a file that is no volume into a folder."""
    voxels = head_phantom((8, 24, 28)).voxels.astype(np.int16)
    for name in ("good", "gap"):
        (folder / name).mkdir(parents=True)
        write_dicom_series(Volume.from_array(voxels, units="HU"), folder / name)
    sorted((folder / "gap").iterdir())[2].unlink()
    np.save(folder / "words.npy", np.array(["no", "voxels"]))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    fill(folder)
    return folder


@pytest.fixture(scope="module")
def done(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a batch that has run."""
    folder = tmp_path_factory.mktemp("batch") / "out"
    assert in_this_process("batch", archive, folder, *LOSSLESS) == 1
    return folder


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    report = json.loads((folder / "batch-report.json").read_text())
    return {row["name"].partition("/")[0]: row for row in report["volumes"]}


def made(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.inr"))


@pytest.mark.slow
def test_one_bad_volume_stops_no_other(done: Path, archive: Path) -> None:
    rows = rows_of(done)
    assert {name: row["status"] for name, row in rows.items()} == {
        "good": "done",
        "gap": "refused",
        "words": "refused",
    }
    assert "slices are missing" in rows["gap"]["reason"]
    (path,) = made(done)
    assert path.relative_to(done).as_posix() == rows["good"]["output"]
    inr = read_inr(path)
    assert inr.exact is not None
    assert inr.exact.max_error == 0
    assert rows["good"]["file_bytes"] == path.stat().st_size
    assert not [left for left in done.rglob("*") if left.name.endswith((".fit", ".exact"))]
    with (done / "batch-report.csv").open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == [
            row["status"] for row in sorted(rows.values(), key=lambda row: row["name"])
        ]


@pytest.mark.slow
def test_what_is_done_is_not_done_again_but_verified(run: Any, done: Path, archive: Path) -> None:
    (path,) = made(done)
    before = path.stat().st_mtime_ns
    code, out, _ = run("batch", archive, done, *LOSSLESS, "--verify")
    assert (code, json.loads(out)["verified"]) == (1, 1)
    assert path.stat().st_mtime_ns == before
    row = rows_of(done)["good"]
    assert (row["verified"], row["largest_error"]) == (True, 0)


@pytest.mark.slow
def test_a_file_that_is_not_its_source_is_found(run: Any, tmp_path: Path) -> None:
    """Each file is well in itself: only the source shows that they were exchanged."""
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for seed in (1, 2):
        voxels = np.random.default_rng(seed).integers(0, 9, (3, 8, 8), dtype=np.int16)
        np.save(source / f"{seed}.npy", voxels)
    assert run("batch", source, out, *LOSSLESS)[0] == 0
    one, two = made(out)
    other = two.read_bytes()
    two.write_bytes(one.read_bytes())
    one.write_bytes(other)
    assert run("batch", source, out, *LOSSLESS, "--verify")[0] == 1
    assert [row["status"] for row in rows_of(out).values()] == ["failed", "failed"]
    assert not any(row["verified"] for row in rows_of(out).values())


@pytest.mark.slow
def test_other_settings_or_another_source_are_done_anew(run: Any, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    np.save(source / "a.npy", head_phantom((8, 16, 16)).voxels)
    options = [*QUICK, "--upscaler", "lanczos", "--workers", "1", "--json"]
    assert run("batch", source, out, *options)[0] == 0
    first = rows_of(out)["a"]
    assert first["max_error"] is None
    assert first["psnr"] > 0
    np.save(source / "a.npy", head_phantom((8, 16, 20)).voxels)
    assert run("batch", source, out, *options)[0] == 0
    assert read_inr(made(out)[0]).geometry.shape == (8, 16, 20)
    assert run("batch", source, out, *LOSSLESS)[0] == 0
    assert (rows_of(out)["a"]["psnr"], rows_of(out)["a"]["max_error"]) == (None, 0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_batch_that_is_killed_goes_on_where_it_was(run: Any, tmp_path: Path) -> None:
    source, killed, straight = tmp_path / "in", tmp_path / "killed", tmp_path / "straight"
    source.mkdir()
    for name, depth in (("a", 8), ("b", 16)):
        np.save(source / f"{name}.npy", head_phantom((depth, 32, 32)).voxels)
    options = [*QUICK, "--steps", "2000", "--upscaler", "lanczos"]
    one_by_one = ["--workers", "1", "--json"]
    script = "from napari_inr_volume import cli; cli.main()"
    command = [sys.executable, "-c", script, "batch", source, killed, *options, *one_by_one]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as batch:
        while not list(killed.rglob("*b.*.fit.*.lock")):
            assert batch.poll() is None
            time.sleep(0.005)
        workers = psutil.Process(batch.pid).children(recursive=True)
        batch.kill()
    assert not psutil.wait_procs(workers, timeout=60)[1]
    (first,) = made(killed)
    before = first.stat().st_mtime_ns
    (state,) = killed.rglob("*.fit")
    assert 0 < load_state(state).step < 2000

    assert run("batch", source, killed, *options, *one_by_one)[0] == 0
    assert first.stat().st_mtime_ns == before
    assert not state.exists()
    (source / "a.npy").unlink()
    assert run("batch", source, straight, *options, *one_by_one)[0] == 0
    assert read_inr(made(killed)[1]).payload == read_inr(made(straight)[0]).payload


@dataclass(frozen=True, kw_only=True)
class Deadly(Study):
    """A volume whose reader is killed, as the system does where memory runs out."""

    def read(self, *, skip_broken: bool = False) -> Volume:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@dataclass(frozen=True, kw_only=True)
class Small(Study):
    """A volume that is there."""

    def read(self, *, skip_broken: bool = False) -> Volume:
        return Volume.from_array(np.random.default_rng(1).integers(0, 9, (3, 8, 8), dtype=np.int16))


@pytest.fixture
def tasks(tmp_path: Path) -> list[Task]:
    request = Request(settings=NO_NETWORK, upscaler="lanczos", device="cpu", max_error=0.0)
    common = {"title": "", "sources": (), "source_bytes": 100}
    return [
        Task(study=kind(name=name, **common), output=tmp_path / f"{name}.inr", request=request)
        for kind, name in ((Deadly, "dead"), (Small, "alive"))
    ]


def outcomes(events: Iterator[object]) -> dict[str, Outcome]:
    return {event.task.study.name: event.outcome for event in events if isinstance(event, Ended)}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_process_that_dies_ends_its_task_alone(tasks: list[Task]) -> None:
    found = outcomes(run_tasks(tasks, workers=2))
    assert (found["dead"].status, found["alive"].status) == ("failed", "done")
    assert "SIGKILL" in found["dead"].reason


def test_nothing_is_begun_once_it_is_to_stop(tasks: list[Task]) -> None:
    found = outcomes(run_tasks(tasks, workers=2, stopped=lambda: True))
    assert {outcome.status for outcome in found.values()} == {"interrupted"}
    assert not any(task.output.exists() for task in tasks)


@pytest.mark.slow
def test_a_script_that_runs_tasks_is_not_run_again_by_their_processes(tmp_path: Path) -> None:
    """`spawn` would run it, and one of napari's opens a window; few ask for `__main__`."""
    np.save(tmp_path / "a.npy", np.arange(96, dtype=np.int16).reshape(4, 4, 6))
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ran = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["run", "done"]


@pytest.mark.parametrize("output", [".", "inside"])
def test_outputs_never_lie_among_the_sources(run: Any, tmp_path: Path, output: str) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4), np.int16))
    code, _, err = run("batch", tmp_path, tmp_path / output, "--exact-only")
    assert code == 2
    assert "choose a folder outside it" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy"]


def test_a_tree_without_volumes_is_refused(run: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    code, _, err = run("batch", tmp_path / "in", tmp_path / "out")
    assert code == 2
    assert "there is no volume" in err
    assert not (tmp_path / "out").exists()


def test_a_foreign_report_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "batch-report.json").write_text("{}")
    with pytest.raises(InrError, match="no report of a batch"):
        Report(tmp_path)


def test_a_report_is_read_as_it_was_saved(tmp_path: Path) -> None:
    report = Report(tmp_path)
    report.add(replace(ROW, ratio=2.5, verified=True, notes="=1+1"))
    assert Report(tmp_path).rows == report.rows
    assert "'=1+1" in (tmp_path / "batch-report.csv").read_text()  # which no spreadsheet computes


def test_rows_of_volumes_that_are_gone_are_dropped_unless_their_files_are_there(tmp_path: Path) -> None:
    report = Report(tmp_path)
    (tmp_path / "kept.inr").write_bytes(b"")
    for name, status in (("kept", "done"), ("lost", "done"), ("bad", "refused"), ("here", "refused")):
        report.rows[name] = replace(ROW, name=name, status=status, output=f"{name}.inr")
    report.keep_only(["here"])
    assert sorted(report.rows) == ["here", "kept"]
