"""Bars in napari's activity dock, moved a few times a second at most.

napari lets Qt do whatever there is to do each time a bar is made or moved, in the middle of what moves it:
the next report of the same work would be taken before this one is done with. So a bar of ours is touched by
a timer alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer

from .notices import plain

if TYPE_CHECKING:
    from napari.utils import progress

MOVE_MS = 300  # a bar is moved no more often than this


class ActivityBar(QObject):
    """A bar that can be begun, moved and ended again and again. On the UI thread only."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._bar: progress | None = None
        self._title = ""  # of work that is under way; empty: none is
        self._cancel: Callable[[], None] | None = None
        self._done, self._total = 0, 0
        self._drawing = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._draw)

    @property
    def shown(self) -> bool:
        """Whether work is under way."""
        return bool(self._title)

    def begin(self, title: str, total: int = 0, cancel: Callable[[], None] | None = None) -> None:
        """Show a bar with a title; with `cancel` it has a button that calls that. A total of 0: not known."""
        self.end()
        self._title, self._cancel = plain(title), cancel
        self._done, self._total = 0, total
        self._timer.start(0)

    def show(self, done: int, total: int | None = None) -> None:
        """Show how much is done."""
        self._done, self._total = done, self._total if total is None else total
        if self.shown and not self._timer.isActive():
            self._timer.start(MOVE_MS)

    def end(self) -> None:
        """Take the bar away."""
        self._title = ""
        self._timer.stop()
        if self._bar is not None and not self._drawing:
            bar, self._bar = self._bar, None
            bar.close()

    def _draw(self) -> None:
        from napari.utils import cancelable_progress, progress

        if self._drawing:  # napari lets Qt call us again
            return
        self._drawing, title = True, self._title
        if self._bar is None:
            make = progress if self._cancel is None else cancelable_progress
            self._bar = make(total=self._total, desc=title)
            if self._cancel is not None:
                self._bar.cancel = self._cancel  # napari's own only ends a loop over the bar
        else:
            if self._bar.total != self._total:
                self._bar.total = self._total
            self._bar.update(self._done - self._bar.n)
        self._drawing = False
        if title != self._title:  # it ended meanwhile, or other work began
            bar, self._bar = self._bar, None
            bar.close()
            if self.shown:
                self._timer.start(0)
