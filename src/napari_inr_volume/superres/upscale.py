"""Put LR slices back on the HR grid: by Lanczos, or by Lanczos and what SRDenseNet adds to it.

Both upscalers take and give slices with intensities scaled to [0, 1] by the volume's intensity range; what
overshoots is left to the caller to clip. LR voxel k lies at HR position (k + 0.5) * factor - 0.5, and an LR
that hangs over the end of the HR grid is cropped there.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.errors import ModelError
from ..core.resample import resample_plane
from ..inr.config import Device
from ..inr.device import find_device, out_of_memory
from .model_file import ModelInfo, available_models, load_weights
from .srdensenet import FACTOR, FEATURE_REACH, RESTORE_REACH, SRDenseNet

Area = tuple[slice, slice]  # LR voxels of a slice along y and x
UpscalerName = Literal["auto", "lanczos", "srdensenet"]

LARGEST_TILE = 128  # LR voxels along y and x that are restored at once: a 512x512 slice is one tile
SMALLEST_TILE = 32  # smaller ones save no memory: what a tile sees around it then takes most of it


class Upscaler(Protocol):
    """What `compress` and `decompress` need to know of an upscaler."""

    @property
    def name(self) -> str:
        """The name an `.inr` file keeps."""

    @property
    def sha256(self) -> str | None:
        """Of the weights file's bytes; None without weights."""

    @property
    def model_bytes(self) -> int:
        """Size of the weights file, 0 without weights."""

    def __call__(self, lr: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
        """Map LR slices (n, h, w) to HR slices (n, *shape), both scaled to [0, 1]."""


class LanczosUpscaler:
    """Plain Lanczos, by any in-plane factor (y, x)."""

    name = "lanczos"
    sha256 = None
    model_bytes = 0

    def __init__(self, factor: tuple[float, float]) -> None:
        self.scale = (1 / factor[0], 1 / factor[1])  # LR voxels per HR voxel

    def __call__(self, lr: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
        """Map LR slices (n, h, w) to HR slices (n, *shape)."""
        hr = np.empty((len(lr), *shape), dtype=np.float32)
        for plane, restored in zip(lr, hr, strict=True):
            restored[:] = resample_plane(plane, shape, self.scale)
        return hr


class SrDenseNetUpscaler:
    """Lanczos x4 and, added to it, what a trained SRDenseNet makes of the same LR slice.

    Works on one tile of one slice at a time. A tile comes with as much around it as the network sees, so
    its size changes nothing but the rounding: no voxel moves by more than 1e-5 of the intensity range.
    Where memory runs out, tiles half as long are tried, and kept for the slices that follow.
    """

    name = "srdensenet"

    def __init__(
        self, network: SRDenseNet, info: ModelInfo, device: torch.device, tile: int = LARGEST_TILE
    ) -> None:
        self.sha256 = info.sha256
        self.model_bytes = info.size
        self.tile = tile  # LR voxels along y and x
        self._network = network.to(device).eval()
        self._device = device
        self._lanczos = LanczosUpscaler((FACTOR, FACTOR))

    def __call__(self, lr: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
        """Map LR slices (n, h, w) to HR slices (n, *shape). Raises ModelError if memory does not suffice."""
        hr = self._lanczos(lr, shape)
        for plane, restored in zip(lr, hr, strict=True):
            restored += self._difference(plane)[: shape[0], : shape[1]]
        return hr

    def _difference(self, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what is added to a slice (h, w): (4 h, 4 w), by the largest tiles that memory allows."""
        while True:
            try:
                # TF32 would round so coarsely that tiles show; an `.inr` decodes the same twice.
                with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
                    return _apply_in_tiles(self._network, plane, self.tile, self._device)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise ModelError(
                        f"SRDenseNet failed on {self._device}: {str(error).splitlines()[0]}"
                    ) from error
                if self.tile // 2 < SMALLEST_TILE:
                    raise ModelError(
                        f"{self._device} ran out of memory at tiles of {self.tile} voxels; choose the CPU or"
                        " the upscaler lanczos"
                    ) from error
            self.tile //= 2


def find_upscaler(
    name: str,
    factor: tuple[float, float],
    *,
    sha256: str | None = None,
    model_path: Path | None = None,
    device: Device = "auto",
) -> Upscaler:
    """Return the upscaler of this name for an in-plane factor (y, x).

    "auto" is SRDenseNet if there are trained weights for it, given or shipped, and Lanczos otherwise.
    `sha256` asks for weights of this hash, as an `.inr` file names them. A network without trained weights
    is never used. Raises ModelError, saying what can be used instead, if the name, the factor or the
    weights do not fit, and FitError if the device is not there.
    """
    if name not in get_args(UpscalerName):
        raise ModelError(f"there is no upscaler {name!r}; choose one of {', '.join(get_args(UpscalerName))}")
    if name == "auto":
        shipped = bool(available_models()) and tuple(factor) == (FACTOR, FACTOR)
        name = "srdensenet" if shipped or model_path or sha256 else "lanczos"
    if name == "lanczos":
        return LanczosUpscaler(factor)
    if tuple(factor) != (FACTOR, FACTOR):
        raise ModelError(
            f"SRDenseNet restores a factor of {FACTOR} x {FACTOR} in the plane,"
            f" not {factor[0]:g} x {factor[1]:g}; use the upscaler lanczos"
        )
    network, info = _shipped_weights(sha256) if model_path is None else load_weights(model_path, sha256)
    return SrDenseNetUpscaler(network, info, find_device(device))


def _shipped_weights(sha256: str | None) -> tuple[SRDenseNet, ModelInfo]:
    """Return the shipped weights of this hash, or the preferred ones if it is None."""
    for path in available_models().values():
        network, info = load_weights(path)
        if sha256 in (None, info.sha256):
            return network, info
    wanted = (
        "no trained SRDenseNet weights ship" if sha256 is None else f"SRDenseNet {sha256[:12]} does not ship"
    )
    raise ModelError(f"{wanted} with this version; use the upscaler lanczos, or give a weights file")


def _apply_in_tiles(
    network: SRDenseNet, plane: NDArray[np.float32], tile: int, device: torch.device
) -> NDArray[np.float32]:
    """Run the network over a slice (h, w), tile by tile; returns (4 h, 4 w).

    Features are made of all that the tile sees. Of them only those go on that `restore` sees, the tile and
    one voxel around it, for it is `restore` that needs the memory.
    """
    height, width = plane.shape
    whole = slice(0, height), slice(0, width)
    restored = np.empty((FACTOR * height, FACTOR * width), dtype=np.float32)
    for top, left in product(range(0, height, tile), range(0, width, tile)):
        core = slice(top, min(top + tile, height)), slice(left, min(left + tile, width))
        border = _widened(core, RESTORE_REACH, whole)
        seen = _widened(border, FEATURE_REACH, whole)
        with torch.inference_mode():
            features = network.features(torch.tensor(plane[seen], device=device)[None, None])
            hr = network.restore(features[(..., *_within(seen, border))])
            restored[_within(whole, core, FACTOR)] = hr[(0, 0, *_within(border, core, FACTOR))].cpu().numpy()
    return restored


def _widened(inner: Area, margin: int, whole: Area) -> Area:
    """Return the area with a margin on all sides, as far as the slice goes."""
    (y, x), (whole_y, whole_x) = inner, whole
    return (
        slice(max(0, y.start - margin), min(whole_y.stop, y.stop + margin)),
        slice(max(0, x.start - margin), min(whole_x.stop, x.stop + margin)),
    )


def _within(outer: Area, inner: Area, factor: int = 1) -> Area:
    """Return where `inner` lies in an array of `outer`, on a grid finer by a factor."""
    (outer_y, outer_x), (y, x) = outer, inner
    return (
        slice(factor * (y.start - outer_y.start), factor * (y.stop - outer_y.start)),
        slice(factor * (x.start - outer_x.start), factor * (x.stop - outer_x.start)),
    )
