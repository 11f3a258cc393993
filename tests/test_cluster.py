"""Work spread over real workers of Dask, in processes of their own on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from napari_inr_volume import cluster
from napari_inr_volume.cluster import Cluster, connected
from napari_inr_volume.core.errors import InrError, SourceError
from napari_inr_volume.core.generators import drain
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.place import Caller
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.exact.encode import Coding
from napari_inr_volume.fields.base import FitProgress
from napari_inr_volume.fields.registry import find_kind, find_preset
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.io.inr_file import read_inr, write_inr
from napari_inr_volume.io.sources import read_source
from napari_inr_volume.io.volumes import write_volume
from napari_inr_volume.records import Record, Request
from napari_inr_volume.session import run as run_session

distributed = pytest.importorskip("distributed", reason="the extra cluster is not installed")
pytest.importorskip("zarr", reason="the extra zarr is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="workers are ended by SIGKILL"),
]

NOWHERE = "tcp://127.0.0.1:1"
STEPS = 1_500  # of a fit that is stopped long before its end


@pytest.fixture(scope="module")
def place() -> Iterator[Cluster]:
    """Two workers."""
    with connected(workers=2) as found:
        yield found


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    """A volume of three slabs that lies in a file."""
    path = tmp_path_factory.mktemp("volume") / "head.ome.zarr"
    write_volume(head_phantom((36, 12, 12)), path)
    return read_source(path)


def settings() -> Settings:
    """Return those of a fit of three boxes, long enough to take a few rounds."""
    found = find_preset("default")
    options = {"layers": 2, "hidden_features": 16, "batch": 512, "all_steps": STEPS, "boxes": 3}
    for name, value in options.items():
        found = find_kind(found.field.kind).with_option(found, name, value)
    return found


REQUEST = Request(settings=settings(), upscaler="lanczos", device="cpu", max_error=0.0)


def compressed(
    volume: Volume, path: Path, on_record: Callable[[Record], object] = lambda _: None, **more: Any
) -> Any:
    made = drain(run_session(volume, REQUEST, **more), on_record)
    write_inr(made.inr, path)
    return made


@pytest.fixture(scope="module")
def here(volume: Volume, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file that is made without a cluster."""
    path = tmp_path_factory.mktemp("here") / "a.inr"
    compressed(volume, path)
    return path.read_bytes()


def kill_a_worker(place: Cluster) -> None:
    os.kill(next(iter(place._client.run(os.getpid).values())), signal.SIGKILL)


def test_boxes_and_slabs_give_the_same_bytes_though_workers_are_killed(
    place: Cluster, volume: Volume, here: bytes, tmp_path: Path
) -> None:
    killed: list[type[Any]] = []

    def kill(record: Record) -> None:
        kind = type(record)
        if kind in (FitProgress, Coding) and kind not in killed:
            killed.append(kind)
            kill_a_worker(place)

    compressed(volume, tmp_path / "a.inr", kill, place=place)
    assert killed == [FitProgress, Coding]
    assert (tmp_path / "a.inr").read_bytes() == here


def test_a_fit_that_is_stopped_there_is_resumed_here(
    place: Cluster, volume: Volume, here: bytes, tmp_path: Path
) -> None:
    stop = Event()
    made = compressed(volume, tmp_path / "a.inr", lambda _: stop.set(), stop=stop, place=place)
    assert made.fitted.stopped
    assert 0 < made.fitted.result.steps < STEPS
    assert read_inr(tmp_path / "a.inr").exact is None
    compressed(volume, tmp_path / "a.inr", resume=made.fitted.result.state)
    assert (tmp_path / "a.inr").read_bytes() == here


def dying(marks: Path, caller: Caller) -> int:
    """Note a try, and be killed in the first."""
    tries = len(list(marks.iterdir()))
    (marks / str(tries)).touch()
    caller.tell("tried", tries)
    if tries == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return tries


def test_a_piece_whose_worker_dies_is_done_again(place: Cluster, tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    with place.pieces() as pieces:
        done = pieces.submit(dying, tmp_path, on_told=lambda *words: told.append(words))
        assert done.result() == 1
    assert ("tried", 1) in told


def waiting(started: Path, caller: Caller) -> bool:
    started.touch()
    return caller.gone.wait(60)


def test_pieces_at_work_hear_that_nobody_waits(place: Cluster, tmp_path: Path) -> None:
    with place.pieces() as pieces:
        done = [pieces.submit(waiting, tmp_path / str(number)) for number in range(3)]
        while not (tmp_path / "0").exists():
            time.sleep(0.1)
        pieces.stop()
        assert all(one.result() for one in done)  # the third was not at work yet


def reading(path: Path, caller: Caller) -> None:
    raise SourceError(f"'{path}' cannot be read")


def test_an_error_says_on_which_worker_it_was(place: Cluster, tmp_path: Path) -> None:
    with place.pieces() as pieces, pytest.raises(SourceError, match="cannot be read") as raised:
        pieces.submit(reading, tmp_path / "a.npy").result()
    assert raised.value.__notes__[0].startswith("so says the worker at tcp://127.0.0.1:")


def killing(caller: Caller) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_piece_that_kills_every_worker_ends_in_a_line() -> None:
    import dask

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        connected(workers=1) as place,
        place.pieces() as pieces,
        pytest.raises(InrError, match="1 workers were lost, one after the other, at the same piece of work"),
    ):
        pieces.submit(killing).result()


