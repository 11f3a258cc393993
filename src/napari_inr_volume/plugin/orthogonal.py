"""What a viewer shows, from another side: a second model of the same layers, linked with it both ways."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from napari.components import ViewerModel
from napari.experimental import link_layers, unlink_layers
from napari.layers import Image
from qtpy.QtCore import QObject, QTimer, Signal
from superqt.utils import QSignalThrottler

from .layers import voxels_of
from .shown_voxels import ShownVoxels

if TYPE_CHECKING:
    from napari.utils.events import Event

Side = Literal["front", "side"]
# Axes z, y, x: the one that is sliced, down the canvas, across it.
ORDERS: dict[Side, tuple[int, int, int]] = {"front": (1, 0, 2), "side": (2, 0, 1)}
WORDS: dict[Side, str] = {"front": "from the front, y", "side": "from the side, x"}
LINKED = ("contrast_limits", "colormap", "gamma", "opacity", "blending", "interpolation2d")
REDRAW_MS = 400  # a layer whose voxels are being filled is drawn no more often than this


class Mirror(QObject):
    """Shows the visible image layers of `viewer` from one side, in `model`, which a canvas can draw.

    Slice, zoom, place and contrast follow each other; a click goes to a point in all of them. Layers that are
    read slice by slice are left out, in `waiting`: a view from another side needs all slices. On the UI
    thread only; `leave` undoes it.
    """

    updated = Signal()

    def __init__(self, viewer: ViewerModel, side: Side, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.viewer, self.side = viewer, side
        self.model = ViewerModel(ndisplay=2)
        self.waiting: list[str] = []  # names of layers that cannot be shown
        self._copies: dict[Image, Image] = {}
        self._busy = False  # following, so that what follows leads back nowhere
        self._zooms = [1.0, 1.0]  # of both when they last agreed; each is as large as its canvas allows
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.update)
        self._redraws = QSignalThrottler(parent=self)
        self._redraws.setTimeout(REDRAW_MS)
        self._redraws.triggered.connect(self._redraw)
        self._connections: list[tuple[Any, Any]] = []
        layers, camera, own = viewer.layers.events, viewer.scene.camera.events, self.model.scene.camera.events
        for signal in (layers.inserted, layers.removed, layers.reordered, viewer.canvas.grid.events.enabled):
            self._listen(signal, self._soon)
        self._listen(viewer.dims.events.ndisplay, self._soon)
        self._listen(viewer.dims.events.point, self._follow_point)
        self._listen(viewer.events.theme, self._follow_theme)
        self._listen(self.model.dims.events.point, self._lead_point)
        for signals, first, second in ((camera, viewer, self.model), (own, self.model, viewer)):
            self._listen(signals.zoom, lambda *_, a=first, b=second: self._follow_camera(a, b))
            self._listen(signals.center, lambda *_, a=first, b=second: self._follow_camera(a, b))
        for each in (viewer, self.model):
            each.mouse_drag_callbacks.append(self._clicked)
        self.destroyed.connect(lambda: self._disconnect())  # a method of what is gone is not called
        self.model.scene.camera.orientation2d = ("up", "right")  # the head is above
        self.model.canvas.overlays.text.visible = True
        self._follow_theme()
        self.update()

    def update(self) -> None:
        """Show what the viewer shows now."""
        if self.viewer.dims.ndisplay == 3:  # its layers are made for that
            return
        images = [layer for layer in self.viewer.layers if isinstance(layer, Image) and layer.ndim == 3]
        shown = [layer for layer in images if layer.visible and _at_hand(layer)]
        self.waiting = [layer.name for layer in images if layer.visible and not _at_hand(layer)]
        self._busy = True
        for layer in [one for one in self._copies if one not in images]:
            self._forget(layer)
        for layer in images:
            if layer not in self._copies and layer in shown:
                self._copy(layer)
            if layer in self._copies:
                self._copies[layer].visible = layer in shown
        self._arrange([self._copies[layer] for layer in shown])
        self._busy = False
        self._follow_point()
        self.updated.emit()

    def leave(self) -> None:
        """Let the viewer go, for good.

        What `model` shows stays: napari collects garbage at each layer that is taken away, which takes long.
        """
        self._disconnect()
        self._later.stop()
        for layer in list(self._copies):
            self._unlink(layer)

    def _disconnect(self) -> None:
        for signal, slot in self._connections:
            signal.disconnect(slot)
        if self._connections:
            self.viewer.mouse_drag_callbacks.remove(self._clicked)
        self._connections = []

    # Layers

    def _copy(self, layer: Image) -> None:
        copy = Image(
            voxels_of(layer),
            name=layer.name,
            scale=layer.scale,
            translate=layer.translate,
            rotate=layer.rotate,
            shear=layer.shear,
            affine=layer.affine.affine_matrix,
            units=layer.units,
            axis_labels=layer.axis_labels,
            rgb=False,
            multiscale=False,
            cache=False,
            **{name: getattr(layer, name) for name in LINKED},
        )
        self.model.add_layer(copy)
        link_layers([layer, copy], LINKED)
        self._copies[layer] = copy
        for name in ("data", "set_data", "visible", "name"):
            layer.events[name].connect(self._changed)

    def _forget(self, layer: Image) -> None:
        self.model.layers.remove(self._unlink(layer))

    def _unlink(self, layer: Image) -> Image:
        """Let a layer go, and return its copy."""
        copy = self._copies.pop(layer)
        for name in ("data", "set_data", "visible", "name"):
            layer.events[name].disconnect(self._changed)
        unlink_layers([layer, copy], LINKED)
        return copy

    def _changed(self, event: Event) -> None:
        layer = event.source
        if event.type == "data" and layer in self._copies:
            self._copies[layer].data = voxels_of(layer)
        elif event.type == "name" and layer in self._copies:
            self._copies[layer].name = layer.name
        elif event.type == "visible":
            self._soon()
        else:
            self._redraws.throttle()

    def _redraw(self) -> None:
        for copy in self._copies.values():
            if copy.visible:
                copy.refresh(extent=False)

    def _arrange(self, shown: list[Image]) -> None:
        """Put the copies in the order of the layers, and into a grid if those are."""
        wanted = [self._copies[layer] for layer in self.viewer.layers if layer in self._copies]
        if wanted != list(self.model.layers):
            for copy in wanted:
                self.model.layers.move(self.model.layers.index(copy), len(self.model.layers))
        self.model.dims.order = ORDERS[self.side]
        grid, own = self.viewer.canvas.grid, self.model.canvas.grid
        own.shape, own.stride = grid.shape, grid.stride
        own.enabled = grid.enabled
        if shown:
            self.model.fit_to_view(layers=shown)
        self._zooms = [each.scene.camera.zoom for each in (self.viewer, self.model)]

    # Where to look

    def _soon(self, _: object = None) -> None:
        """Update once, when all that is happening now has happened."""
        self._later.start(0)

    def _follow_point(self, _: object = None) -> None:
        axis = ORDERS[self.side][0]
        if self.model.dims.ndim == 3 and not self._busy:
            self._busy = True
            self.model.dims.set_point(axis, self.viewer.dims.point[axis - 3])
            self._busy = False
        self._say()

    def _lead_point(self, _: object = None) -> None:
        axis = ORDERS[self.side][0]
        if self.model.dims.ndim == 3 and not self._busy:
            self._busy = True
            self.viewer.dims.set_point(self.viewer.dims.ndim - 3 + axis, self.model.dims.point[axis])
            self._busy = False
        self._say()

    def _say(self) -> None:
        value = self.model.dims.point[ORDERS[self.side][0]] if self.model.dims.ndim == 3 else 0.0
        self.model.canvas.overlays.text.text = f"{WORDS[self.side]} = {value:.1f}"

    def _follow_camera(self, leader: ViewerModel, follower: ViewerModel) -> None:
        """Zoom by as much as another view, and move along the axis that both show."""
        if self._busy or leader.dims.ndisplay == 3 or follower.dims.ndisplay == 3:
            return
        self._busy = True
        from_last = {axis - leader.dims.ndim: index for index, axis in enumerate(leader.dims.displayed, -2)}
        center = list(follower.scene.camera.center)
        for index, axis in enumerate(follower.dims.displayed, -2):
            own = axis - follower.dims.ndim
            if own in from_last:
                center[index] = leader.scene.camera.center[from_last[own]]
        follower.scene.camera.center = (center[0], center[1], center[2])
        before = self._zooms[0 if leader is self.viewer else 1]
        follower.scene.camera.zoom *= leader.scene.camera.zoom / before
        self._zooms = [each.scene.camera.zoom for each in (self.viewer, self.model)]
        self._busy = False

    def _clicked(self, viewer: ViewerModel, event: Event) -> Generator[None, None, None]:
        """Go to the point of a click, if it is none of a drag."""
        yield
        if event.type == "mouse_release" and self.viewer.dims.ndisplay == 2:
            self.viewer.dims.point = (*self.viewer.dims.point[:-3], *event.position[-3:])

    def _follow_theme(self, _: object = None) -> None:
        self.model.theme = self.viewer.theme

    def _listen(self, signal: Any, slot: Any) -> None:
        signal.connect(slot)
        self._connections.append((signal, slot))


def _at_hand(layer: Image) -> bool:
    """Whether its voxels can be taken from any side without waiting."""
    return isinstance(voxels_of(layer), np.ndarray | ShownVoxels)
