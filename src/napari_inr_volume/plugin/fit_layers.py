"""One fit and its results in the viewer: LR layer, reconstruction, difference, and their figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.metrics import Comparison
from ..core.units import RAW
from ..core.volume import Volume
from ..inr_volume import InrVolume
from ..superres.catalogue import title_of
from .compare import Figures, difference_layer, link, of_slice, of_volume
from .layers import (
    METADATA,
    Carried,
    LayerData,
    add_layer,
    hr_layer,
    layer_name,
    lr_layer,
    new_voxels,
    preview_layer,
)

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from ..fields.base import FitState
    from ..planning import Plan
    from ..session import Request
    from .work.fit import DecodedLr, FitOutcome, Fitted
    from .work.previews import Preview
    from .work.reconstruct import Reconstruction

FIT = "LR fit"  # its name in layers and figures


class FitLayers:
    """Bound to the layer and the volume that were chosen when the fit began, whatever is chosen later.

    Layers that the person takes out of the viewer are not touched any more. On the UI thread only.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        source: Image,
        volume: Volume,
        request: Request,
        plan: Plan | None = None,
    ) -> None:
        self.viewer = viewer
        self.source = source
        self.volume = volume
        self.request = request
        self.plan = plan  # of the settings, where a target chose them
        self.settings = request.settings if plan is None else plan.settings
        self.name = source.name
        self.inr: InrVolume | None = None  # once it is fitted
        self.state: FitState | None = None  # what to resume from, if the fit was stopped
        self.file_bytes = 0  # of `inr`, once it is saved
        self.lr: Image | None = None
        self.hr: Image | None = None
        self.error: Image | None = None  # the difference
        self.upscaler: str | None = None  # that made `hr`, or the bound of exact voxels in words
        self.exact = False  # whether `hr` shows those
        self.model_bytes = 0  # of the weights of the upscaler that `inr` names
        self.comparisons: dict[str, Comparison] = {}  # by FIT or the upscaler's name; absent: not measured

    @property
    def lacks_exact(self) -> bool:
        """Whether it has ended without the exact layer that was asked for."""
        wanted = self.request.max_error is not None
        return wanted and self.inr is not None and self.inr.exact is None

    # What is in the viewer

    @property
    def shown(self) -> list[Image]:
        """Original, LR fit and reconstruction: those of them that are in the viewer."""
        return [layer for layer in (self.source, self.lr, self.hr) if self._present(layer)]

    @property
    def z(self) -> int:
        """Slice of the original that is in view."""
        point = self.viewer.dims.point[-3:]
        z = round(float(self.source.world_to_data(point)[0]))
        return min(max(z, 0), self.volume.shape[0] - 1)

    def lines(self) -> list[tuple[str, Figures | None, Figures | None]]:
        """Return name, figures of the slice in view and of the volume, for each line of the read-out."""
        names = [FIT, "lanczos"]
        names += [name for name in self.comparisons if name not in names]
        if self.upscaler is not None and self.upscaler not in names:
            names.append(self.upscaler)
        lines: list[tuple[str, Figures | None, Figures | None]] = []
        for name in names:
            found = self.comparisons.get(name)
            z = self.z if name != FIT else int(self.z / self.settings.factor[0])
            in_slice, whole = (None, None) if found is None else (of_slice(found, z), of_volume(found))
            lines.append((title_of(name), in_slice, whole))
        return lines

    def forget_removed(self) -> None:
        """Let go of layers that are no longer in the viewer."""
        for role in ("lr", "hr", "error"):
            if not self._present(getattr(self, role)):
                setattr(self, role, None)

    # What a fit does

    def show_preview(self, preview: Preview) -> None:
        """Draw some slices of the LR; the layer appears with the first."""
        if self.lr is None:
            low, _ = self.volume.intensity_range
            shape = self._lr_shape()
            name = layer_name(self.name, FIT)
            voxels = np.full(shape, low, dtype=np.float32)
            voxels[list(preview.slices)] = preview.voxels
            self.lr = self._add(preview_layer(voxels, name, self.source, self.settings.factor))
        elif self._present(self.lr):
            self.lr.data[list(preview.slices)] = preview.voxels
            self.lr.refresh(extent=False)

    def show_fitted(self, fitted: Fitted) -> None:
        """Let the layers carry the network: from now on it can be saved."""
        self.state, self.model_bytes = fitted.state, fitted.model_bytes
        self.set_inr(fitted.inr, fitted.file_bytes)

    def show_lr(self, decoded: DecodedLr) -> None:
        """Show the LR as it decodes from the coded weights."""
        assert self.inr is not None
        if self._present(self.lr):
            assert self.lr is not None
            self.lr.data = decoded.voxels
        else:
            name = layer_name(self.name, FIT)
            self.lr = self._add(lr_layer(decoded.voxels, name, self.inr, self.source))

    def show_outcome(self, outcome: FitOutcome) -> None:
        """Keep the figures of the fit, and let the layers carry them."""
        measured, self.model_bytes = outcome.measured, outcome.model_bytes
        self.comparisons = {FIT: measured.lr, "lanczos": measured.lanczos}
        self.comparisons[measured.upscaler] = measured.reconstruction
        self.set_inr(outcome.inr, outcome.file_bytes)

    def set_inr(self, inr: InrVolume, file_bytes: int) -> None:
        """Let the layers carry this network, all the same one, and say how good they are in their names."""
        self.inr, self.file_bytes = inr, file_bytes
        psnr = None if inr.quality is None else inr.quality.lr_psnr
        if self.lr is not None:
            self.lr.metadata[METADATA] = Carried(kind="lr", inr=inr)
            self.lr.name = layer_name(self.name, FIT, psnr)
        if self.hr is not None and self.upscaler is not None:
            self.hr.metadata[METADATA] = Carried(kind="exact" if self.exact else "hr", inr=inr)
            found = self.comparisons.get(self.upscaler)
            psnr = None if found is None or self.exact else found.psnr  # the bound says more
            self.hr.name = layer_name(self.name, title_of(self.upscaler), psnr)

    def drop_preview(self) -> None:
        """Remove the LR layer of a fit that came to nothing."""
        if self._present(self.lr):
            self.viewer.layers.remove(self.lr)
        self.lr = None

    # What a reconstruction does

    def start_reconstruction(self) -> NDArray[Any]:
        """Add the HR layer, still empty, and return the voxels to fill; an earlier one goes.

        Raises InrError if memory does not suffice.
        """
        assert self.inr is not None
        self.drop_reconstruction()
        voxels = new_voxels(self.volume.shape, self.inr.dtype)
        voxels[:] = self.inr.intensity_range[0]
        name = layer_name(self.name, "reconstruction")
        self.hr = self._add(hr_layer(voxels, name, self.inr, self.source))
        return voxels

    def drop_reconstruction(self) -> None:
        """Remove the reconstruction and its difference."""
        for layer in (self.hr, self.error):
            if self._present(layer):
                self.viewer.layers.remove(layer)
        self.hr = self.error = self.upscaler = None
        self.exact = False

    def set_reconstruction(self, made: Reconstruction) -> None:
        """Name the reconstruction, and keep its figures."""
        self.upscaler, self.exact = made.name, made.exact
        if made.model_bytes is not None:
            self.model_bytes = made.model_bytes
        self.comparisons[self.upscaler] = made.comparison
        self.set_inr(made.inr, made.file_bytes)
        if self.hr is not None:
            self.hr.refresh()

    def show_difference(self, error: NDArray[Any]) -> None:
        """Add the layer of reconstruction - original."""
        unit = "" if self.volume.units == RAW else f", {self.volume.units}"
        name = layer_name(self.name, f"difference{unit}")
        data, arguments = difference_layer(error, name, self.source)
        self.error = self.viewer.add_image(data, **arguments)

    def _lr_shape(self) -> tuple[int, int, int]:
        from ..core.resample import lr_shape

        return lr_shape(self.volume.shape, self.settings.factor)

    def _present(self, layer: Image | None) -> bool:
        return layer is not None and layer in self.viewer.layers

    def _add(self, layer_data: LayerData) -> Image:
        """Add a layer over the others; the one that is selected stays so, for it may be the source."""
        selected = set(self.viewer.layers.selection)
        layer: Image = add_layer(self.viewer, layer_data)
        self.viewer.layers.selection = selected
        link([*self.shown, layer] if layer not in self.shown else self.shown)
        return layer
