"""Put LR slices back on the HR grid: by Lanczos, or by Lanczos and what a trained network adds to it.

Both upscalers take and give slices with intensities scaled to [0, 1] by the volume's intensity range; what
overshoots is left to the caller to clip. LR voxel k lies at HR position (k + 0.5) * factor - 0.5, and an LR
that hangs over the end of the HR grid is cropped there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from itertools import product
from os import PathLike, fspath
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ..compute.device import find_device, has_fast_bfloat16, out_of_memory
from ..core.choices import Device
from ..core.errors import ModelError
from ..core.resample import resample_plane
from ..inr_volume import InrVolume
from .catalogue import CHOICES, TITLES, title_of
from .factors import FACTORS, network_factor
from .model_file import ModelInfo, available_models, load_weights
from .network import Network

Area = tuple[slice, slice]  # LR voxels of a slice along y and x

SUFFIX = ".safetensors"
ON_GPU, ON_CPU = ("srdensenet", "span"), ("span",)  # what `auto` stands for, the usual first (docs/models.md)

LARGEST_TILE = 512  # HR voxels along y and x that are restored at once: a slice is one tile
SMALLEST_TILE = 32  # LR voxels; smaller ones save no memory: what a tile sees around it then takes most


class Upscaler(Protocol):
    """What `compress` and `decompress` need to know of an upscaler."""

    @property
    def name(self) -> str:
        """The name an `.inr` file keeps."""

    @property
    def sha256(self) -> str | None:
        """Of the weights file's bytes; None without weights."""

    @property
    def weights(self) -> bytes:
        """The weights file, whole; empty without weights."""

    def __call__(self, lr: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
        """Map LR slices (n, h, w) to HR slices (n, *shape), both scaled to [0, 1]."""


class LanczosUpscaler:
    """Plain Lanczos, by any in-plane factor (y, x)."""

    name = "lanczos"
    sha256 = None
    weights = b""

    def __init__(self, factor: tuple[float, float]) -> None:
        self.scale = (1 / factor[0], 1 / factor[1])  # LR voxels per HR voxel

    def __call__(self, lr: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
        """Map LR slices (n, h, w) to HR slices (n, *shape)."""
        hr = np.empty((len(lr), *shape), dtype=np.float32)
        for plane, restored in zip(lr, hr, strict=True):
            restored[:] = resample_plane(plane, shape, self.scale)
        return hr


class NetworkUpscaler:
    """Lanczos and, added to it, what a trained network makes of the same LR slices.

    In bfloat16 where the device has it. Works on one tile at a time: of one slice on a CPU, of all slices
    given on a GPU. A tile comes with as much around it as the network sees, so its size changes nothing but
    the rounding: less than 1e-5 of the intensity range in float32, less than 1 % of the most that is added
    in bfloat16. Where memory runs out, tiles half as long are tried, and kept for the slices that follow.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        info: ModelInfo | None = None,
        tile: int | None = None,
    ) -> None:
        self.name = network.architecture
        self.sha256 = info.sha256 if info else None
        self.weights = info.data if info else b""
        self.tile = tile or LARGEST_TILE // network.factor  # LR voxels along y and x
        self._precision = torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
        self._network = copy.deepcopy(network).eval().to(device, self._precision)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch lacks it
        self._device = device
        self._lanczos = LanczosUpscaler((network.factor, network.factor))

    def __call__(self, lr: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
        """Map LR slices (n, h, w) to HR slices (n, *shape). Raises ModelError if memory does not suffice."""
        hr = self._lanczos(lr, shape)
        at_once = 1 if self._device.type == "cpu" else max(1, len(lr))
        for start in range(0, len(lr), at_once):
            part = slice(start, start + at_once)
            hr[part] += self._difference(lr[part])[:, : shape[0], : shape[1]]
        return hr

    def _difference(self, lr: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what is added to slices (n, h, w): (n, f h, f w), by the largest tiles memory allows."""
        while True:
            try:
                # An `.inr` decodes the same twice; TF32 would round so coarsely that tiles show.
                with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
                    return self._in_tiles(lr)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise ModelError(
                        f"{self.name} failed on {self._device}: {str(error).splitlines()[0]}"
                    ) from error
                if self.tile // 2 < SMALLEST_TILE:
                    raise ModelError(
                        f"{self._device} ran out of memory at tiles of {self.tile} voxels; choose the CPU or"
                        " the upscaler lanczos"
                    ) from error
            self.tile //= 2

    def _in_tiles(self, lr: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network over slices (n, h, w), tile by tile; returns (n, f h, f w).

        Features are made of all that the tile sees. Of them only those go on that `restore` sees, the tile
        and a border around it, for it is `restore` that needs the memory.
        """
        network, (count, height, width) = self._network, lr.shape
        factor = network.factor
        whole = slice(0, height), slice(0, width)
        restored = np.empty((count, factor * height, factor * width), dtype=np.float32)
        for top, left in product(range(0, height, self.tile), range(0, width, self.tile)):
            core = slice(top, min(top + self.tile, height)), slice(left, min(left + self.tile, width))
            border = _widened(core, network.restore_reach, whole)
            seen = _widened(border, network.feature_reach, whole)
            with torch.inference_mode():
                planes = torch.from_numpy(np.ascontiguousarray(lr[(..., *seen)]))[:, None]
                planes = planes.to(self._device, self._precision, memory_format=torch.channels_last)
                hr = network.restore(network.features(planes)[(..., *_within(seen, border))])
                inside = hr[(slice(None), 0, *_within(border, core, factor))]
                restored[(..., *_within(whole, core, factor))] = inside.float().cpu().numpy()
        return restored


def find_upscaler(
    name: str | PathLike[str],
    factor: tuple[float, float],
    *,
    device: Device = "auto",
    or_lanczos: bool = False,
) -> Upscaler:
    """Return the upscaler of this name, of `auto` the usual one. Raises as `find_upscalers` does."""
    return find_upscalers(name, factor, device=device, or_lanczos=or_lanczos)[0]


def find_upscalers(
    name: str | PathLike[str],
    factor: tuple[float, float],
    *,
    device: Device = "auto",
    or_lanczos: bool = False,
) -> list[Upscaler]:
    """Return the upscalers that a name stands for, for an in-plane factor (y, x); the usual one first.

    `name` is one of CHOICES, or the path of a weights file (.safetensors). "auto" stands for the shipped
    networks that suit the device and, at the end, Lanczos; which is the best for a volume, `measuring` says.
    Any other name stands for one. With `or_lanczos` Lanczos replaces a network on a factor that it is not
    for. A network without trained weights is never used. Raises ModelError, saying what can be used instead,
    if the name, the factor or the weights do not fit, and FitError if the device is not there.
    """
    name = fspath(name)
    own = name.lower().endswith(SUFFIX)
    if name not in CHOICES and not own:
        raise ModelError(
            f"there is no upscaler {name!r}; choose one of {', '.join(CHOICES)}, or a {SUFFIX} file"
        )
    torch_device, wanted = find_device(device), network_factor(factor)
    shipped = {} if wanted is None else available_models(wanted)
    lanczos = LanczosUpscaler(factor)
    if name in ("auto", "lanczos"):
        suited = (ON_CPU if torch_device.type == "cpu" else ON_GPU) if name == "auto" else ()
        loaded = [load_weights(shipped[one]) for one in suited if one in shipped]
        return [*(NetworkUpscaler(network, torch_device, info) for network, info in loaded), lanczos]
    if own:
        network, info = load_weights(Path(name))
        able = [network.factor]
    else:
        able = [one for one in FACTORS if name in available_models(one)]
        if not able:
            raise ModelError(
                f"the weights of {TITLES[name]} are missing from this installation;"
                " install it again, or use the upscaler lanczos"
            )
    if wanted not in able:
        if or_lanczos:
            return [lanczos]
        words = " or ".join(f"{one} x {one}" for one in able)
        raise ModelError(
            f"{Path(name).name} restores a factor of {words} in the plane,"
            f" not {factor[0]:g} x {factor[1]:g}; use the upscaler auto or lanczos"
        )
    if not own:
        network, info = load_weights(shipped[name])
    return [NetworkUpscaler(network, torch_device, info)]


def find_restorer(
    inr: InrVolume,
    warn: Callable[[str], object],
    *,
    weights: Iterable[str | PathLike[str] | bytes | None] = (),
    device: Device = "auto",
) -> Upscaler:
    """Return the upscaler that an `InrVolume` names, with the very weights that it names by their SHA-256.

    They are looked for in `weights` (those embedded in the `.inr`, then files of the user's own; None is
    passed over) and among those that ship. Without them Lanczos takes their place, and `warn` is told in a
    sentence what is missing. Raises FitError if the device is not there.
    """
    wanted, factor = inr.upscaler, inr.factor[1:]
    fit = network_factor(factor)
    if wanted.sha256 is None:
        return LanczosUpscaler(factor)
    torch_device = find_device(device)
    given = [one if isinstance(one, bytes) else Path(one) for one in weights if one is not None]
    missing = (
        f"no weights with the SHA-256 {wanted.sha256[:12]} are here; give the weights file it was made with"
    )
    if fit is None:
        words = " or ".join(f"{one} x {one}" for one in FACTORS)
        reasons = [f"networks restore a factor of {words} in the plane, not {factor[0]:g} x {factor[1]:g}"]
    else:
        reasons = [missing]
    for source in [] if fit is None else [*given, *available_models(fit).values()]:
        try:
            network, info = load_weights(source, wanted.sha256)
        except ModelError as error:
            if source in given:
                reasons.append(str(error))
        else:
            if network.factor == fit:
                return NetworkUpscaler(network, torch_device, info)
            reasons = [f"these weights restore {info.factor} x {info.factor}, not {fit} x {fit}"]
    title = title_of(wanted.name)
    words = "; ".join(reasons)
    warn(f"The reconstruction is restored by Lanczos, not by {title} as the file asks for: {words}.")
    return LanczosUpscaler(factor)


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
