"""The one place where volumes become napari layers, and layers volumes again.

What a layer carries: `layer.metadata["inr_volume"]` is a `Carried`, put there by the functions below. From
it the writer knows what to save, and a volume that was read keeps its direction, padding and units on the
way through the viewer.

Where a layer lies: napari shows a layer with rotation or shear badly once it is sliced, so a layer is
placed by spacing and origin alone, along the volume's own axes z, y, x, in mm. Layers of one volume, and
volumes of one direction, lie over each other as in the patient; an axial and a coronal series do not. The
whole geometry stays in `Carried`, and is what an `.inr` records.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..core.errors import VolumeError
from ..core.memory import check_memory
from ..core.units import Units
from ..core.volume import AXIAL, Geometry, Triple, Volume, triple
from ..core.windows import WINDOWS, opening_window
from ..inr_volume import InrVolume
from ..io.values import guess_meaning
from .notices import plain
from .pyramid import finest

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

METADATA = "inr_volume"  # key of what is ours in a layer's metadata
DEFAULT_WINDOW = "soft tissue"  # shows something of every body region

LayerData = tuple[Any, dict[str, Any], str]  # data, arguments of the layer, "image"
Kind = Literal["original", "lr", "hr", "exact", "made"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Carried:
    """What a layer of ours carries in its metadata.

    An original has `volume`. LR, HR and exact voxels have `inr`, from the moment that there is a fitted
    network; while it is being fitted they have neither. And nor has what is made of layers, to look at them.
    """

    kind: Kind
    volume: Volume | None = None  # whose voxels the layer shows
    inr: InrVolume | None = None  # what the layer was decoded from, and what a writer saves
    opened: Path | None = None  # the `.inr` that this was read from, which may embed the upscaler's weights

    @property
    def holds(self) -> Volume | InrVolume | None:
        """What knows the meaning of the layer's values."""
        return self.inr if self.volume is None else self.volume

    @property
    def geometry(self) -> Geometry | None:
        """Of the grid that the layer shows, if known."""
        if self.volume is not None:
            return self.volume.geometry
        if self.inr is not None:
            return self.inr.lr_geometry if self.kind == "lr" else self.inr.geometry
        return None

    @property
    def units(self) -> Units | None:
        """Of the layer's values, if known."""
        return None if self.holds is None else self.holds.units


def carried(layer: Layer) -> Carried | None:
    """Return what a layer of ours carries, or None for another's."""
    found = layer.metadata.get(METADATA)
    return found if isinstance(found, Carried) else None


def is_original(layer: Layer) -> bool:
    """Return whether a layer was not made here of another: not an LR, a reconstruction or a difference."""
    held = carried(layer)
    return held is None or held.kind == "original"


def is_view(layer: Layer) -> bool:
    """Return whether a layer was made for looking at others: a difference, a part of one, or 3D."""
    held = carried(layer)
    return held is not None and held.kind == "made"


def voxels_of(layer: Layer) -> Any:
    """Return the voxels of an image layer (z, y, x); of a multiscale one, those of its finest level."""
    return finest(layer.data)


def path_of(layer: Layer) -> Path | None:
    """Return the `.inr` that a layer was opened from, if it is still there."""
    held = carried(layer)
    path = None if held is None else held.opened
    return path if path is not None and path.is_file() else None


def check_layer(layer: Layer) -> None:
    """Raise VolumeError, with a word on what to do, for a layer that is not one 3D volume of numbers.

    Quick: looks at no voxel.
    """
    from napari.layers import Image

    name = f"the layer '{layer.name}'"
    if not isinstance(layer, Image):
        raise VolumeError(f"{name} is a {type(layer).__name__} layer; choose an image layer")
    if layer.rgb:
        raise VolumeError(f"{name} is in colour (RGB); split its channels, and choose one")
    if layer.multiscale and carried(layer) is None:
        raise VolumeError(f"{name} is multiscale; add its full resolution as a layer of its own")
    if layer.ndim != 3:
        what = "a single image" if layer.ndim == 2 else f"of {layer.ndim} dimensions"
        raise VolumeError(f"{name} is {what}; choose a stack of slices with the three axes z, y, x")
    dtype = np.dtype(layer.data.dtype)
    if dtype.kind not in "iuf":
        raise VolumeError(f"{name} holds values of the type {dtype}; convert them to whole numbers or floats")


