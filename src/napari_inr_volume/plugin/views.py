"""Layers made for looking at others, such as in 3D or in a wipe. They share the voxels, and go again.

None of them is ever a source, an original or something to save: what they carry is of the kind `made`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..core.volume import triple
from .layers import METADATA, Carried, kwargs_over, voxels_of

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image
    from napari.utils.colormaps import Colormap

LookName = Literal["bone", "skin", "lung", "as shown"]
LOWEST, HIGHEST = -1000, 3000  # HU that surfaces are made from
FROM_THE_FRONT = (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)  # z, y, x: where to look, what is up: the head


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a volume is rendered in 3D."""

    rendering: str
    limits: tuple[float, float] | None = None  # HU of the colours; None: as the layer shows them
    colours: tuple[tuple[float, float, float, float], ...] | None = None  # from low to high; None: as shown
    surface: float | None = None  # HU at which one is seen, of the rendering "iso"


# napari multiplies the values of an iso surface by the light on it before it colours them: they are counted
# from -1000 HU, and colours go from shade to light. Lungs are seen through the body wall: what is neither air
# outside nor lung is transparent, but for vessels.
LOOKS: dict[LookName, Look] = {
    "bone": Look(
        rendering="iso",
        limits=(-900, 1300),
        colours=((0.05, 0.03, 0.02, 1), (0.75, 0.66, 0.52, 1), (1, 0.98, 0.92, 1)),
        surface=250,
    ),
    "skin": Look(
        rendering="iso",
        limits=(-950, 300),
        colours=((0.08, 0.03, 0.02, 1), (0.78, 0.55, 0.44, 1), (1, 0.88, 0.8, 1)),
        surface=-300,
    ),
    "lung": Look(
        rendering="translucent",
        limits=(-960, -200),
        colours=(
            (0, 0, 0, 0),
            (0.3, 0.5, 0.8, 0.02),
            (0.5, 0.6, 0.9, 0.05),
            (0.9, 0.6, 0.5, 0.1),
            (1, 0.8, 0.7, 0),
        ),
    ),
    "as shown": Look(rendering="attenuated_mip"),
}


def add_view(viewer: ViewerModel, of: Image, name: str, data: Any = None, **arguments: Any) -> Image:
    """Add a layer of a layer's voxels, or of a part of them from the first on; what is selected stays so."""
    selected = set(viewer.layers.selection)
    place: dict[str, Any] = kwargs_over(of)
    shown: dict[str, Any] = {
        "contrast_limits": of.contrast_limits,
        "colormap": of.colormap,
        "gamma": of.gamma,
        "interpolation2d": of.interpolation2d,
    }
    added: Image = viewer.add_image(
        voxels_of(of) if data is None else data,
        name=name,
        **(place | shown | arguments),
        rgb=False,
        multiscale=False,
        cache=False,
        metadata={METADATA: Carried(kind="made")},
    )
    if data is None:
        added.contrast_limits_range = of.contrast_limits_range
    viewer.layers.selection = selected
    return added


def add_3d(viewer: ViewerModel, of: Image, look: Look) -> Image:
    """Add a layer that shows another's voxels in 3D."""
    data, limits = of.data, look.limits or of.contrast_limits
    arguments: dict[str, Any] = {"rendering": look.rendering, "blending": "translucent_no_depth"}
    if of.multiscale:
        data = of.data[-1]
        arguments["scale"] = triple(of.scale * of.downsample_factors[-1])
    if look.surface is not None:
        data = np.clip(np.asarray(data), LOWEST, HIGHEST).astype(np.int16) - np.int16(LOWEST)
        limits = limits[0] - LOWEST, limits[1] - LOWEST
        arguments["iso_threshold"] = look.surface - LOWEST
        arguments["blending"] = "translucent"
    if look.colours is not None:
        arguments["colormap"] = _colormap(look.colours)
    return add_view(viewer, of, f"3D: {of.name}", data, contrast_limits=limits, **arguments)


def _colormap(colours: tuple[tuple[float, float, float, float], ...]) -> Colormap:
    from napari.utils.colormaps import Colormap

    return Colormap(np.array(colours), name="3D", display_name="3D")
