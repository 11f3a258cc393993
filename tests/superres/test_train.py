"""Training: it begins at Lanczos, learns, and goes on from a checkpoint as if never cut."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch

from napari_inr_volume.core.errors import TrainingError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.resample import downsample
from napari_inr_volume.superres import train as train_module
from napari_inr_volume.superres.factors import FACTORS
from napari_inr_volume.superres.model_file import NETWORKS
from napari_inr_volume.superres.pairs import Pair, PatchConfig
from napari_inr_volume.superres.train import TrainConfig, TrainProgress, TrainResult, learning_rate, train

CPU = torch.device("cpu")


def head_pairs(slices: int = 2, factor: int = 4) -> list[Pair]:
    """The bones of a few phantom slices, clean, and the same as if they were decoded."""
    hr = (head_phantom((8, 96, 96)).voxels[3 : 3 + slices] > 300).astype(np.int16)
    lr = downsample(lambda z: hr[z].astype(np.float32), (slices, 96, 96), (1.0, factor, factor))
    return [Pair(volume="head", kind=kind, hr=hr, lr=lr, window=(0.0, 1.0)) for kind in ("clean", "decoded")]


def config(steps: int, **others: object) -> TrainConfig:
    patches = PatchConfig(batch=2, patch=8)
    return TrainConfig(**{"network": "span", "steps": steps, "patches": patches} | others)  # type: ignore[arg-type]


def finish(training: Generator[TrainProgress, None, TrainResult]) -> TrainResult:
    while True:
        try:
            next(training)
        except StopIteration as end:
            result: TrainResult = end.value
            return result


def tensors(result: TrainResult) -> torch.Tensor:
    return torch.cat([parameter.flatten() for parameter in result.network.parameters()])


@pytest.mark.parametrize("network", NETWORKS)
def test_before_the_first_step_every_network_is_lanczos(network: str, tmp_path: Path) -> None:
    pairs = head_pairs(1)
    result = finish(train(pairs, pairs, config(1, network=network), tmp_path / "c.pt", CPU))
    assert result.history[0].step == 0
    assert [score.gain for score in result.history[0].scores] == [0.0, 0.0]


@pytest.mark.slow
@pytest.mark.parametrize("factor", FACTORS)
def test_training_rises_above_lanczos(factor: int, tmp_path: Path) -> None:
    pairs, patches = head_pairs(factor=factor), PatchConfig(batch=4, patch=12)
    settings = config(100, factor=factor, patches=patches, average=0.9, learning_rate=2e-3)
    result = finish(train(pairs, pairs, settings, tmp_path / "c.pt", CPU, validate_every=50))
    assert [entry.step for entry in result.history] == [0, 50, 100]
    least = 0.5 if factor == 4 else 0.2
    assert all(score.gain > least for score in result.history[2].scores)
    for early, late in zip(result.history[1].scores, result.history[2].scores, strict=True):
        assert early.gain < late.gain


def test_stopped_and_resumed_gives_the_weights_of_a_run_in_one_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "SECONDS_PER_RECORD", 0.0)
    pairs, settings = head_pairs(), config(6)
    whole = finish(train(pairs, pairs, settings, tmp_path / "whole.pt", CPU, validate_every=2))

    stop = Event()
    training = train(pairs, pairs, settings, tmp_path / "cut.pt", CPU, validate_every=2, stop=stop)
    for record in training:
        if record.step >= 1:
            stop.set()
            break
    part = finish(training)
    assert part.stopped
    assert part.step < 6
    resumed = finish(train(pairs, pairs, settings, tmp_path / "cut.pt", CPU, validate_every=2))
    assert not resumed.stopped
    assert [entry.step for entry in resumed.history] == [0, 2, 4, 6]
    torch.testing.assert_close(tensors(resumed), tensors(whole), rtol=0, atol=1e-7)


KILLED = """
import sys
sys.path.insert(0, {here!r})
from pathlib import Path
from test_train import CPU, config, head_pairs
from napari_inr_volume.superres import train as module
module.SECONDS_PER_CHECKPOINT = 0.0
pairs = head_pairs()
for record in module.train(pairs, pairs, config(12), Path({checkpoint!r}), CPU, validate_every=4):
    pass
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_resumes_to_the_same_weights(tmp_path: Path) -> None:
    whole = finish(train(head_pairs(), head_pairs(), config(12), tmp_path / "w.pt", CPU, validate_every=4))
    checkpoint = tmp_path / "killed.pt"
    code = KILLED.format(here=str(Path(__file__).parent), checkpoint=str(checkpoint))
    process = subprocess.Popen([sys.executable, "-c", code])
    while not checkpoint.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = finish(train(head_pairs(), head_pairs(), config(12), checkpoint, CPU, validate_every=4))
    torch.testing.assert_close(tensors(resumed), tensors(whole), rtol=0, atol=1e-7)
    assert [entry.step for entry in resumed.history] == [0, 4, 8, 12]


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    pairs, settings = head_pairs(1), config(2)
    first = finish(train(pairs, pairs, settings, tmp_path / "c.pt", CPU))
    again = finish(train(pairs, pairs, settings, tmp_path / "c.pt", CPU))
    assert torch.equal(tensors(again), tensors(first))
    assert again.seconds == first.seconds


def test_a_checkpoint_of_other_settings_is_refused_and_kept(tmp_path: Path) -> None:
    checkpoint = tmp_path / "c.pt"
    pairs = head_pairs(1)
    finish(train(pairs, pairs, config(2), checkpoint, CPU))
    before = checkpoint.read_bytes()
    with pytest.raises(TrainingError, match=r"other settings \(steps, seed\); give the same settings"):
        finish(train(pairs, pairs, config(3, seed=1), checkpoint, CPU))
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"], ids=["empty", "text"])
def test_a_damaged_checkpoint_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(TrainingError, match=r"c\.pt cannot be read; delete it to start over"):
        finish(train(head_pairs(1), [], config(2), tmp_path / "c.pt", CPU))


def test_divergence_is_said_in_words(tmp_path: Path) -> None:
    (pair, _) = head_pairs(1)
    broken = Pair(volume="x", kind="clean", hr=np.full(pair.hr.shape, np.nan), lr=pair.lr, window=pair.window)
    with pytest.raises(TrainingError, match="diverged at step 1 with learning rate"):
        finish(train([broken], [], config(2), tmp_path / "c.pt", CPU))


def test_the_learning_rate_rises_and_falls_to_nothing() -> None:
    settings = config(1_000, learning_rate=1e-3)
    rates = [learning_rate(settings, step) for step in range(1_000)]
    assert rates[0] < 1e-5
    assert max(rates) == pytest.approx(9e-4, rel=0.02)
    assert 150 < int(np.argmax(rates)) < 250
    assert rates[-1] < 1e-8


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"network": "edsr"}, "no network 'edsr'; choose one of srdensenet, span"),
        ({"steps": 0}, "steps must be from 1"),
        ({"learning_rate": 2.0}, "learning_rate must be"),
        ({"average": 1.0}, "average must be"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        TrainConfig(**settings)  # type: ignore[arg-type]
