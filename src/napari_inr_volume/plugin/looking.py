"""Going to a volume: what a person opens or chooses is what they see, and what is selected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer


def look_at(viewer: ViewerModel, layers: Sequence[Image], *, anew: bool = False) -> None:
    """Bring a volume's layers into view: visible, above all others, the last of them selected.

    The slice in view stays if they have it, unless this is the first look at them: that is at their middle,
    with the whole of it in the canvas.
    """
    present = [layer for layer in layers if layer in viewer.layers]
    if not present:
        return
    for layer in present:
        layer.visible = True
        if layer is not viewer.layers[-1]:
            viewer.layers.move(viewer.layers.index(layer), len(viewer.layers))
    viewer.layers.selection.active = present[-1]
    if go_to(viewer, present[0], anew=anew):
        viewer.fit_to_view(layers=present)


def go_to(viewer: ViewerModel, layer: Image, *, anew: bool = False) -> bool:
    """Go to the middle of a layer along each axis on which the viewer is beside it, or anew along all.

    Returns whether it went anywhere: then the canvas may show none of the layer yet.
    """
    low, high = layer.extent.world
    point = np.array(viewer.dims.point)
    own = point[len(point) - len(low) :]  # a layer's axes are the last of the viewer's
    missed = (own < low) | (own > high) | anew
    own[missed] = ((low + high) / 2)[missed]
    viewer.dims.point = tuple(point)
    return bool(missed.any())


def select_seen(viewer: ViewerModel) -> None:
    """Select the topmost visible layer, if what is selected is hidden."""
    active = viewer.layers.selection.active
    seen: list[Layer] = [layer for layer in viewer.layers if layer.visible]
    if seen and (active is None or not active.visible):
        viewer.layers.selection.active = seen[-1]
