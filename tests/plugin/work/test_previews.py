"""Previews of a running fit: how they are throttled, and what they show."""

from __future__ import annotations

import types
from itertools import pairwise

import numpy as np
import pytest
from small_fits import SMALL

from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.siren.network import Siren
from napari_inr_volume.plugin.job import Control
from napari_inr_volume.plugin.work import previews as previews_module
from napari_inr_volume.plugin.work.previews import Previews
from napari_inr_volume.reader import FieldGrid

GOOD = 0.0  # a loss better than that of the volume's mean


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
        if previews.next(siren, GOOD) is not None:
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
        preview = previews.next(Siren(SMALL.field), GOOD)
        assert preview is not None
        assert preview.slices[0] == 11
        assert preview.voxels.shape == (len(preview.slices), 16, 16)
        seen.update(preview.slices)
        control.shown.set()
    assert seen == set(range(16))


def test_nothing_is_shown_before_it_is_better_than_the_volume_s_mean(volume: Volume) -> None:
    previews = Previews(volume, SMALL, Control(), interval=0.0)
    measured = np.concatenate([volume.plane(z)[volume.measured(z)] for z in range(16)]).astype(np.float64)
    low, high = volume.intensity_range
    assert previews.most == pytest.approx(2 * measured.var() / (high - low) ** 2)
    siren = Siren(SMALL.field)
    assert previews.next(siren, 1.01 * previews.most) is None
    assert previews.next(siren, 0.99 * previews.most) is not None
    previews.control.shown.set()
    previews.due = 0.0
    assert previews.next(siren, 1.0) is not None  # from then on each is shown


@pytest.mark.parametrize("axis", [1, 2], ids=["coronal", "sagittal"])
def test_slice_in_view_across_another_axis_is_in_every_preview(volume: Volume, axis: int) -> None:
    control, siren = Control(), Siren(SMALL.field)
    control.cut = (axis, 41)
    preview = Previews(volume, SMALL, control, interval=0.0).next(siren, GOOD)
    lr = np.full((16, 16, 16), np.nan, np.float32)
    preview.draw(lr)
    grid = FieldGrid(siren, volume.shape, SMALL.factor, volume.intensity_range)
    expected = np.moveaxis(grid.fitted(range(16)), axis, 0)[10]
    np.testing.assert_allclose(np.moveaxis(lr, axis, 0)[10], expected, atol=1e-2)
    assert np.isnan(lr).any()  # what was not previewed is transparent
