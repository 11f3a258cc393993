"""What lies over an original and can be compared with it: which layers, which of its slices, which values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .layers import carried, is_view, voxels_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Layer

TOLERANCE = 0.01  # voxels that a layer may lie beside the original's


def compared(viewer: ViewerModel, source: Image) -> list[Image]:
    """Return the layers that show what became of an original: on its grid, or the LR of an `.inr`."""
    from napari.layers import Image

    return [
        layer
        for layer in viewer.layers
        if isinstance(layer, Image)
        and layer is not source
        and not is_view(layer)
        and lies_over(layer, source)
    ]


def lies_over(layer: Image, source: Image) -> bool:
    """Return whether a layer covers slices of an original, voxel on voxel, or as the LR of it."""
    held = carried(layer)
    if held is not None and held.kind == "lr":
        return bool(np.allclose(_corner(layer), _corner(source), atol=TOLERANCE * max(source.scale)))
    return first_slice(layer, source) is not None


def first_slice(layer: Image, source: Image) -> int | None:
    """Return on which slice of the original a layer of whole slices of it begins, or None if it is none."""
    if layer.ndim != 3 or source.ndim != 3 or layer.rgb or (layer.multiscale and carried(layer) is None):
        return None
    if layer.data.shape[1:] != source.data.shape[1:] or layer.data.shape[0] > source.data.shape[0]:
        return None
    last = np.array(layer.data.shape) - 1
    begins = np.array(source.world_to_data(layer.data_to_world((0, 0, 0))))
    ends = np.array(source.world_to_data(layer.data_to_world(tuple(last))))
    start = round(float(begins[0]))
    fits = 0 <= start <= source.data.shape[0] - layer.data.shape[0]
    at = np.array([start, 0, 0])
    close = np.abs([begins - at, ends - at - last]).max() < TOLERANCE
    return start if fits and close else None


def value_at(layer: Image, point: tuple[float, ...]) -> float | None:
    """Return a layer's value at a point of the world, or None outside of it or where it must be decoded.

    A hidden layer that is not in memory would show the value of a slice of before.
    """
    index = np.round(layer.world_to_data(point[-3:])).astype(int)
    if np.any(index < 0) or np.any(index >= layer.data.shape):
        return None
    if isinstance(voxels_of(layer), np.ndarray):
        return float(voxels_of(layer)[tuple(index)])
    if not layer.visible:
        return None
    value: Any = layer.get_value(point, world=True)
    if layer.multiscale and value is not None:
        _, value = value  # the level comes first
    return None if value is None else float(np.asarray(value))


def short_name(layer: Layer, source: Layer) -> str:
    """Return a layer's name without that of its original: `SPAN 37.9 dB` of `chest [SPAN 37.9 dB]`."""
    name = layer.name.removeprefix(source.name).strip()
    return name[1:-1] if name.startswith("[") and name.endswith("]") else name or layer.name


def _corner(layer: Image) -> NDArray[np.float64]:
    """Return the outer corner of the first voxel, in the world."""
    return np.array(layer.data_to_world((-0.5, -0.5, -0.5)))
