"""The layers of an `.inr`: made when it is opened, found in the viewer, and shown decoded whole."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
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
from .pyramid import pyramid
from .shown_voxels import shown_levels

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ..core.choices import Device
    from ..inr_volume import InrVolume
    from ..reader import Reader
    from ..superres.upscale import Upscaler
    from .work.inr import Decoded

Kind = Literal["lr", "hr", "exact"]


class Opened:
    """An `.inr` that is open; what decodes it is made when it is first needed, since that takes seconds.

    `own` is a weights file of the person's own, `path` the `.inr` itself, which may embed the weights.
    """

    def __init__(self, inr: InrVolume, path: Path | None, own: Path | None, device: Device) -> None:
        self.inr, self.path = inr, path
        self.notes: tuple[str, ...] = ()  # what a person should know of the upscaler, once there is a reader
        self._means = path, own, device
        self._lock = Lock()
        self._reader: Reader | None = None
        self._preview: Reader | None = None

    def reader(self) -> Reader:
        """Return what decodes it. Raises InrError if the network or the weights cannot be used."""
        from ..reader import Reader
        from .work.inr import restorer

        with self._lock:
            if self._reader is None:
                upscaler, self.notes = restorer(self.inr, *self._means)
                self._reader = Reader(self.inr, upscaler, device=self._means[-1])
            return self._reader

    def preview(self) -> Reader:
        """Return what decodes the preview of exact voxels, on a CPU by Lanczos.

        It is seen for seconds at most, and a network would compete with the decoding for the processor.
        """
        from ..superres.upscale import LanczosUpscaler

        reader = self.reader()
        with self._lock:
            if self._preview is None:
                on_cpu = reader.device.type == "cpu"
                self._preview = reader.by(LanczosUpscaler(self.inr.factor[1:])) if on_cpu else reader
            return self._preview

    def layers(self, name: str) -> list[LayerData]:
        """Return the layer of the LR, and over it that of the reconstruction, which sharpen when looked at.

        Where there is an exact layer, that replaces the reconstruction, which is its preview.
        """
        inr, levels = self.inr, shown_levels(self.inr, self.reader, self.preview)
        lr_psnr = None if inr.quality is None else inr.quality.lr_psnr
        lr = lr_layer(levels["lr"], layer_name(name, "LR fit", lr_psnr), inr, opened=self.path)
        if inr.exact is not None:
            exact_name = layer_name(name, within(inr.exact.max_error, inr.units))
            exact = exact_layer(pyramid(levels["exact"], inr.factor), exact_name, inr, opened=self.path)
            return [lr, exact] if inr.has_preview else [exact]
        return [lr, hr_layer(pyramid(levels["hr"], inr.factor), self.hr_name(name), inr, opened=self.path)]

    def hr_name(self, name: str) -> str:
        """Return the name of the reconstruction's layer: as the file says, and once it is known, as it is."""
        upscaler = None if self._reader is None else self._reader.upscaler
        return layer_name(name, *_restored_by(self.inr, upscaler))


def _restored_by(inr: InrVolume, upscaler: Upscaler | None) -> tuple[str, float | None]:
    """Return what restores an `.inr`, by default what it names, and the PSNR of that in dB if it is known."""
    as_named = upscaler is None or upscaler.sha256 == inr.upscaler.sha256
    title = title_of(inr.upscaler.name if upscaler is None else upscaler.name)
    if inr.quality is None:
        return title, None
    return title, inr.quality.hr_psnr if as_named else inr.quality.lanczos_psnr


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
    shown.data = [decoded.voxels, *shown.data[1:]] if shown.multiscale else decoded.voxels
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
