"""Fixtures that several test modules share."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

if TYPE_CHECKING:
    from napari_inr_volume.superres.model_file import ModelInfo
    from napari_inr_volume.superres.network import Network

# Before anything imports torch: for networks as small as the tests' threads cost more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A deadline asserts a timing, which a busy machine does not keep.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

# A shell without job control has what it starts in the background ignore Ctrl-C; the tests send that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LONG = 120_000  # ms, for a condition that comes as soon as the machine has time for it

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the tests too that are marked long")
    parser.addoption("--kills", type=int, default=12, help="how many runs are killed in tests/test_safety.py")
    # Here, and not beside the tests: pytest takes options of the folders that it is told to look in alone.
    parser.addoption("--fuzz", type=int, default=12, help="how many changed files of each kind are read")
    parser.addoption("--fuzz-seed", type=int, default=0, help="what the changes are drawn from")
    parser.addoption("--fuzz-seconds", type=float, default=20.0, help="of CPU that a changed file may take")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what takes seconds whatever it does: a window of napari's, and real CT. Leave out what is long."""
    for item in items:
        if not {"make_napari_viewer", "shared_data"}.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    left_out = [item for item in items if item.get_closest_marker("long") and not config.getoption("--long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_collection_finish() -> None:
    """Spare the garbage collections of tests the objects of torch, napari and of the tests themselves."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def kills(pytestconfig: pytest.Config) -> int:
    """How many runs to kill at moments of their own."""
    count: int = pytestconfig.getoption("kills")
    return count


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real CT volumes, which do not ship with the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real CT data are not here: no folder {SHARED_DATA.name} beside the project")
    return SHARED_DATA


def random_network(architecture: str = "span", seed: int = 0, factor: int = 4) -> Network:
    """Return a network of random weights that adds something to Lanczos, as a fresh one does not."""
    import torch

    from napari_inr_volume.superres.model_file import NETWORKS

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORKS[architecture](factor)
        for parameter in network.parameters():
            if parameter.ndim > 1 and not parameter.any():  # the last layer
                torch.nn.init.normal_(parameter, std=0.1)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def make_network() -> Callable[..., Network]:
    """Make a network, given its architecture, a seed and the factor, whose last layer is random too."""
    return random_network


@pytest.fixture(scope="session")
def make_weights() -> Callable[..., ModelInfo]:
    """Write a weights file of random weights, given its path, architecture, a seed and the factor."""
    from napari_inr_volume.superres.model_file import save_weights

    def make(path: Path, architecture: str = "span", seed: int = 0, factor: int = 4) -> ModelInfo:
        words = f"nothing: random weights of a test, seed {seed}"
        return save_weights(path, random_network(architecture, seed, factor), training=words)

    return make


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package without weights, to which a test may add some; returns their folder."""
    from napari_inr_volume.superres import model_file

    folder = tmp_path_factory.mktemp("shipped")
    monkeypatch.setattr(model_file, "SHIPPED", folder)
    return folder


@pytest.fixture
def qtbot(qtbot: Any) -> Any:
    """pytest-qt's, whose waits end after five seconds of their own, which a busy machine does not keep."""
    qtbot.waitUntil = partial(qtbot.waitUntil, timeout=LONG)
    qtbot.waitSignal = partial(qtbot.waitSignal, timeout=LONG)
    return qtbot


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command in this process; returns exit code, standard output, standard error."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        from napari_inr_volume import cli

        monkeypatch.setattr(sys, "argv", ["inr-volume", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        return end.value.code, captured.out, captured.err

    return run
