"""File > IO Utilities: a layer as a volume in a file, and labels drawn on the LR, on the full grid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..core.errors import SourceError, VolumeError
from ..core.labels import labels_on_grid, smallest
from ..core.units import RAW
from ..core.volume import Geometry, Triple, Volume
from ..core.words import counted
from .commands import EXPORTS, check_no_source, errors_shown, in_background
from .layers import carried, check_layer, kwargs_over, layer_name, place_of, volume_of
from .notices import file_name, plain, sentence, show_info, show_warning

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Image, Labels, Layer

    from .job import Control


@errors_shown
def new_labels(viewer: napari.viewer.Viewer) -> None:
    """Add an empty Labels layer to draw on, on the grid of the selected image: on the LR, a small one."""
    over = _selected(viewer)
    check_layer(over)
    name = layer_name(over.name.split(" [")[0], "labels")
    empty = np.zeros(over.data.shape, np.uint8)
    viewer.add_labels(empty, name=plain(name), **kwargs_over(over))


@errors_shown
def labels_on_full_grid(viewer: napari.viewer.Viewer) -> None:
    """Add the labels that were drawn on the LR once more, on the grid of the original."""
    labels = _labels(_selected(viewer))
    image, factor = _on_lr(labels, viewer)
    inr = held.inr if (held := carried(image)) is not None else None
    assert inr is not None
    full = labels_on_grid(np.asarray(labels.data), inr.geometry.shape, factor)
    (z, y, x), name = factor, layer_name(labels.name.split(" [")[0], "labels, full grid")
    viewer.add_labels(full, name=plain(name), **kwargs_over(labels, (1 / z, 1 / y, 1 / x)))


@errors_shown
def export_layer(viewer: napari.viewer.Viewer) -> None:
    """Ask where to save the selected layer, and write it as NIfTI, NRRD, TIFF or NumPy in the background."""
    from ..io.volumes import check_output
    from . import dialogs

    layer = _selected(viewer)
    geometry, factor = _grid(layer, viewer)
    if geometry is None:
        return
    path = dialogs.ask_where_to_save(f"Export {plain(layer.name)}", file_name(layer.name), EXPORTS)
    if path is None:
        return
    check_output(path)
    check_no_source(path, viewer)

    def tell(_: object) -> None:
        if geometry.caveats:
            words = "; ".join(geometry.caveats)
            show_warning(f"{path.name} was written as scanned, with its own grid: {words}.")
        show_info(f"Exported '{layer.name}' to {path.name}.")

    in_background(f"Exporting {path.name}", tell, write_layer, layer, geometry, factor, path)


@errors_shown
def export_layer_as_dicom(viewer: napari.viewer.Viewer) -> None:
    """Ask for an empty folder, and write the selected layer there as a DICOM series without a patient."""
    from ..outputs import check_series
    from . import dialogs

    layer = _selected(viewer)
    held = carried(layer)
    if held is not None and held.inr is not None:
        raise SourceError(
            f"'{layer.name}' was decoded from an .inr, which a DICOM series must say; take Export DICOM"
            " series... instead"
        )
    geometry, factor = _grid(layer, viewer)
    folder = None if geometry is None else dialogs.ask_folder("Choose an empty folder for the DICOM series")
    if geometry is None or folder is None:
        return
    if any(folder.iterdir()):
        raise SourceError(f"'{folder.name}' is not empty; make a new folder for the DICOM series")
    check_series(folder)

    def tell(note: str) -> None:
        if note:
            show_warning(sentence(note))
        show_info(f"Exported {counted(geometry.shape[0], 'slice')} to the folder {folder.name}.")

    in_background(f"Exporting to {folder.name}", tell, write_layer_series, layer, geometry, factor, folder)


def write_layer(control: Control, layer: Layer, geometry: Geometry, factor: Triple, path: Path) -> None:
    """Write a layer's voxels, as they decode, to a file; labels with voxels 1 / `factor` as large."""
    from ..io.volumes import write_volume

    volume = _volume(layer, geometry, factor)
    write_volume(volume, path, control.on_progress)


