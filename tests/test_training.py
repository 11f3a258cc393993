"""What a network is trained on, and the command that trains one."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from napari_inr_volume import training
from napari_inr_volume.core.errors import TrainingError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.io.inr_file import read_inr
from napari_inr_volume.superres.model_file import load_weights
from napari_inr_volume.superres.pairs import Pair
from napari_inr_volume.training import Degradation, training_pairs, validation_pairs, volume_names

pytestmark = pytest.mark.slow  # real fits


def shorten(patch: pytest.MonkeyPatch) -> None:
    """Have fits of a few steps: what they give is poor, and that is all that differs."""
    for name, degradation in (
        ("ROUGH", Degradation(3)),
        ("GOOD", Degradation(6)),
        ("ROUNDED", Degradation(6, weight_bits=4)),
    ):
        patch.setattr(training, name, degradation)


@pytest.fixture(autouse=True)
def short_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


@pytest.fixture(scope="module")
def head() -> Volume:
    """A phantom of 96 x 96 with padding outside the scan circle."""
    voxels = head_phantom((8, 96, 96)).voxels.copy()
    voxels[:, :4] = -3024
    return Volume.from_array(voxels, padding=-3024)


@dataclass(frozen=True)
class Prepared:
    """Pairs of a volume, and the folder that keeps their fits."""

    pairs: list[Pair]
    folder: Path


@pytest.fixture(scope="module")
def prepared(head: Volume, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        return Prepared(training_pairs("head", head, 4, folder, seed=0, tell=print), folder)


@pytest.mark.slow
def test_a_volume_gives_clean_windowed_and_decoded_pairs(head: Volume, prepared: Prepared) -> None:
    pairs = prepared.pairs
    assert [pair.kind for pair in pairs] == ["clean", *3 * ["window"], *3 * ["decoded"]]
    for pair in pairs:
        assert pair.lr.shape == (8, 24, 24)
        assert pair.hr.min() >= head.intensity_range[0]  # padding is air
    low, high = head.intensity_range
    windows = [pair.window for pair in pairs if pair.kind == "window"]
    assert len(set(windows)) == 3
    assert all(low <= start < end <= high and end - start >= 0.1 * (high - low) for start, end in windows)
    clean, rough, good, rounded = pairs[0], *pairs[4:]
    assert not np.array_equal(good.lr, rounded.lr)
    assert not np.array_equal(good.lr, rough.lr)
    assert np.abs(good.lr - clean.lr).max() > 1


@pytest.mark.slow
def test_the_lr_of_a_window_is_that_of_clipped_slices(prepared: Prepared) -> None:
    _, pair, *_ = prepared.pairs
    clipped = np.clip(pair.hr, *pair.window)
    np.testing.assert_allclose(pair.lr.mean(), clipped.mean(), rtol=0.02)
    margin = 0.2 * (pair.window[1] - pair.window[0])  # Lanczos overshoots at edges
    assert pair.window[0] - margin <= pair.lr.min() <= pair.lr.max() <= pair.window[1] + margin


@pytest.mark.slow
def test_fits_are_kept_and_not_made_again(head: Volume, prepared: Prepared) -> None:
    stopped = Event()
    stopped.set()  # a fit would end with an error
    again = training_pairs("head", head, 4, prepared.folder, seed=0, stop=stopped, tell=print)
    for one, other in zip(prepared.pairs, again, strict=True):
        np.testing.assert_array_equal(one.lr, other.lr)
    with pytest.raises(TrainingError, match="stopped while preparing; what was finished is kept"):
        training_pairs("head", head, 4, prepared.folder, seed=1, stop=stopped, tell=print)


def test_a_network_is_judged_by_clean_and_decoded_slices(tmp_path: Path) -> None:
    volume = head_phantom((20, 64, 64))
    clean, decoded = validation_pairs("head", volume, 4, tmp_path, seed=0, tell=print)
    assert (clean.kind, decoded.kind) == ("clean", "decoded")
    for pair in (clean, decoded):
        assert 6 <= len(pair.hr) == len(pair.lr) <= 8
        assert pair.window == volume.intensity_range


def test_a_name_given_twice_is_refused() -> None:
    assert volume_names([Path("a/head.nii.gz"), Path("chest")]) == ["head", "chest"]
    with pytest.raises(TrainingError, match="head is given twice"):
        volume_names([Path("a/head.nii"), Path("b/head.tif")])


# The command


@pytest.fixture
def volumes(tmp_path: Path) -> tuple[Path, Path]:
    """Two different volumes: to learn from, and to judge by."""
    paths = tmp_path / "one.npy", tmp_path / "two.npy"
    for path, seed in zip(paths, (0, 1), strict=True):
        np.save(path, np.roll(head_phantom((8, 64, 64)).voxels, 7 * seed, axis=2))
    return paths


@pytest.mark.slow
def test_a_network_is_trained_saved_and_used(run: Any, volumes: tuple[Path, Path], tmp_path: Path) -> None:
    weights, inr = tmp_path / "mine.safetensors", tmp_path / "two.inr"
    short = ["--steps", "4", "--batch", "2", "--patch", "8", "--device", "cpu"]
    command = ["train-sr", volumes[0], "--validate", volumes[1], "--output", weights, *short, "--json"]
    code, out, err = run(*command)
    assert code == 0
    report = json.loads(out)
    network, info = load_weights(weights, report["sha256"])
    assert (network.architecture, info.training) == ("span", "1 volumes, 4 steps, seed 0")
    assert "step 4: gain over Lanczos in dB: two clean" in err.replace("\n", " ")
    with (tmp_path / "mine.train" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["lr"]) for row in rows] == [
        ("0", "clean"),
        ("0", "decoded"),
        ("4", "clean"),
        ("4", "decoded"),
    ]
    assert (tmp_path / "mine.train" / "log.png").read_bytes().startswith(b"\x89PNG")

    before = weights.read_bytes()
    assert run(*command)[0] == 0  # nothing is left to do
    assert weights.read_bytes() == before

    quick = ["--layers", "2", "--hidden", "16", "--steps", "20", "--batch", "256"]
    assert run("compress", volumes[1], inr, *quick, "--upscaler", weights)[0] == 0
    assert read_inr(inr).upscaler.sha256 == report["sha256"]


def test_a_volume_cannot_be_learnt_from_and_judged_by(
    run: Any, volumes: tuple[Path, Path], tmp_path: Path
) -> None:
    output = tmp_path / "w.safetensors"
    code, _, err = run("train-sr", volumes[0], "--validate", volumes[0], "--output", output)
    assert code == 2
    assert "one is given twice" in err
    assert not output.exists()


def test_a_wrong_name_of_the_output_is_refused_before_any_work(
    run: Any, volumes: tuple[Path, Path], tmp_path: Path
) -> None:
    code, _, err = run("train-sr", volumes[0], "--validate", volumes[1], "--output", tmp_path / "w.pt")
    assert code == 2
    assert ".safetensors" in err
    assert list(tmp_path.glob("*.train")) == []
