"""Bars in napari's activity dock."""

from __future__ import annotations

from napari.utils import cancelable_progress, progress
from qtpy.QtWidgets import QApplication

from napari_inr_volume.plugin.activity import ActivityBar


def test_a_bar_is_moved_by_a_timer_alone_and_goes(qtbot) -> None:
    bar = ActivityBar()
    bar.begin("Fitting <b>head", 100)
    assert not progress._all_instances  # napari lets Qt work meanwhile: not in the middle of a report
    qtbot.waitUntil(lambda: len(progress._all_instances) == 1)
    (shown,) = progress._all_instances
    assert shown.total == 100
    bar.show(30)
    bar.show(40)
    qtbot.waitUntil(lambda: shown.n == 40)
    bar.show(5, 50)
    qtbot.waitUntil(lambda: (shown.n, shown.total) == (5, 50))
    bar.end()
    assert not progress._all_instances
    bar.show(6)
    bar.begin("again", 7)
    bar.end()
    QApplication.processEvents()
    assert not progress._all_instances


def test_a_bar_can_be_cancelled(qtbot) -> None:
    bar, asked = ActivityBar(), []
    bar.begin("Reading", cancel=lambda: asked.append(True))
    qtbot.waitUntil(lambda: len(progress._all_instances) == 1)
    (shown,) = progress._all_instances
    assert isinstance(shown, cancelable_progress)
    shown.cancel()
    assert asked == [True]
    bar.end()


def test_work_that_ends_while_napari_makes_its_bar_leaves_none(qtbot, monkeypatch) -> None:
    bar, make = ActivityBar(), progress.__init__

    def meanwhile(self: progress, *args: object, **kwargs: object) -> None:
        make(self, *args, **kwargs)
        monkeypatch.undo()
        bar.end()
        bar.begin("next", 2)

    monkeypatch.setattr(progress, "__init__", meanwhile)
    bar.begin("short", 1)
    qtbot.waitUntil(lambda: [shown.total for shown in progress._all_instances] == [2])
    bar.end()
    assert not progress._all_instances
