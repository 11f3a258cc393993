"""Numbers are written no finer than they mean something."""

from __future__ import annotations

import math

import pytest

from napari_inr_volume.core.words import (
    counted,
    in_bytes,
    in_decibels,
    in_error,
    in_figures,
    in_mm,
    in_ratio,
    in_ssim,
    in_time,
    with_decibels,
)


def test_one_is_not_a_plural() -> None:
    counts = [counted(count, "picture") for count in (0, 1, 2, 1_200)]
    assert counts == ["0 pictures", "1 picture", "2 pictures", "1,200 pictures"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (in_decibels(38.14), "38.1"),
        (in_decibels(math.inf), "identical"),
        (in_decibels(math.nan), "–"),
        (with_decibels(38.146), "38.15 dB"),
        (with_decibels(math.inf), "identical"),
        (in_ratio(9.96), "10.0:1"),
        (in_ratio(1499.7), "1,500:1"),
        (in_mm((3.0, 0.5, 0.05)), "3.00 × 0.50 × 0.05 mm"),
        (in_bytes(512), "512 bytes"),
        (in_bytes(2**40), "1.1 TB"),
        (in_bytes(2**50), "1.1 PB"),
        (in_figures(318.748), "318.7"),
        (in_figures(4078.0), "4,078"),
        (in_figures(65535.4), "65,535"),
        (in_figures(0.012345), "0.01235"),
        (in_figures(-1.0), "-1"),
        (in_figures(47.249), "47.25"),
        (in_figures(0.0), "0"),
        (in_figures(math.nan), "–"),
        (in_ssim(0.98149), "0.981"),
        (in_error(36.4), "36"),
        (in_error(0.0213), "0.0213"),
        (in_error(0.0), "0"),
        (in_bytes(29_400), "29.4 kB"),
        (in_bytes(48_900_000), "48.9 MB"),
        (in_bytes(101_147), "101 kB"),
        (in_time(21), "21 s"),
        (in_time(100), "1 min 40 s"),
        (in_time(59.7), "1 min 00 s"),
        (in_time(4000), "1 h 06 min"),
    ],
)
def test_numbers_are_as_fine_as_they_mean_something(words: str, expected: str) -> None:
    assert words == expected