def volume_of(layer: Layer) -> Volume:
    """Return the volume that an image layer shows, in mm: its own if it was read by this plugin.

    Scale, translate, units, rotation and affine of another layer become spacing, origin and direction; it
    is taken to be axial, and units other than lengths as mm. Takes a look at every voxel, a slice at a time,
    and reads those that are not in memory: call it off the UI thread. Raises VolumeError as `check_layer`
    does, and for voxels that make no volume.
    """
    check_layer(layer)
    held = carried(layer) or Carried(kind="original")
    geometry, shown = held.geometry, voxels_of(layer)
    if geometry is None or geometry.shape != shown.shape:
        geometry = place_of(layer)
    elif not np.allclose(_spacing(layer), geometry.spacing):  # changed in napari
        geometry = replace(geometry, spacing=_spacing(layer), slice_positions=None)
    elif held.volume is not None and shown is held.volume.voxels:
        return held.volume
    exact = held.inr if held.kind == "exact" else None
    voxels = getattr(shown, "decoded", shown)  # what a layer shows may be a preview still
    if exact is not None:
        return Volume(voxels=voxels, geometry=geometry, units=exact.units, padding=exact.padding)
    units, padding = guess_meaning(voxels)
    if held.volume is not None:
        padding = held.volume.padding
    return Volume(voxels=voxels, geometry=geometry, units=held.units or units, padding=padding)


def new_voxels(shape: tuple[int, int, int], dtype: DTypeLike) -> NDArray[Any]:
    """Return voxels to be filled and shown. Raises InrError if memory does not suffice."""
    size = " x ".join(str(length) for length in shape)
    check_memory(
        math.prod(shape) * np.dtype(dtype).itemsize,
        f"the whole volume, {size} {np.dtype(dtype)},",
        "close other layers, or open the .inr, which is decoded slice by slice",
    )
    return np.empty(shape, dtype=dtype)


def layer_kwargs(geometry: Geometry) -> dict[str, Any]:
    """Return the arguments that place a layer: voxel centres lie where the geometry has them, in mm.

    The world's axes are the volume's own, so `translate` is the origin along those.
    """
    translate = np.linalg.solve(np.array(geometry.direction), np.array(geometry.origin))
    return {
        "scale": geometry.spacing,
        "translate": triple(translate),
        "units": ("mm", "mm", "mm"),
        "axis_labels": ("z", "y", "x"),
    }


def kwargs_over(layer: Layer, factor: Triple = (1.0, 1.0, 1.0)) -> dict[str, Any]:
    """Return the arguments that place a grid exactly over a layer, with voxels `factor` times as large.

    As in `core.resample`, the outer faces of both grids' first voxels coincide. Whatever the layer's place
    is, rotated or not, is copied.
    """
    shift = (np.array(factor) - 1) / 2  # from the layer's first voxel centre to that of the grid
    return {
        "scale": triple(layer.scale * np.array(factor)),
        "translate": triple(layer.affine.inverse(layer.data_to_world(shift))),
        "rotate": layer.rotate,
        "shear": layer.shear,
        "affine": layer.affine.affine_matrix,
        "units": layer.units,
        "axis_labels": layer.axis_labels,
    }


def add_layer(viewer: ViewerModel, layer_data: LayerData) -> Layer:
    """Add a layer to the viewer, its contrast slider going over all intensities. On the UI thread only."""
    data, arguments, _ = layer_data
    layer = viewer.add_image(data, **arguments)
    widen_contrast(layer)
    return layer


def widen_contrast(layer: Layer) -> None:
    """Let the contrast slider of a layer of ours go over all the intensities; a reader cannot say so."""
    held = carried(layer)
    if held is not None and held.holds is not None:
        (low, high), (black, white) = held.holds.intensity_range, layer.contrast_limits
        layer.contrast_limits_range = (min(low, black), max(high, white))


def original_layer(volume: Volume, name: str) -> LayerData:
    """Return the layer of a volume that was read or made."""
    return _image(
        volume.voxels,
        name,
        layer_kwargs(volume.geometry),
        opening_window(volume).limits,
        Carried(kind="original", volume=volume),
    )


def preview_layer(voxels: NDArray[np.float32], name: str, over: Layer, factor: Triple) -> LayerData:
    """Return the layer of an LR that is still being fitted, over its original; it carries no network yet."""
    return _image(voxels, name, kwargs_over(over, factor), over.contrast_limits, Carried(kind="lr"))


