"""What the controllers of the panel Compress share: the chosen volume, and the last fit."""

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
        self.fitted: FitLayers | None = None  # the last fit, from its start
        self.fitting, self.applying = Job(self), Job(self)  # what the others wait for
        self.measuring = LatestJob(self)  # goes on while the fit is used

    def set_source(self, layer: Image | None, volume: Volume | None) -> None:
        """Choose a layer; its volume may be told later."""
        changed = volume is not self.volume
        self.layer, self.volume = layer, volume
        if changed:
            self.volume_changed.emit()
        self.changed.emit()

    def set_fitted(self, fitted: FitLayers | None) -> None:
        """Begin another fit, or let the last one go."""
        self.fitted = fitted
        self.changed.emit()

    def forget_removed(self) -> None:
        """Let go of layers that the person took away; of the fit too, once none of its layers is left."""
        fitted = self.fitted
        if fitted is not None and not self.fitting.running:
            fitted.forget_removed()
            if fitted.hr is None:
                self.applying.drop()
            if not fitted.shown:
                self.fitted = None
                self.measuring.forget()
        self.changed.emit()
