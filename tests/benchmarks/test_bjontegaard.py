from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from bjontegaard import bd_rate, crossover, frontier, psnr_at

CURVE = [(1_000.0, 30.0), (2_000.0, 33.0), (4_000.0, 36.0), (8_000.0, 39.0)]


def test_half_the_bytes_are_a_bd_rate_of_minus_half() -> None:
    assert bd_rate([(size / 2, psnr) for size, psnr in CURVE], CURVE) == pytest.approx(-0.5)
    assert bd_rate(CURVE, CURVE) == pytest.approx(0)


def test_curves_without_common_psnr_have_no_bd_rate() -> None:
    assert bd_rate(CURVE, [(size, psnr + 20) for size, psnr in CURVE]) is None


def test_points_that_others_beat_are_left_out() -> None:
    assert frontier([*CURVE, (3_000.0, 31.0)]) == CURVE
    nearly = [(0.99 * size, psnr - 0.2) for size, psnr in CURVE]
    assert frontier([*CURVE, *nearly]) == CURVE


def test_psnr_between_points_lies_on_a_line_in_log_bytes() -> None:
    assert psnr_at(CURVE, 2_000 * 2**0.5) == pytest.approx(34.5)
    assert psnr_at(CURVE, 500) is None


def test_the_crossover_is_where_curves_meet() -> None:
    flat = [(1_000.0, 32.0), (8_000.0, 35.0)]  # ahead of the curve up to 2,000 bytes and somewhat more
    found, ahead = crossover(flat, CURVE)
    assert ahead
    assert found == pytest.approx(2_000, rel=0.02)


@pytest.mark.parametrize(("more", "expected"), [(1.0, (None, True)), (-1.0, (None, False))])
def test_a_curve_that_is_always_above_or_below_has_no_crossover(
    more: float, expected: tuple[None, bool]
) -> None:
    assert crossover([(size, psnr + more) for size, psnr in CURVE], CURVE) == expected


def test_where_the_other_has_nothing_as_small_ours_is_ahead() -> None:
    assert crossover([(100.0, 25.0), (500.0, 28.0)], CURVE) == (None, True)
