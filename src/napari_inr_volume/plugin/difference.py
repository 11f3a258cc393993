"""The layer of a difference: its colours, its limits and its colour bar.

The limits follow the window through which the original is seen, so that an error is as visible as a lesion of
as many HU. In 3D no error is transparent and large ones of either sign are not: a maximum projection of
signed values would show the positive ones alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.units import Units, suffix
from ..core.words import in_figures
from .compare_with import short_name
from .layers import METADATA, Carried, kwargs_over, layer_name

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image
    from napari.utils.colormaps import Colormap

SIGNED, ABSOLUTE = "PiYG", "magma"  # green too bright, pink too dark; the other is 0 in the middle, both ways
WINDOW_SHARE = 5  # a window's width over the largest error of the colours, before that is rounded down
ROUND = 5, 3, 2, 1  # times a power of ten: the ends of a colour bar that napari puts numbers to
COLOURS = 255  # of a colormap; odd, so that 0 has one
IN_3D = 0.5  # how opaque the largest error is there


def limits_of(source: Image) -> tuple[float, float]:
    """Return the contrast limits of a difference for the window of the original's layer: symmetric, round."""
    black, white = source.contrast_limits
    limit = (white - black) / WINDOW_SHARE
    power = 10.0 ** math.floor(math.log10(limit))
    limit = power * next(number for number in ROUND if number <= limit / power * (1 + 1e-9))
    return -limit, limit


class Difference:
    """A layer of errors over what they are of. It follows the original's window, and the view in 2D or 3D.

    On the UI thread only. Ends with the layer.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        error: NDArray[Any],
        of: Image,
        source: Image,
        *,
        units: Units,
        absolute: bool = False,
    ) -> None:
        self.viewer, self.source, self.of = viewer, source, of
        self._units = units
        self._absolute = absolute
        limit = float(np.abs(error[:: max(1, len(error) // 16)]).max())
        selected = set(viewer.layers.selection)
        place: dict[str, Any] = kwargs_over(of)
        self.layer: Image = viewer.add_image(
            error,
            **place,
            contrast_limits=limits_of(source),
            rgb=False,
            cache=False,
            visible=False,
            metadata={METADATA: Carried(kind="made")},
        )
        viewer.layers.selection = selected
        limit = max(limit, limits_of(source)[1])
        self.layer.contrast_limits_range = (-limit, limit)
        bar = self.layer.colorbar
        bar.position, bar.size, bar.visible = "bottom_right", (20, 240), True
        self._colour()
        self._name()
        self.layer.events.contrast_limits.connect(self._name)
        source.events.contrast_limits.connect(self._follow_window)
        viewer.dims.events.ndisplay.connect(self._colour)

    def show_absolute(self, absolute: bool) -> None:
        """Show how large errors are, or also which way; the values under the cursor stay signed."""
        self._absolute = absolute
        self._colour()

    def _follow_window(self, _: object = None) -> None:
        self.layer.contrast_limits = limits_of(self.source)

    def _name(self, _: object = None) -> None:
        """Say what it is of, and how large the errors at the ends of the colours are."""
        what = f"{short_name(self.of, self.source)} - original"
        most = in_figures(self.layer.contrast_limits[1])
        self.layer.name = layer_name(self.source.name, f"{what}, ±{most}{suffix(self._units)}")

    def _colour(self, _: object = None) -> None:
        in_3d = self.viewer.dims.ndisplay == 3
        self.layer.colormap = error_colours(absolute=self._absolute, in_3d=in_3d)
        self.layer.rendering = "translucent"  # in 3D; needs colours that are transparent
        self.layer.blending = "translucent_no_depth"


def error_colours(*, absolute: bool, in_3d: bool) -> Colormap:
    """Return colours from the largest negative error to the largest positive one."""
    from napari.utils.colormaps import Colormap, ensure_colormap

    from_0 = np.abs(np.linspace(-1, 1, COLOURS))
    name = ABSOLUTE if absolute else SIGNED
    colours = ensure_colormap(name).map(from_0 if absolute else np.linspace(0, 1, COLOURS))
    if in_3d:
        colours[:, 3] = IN_3D * from_0**4
    words = f"{'absolute' if absolute else 'signed'} error{' in 3D' if in_3d else ''}"
    return Colormap(colours, name=words, display_name=words)
