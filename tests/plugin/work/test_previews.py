"""Previews of a running fit: how they are throttled, and what they show."""

from __future__ import annotations

import types
from itertools import pairwise

import pytest
from small_fits import SMALL

from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.siren.network import Siren
from napari_inr_volume.plugin.job import Control
from napari_inr_volume.plugin.work import previews as previews_module
from napari_inr_volume.plugin.work.previews import Previews


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that is 10 ms later whenever it is read; the list holds what it showed last."""
    shown = [0.0]

    def read() -> float:
        shown[0] += 0.01
        return shown[0]

    monkeypatch.setattr(previews_module, "time", types.SimpleNamespace(perf_counter=read))
    return shown


@pytest.mark.parametrize("acknowledge", [True, False], ids=["shown", "not shown"])
def test_previews_come_no_more_often_than_the_interval_and_not_before_the_last_was_shown(
    volume: Volume, clock: list[float], acknowledge: bool
) -> None:
    control, siren, times = Control(), Siren(SMALL.field), []
    previews = Previews(volume, SMALL, control, interval=0.3)
    for _ in range(200):
        if previews.next(siren) is not None:
            times.append(clock[0])
            if acknowledge:
                control.shown.set()
    assert len(times) > 2 if acknowledge else len(times) == 1
    assert all(later - earlier >= 0.3 for earlier, later in pairwise(times))


def test_preview_shows_the_slice_in_view_first_and_in_time_every_slice(volume: Volume) -> None:
    control = Control()
    control.z = 11
    previews = Previews(volume, SMALL, control, interval=0.0)
    seen: set[int] = set()
    for _ in range(volume.shape[0]):
        previews.due = 0.0
        preview = previews.next(Siren(SMALL.field))
        assert preview is not None
        assert preview.slices[0] == 11
        assert preview.voxels.shape == (len(preview.slices), 16, 16)
        seen.update(preview.slices)
        control.shown.set()
    assert seen == set(range(16))
