"""Original, LR fit and reconstruction against each other in the viewer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal
from weakref import ReferenceType, ref

from .looking import go_to
from .views import FROM_THE_FRONT, LOOKS, LookName, add_3d
from .wipe import Wipe

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

Mode = Literal["off", "side by side", "wipe", "difference", "3D"]
LINKED = ("contrast_limits", "colormap", "gamma")
NAME_SIZES = 6, 10  # points, smallest and largest
LETTER = 1.15  # pixels that a letter takes across, for each point of its size


class Arrangement:
    """What comparing does to a viewer, undone when it ends."""

    def __init__(self, viewer: ViewerModel, dragged: Callable[[float], object] = lambda share: None) -> None:
        self.viewer = viewer
        self._dragged = dragged  # told where the edge of a wipe is, while that is dragged on the canvas
        self.wipe: Wipe | None = None  # while that is the mode
        self._before: list[tuple[ReferenceType[Layer], bool, float]] = []
        self._added: list[ReferenceType[Layer]] = []  # by us, to look at others
        self._flat = False  # whether the view was in 2D, and is in 3D now

    def show(
        self,
        mode: Mode,
        layers: Sequence[Image],
        error: Image | None = None,
        *,
        share: float = 0.5,
        look: LookName = "bone",
    ) -> None:
        """Show `layers` as `mode` says: original, LR fit and reconstruction, as far as there are any.

        Side by side they stand in this order, with their names; as a wipe the last is shown left of an edge
        at this share of the width, the first right of it; in 3D both stand beside each other with this look.
        `error` is the difference's layer. All others are hidden until the mode is off.
        """
        self._restore()
        if error is not None and mode != "difference":
            error.visible = False
        if mode == "off" or not layers:
            return
        self._before = [(ref(layer), layer.visible, layer.opacity) for layer in self.viewer.layers]
        shown = self._make(mode, layers, error, share, look)
        self._in_order(layers)
        for layer in self.viewer.layers:
            _show(layer, any(layer is one for one in shown))
        self._name(shown, len(shown) if mode != "difference" else 1)
        moved = bool(shown) and go_to(self.viewer, shown[0])
        if mode in ("side by side", "3D"):
            grid = self.viewer.canvas.grid
            if (grid.shape, grid.stride) != ((1, -1), 1):  # each change costs a tenth of a second
                grid.shape, grid.stride = (1, -1), 1
            grid.enabled = True
        if mode == "3D":
            self._flat = self.viewer.dims.ndisplay == 2
            self.viewer.dims.ndisplay = 3
            self.viewer.scene.camera.set_view_direction(*FROM_THE_FRONT)
        if moved or mode in ("side by side", "3D"):
            self.viewer.fit_to_view(layers=shown)

    def _make(
        self, mode: Mode, layers: Sequence[Image], error: Image | None, share: float, look: LookName
    ) -> list[Image]:
        """Return the layers to show, and add those that are made for looking."""
        first, last = layers[0], layers[-1]
        if mode == "difference":
            return [] if error is None else [error]
        if mode == "wipe" and first is not last:
            self.wipe = Wipe(self.viewer, last, share, self._dragged)
            link([first, self.wipe.layer])
            return [first, self.wipe.layer]
        if mode == "3D":
            views = [add_3d(self.viewer, layer, LOOKS[look]) for layer in dict.fromkeys((first, last))]
            self._added = [ref(view) for view in views]
            return views
        return list(layers)

    def _in_order(self, layers: Sequence[Image]) -> None:
        """Put layers behind each other at the end of the list, which the grid and the stack follow."""
        indices = [self.viewer.layers.index(layer) for layer in layers]
        if indices != sorted(indices):
            self.viewer.layers.move_multiple(indices, len(self.viewer.layers))

    def _name(self, shown: Sequence[Image], cells: int) -> None:
        """Write each layer's name where it is shown."""
        if not shown:
            return
        longest = max((layer.name for layer in shown), key=len)
        size = self._font_size(longest, cells)
        apart = size * LETTER * len(longest) <= self._width(cells)  # whether both names of a wipe have room
        for layer in shown:
            layer.opacity = 1.0
            # Where a long name is cut, its PSNR is not.
            left = self.wipe is not None and layer is self.wipe.layer
            layer.name_overlay.position = ("top_left" if apart else "bottom_left") if left else "top_right"
            layer.name_overlay.font_size = size
            layer.name_overlay.color = None  # it may be made ready just now, without a colour
            layer.name_overlay.visible = True

    def _font_size(self, name: str, cells: int) -> float:
        """Return the size in points at which a name fits in its cell, if it is not too small to read."""
        smallest, largest = NAME_SIZES
        return min(max(self._width(cells) / (LETTER * len(name)), smallest), largest)

    def _width(self, cells: int) -> float:
        return float(self.viewer.canvas.size[1]) / cells

    def _restore(self) -> None:
        """Undo what `show` did, as far as the layers are still there."""
        fit = self.viewer.canvas.grid.enabled and bool(self._before)
        if fit:
            self.viewer.canvas.grid.enabled = False
        self._drop_added()  # before more is drawn in 3D
        if self._flat:
            self.viewer.dims.ndisplay, self._flat = 2, False
        for reference, visible, opacity in self._before:
            layer = reference()
            if layer is not None:
                _show(layer, visible)
                layer.opacity = opacity
                layer.name_overlay.visible = False
        if self.wipe is not None:
            self.wipe.end()
        if fit:
            self.viewer.fit_to_view()
        self._before, self._added, self.wipe = [], [], None

    def _drop_added(self) -> None:
        """Remove the layers that were made for looking, all at once: each time napari collects garbage."""
        layers = self.viewer.layers
        if gone := [one for one in (added() for added in self._added) if one is not None and one in layers]:
            with layers.batched_update():
                for layer in gone:
                    layers.remove(layer)


def _show(layer: Layer, visible: bool) -> None:
    """Show or hide a layer; napari draws everything anew for it, so only if it is not so already."""
    if layer.visible != visible:
        layer.visible = visible


def link(layers: Sequence[Layer]) -> None:
    """Let layers share contrast, colormap and gamma with the first, from now on."""
    from napari.experimental import link_layers

    first, *others = layers
    for layer in others:
        for name in LINKED:
            setattr(layer, name, getattr(first, name))
    if others:
        link_layers(layers, LINKED)
