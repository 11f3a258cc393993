"""`inr-volume compare`: figures and picture."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import QUICK, complaints

from napari_inr_volume.io.inr_file import read_inr

pytestmark = pytest.mark.slow  # real fits, windows or processes


def test_compare_reports_every_figure_and_draws_the_picture(run: Any, source: Path, compressed: Path) -> None:
    code, out, _ = run("compare", source, compressed, "--json", "--device", "cpu")
    report = json.loads(out)
    assert code == 0
    promised = (
        "file_bytes source_bytes ratio ratio_with_model lr_psnr hr_psnr lanczos_psnr"
        " hr_psnr_8bit ssim rmse p99 max_error units upscaler seconds"
    )
    assert set(promised.split()) <= set(report)
    assert report["hr_psnr"] == pytest.approx(read_inr(compressed).quality.hr_psnr)
    assert report["hr_psnr"] == report["lanczos_psnr"]  # as it names Lanczos
    assert report["units"] == "HU"
    earlier = [report[name] for name in ("hu_rmse", "hu_p99", "hu_max")]
    assert earlier == [report[name] for name in ("rmse", "p99", "max_error")]
    assert Path(report["figure"]).read_bytes().startswith(b"\x89PNG")


def test_compare_in_words_names_the_range_of_every_psnr(run: Any, source: Path, compressed: Path) -> None:
    _, out, _ = run("compare", source, compressed, "--window", "brain", "--device", "cpu")
    lines = [line for line in out.splitlines() if "dB" in line]
    assert len(lines) == 4
    assert all("range, peak " in line or "window brain (40 / 80)" in line for line in lines)


@pytest.mark.slow
def test_compare_measures_any_weights_file(
    run: Any, source: Path, compressed: Path, by_own: Path, own: Path, other: Path
) -> None:
    figures = {}
    for inr_path in (compressed, by_own):  # one names Lanczos, one other weights
        _, out, err = run("compare", source, inr_path, "--upscaler", other, "--device", "cpu", "--json")
        figures = json.loads(out)
        assert complaints(err) == []
        assert (figures["upscaler"], figures["upscaler_sha256"]) == (
            "srdensenet",
            sha256(other.read_bytes()).hexdigest(),
        )
    _, out, _ = run("compare", source, by_own, "--upscaler", own, "--device", "cpu", "--json")
    assert json.loads(out)["hr_psnr"] != figures["hr_psnr"]
    assert json.loads(out)["hr_psnr"] == pytest.approx(read_inr(by_own).quality.hr_psnr)


def test_compare_without_the_named_weights_shows_figures_of_lanczos_only(
    run: Any, source: Path, by_own: Path
) -> None:
    _, out, err = run("compare", source, by_own, "--device", "cpu", "--json")
    figures = json.loads(out)
    assert "restored by Lanczos, not by SPAN" in err
    assert (figures["upscaler"], figures["hr_psnr"]) == ("lanczos", figures["lanczos_psnr"])
    assert figures["hr_psnr"] == pytest.approx(read_inr(by_own).quality.lanczos_psnr)


def test_values_without_a_unit_are_compared_without_a_word_of_hu(run: Any, tmp_path: Path) -> None:
    source, inr = tmp_path / "cells.npy", tmp_path / "x.inr"
    np.save(source, np.random.default_rng(0).random((8, 32, 32), dtype=np.float32))
    code, written, err = run("compress", source, inr, *QUICK, "--upscaler", "lanczos")
    assert code == 0, err
    code, compared, _ = run("compare", source, inr, "--device", "cpu")
    assert code == 0
    assert "HU" not in written + compared
    assert "peak 0.99" in written
    report = json.loads(run("compare", source, inr, "--device", "cpu", "--json")[1])
    assert report["units"] == "raw"
    assert 0 < report["rmse"] < report["max_error"] <= 1
