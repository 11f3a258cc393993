"""The benchmark of bytes against PSNR: points are measured once, and what is said follows from them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_inr_volume.core.phantom import head_phantom

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import rate_distortion

Points = list[tuple[int, float]]  # bytes, PSNR


def measured(**by_curve: Points) -> dict[str, object]:
    """Return a volume of 1 MB with these points."""
    points = {
        f"{curve}|{number}": {"bytes": size, "psnr": value}
        for curve, each in by_curve.items()
        for number, (size, value) in enumerate(each)
    }
    return {"points": points, "source_bytes": 1_000_000}


OURS: Points = [(1_000, 30.0), (10_000, 40.0)]


def test_ours_leads_from_where_the_last_of_the_others_is_passed() -> None:
    early, late = [(1_000, 28.0), (10_000, 42.0)], [(1_000, 29.0), (10_000, 44.0)]
    ratio, ahead = rate_distortion.leads_from(measured(ours=OURS, early=early, late=late))
    assert ahead is None
    assert ratio == pytest.approx(1_000_000 / (1_000 * 10 ** (1 / 5)), rel=0.02)
    assert rate_distortion.leads_from(measured(ours=OURS, early=early))[0] < ratio


def test_a_rival_that_is_ahead_at_its_last_point_leaves_it_open() -> None:
    found = measured(ours=OURS, rival=[(5_000, 39.0), (10_000, 42.0)])
    assert rate_distortion.leads_from(found) == (200.0, "rival")
    assert "beyond 200:1" in rate_distortion.lead_in_words(found)


def test_ours_that_is_never_behind_leads_from_its_first_point() -> None:
    assert rate_distortion.leads_from(measured(ours=OURS, rival=[(500, 10.0), (20_000, 30.0)])) == (
        100.0,
        None,
    )


def test_a_coded_lr_is_no_rival() -> None:
    found = measured(**{"ours": OURS, "LR x4, AV1": [(1_000, 50.0), (10_000, 60.0)]})
    assert rate_distortion.leads_from(found) is None


def test_a_codec_without_points_is_named() -> None:
    assert "SPERR" in rate_distortion.lead_in_words(measured(ours=OURS, rival=[(500, 10.0), (20_000, 30.0)]))


def test_the_documents_say_what_the_points_say() -> None:
    summary = rate_distortion.summary(json.loads(rate_distortion.KEPT.read_text()))
    for document in (rate_distortion.README, rate_distortion.DOCUMENT):
        assert summary in document.read_text()


@pytest.mark.slow
def test_a_rerun_measures_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = tmp_path / "phantom.npy"
    np.save(source, head_phantom((9, 48, 48)).voxels)
    monkeypatch.setattr(rate_distortion, "KEPT", tmp_path / "kept.json")
    monkeypatch.setattr(rate_distortion, "BLOCKS", tmp_path / "none.json")
    monkeypatch.setattr(rate_distortion, "write_section", lambda *_: None)
    monkeypatch.setattr(rate_distortion, "plot", lambda *_: None)

    def run(*arguments: str) -> dict[str, dict]:
        monkeypatch.setattr(sys, "argv", ["rate_distortion.py", str(source), "--only", "rivals", *arguments])
        rate_distortion.main()
        return json.loads(rate_distortion.KEPT.read_text())["phantom"]["points"]

    first = run("--codec", "jpegls", "--ratio", "8")
    assert {key.split("|")[0] for key in first} == {"JPEG-LS near-lossless"}
    assert all(point["setting"] and point["encode_seconds"] >= 0 for point in first.values())
    assert run("--codec", "jpegls", "--ratio", "8") == first
    both = run("--codec", "jpegls", "sperr", "--ratio", "8")
    assert first.items() < both.items()
    sizes = [point["bytes"] for key, point in both.items() if key.startswith("SPERR")]
    assert any(0.85 <= size / (9 * 48 * 48 * 2 / 8) <= 1 for size in sizes)
