"""Generators run to the end or passed on, and closed however that ends."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from napari_inr_volume.core.generators import drain, translated

closed: list[bool] = []


def counting(most: int) -> Generator[int, None, str]:
    try:
        yield from range(most)
    finally:
        closed.append(True)
    return f"{most} counted"


def test_a_drained_generator_tells_all_it_yields_and_what_it_returns() -> None:
    told: list[int] = []
    assert drain(counting(3), told.append) == "3 counted"
    assert told == [0, 1, 2]
    assert drain(counting(0)) == "0 counted"


def test_a_listener_that_raises_closes_the_generator() -> None:
    def fail(each: int) -> None:
        raise KeyError(each)

    closed.clear()
    steps = counting(3)
    with pytest.raises(KeyError):
        drain(steps, fail)
    assert closed == [True]
    assert next(steps, None) is None


def test_what_is_passed_on_is_translated_in_turn_and_the_result_is_kept() -> None:
    told: list[str] = []
    passed = translated(counting(2), lambda each: [f"{each}a", f"{each}b"])
    assert drain(passed, told.append) == "2 counted"
    assert told == ["0a", "0b", "1a", "1b"]


def test_closing_what_is_passed_on_closes_the_generator() -> None:
    closed.clear()
    passed = translated(counting(2), lambda each: [each])
    next(passed)
    passed.close()
    assert closed == [True]
