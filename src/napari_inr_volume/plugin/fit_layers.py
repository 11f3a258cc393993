"""One fit and its results in the viewer: LR layer, reconstruction, difference, and their figures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.metrics import Comparison
from ..core.volume import Volume
from ..figures_table import Compared
from ..inr_volume import InrVolume
from ..superres.catalogue import title_of
from .compare import link
from .difference import Difference
from .figures import LR, ORIGINAL, Line
from .job import Cut
from .layers import (
    METADATA,
    Carried,
    LayerData,
    add_layer,
    hr_layer,
    kwargs_over,
    layer_name,
    lr_layer,
    new_voxels,
    preview_layer,
)
from .work.measure import named

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

    from ..fields.base import FitState
    from ..measuring import Measured
    from ..planning import Plan
    from ..session import Request
    from .work.fit import Fitted
    from .work.measure import Decoding, FitMeasured
    from .work.previews import Preview
    from .work.reconstruct import Reconstruction

FIT = "LR fit"  # its name in layers and figures
ONE = 1.0, 1.0, 1.0
PLACE = ("scale", "translate", "rotate", "shear", "affine", "units")  # events of a layer that is moved


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
        self.decoding: Decoding | None = None  # how it is decoded, once it is fitted
        self.wanted: str | None = str(request.upscaler)  # what its upscalers were asked for as
        self.missed: str | None = None  # why it missed its target, in a sentence
        self.file_bytes = 0  # of `inr`, once it is saved
        self.lr: Image | None = None
        self.hr: Image | None = None
        self.difference: Difference | None = None
        self.upscaler: str | None = None  # that made `hr`, or the bound of exact voxels in words
        self.exact = False  # whether `hr` shows those
        self.comparisons: dict[str, Comparison] = {}  # by FIT or the upscaler's name; absent: not measured
        self.choice: str | None = None  # why its file does not name the usual upscaler, in a sentence
        self.lr_filled = False  # whether all of the LR layer is what the file decodes to
        for event in PLACE:
            source.events[event].connect(self.place)  # weakly: it ends with this

    @property
    def lacks_exact(self) -> bool:
        """Whether it has ended without the exact layer that was asked for."""
        wanted = self.request.max_error is not None
        return wanted and self.inr is not None and self.inr.exact is None

    # What is in the viewer

    def place(self, _: object = None) -> None:
        """Lay its layers over the original, wherever that lies now."""
        places = ((self.lr, self.settings.factor), (self.hr, ONE), (self.error, ONE))
        for layer, factor in places:
            if layer is not None:
                for name, value in kwargs_over(self.source, factor).items():
                    setattr(layer, name, value)

    @property
    def shown(self) -> list[Image]:
        """Original, LR fit and reconstruction: those of them that are in the viewer."""
        return [layer for layer in (self.source, self.lr, self.hr) if self._present(layer)]

    @property
    def error(self) -> Image | None:
        """The difference's layer, if it is in the viewer."""
        layer = None if self.difference is None else self.difference.layer
        return layer if self._present(layer) else None

    @property
    def z(self) -> int:
        """Slice of the original that is in view."""
        point = self.viewer.dims.point[-3:]
        z = round(float(self.source.world_to_data(point)[0]))
        return min(max(z, 0), self.volume.shape[0] - 1)

    @property
    def model_bytes(self) -> int:
        """Bytes of the weights of the upscaler that `inr` names."""
        if self.inr is None or self.decoding is None:
            return 0
        sha256 = self.inr.upscaler.sha256
        return next((len(one.weights) for one in self.decoding.upscalers if one.sha256 == sha256), 0)

    @property
    def cut(self) -> Cut | None:
        """Axis of the original that the slice in view lies across, and its number; None in 3D."""
        dims = self.viewer.dims
        if dims.ndisplay != 2 or dims.ndim < 3:  # its layers are gone
            return None
        axis = dims.not_displayed[-1] - (dims.ndim - 3)
        at = round(float(self.source.world_to_data(dims.point[-3:])[axis]))
        return axis, min(max(at, 0), self.volume.shape[axis] - 1)

    @property
    def slice_words(self) -> str | None:
        """The slice in view, such as `Slice 49` and `Slice y = 120`; None in 3D."""
        if self.cut is None:
            return None
        axis, index = self.cut
        return f"Slice {index}" if axis == 0 else f"Slice {'zyx'[axis]} = {index}"

    @property
    def volume_words(self) -> str:
        """How much of the volume was measured."""
        found = self.comparisons.get("lanczos")
        depth = self.volume.shape[0]
        if found is None or found.complete:
            return "Volume"
        return f"Volume, {np.count_nonzero(found.compared)} of {depth} slices so far"

    @property
    def measured(self) -> bool:
        """Whether all figures of `inr` are there."""
        names = (FIT, "lanczos") if self.inr is None else (FIT, "lanczos", self.inr.upscaler.name)
        return all(name in self.comparisons and self.comparisons[name].complete for name in names)

    def lines(self) -> list[Line]:
        """Return the figures of the slice in view and of the volume, for each line of the read-out."""
        names = [FIT, "lanczos"]
        names += [name for name in self.comparisons if name not in names]
        if self.upscaler is not None and self.upscaler not in names:
            names.append(self.upscaler)
        return [self._line(name) for name in names]

    @property
    def compared(self) -> list[Compared]:
        """What was measured so far, to be saved as a table."""
        return [
            Compared(name=title_of(name), against=LR if name == FIT else ORIGINAL, figures=found)
            for name, found in self.comparisons.items()
            if self.inr is not None and found.compared.any()
        ]

    def _line(self, name: str) -> Line:
        found, in_slice, whole, cut = self.comparisons.get(name), None, None, self.cut
        if found is not None and found.compared.any():
            whole = found.of_volume()
            if cut is not None:
                axis, index = cut
                in_slice = found.of_slice(
                    int(index / self.settings.factor[axis]) if name == FIT else index, axis
                )
        against = LR if name == FIT else ORIGINAL
        return Line(name=title_of(name), against=against, in_slice=in_slice, whole=whole)

    def forget_removed(self) -> None:
        """Let go of layers that are no longer in the viewer."""
        for role in ("lr", "hr"):
            if not self._present(getattr(self, role)):
                setattr(self, role, None)
        if self.difference is not None and not self._present(self.difference.of):
            self.drop_difference()

    # What a fit does

    def show_preview(self, preview: Preview) -> None:
        """Draw some slices of the LR; the layer appears with the first. What is not there is transparent."""
        if self.lr is None:
            voxels = np.full(self._lr_shape(), np.nan, dtype=np.float32)
            preview.draw(voxels)
            name = layer_name(self.name, FIT)
            self.lr = self._add(preview_layer(voxels, name, self.source, self.settings.factor))
        elif self._present(self.lr):
            preview.draw(self.lr.data)
            self.lr.refresh(extent=False)

    def show_fitted(self, fitted: Fitted) -> None:
        """Let the layers carry the network: from now on it can be decoded and saved.

        Raises InrError if memory does not suffice for a layer of the LR.
        """
        self.state, self.decoding = fitted.state, fitted.decoding
        self.set_inr(fitted.inr, fitted.file_bytes)
        if not self._present(self.lr):
            voxels = new_voxels(self._lr_shape(), np.float32)
            voxels[:] = np.nan
            self.lr = self._add(lr_layer(voxels, layer_name(self.name, FIT), fitted.inr, self.source))

    def show_figures(self, measured: Measured) -> None:
        """Take the figures of the slices that were measured so far."""
        self.comparisons[FIT] = measured.lr
        self.comparisons["lanczos"] = measured.lanczos
        self.comparisons[measured.upscaler] = measured.reconstruction

    def show_measured(self, found: FitMeasured) -> None:
        """Take the figures of all slices, and let the layers carry them."""
        assert self.decoding is not None
        self.show_figures(found.measured)
        self.decoding = self.decoding.by((found.upscaler,))
        self.choice = found.choice or self.choice
        self._set_network(found.inr)

    def set_exact(self, inr: InrVolume) -> None:
        """Take the exact layer that was added to the network; that may have been measured meanwhile."""
        from ..io.inr_file import packed_size

        assert self.inr is not None
        inr = replace(self.inr, exact=inr.exact)
        self.set_inr(inr, packed_size(inr))

    def _set_network(self, inr: InrVolume) -> None:
        """Take another upscaler or quality; an exact layer may have been added meanwhile."""
        from ..io.inr_file import packed_size

        assert self.inr is not None
        inr = replace(inr, exact=self.inr.exact)
        self.set_inr(inr, packed_size(inr))

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
            known = found is not None and found.complete and not self.exact  # whose bound says more
            psnr = found.psnr if found is not None and known else None
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
        """Remove the reconstruction and the difference."""
        self.drop_difference()
        if self._present(self.hr):
            self.viewer.layers.remove(self.hr)
        self.hr = self.upscaler = None
        self.exact = False

    def set_reconstruction(self, made: Reconstruction) -> None:
        """Name the reconstruction; the network is restored by what made it from now on."""
        assert self.decoding is not None
        assert self.inr is not None
        self.upscaler, self.exact = made.name, made.exact
        if made.comparison is not None:
            self.comparisons[made.name] = made.comparison
        another = made.upscaler is not None and made.wanted != self.wanted
        if made.upscaler is not None and (another or not self.measured):
            if another:
                self.wanted, self.decoding = made.wanted, self.decoding.by((made.upscaler,))
            self.choice = made.choice
            self._set_network(named(self.inr, made.upscaler))
        else:  # what measured best may be another by now
            self.set_inr(self.inr, self.file_bytes)
        if self.hr is not None:
            self.hr.refresh()

    def show_difference(self, error: NDArray[Any], of: Image, *, absolute: bool = False) -> None:
        """Add the layer of what a layer is off from the original, instead of an earlier one."""
        self.drop_difference()
        self.difference = Difference(
            self.viewer, error, of, self.source, units=self.volume.units, absolute=absolute
        )

    def drop_difference(self) -> None:
        """Remove the difference."""
        if self.difference is not None and self._present(self.difference.layer):
            self.viewer.layers.remove(self.difference.layer)
        self.difference = None

    def _lr_shape(self) -> tuple[int, int, int]:
        from ..core.resample import lr_shape

        return lr_shape(self.volume.shape, self.settings.factor)

    def _present(self, layer: Image | None) -> bool:
        return layer is not None and layer in self.viewer.layers

    def _add(self, layer_data: LayerData) -> Image:
        """Add a layer over the others; it is selected, as what is seen."""
        layer: Image = add_layer(self.viewer, layer_data)
        layer.contrast_limits_range = self.source.contrast_limits_range
        link([*self.shown, layer] if layer not in self.shown else self.shown)
        return layer
