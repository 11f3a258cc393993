"""`fields/pace.py` by a clock of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from napari_inr_volume.fields.pace import Pace


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def steps(self, pace: Pace, first: int, count: int, each: float) -> Iterator[float | None]:
        """Let a pace record `count` steps from `first` on, of so many seconds each."""
        for step in range(first, first + count):
            self.now += each
            pace.record(step)
            yield pace.seconds_per_step
            pace.resume()


def test_the_first_step_says_nothing() -> None:
    clock = Clock()
    pace = Pace(0, clock)
    assert list(clock.steps(pace, 1, 1, 5.0)) == [None]
    assert list(clock.steps(pace, 2, 1, 0.1)) == [pytest.approx(0.1)]


def test_what_happens_between_record_and_resume_takes_no_time() -> None:
    clock = Clock()
    pace = Pace(0, clock)
    list(clock.steps(pace, 1, 10, 0.1))
    pace.record(11)
    clock.now += 3600  # a pause
    pace.resume()
    assert list(clock.steps(pace, 12, 5, 0.1))[-1] == pytest.approx(0.1)


def test_the_latest_seconds_count_most() -> None:
    """A machine that becomes half as fast is known to be so after some seconds."""
    clock = Clock()
    pace = Pace(0, clock)
    list(clock.steps(pace, 1, 100, 0.1))
    found = list(clock.steps(pace, 101, 50, 0.2))
    assert found == sorted(found)
    assert found[0] < 0.15
    assert found[-1] == pytest.approx(0.2, rel=0.1)


def test_records_without_a_step_change_nothing() -> None:
    clock = Clock()
    pace = Pace(0, clock)
    list(clock.steps(pace, 1, 3, 0.1))
    clock.now += 1
    pace.record(3)
    assert pace.seconds_per_step == pytest.approx(0.1)


def test_a_resumed_fit_counts_its_own_steps() -> None:
    clock = Clock()
    pace = Pace(500, clock)
    assert list(clock.steps(pace, 501, 2, 0.1)) == [None, pytest.approx(0.1)]
