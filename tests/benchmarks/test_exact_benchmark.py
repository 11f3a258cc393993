"""The benchmark of the exact layer: points are measured once, kept, and shown as they are."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_inr_volume.core.phantom import head_phantom

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import exact

pytestmark = pytest.mark.slow


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Return what runs the benchmark with some arguments on a phantom, and returns what it would write."""
    written: list[str] = []
    monkeypatch.setattr(exact, "KEPT", tmp_path / "kept.json")
    monkeypatch.setattr(exact, "VOLUMES", {"phantom": "phantom.npy"})
    monkeypatch.setattr(exact, "write_section", lambda name, text: written.append(text))
    np.save(tmp_path / "phantom.npy", head_phantom((17, 20, 24)).voxels)

    def runs(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["exact.py", str(tmp_path), *arguments])
        exact.main()
        return written[-1]

    return runs


def test_points_of_several_runs_make_one_table(run) -> None:
    first = run("--k", "0", "--codec", "ours", "jpegls")
    assert "| codec | lossless |" in first
    assert "JPEG XL |" not in first
    kept = json.loads(exact.KEPT.read_text())
    ours = kept["phantom"]["points"]["0"]["ours"]
    assert ours["max_error"] == 0
    assert len(ours["cold_seconds"]) == len(ours["warm_seconds"]) == exact.READS
    assert np.mean(ours["warm_seconds"]) < np.mean(ours["cold_seconds"])

    second = run("--volume", "phantom", "--k", "0", "5", "--codec", "jpegls", "jpegxl")
    assert "| codec | lossless | within 5 |" in second
    again = json.loads(exact.KEPT.read_text())["phantom"]["points"]
    assert again["0"]["ours"] == ours
    assert again["0"]["jpegls"] == kept["phantom"]["points"]["0"]["jpegls"]
    assert 0 < again["5"]["jpegxl"]["max_error"] <= 5
    assert run("--table") == second


def test_an_unknown_volume_ends_in_words(run) -> None:
    with pytest.raises(SystemExit, match=r"no such volume.*moon"):
        run("--volume", "moon")


def test_our_share_is_against_the_best_of_those_that_count() -> None:
    points = {name: {"size": size} for name, size in (("ours", 90), ("jpegls", 120), ("jpegxl", 100))}
    assert exact.against(points, ("jpegls", "jpegxl")) == pytest.approx(-0.1)
    assert exact.against(points, ("jpegls", "zstd")) is None
