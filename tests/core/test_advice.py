from __future__ import annotations

import pytest

from napari_inr_volume.core.advice import advice


@pytest.mark.parametrize("ratio", [16, 500.0, 1e6])
def test_of_a_ct_beyond_what_is_accepted_for_diagnosis_it_is_said(ratio: float) -> None:
    words = advice(ratio, "HU")
    assert words is not None
    assert "not for diagnosis" in words
    assert "5:1 to 15:1" in words


@pytest.mark.parametrize("ratio", [1.0, 5, 15.0])
def test_within_it_nothing_is_said(ratio: float) -> None:
    assert advice(ratio, "HU") is None


@pytest.mark.parametrize("units", ["HU", "raw"])
def test_of_a_file_larger_than_its_volume_it_is_said(units: str) -> None:
    words = advice(0.97, units)
    assert words is not None
    assert "larger than the volume" in words


@pytest.mark.parametrize("units", ["raw", "BQML"])
def test_of_anything_but_a_ct_nothing_is_said(units: str) -> None:
    assert advice(1e6, units) is None