def in_threads(workers: int, **more: Any) -> Any:
    """Return a scheduler in this process, whose workers are threads."""
    return distributed.LocalCluster(
        n_workers=workers,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        **more,
    )


@pytest.fixture
def threads() -> Iterator[Any]:
    """A scheduler that has no workers yet."""
    with in_threads(0) as found:
        yield found


def test_networks_are_fitted_by_workers_with_a_gpu() -> None:
    with in_threads(1, threads_per_worker=4, resources={"GPU": 1}) as there:
        with connected(there.scheduler_address) as place:
            assert place.device == "cuda"
            with place.pieces(fitting=True) as fits, place.pieces() as slabs:
                assert (fits.at_once, slabs.at_once) == (1, 4)
                assert fits.submit(waiting_for_nobody).result() == "done"
        with connected(there.scheduler_address, device="cpu") as place:
            assert place.device == "cpu"


def test_a_gpu_that_no_worker_has_is_missed() -> None:
    with in_threads(1) as there:
        with connected(there.scheduler_address) as place:
            assert place.device == "cpu"
        with (
            pytest.raises(InrError, match="no worker says that it has a GPU"),
            connected(there.scheduler_address, device="cuda"),
        ):
            pass


def waiting_for_nobody(caller: Caller) -> str:
    return "done"


def test_a_scheduler_that_is_lost_ends_the_work_in_a_line(tmp_path: Path) -> None:
    """Scheduler and worker as people start them."""
    about = tmp_path / "scheduler.json"
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    common = {"env": os.environ | {"PYTHONPATH": path}, "stderr": subprocess.DEVNULL}
    of_scheduler = ["--scheduler-file", about, "--no-dashboard"]
    program = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", *of_scheduler]
    with subprocess.Popen(program, **common) as scheduler:
        while not about.exists() or not about.read_text().endswith("}"):
            time.sleep(0.1)
        program = [sys.executable, "-m", "distributed.cli.dask_worker", *of_scheduler]
        with (
            subprocess.Popen(program, **common) as worker,
            connected(json.loads(about.read_text())["address"]) as place,
            place.pieces() as pieces,
        ):
            done = pieces.submit(waiting, tmp_path / "started")
            while not (tmp_path / "started").exists():
                time.sleep(0.1)
            scheduler.kill()
            with pytest.raises(InrError, match="the connection to the Dask scheduler was lost"):
                done.result()
            worker.kill()


def complaint(run: Any, tmp_path: Path, *options: str) -> str:
    """Return the only line that a command which cannot work says."""
    np.save(tmp_path / "a.npy", head_phantom((8, 16, 16)).voxels)
    code, out, err = run("compress", tmp_path / "a.npy", tmp_path / "a.inr", "--exact-only", *options)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert not (tmp_path / "a.inr").exists()
    return str(line)


@pytest.mark.parametrize("address", [NOWHERE, "no such thing"])
def test_no_scheduler(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(cluster, "SECONDS_TO_CONNECT", 1.0)
    line = complaint(run, tmp_path, "--scheduler", address)
    assert f"there is no Dask scheduler at '{address}'; start one with `dask scheduler`" in line


def test_no_workers(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: Any) -> None:
    monkeypatch.setattr(cluster, "SECONDS_TO_WORKERS", 0.1)
    line = complaint(run, tmp_path, "--scheduler", threads.scheduler_address)
    assert "has no workers; start some with `dask worker tcp://" in line


def test_workers_of_another_version(run: Any, tmp_path: Path, threads: Any) -> None:
    """A worker as people start them, that finds another torch first."""
    about = tmp_path / "other" / "torch-1.0.dist-info" / "METADATA"
    about.parent.mkdir(parents=True)
    about.write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.0\n")
    path = os.pathsep.join([str(tmp_path / "other"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "distributed.cli.dask_worker", threads.scheduler_address]
    with subprocess.Popen(
        [*command, "--no-dashboard"], env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.DEVNULL
    ) as worker:
        line = complaint(run, tmp_path, "--scheduler", threads.scheduler_address)
        worker.terminate()
    assert "has torch 1.0, here is 2." in line
    assert "install the same on all machines" in line


def test_workers_here_and_elsewhere(run: Any, tmp_path: Path) -> None:
    line = complaint(run, tmp_path, "--scheduler", NOWHERE, "--workers", "2")
    assert "give one of them" in line


def test_a_batch_on_workers_gives_the_files_of_one_here(run: Any, tmp_path: Path, place: Cluster) -> None:
    (tmp_path / "in").mkdir()
    for seed in (1, 2):
        voxels = np.random.default_rng(seed).integers(0, 9, (3, 20, 24), dtype=np.int16)
        np.save(tmp_path / "in" / f"{seed}.npy", voxels)
    np.save(tmp_path / "in" / "words.npy", np.array(["no", "voxels"]))
    options = ["--exact-only", "--verify", "--json"]
    there = ["--scheduler", place._client.scheduler.address]
    assert run("batch", tmp_path / "in", tmp_path / "here", *options)[0] == 1
    code, out, err = run("batch", tmp_path / "in", tmp_path / "there", *options, *there)
    assert code == 1, err
    for name in ("1.inr", "2.inr"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert "words: refused" in err
    assert '"done": 2' in out
    assert '"verified": 2' in out
