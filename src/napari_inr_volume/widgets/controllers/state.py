"""What the controllers of the panel Compress share: the chosen volume, and the fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from ...core.choices import Device
from ...core.volume import Volume
from ...plugin.fit_layers import FitLayers
from ...plugin.job import Job, LatestJob

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from ...core.windows import Window


class PanelState(QObject):
    """On the UI thread only."""

    volume_changed = Signal()  # another volume, or none
    session_changed = Signal()  # another fit is shown, or none
    changed = Signal()  # what can be done now may be different

    def __init__(
        self,
        viewer: ViewerModel,
        find_window: Callable[[Volume], Window],
        device: Callable[[], Device],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.find_window = find_window  # that is chosen, for a volume
        self.device = device  # that is chosen
        self.layer: Image | None = None  # that is chosen
        self.volume: Volume | None = None  # of it, once it is known and can be compressed
        self.awaited = False  # whether its volume is still being looked at
        self.fitted: FitLayers | None = None  # the fit that is shown, from its start
        self.sessions: list[FitLayers] = []  # the fits that can be gone back to, the latest last
        self.fitting, self.applying = Job(self), Job(self)  # what the others wait for
        self.measuring = LatestJob(self)  # goes on while the fit is used

    @property
    def busy(self) -> bool:
        """Whether the fit that is shown is at work, and so stays shown."""
        return self.fitting.running or self.applying.running

    @property
    def subject(self) -> str:
        """Name of the volume that fit, reconstruction and figures are of."""
        if self.fitted is not None:
            return self.fitted.name
        return "" if self.layer is None else self.layer.name

    def set_source(self, layer: Image | None, volume: Volume | None, *, awaited: bool = False) -> None:
        """Choose a layer, and show its latest fit; its volume may be told later."""
        changed, other = volume is not self.volume, layer is not self.layer
        self.layer, self.volume, self.awaited = layer, volume, awaited
        if other and layer is not None and not self.busy:
            self.show_session(next((one for one in reversed(self.sessions) if one.source is layer), None))
        if changed:
            self.volume_changed.emit()
        self.changed.emit()

    def set_fitted(self, fitted: FitLayers) -> None:
        """Begin another fit, in place of one that came to nothing."""
        self.sessions = [*(one for one in self.sessions if one.inr is not None), fitted]
        self.show_session(fitted)
        self.changed.emit()

    def show_session(self, fitted: FitLayers | None) -> None:
        """Show a fit, or none."""
        if fitted is not self.fitted:
            self.fitted = fitted
            self.session_changed.emit()
            self.changed.emit()

    def forget_removed(self) -> None:
        """Let go of layers that the person took away; of a fit too, once none of its layers is left."""
        if not self.fitting.running:
            for fitted in self.sessions:
                fitted.forget_removed()
            self.sessions = [one for one in self.sessions if one.inr is not None and one.shown]
            if self.fitted is not None and self.fitted.hr is None:
                self.applying.drop()
            if self.fitted is not None and self.fitted not in self.sessions:
                self.show_session(None)
        self.changed.emit()
