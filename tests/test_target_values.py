"""Targets are what a file can have."""

from __future__ import annotations

import math

import pytest

from napari_inr_volume.core.errors import FitError
from napari_inr_volume.target import Target


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("bytes", 0, "a file size in bytes must be from 1 to 1,000,000,000, got 0"),
        ("ratio", 0.5, "a ratio must be from 1"),
        ("psnr", 400, "a PSNR in dB must be from 5 to 150, got 400"),
        ("psnr", math.nan, "got nan"),
        ("preset", 3, "a preset must be"),
        ("size", 3, "a target must be one of preset, bytes, ratio, psnr, got 'size'"),
    ],
)
def test_values_that_no_file_can_have_are_refused(kind: str, value: float, message: str) -> None:
    with pytest.raises(FitError, match=message):
        Target(kind=kind, value=value)  # type: ignore[arg-type]


def test_only_sizes_and_ratios_say_how_many_bytes() -> None:
    assert Target(kind="bytes", value=30_000).most_bytes(1_000_000) == 30_000
    assert Target(kind="ratio", value=300).most_bytes(1_000_000) == 3_333
    assert Target(kind="psnr", value=30).most_bytes(1_000_000) is None
    assert Target().most_bytes(1_000_000) is None
