"""The figures of an `.inr` as CSV."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from napari_inr_volume import compress
from napari_inr_volume.core.metrics import Meter
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.windows import find_window
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.figures_table import COLUMNS, Compared, write_figures
from napari_inr_volume.inr_volume import InrVolume

VOLUME = head_phantom((8, 32, 32))


@pytest.fixture(scope="module")
def inr() -> InrVolume:
    small = Settings(
        field=SirenConfig(layers=2, hidden_features=8), fit=FitConfig(steps=5, batch=64, learning_rate=3e-3)
    )
    return compress(VOLUME, small, device="cpu", upscaler="lanczos")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames or ()) == COLUMNS
        return list(reader)


def test_the_volume_and_each_measured_slice_have_a_row(tmp_path: Path, inr: InrVolume) -> None:
    meter = Meter(VOLUME, find_window("bone", VOLUME))
    planes = {z: VOLUME.plane(z) + np.float32(2 + z) for z in (1, 4)}
    for z, plane in planes.items():
        meter.add(z, plane)
    found = meter.result()
    path = tmp_path / "figures.csv"
    compared = [Compared(name="Lanczos", against="original", figures=found)]
    write_figures(path, "=head", inr, 1000, 3000, compared)
    whole, *slices = rows_of(path)
    assert (whole["slice"], whole["slices_measured"], whole["window"]) == ("", "2", "bone")
    assert [row["slice"] for row in slices] == ["1", "4"]
    assert [float(row["rmse"]) for row in slices] == pytest.approx([3, 6])
    assert [float(row["max_error"]) for row in slices] == pytest.approx([3, 6])
    assert float(whole["psnr_db"]) == found.psnr
    assert float(whole["body_rmse"]) == found.of_volume().body.rmse
    assert float(slices[0]["window_rmse"]) == pytest.approx(3)
    assert whole["volume"] == "'=head"  # no formula
    assert float(whole["ratio"]) == inr.source_bytes / 1000
    assert float(whole["ratio_with_model"]) == inr.source_bytes / 4000
    assert whole["units"] == "HU"
    assert json.loads(whole["settings"])["field"]["hidden_features"] == 8


def test_what_was_not_measured_is_left_out(tmp_path: Path, inr: InrVolume) -> None:
    path = tmp_path / "figures.csv"
    nothing = Compared(name="Lanczos", against="original", figures=Meter(VOLUME).result())
    write_figures(path, "head", inr, 1000, 0, [nothing])
    assert rows_of(path) == []
