"""Which of the fits is shown: chosen from a list, and named wherever something of it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from ...core.words import in_bytes, with_decibels
from ...plugin.looking import look_at
from ..fit_section import FitSection
from ..section import Section
from .state import PanelState

if TYPE_CHECKING:
    from napari.layers import Image

    from ...plugin.fit_layers import FitLayers


class SessionsController(QObject):
    """Goes back to an earlier fit, its volume and its layers."""

    def __init__(
        self,
        state: PanelState,
        section: FitSection,
        named: Sequence[Section],
        choose_source: Callable[[Image], None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.state = state
        self.section = section
        self.named = named  # sections that say of which volume they are
        self.choose_source = choose_source
        section.session_chosen.connect(self._choose)
        state.changed.connect(self.show_sessions)

    def show_sessions(self) -> None:
        """Offer the fits that there are, and name the volume of the one that is shown."""
        for section in self.named:
            section.show_subject(self.state.subject)
        sessions, fitted = self.state.sessions, self.state.fitted
        shown = sessions.index(fitted) if fitted in sessions else -1
        self.section.show_sessions([words_of(one) for one in sessions], shown, locked=self.state.busy)

    def _choose(self, index: int) -> None:
        fitted = self.state.sessions[index]
        if fitted.source in self.state.viewer.layers:
            self.choose_source(fitted.source)
        self.state.show_session(fitted)
        look_at(self.state.viewer, fitted.shown)


def words_of(fitted: FitLayers) -> str:
    """Return what tells a fit from others: its volume, its size and its quality."""
    words = [fitted.name]
    if fitted.file_bytes:
        words.append(in_bytes(fitted.file_bytes))
    if fitted.inr is not None and fitted.inr.quality is not None:
        words.append(f"LR {with_decibels(fitted.inr.quality.lr_psnr, 1)}")
    return ", ".join(words)
