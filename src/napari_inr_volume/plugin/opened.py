"""The layers of an `.inr`: finding them in the viewer, and showing one that was decoded whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from napari.layers import Image

from ..core.units import within
from ..superres.catalogue import title_of
from .layers import (
    LayerData,
    add_layer,
    carried,
    exact_layer,
    hr_layer,
    kwargs_over,
    layer_name,
    lr_layer,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ..inr_volume import InrVolume
    from .work.inr import Decoded

Kind = Literal["lr", "hr", "exact"]


def inr_of(layer: Image) -> InrVolume | None:
    """Return the network that a layer carries, if any."""
    held = carried(layer)
    return None if held is None else held.inr


def layer_of(viewer: ViewerModel, inr: InrVolume, kind: Kind) -> Image | None:
    """Return the layer that shows the LR, the reconstruction or the exact voxels of an `.inr`, if any."""
    for layer in viewer.layers:
        held = carried(layer)
        if isinstance(layer, Image) and held is not None and held.inr is inr and held.kind == kind:
            return layer
    return None


def show_decoded(viewer: ViewerModel, beside: Image, kind: Kind, decoded: Decoded) -> Image | None:
    """Show voxels in the layer that decoded them one by one, or in one over `beside`; return the layer.

    None if `beside`, a layer of the `.inr`, carries no network any more.
    """
    inr = inr_of(beside)
    if inr is None:
        return None
    shown = layer_of(viewer, inr, kind)
    if shown is None:
        added: Image = add_layer(viewer, _layer_beside(beside, kind, inr, decoded))
        return added
    shown.data = decoded.voxels
    return shown


def _layer_beside(beside: Image, kind: Kind, inr: InrVolume, decoded: Decoded) -> LayerData:
    """Return the layer of what was decoded: exactly over the layer that is there of the same `.inr`."""
    make = {"lr": lr_layer, "hr": hr_layer, "exact": exact_layer}[kind]
    name = layer_name(beside.name.split(" [")[0], *_what(kind, inr, decoded))
    data, arguments, layer_type = make(decoded.voxels, name, inr)
    held, (z, y, x) = carried(beside), inr.factor
    from_lr = held is not None and held.kind == "lr"
    if from_lr == (kind == "lr"):
        z = y = x = 1.0
    over = kwargs_over(beside, (1 / z, 1 / y, 1 / x) if from_lr else (z, y, x))
    return data, arguments | over | {"contrast_limits": beside.contrast_limits}, layer_type


def _what(kind: Kind, inr: InrVolume, decoded: Decoded) -> tuple[str, float | None]:
    """Return what a layer shows, for its name, and the PSNR of that if it is known."""
    if kind == "exact" and inr.exact is not None:
        return within(inr.exact.max_error, inr.units), None
    what = "LR fit" if kind == "lr" else title_of(decoded.upscaler)
    if inr.quality is None:
        return what, None
    of_hr = {"lanczos": inr.quality.lanczos_psnr, inr.upscaler.name: inr.quality.hr_psnr}
    return what, inr.quality.lr_psnr if kind == "lr" else of_hr.get(decoded.upscaler)
