from __future__ import annotations

import pytest

from napari_inr_volume.core.advice import advice


@pytest.mark.parametrize("ratio", [16, 500.0, 1e6])
def test_beyond_what_is_accepted_for_diagnosis_it_is_said(ratio: float) -> None:
    assert advice(ratio) == "Preview quality, not for diagnosis: accepted ratios for that are 5:1 to 15:1."


@pytest.mark.parametrize("ratio", [0.1, 5, 15.0])
def test_within_it_nothing_is_said(ratio: float) -> None:
    assert advice(ratio) is None