def lr_layer(
    voxels: Any, name: str, inr: InrVolume, over: Layer | None = None, opened: Path | None = None
) -> LayerData:
    """Return the layer of a decoded LR, an array or `ShownVoxels`; given the original's layer, over it."""
    place = layer_kwargs(inr.lr_geometry) if over is None else kwargs_over(over, inr.factor)
    return _image(voxels, name, place, _limits(inr, over), Carried(kind="lr", inr=inr, opened=opened))


def hr_layer(
    voxels: Any, name: str, inr: InrVolume, over: Layer | None = None, opened: Path | None = None
) -> LayerData:
    """Return the layer of a reconstruction, an array or `ShownVoxels`; given the original's, over that."""
    place = layer_kwargs(inr.geometry) if over is None else kwargs_over(over)
    return _image(voxels, name, place, _limits(inr, over), Carried(kind="hr", inr=inr, opened=opened))


def exact_layer(
    voxels: Any, name: str, inr: InrVolume, over: Layer | None = None, opened: Path | None = None
) -> LayerData:
    """Return the layer of exact voxels, an array or `ShownVoxels`; given the original's layer, over it."""
    place = layer_kwargs(inr.geometry) if over is None else kwargs_over(over)
    return _image(voxels, name, place, _limits(inr, over), Carried(kind="exact", inr=inr, opened=opened))


def default_limits(units: Units, intensity_range: tuple[float, float]) -> tuple[float, float]:
    """Return the contrast limits of a fresh layer: a CT window where the values are HU, else all of them."""
    low, high = intensity_range
    black, white = WINDOWS[DEFAULT_WINDOW].limits
    return (black, white) if units == "HU" and low < white and high > black else (low, high)


def apart(limits: tuple[float, float]) -> tuple[float, float]:
    """Return contrast limits that napari can draw with, of a volume of a single value too."""
    low, high = limits
    return (low, high) if low < high else (low, low + max(1.0, abs(low) / 1000))


def layer_name(source: str, what: str, psnr: float | None = None) -> str:
    """Return a name such as `chest CT [SRDenseNet 37.9 dB]`; PSNR in dB (range)."""
    return f"{source} [{what}]" if psnr is None else f"{source} [{what} {psnr:.1f} dB]"


def _limits(inr: InrVolume, over: Layer | None) -> tuple[float, float]:
    return default_limits(inr.units, inr.intensity_range) if over is None else over.contrast_limits


def _image(
    voxels: Any, name: str, place: dict[str, Any], limits: tuple[float, float], holds: Carried
) -> LayerData:
    """Put an image layer together; nothing is left for napari to guess from the voxels.

    `cache` is off: napari would keep slices that are decoded here in a cache of its own, a second time.
    """
    arguments = {
        "name": plain(name),
        **place,
        "contrast_limits": apart(limits),
        "rgb": False,
        "multiscale": isinstance(voxels, list),  # of levels, as `pyramid` gives them
        "cache": False,
        "metadata": {METADATA: holds},
    }
    return voxels, arguments, "image"


def place_of(layer: Layer) -> Geometry:
    """Return where a layer's voxels lie, taking the world's z, y, x for those of an axial series."""
    first = np.array(layer.data_to_world((0.0, 0.0, 0.0)))
    steps = np.array([layer.data_to_world(step) for step in np.eye(3)]).T - first[:, np.newaxis]
    in_mm = AXIAL @ np.diag(_mm(layer))  # from the world to the patient: z, y, x to x, y, z
    columns = in_mm @ steps
    spacing = np.linalg.norm(columns, axis=0)
    rows = columns / spacing
    return Geometry(
        shape=layer.data.shape,
        spacing=triple(spacing),
        origin=triple(in_mm @ first),
        direction=(triple(rows[0]), triple(rows[1]), triple(rows[2])),
    )


def _spacing(layer: Layer) -> Triple:
    """Return the distance of voxel centres in mm, where no affine changes it."""
    return triple(layer.scale * _mm(layer))


def _mm(layer: Layer) -> NDArray[np.float64]:
    """Return how many mm a unit of the world is on each axis; a pixel counts as one."""
    return np.array(
        [(1.0 * unit).to("mm").magnitude if unit.is_compatible_with("mm") else 1.0 for unit in layer.units]
    )