def write_layer_series(
    control: Control, layer: Layer, geometry: Geometry, factor: Triple, folder: Path
) -> str:
    """Write a layer as a DICOM series, which is CT if the layer is; returns what is rounded."""
    from uuid import uuid4

    from ..io.dicom_export import OwnHeader, write_series

    volume = _volume(layer, geometry, factor)
    header = OwnHeader(volume, seed=uuid4().hex, variant="layer", description=file_name(layer.name)[:64])
    return write_series(volume, folder, header, on_slices=control.on_progress).rounding


def _volume(layer: Layer, geometry: Geometry, factor: Triple) -> Volume:
    from napari.layers import Labels

    if isinstance(layer, Labels):
        voxels = labels_on_grid(np.asarray(layer.data), geometry.shape, factor)
        return Volume(voxels=smallest(voxels), geometry=geometry, units=RAW)
    held = carried(layer)
    if held is not None and held.kind != "made":
        return volume_of(layer)
    # A difference is no CT, whatever its values look like.
    return Volume(voxels=np.asarray(layer.data), geometry=geometry, units=RAW)


def _grid(layer: Layer, viewer: napari.viewer.Viewer) -> tuple[Geometry | None, Triple]:
    """Return the grid to export on, and how much smaller its voxels are; None if the person cancels."""
    from napari.layers import Labels

    from . import dialogs

    same = (1.0, 1.0, 1.0)
    if not isinstance(layer, Labels):
        check_layer(layer)
        return _geometry(layer, viewer), same
    _labels(layer)
    geometry = _geometry(layer, viewer)
    for (_, factor), other in _other_grids(layer, viewer)[:1]:
        answer = dialogs.ask_grid(geometry.shape, other.shape)
        return (None, same) if answer is None else (other, factor) if answer else (geometry, same)
    return geometry, same


def _other_grids(labels: Layer, viewer: napari.viewer.Viewer) -> list[tuple[tuple[Image, Triple], Geometry]]:
    """Return the other grids of what labels lie on: the full one where that is an LR, else the LR."""
    found = []
    for image in _over(labels, viewer):
        held = carried(image)
        if held is None or held.inr is None:
            continue
        z, y, x = held.inr.factor
        if held.kind == "lr":
            found.append(((image, (z, y, x)), held.inr.geometry))
        else:
            found.append(((image, (1 / z, 1 / y, 1 / x)), held.inr.lr_geometry))
    return found


def _on_lr(labels: Layer, viewer: napari.viewer.Viewer) -> tuple[Image, Triple]:
    """Return the LR on which labels lie, and its factor. Raises VolumeError if they lie on none."""
    for (image, factor), _ in _other_grids(labels, viewer):
        held = carried(image)
        if held is not None and held.kind == "lr":
            return image, factor
    raise VolumeError(
        f"'{labels.name}' does not lie on an LR fit here; select the LR fit, take New labels over the"
        " selected layer, and draw on those"
    )


def _geometry(layer: Layer, viewer: napari.viewer.Viewer) -> Geometry:
    """Return where a layer lies: as an image of ours on its grid, whose direction napari does not know."""
    for image in [layer, *_over(layer, viewer)]:
        held = carried(image)
        if held is not None and held.geometry is not None and held.geometry.shape == tuple(layer.data.shape):
            return held.geometry
    return place_of(layer)


def _over(layer: Layer, viewer: napari.viewer.Viewer) -> list[Image]:
    """Return the images on the very grid of a layer."""
    from napari.layers import Image

    corners = np.array([(0.0, 0.0, 0.0), np.array(layer.data.shape, float)])

    def placed(one: Layer) -> NDArray[np.float64]:
        return np.array([one.data_to_world(corner) for corner in corners])

    return [
        image
        for image in viewer.layers
        if isinstance(image, Image)
        and tuple(image.data.shape) == tuple(layer.data.shape)
        and np.allclose(placed(image), placed(layer), atol=1e-6)
    ]


def _selected(viewer: napari.viewer.Viewer) -> Layer:
    layer = viewer.layers.selection.active
    if layer is None:
        raise VolumeError("no single layer is selected; click the one that is meant in the layer list")
    return layer


def _labels(layer: Layer) -> Labels:
    from napari.layers import Labels

    if not isinstance(layer, Labels) or layer.multiscale or layer.ndim != 3:
        raise VolumeError(f"'{layer.name}' is no Labels layer of three axes; select one")
    return layer
