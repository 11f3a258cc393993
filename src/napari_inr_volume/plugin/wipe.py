"""A wipe: one layer left of an edge, another right of it. The edge can be dragged on the canvas."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from .layers import voxels_of
from .views import add_view

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image
    from napari.utils.events import Event

LEFT = "left: "  # how the name of a wipe's layer begins
NEAR = 10  # pixels of the canvas, around the edge, in which it can be taken
EDGE_COLOUR, EDGE_WIDTH = "#f0e442", 2.0


class Wipe:
    """The left part of one layer over another, up to an edge. On the UI thread only; `end` undoes it."""

    def __init__(
        self, viewer: ViewerModel, top: Image, share: float, dragged: Callable[[float], object]
    ) -> None:
        self.viewer, self.top = viewer, top
        self.share = share  # of the width, that is `top`
        self._dragged = dragged  # told the share while the edge is dragged
        self.layer = add_view(viewer, top, f"{LEFT}{top.name}", blending="translucent_no_depth")
        frame = self.layer.bounding_box  # its right side is the edge
        frame.points, frame.line_color, frame.line_thickness = False, EDGE_COLOUR, EDGE_WIDTH
        frame.visible = True
        self._over = False  # whether the mouse is over the edge
        self._cut()
        viewer.dims.events.order.connect(self._cut)
        viewer.mouse_drag_callbacks.append(self._drag)
        viewer.mouse_move_callbacks.append(self._hover)

    def move(self, share: float) -> None:
        """Put the edge at a share of the width, from 0 to 1."""
        self.share = share
        self._cut()

    def end(self) -> None:
        """Take the layer away, and answer the mouse no more."""
        viewer = self.viewer
        viewer.dims.events.order.disconnect(self._cut)
        viewer.mouse_drag_callbacks.remove(self._drag)
        viewer.mouse_move_callbacks.remove(self._hover)
        self._point(False)
        if self.layer in viewer.layers:
            viewer.layers.remove(self.layer)

    @property
    def _axis(self) -> int:
        """The axis that goes across the canvas, from the last."""
        return self.viewer.dims.displayed[-1] - self.viewer.dims.ndim

    def _cut(self, _: object = None) -> None:
        """Show as much of `top` along the axis that goes across the canvas."""
        if self.layer not in self.viewer.layers:
            return
        width = round(self.share * voxels_of(self.top).shape[self._axis])
        self.layer.visible = width > 0
        if width:
            part = [slice(None)] * 3
            part[self._axis] = slice(width)
            self.layer.data = voxels_of(self.top)[tuple(part)]

    def _near(self, event: Event) -> bool:
        """Whether the mouse is over the edge."""
        low, high = self.top.extent.world[:, self._axis]
        edge = low + self.share * (high - low)
        off = abs(event.position[self._axis] - edge) * event.camera_zoom
        return self.viewer.dims.ndisplay == 2 and self.layer in self.viewer.layers and bool(off <= NEAR)

    def _hover(self, _: ViewerModel, event: Event) -> None:
        self._point(self._near(event))

    def _point(self, over: bool) -> None:
        """Show by the cursor that the edge can be taken."""
        if over != self._over:
            self._over = over
            active = self.viewer.layers.selection.active
            usual = "standard" if active is None else active.cursor
            self.viewer.cursor.style = "pointing" if over else usual

    def _drag(self, viewer: ViewerModel, event: Event) -> Generator[None, None, None]:
        """Move the edge with the mouse, if it was taken; the picture stays where it is."""
        if not self._near(event):
            return
        camera = viewer.scene.camera
        pans, camera.mouse_pan = camera.mouse_pan, False
        event.handled = True
        yield
        while event.type == "mouse_move":
            low, high = self.top.extent.world[:, self._axis]
            share = (event.position[self._axis] - low) / (high - low)
            self.move(float(min(max(share, 0.0), 1.0)))
            self._dragged(self.share)
            event.handled = True
            yield
        camera.mouse_pan = pans
