"""Values are HU only where they are; other units are what their source names."""

from __future__ import annotations

import numpy as np
import pytest

from napari_inr_volume.core.errors import VolumeError
from napari_inr_volume.core.units import suffix
from napari_inr_volume.core.volume import Volume


@pytest.mark.parametrize(
    ("voxels", "units"),
    [
        (np.array([[[-1000, 40, 1200]]], np.int16), "HU"),
        (np.array([[[0, 40, 1200]]], np.int16), "raw"),  # MR
        (np.array([[[0, 40_000, 65_535]]], np.uint16), "raw"),  # micro-CT, light sheet
        (np.array([[[0.0, 0.5, 1.0]]], np.float32), "raw"),
        (np.array([[[-1.0, 0.0, 1.0]]], np.float32), "raw"),
    ],
    ids=["CT", "MR", "micro-CT", "zero to one", "minus one to one"],
)
def test_units_of_an_array_follow_from_its_values(voxels: np.ndarray, units: str) -> None:
    assert Volume.from_array(voxels).units == units


def test_a_name_is_kept_and_follows_numbers() -> None:
    volume = Volume.from_array(np.ones((1, 2, 3)), units="Bq/ml")
    assert volume.units == "Bq/ml"
    assert "Bq/ml 1 to 1" in volume.summary
    assert [suffix(units) for units in ("HU", "raw", "Bq/ml")] == [" HU", "", " Bq/ml"]


@pytest.mark.parametrize("units", ["", " HU", "H\nU", "\x1b[31m", "u" * 33, None, 3], ids=repr)
def test_what_is_no_name_is_refused(units: object) -> None:
    with pytest.raises(VolumeError, match="units must be 'HU', 'raw' or a name"):
        Volume.from_array(np.ones((1, 2, 3)), units=units or "")  # type: ignore[arg-type]
