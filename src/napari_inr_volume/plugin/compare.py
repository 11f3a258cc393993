"""Original, LR fit and reconstruction against each other in the viewer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal
from weakref import ReferenceType, ref

import numpy as np
from numpy.typing import NDArray

from .layers import kwargs_over

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

Mode = Literal["off", "side by side", "overlay", "difference"]
LINKED = ("contrast_limits", "colormap", "gamma")
NAME_SIZES = 6, 10  # points, smallest and largest
DIVERGING = "PiYG"  # negative and positive errors apart, none of them in the grey of the images


def difference_layer(error: NDArray[Any], name: str, over: Layer) -> tuple[NDArray[Any], dict[str, Any]]:
    """Return data and arguments of a signed difference's layer: symmetric limits, 0 is white."""
    some = np.abs(error[:: max(1, len(error) // 16)])
    limit = float(np.percentile(some, 99.5)) or float(some.max()) or 1.0
    arguments = {
        "name": name,
        "colormap": DIVERGING,
        "contrast_limits": (-limit, limit),
        **kwargs_over(over),
    }
    return error, arguments


class Arrangement:
    """What comparing does to a viewer, undone when it ends."""

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self._before: list[tuple[ReferenceType[Layer], bool, float]] = []

    def show(
        self, mode: Mode, layers: Sequence[Image], error: Image | None = None, opacity: float = 0.5
    ) -> None:
        """Show `layers` as `mode` says: original, LR fit and reconstruction, as far as there are any.

        Side by side they stand in this order, with their names; as an overlay the last lies on the first,
        with this opacity. `error` is the difference's layer. All others are hidden until the mode is off.
        """
        self._restore()
        if error is not None:
            error.visible = False
        if mode == "off" or not layers:
            return
        self._before = [(ref(layer), layer.visible, layer.opacity) for layer in self.viewer.layers]
        shown = {
            "side by side": list(layers),
            "overlay": [layers[0], layers[-1]],
            "difference": [layer for layer in [error] if layer is not None],
        }[mode]
        for layer in self.viewer.layers:
            layer.visible = any(layer is one for one in shown)
        for layer in layers:  # the grid and the stack follow the order of the list
            self.viewer.layers.move(self.viewer.layers.index(layer), len(self.viewer.layers))
        size = self._font_size(max((layer.name for layer in shown), key=len), len(shown))
        for layer in shown:
            layer.opacity = 1.0
            layer.name_overlay.position = "top_right"  # where a long name is cut, its PSNR is not
            layer.name_overlay.font_size = size
            layer.name_overlay.visible = mode != "overlay"  # both in one corner cannot be read
        if mode == "overlay":
            shown[-1].opacity = opacity
        if mode == "side by side":
            grid = self.viewer.canvas.grid
            grid.shape, grid.stride, grid.enabled = (1, -1), 1, True
            self.viewer.fit_to_view()

    def _font_size(self, name: str, cells: int) -> float:
        """Return the size in points at which a name fits in its cell, if it is not too small to read."""
        width = float(self.viewer.canvas.size[1]) / cells
        smallest, largest = NAME_SIZES
        return min(max(width / (1.15 * len(name)), smallest), largest)  # a point takes 1.15 pixels a letter

    def _restore(self) -> None:
        """Undo what `show` did, as far as the layers are still there."""
        if self.viewer.canvas.grid.enabled:
            self.viewer.canvas.grid.enabled = False
            self.viewer.fit_to_view()
        for reference, visible, opacity in self._before:
            layer = reference()
            if layer is not None:
                layer.visible, layer.opacity = visible, opacity
                layer.name_overlay.visible = False
        self._before = []


def link(layers: Sequence[Layer]) -> None:
    """Let layers share contrast, colormap and gamma with the first, from now on."""
    from napari.experimental import link_layers

    first, *others = layers
    for layer in others:
        for name in LINKED:
            setattr(layer, name, getattr(first, name))
    if others:
        link_layers(layers, LINKED)
