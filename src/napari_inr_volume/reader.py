"""The one way back: any part of an `.inr`'s volume, decoded when it is asked for.

    InrVolume -> field -> LR slices -> upscaler -> HR slices -> Reader.read(region, level)
              -> exact layer, if there is one -> exact slices -^
                          (kept)                  (kept)

Slices are the unit: an upscaler restores whole ones. The latest are kept, up to a stated number of bytes, so
that scrolling to and fro, or reading a region row by row, decodes each slice once.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from threading import RLock
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from .compute.device import find_device, out_of_memory
from .core.choices import Device
from .core.errors import InrError, InrFileError, ModelError, VolumeError
from .core.memory import check_memory
from .core.region import WHOLE, Region, within
from .core.resample import lr_shape
from .core.volume import Geometry, Triple, spread
from .exact.decode import ExactSlices
from .fields.base import Field
from .fields.grid import axis_coordinates, to_intensity
from .fields.registry import find_kind
from .inr_volume import InrVolume, check_restoring
from .superres.upscale import LanczosUpscaler, Upscaler

# The grid of the fit; the reconstruction on the original's grid; the exact layer's voxels on that grid.
Level = Literal["lr", "hr", "exact"]
Plane = NDArray[Any]  # a slice (y, x)

CACHE_BYTES = 2**23  # of decoded slices that are kept, unless more are asked for: 16 of 512 x 512 in int16
SLICES_AT_ONCE = 8  # slices decoded together: enough work for a GPU, little memory
VOXELS_AT_ONCE = 2**24  # of them, unless a slice alone has more: 8 slices of 1448 x 1448
LARGEST_OUTPUT = 1e6  # of a field, in intensity ranges from their middle; a fitted one gives 0.5 at most
GRID_BYTES_A_VOXEL = 12  # of a grid while it is evaluated: output, intensity and one to spare, in float32


class Reader:
    """Decodes an `InrVolume`, a region at a time and in any order. Thread-safe.

    Level `lr` is float32 on the grid of the fit, `hr` the reconstruction in the original's dtype on its grid,
    `exact` its voxels to within the bound of the exact layer, if the file has one; all in the volume's units.
    Raises InrFileError on a damaged payload, and if memory does not suffice for the field or for what is
    asked for at once; ModelError if the upscaler's weights are damaged.
    """

    def __init__(
        self,
        inr: InrVolume,
        upscaler: Upscaler | None = None,  # of `hr`; None: Lanczos
        *,
        device: Device = "auto",
        cache_bytes: int = CACHE_BYTES,  # of each level
    ) -> None:
        self.inr = inr
        self.device = find_device(device)
        kind = find_kind(inr.field.kind)
        with _errors_in_words(self.device):
            field = kind.load(inr.field, inr.payload, inr.coding, self.device)
        grid = FieldGrid(field, inr.geometry.shape, inr.factor, inr.intensity_range)
        self._lr = _Slices(lambda z: self._sound(grid.fitted(z)), cache_bytes)
        # Where z was not shrunk, the LR at the original's slices is that of the fit.
        whole_z = inr.factor[0] == 1
        self._planes = self._lr if whole_z else _Slices(lambda z: self._sound(grid.at_slices(z)), cache_bytes)
        self._exact: ExactSlices | None = None
        if inr.exact is not None:
            self._exact = ExactSlices(inr.exact, inr.geometry.shape, np.dtype(inr.dtype), inr.padding)
        self._cache_bytes = cache_bytes
        self._by: dict[int, Reader] = {}  # by the identity of their upscalers, which they keep alive
        self._restore_by(upscaler or LanczosUpscaler(inr.factor[1:]))

    def _restore_by(self, upscaler: Upscaler) -> None:
        self.upscaler = upscaler
        self._hr = _Slices(self._restored, self._cache_bytes)
        self._by[id(upscaler)] = self

    def by(self, upscaler: Upscaler) -> Reader:
        """Return the reader of the same field that restores by this upscaler, each time the same one.

        All of them share the LR.
        """
        if id(upscaler) not in self._by:
            copy(self)._restore_by(upscaler)
        return self._by[id(upscaler)]

    def keep(self, lr_bytes: int, hr_bytes: int) -> None:
        """Keep up to so many bytes of decoded slices from now on; of HR for each upscaler asked for later."""
        self._lr.limit = self._planes.limit = lr_bytes
        self._cache_bytes = self._hr.limit = hr_bytes

    @property
    def best(self) -> Literal["hr", "exact"]:
        """The level nearest to the original."""
        return "hr" if self._exact is None else "exact"

    def shape(self, level: Level = "hr") -> tuple[int, int, int]:
        """Return the voxels along z, y, x."""
        return self.inr.lr_shape if level == "lr" else self.inr.geometry.shape

    def dtype(self, level: Level = "hr") -> np.dtype[Any]:
        """Return the type of the voxels."""
        return np.dtype(np.float32 if level == "lr" else self.inr.dtype)

    def geometry(self, level: Level = "hr") -> Geometry:
        """Return where the voxels lie."""
        return self.inr.lr_geometry if level == "lr" else self.inr.geometry

    def read(self, region: Region = WHOLE, level: Level = "hr") -> NDArray[Any]:
        """Return a region's voxels (z, y, x). Raises VolumeError for what is no region."""
        z, y, x = within(region, self.shape(level))
        voxels = np.empty((len(z), len(y), len(x)), dtype=self.dtype(level))
        inner = slice(y.start, y.stop), slice(x.start, x.stop)
        at_once = self.at_once
        for start in range(0, len(z), at_once):
            for index, plane in enumerate(self.planes(z[start : start + at_once], level)):
                voxels[start + index] = plane[inner]
        return voxels

    def plane(self, z: int, level: Level = "hr") -> Plane:
        """Return slice z (y, x), read-only."""
        return self.planes([z], level)[0]

    def planes(self, numbers: Sequence[int], level: Level = "hr") -> list[Plane]:
        """Return slices (y, x) by number, read-only, decoded together."""
        return self._slices(level).take(numbers)

    def slices(self, level: Level = "hr") -> Iterator[tuple[int, Plane]]:
        """Yield every slice's number and voxels (y, x), read-only, in the best order to decode them all."""
        if level == "exact":
            for z, found in self._exact_slices().all():
                if isinstance(found, InrFileError):
                    raise found
                yield z, found
            return
        depth = self.shape(level)[0]
        for start in range(0, depth, self.at_once):
            part = range(start, min(start + self.at_once, depth))
            yield from zip(part, self.planes(part, level), strict=True)

    def lr_plane(self, z: int) -> NDArray[np.float32]:
        """Return the LR (y, x) at slice z of the original, of which that slice's HR is made; read-only."""
        return self._planes.take([z])[0]

    @property
    def at_once(self) -> int:
        """How many slices are best decoded together."""
        _, rows, columns = self.inr.geometry.shape
        return min(max(VOXELS_AT_ONCE // (rows * columns), 1), SLICES_AT_ONCE)

    @property
    def slabs_at_once(self) -> int:
        """How many slabs of the exact layer are best decoded side by side; so many of the latest are kept."""
        return self._exact_slices().at_once

    @property
    def threads(self) -> int:
        """How many threads follow one another through a slab of the exact layer."""
        return self._exact_slices().threads

    @property
    def decoded(self) -> int:
        """How many HR slices were restored so far, the same one more than once included."""
        return self._hr.decoded

    def best_slices(self, warn: Callable[[str], object]) -> Iterator[tuple[int, Plane]]:
        """Yield every slice as `slices` does, of the best level; `hr` where the exact layer is damaged.

        `warn` is told of that, once for each part that is damaged.
        """
        if self._exact is None:
            yield from self.slices()
            return
        told = set()
        for z, found in self._exact.all():
            if not isinstance(found, InrFileError):
                yield z, found
                continue
            if str(found) not in told:
                warn(f"{found}; the preview takes their place")
                told.add(str(found))
            yield z, self.plane(z)

    def _exact_slices(self) -> ExactSlices:
        if self._exact is None:
            raise VolumeError(
                "the file has no exact layer; read the level hr, or compress with a largest error"
            )
        return self._exact

    def _slices(self, level: Level) -> _Slices | ExactSlices:
        if level == "exact":
            return self._exact_slices()
        return self._lr if level == "lr" else self._hr

    def _sound(self, lr: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return LR slices. Raises InrFileError unless they are near the range that was fitted."""
        low, high = self.inr.intensity_range
        if not bool((np.abs(lr - (low + high) / 2) <= LARGEST_OUTPUT * (high - low)).all()):  # NaN too
            raise InrFileError(
                "the network gives values far outside the intensity range that it was fitted"
                " to; the file is damaged, copy or download it again"
            )
        return lr

    def _restored(self, z: Sequence[int]) -> NDArray[Any]:
        lr = np.stack(self._planes.take(z))
        with _errors_in_words(self.device):
            return restored(lr, self.upscaler, self.inr)


class FieldGrid:
    """A field on the grid that it is fitted to, and at the original's slices, in the volume's units."""

    def __init__(
        self,
        field: Field,
        hr_shape: tuple[int, int, int],
        factor: Triple,
        intensity_range: tuple[float, float],
    ) -> None:
        self.field, self.intensity_range = field, intensity_range
        self.shape = lr_shape(hr_shape, factor)
        z, y, x = (
            axis_coordinates(length, scale, count)
            for length, scale, count in zip(hr_shape, factor, self.shape, strict=True)
        )
        self._axes = z, y, x
        self._original_z = axis_coordinates(hr_shape[0], 1.0, hr_shape[0])

    def fitted(self, z: Sequence[int]) -> NDArray[np.float32]:
        """Return these slices (n, y, x) of the grid that the field is fitted to."""
        _, y, x = self._axes
        return self._evaluate(self._axes[0][list(z)], y, x)

    def at_slices(self, z: Sequence[int]) -> NDArray[np.float32]:
        """Return the LR (n, y, x) at these slices of the original."""
        _, y, x = self._axes
        return self._evaluate(self._original_z[list(z)], y, x)

    def across(self, axis: int, index: int) -> NDArray[np.float32]:
        """Return one slice (2D) of the grid that the field is fitted to, across any axis."""
        z, y, x = (one[index : index + 1] if number == axis else one for number, one in enumerate(self._axes))
        return self._evaluate(z, y, x).squeeze(axis)

    def _evaluate(self, z: torch.Tensor, y: torch.Tensor, x: torch.Tensor) -> NDArray[np.float32]:
        shape = len(z), len(y), len(x)
        check_memory(
            GRID_BYTES_A_VOXEL * math.prod(shape),
            f"decoding {' x '.join(map(str, shape))} voxels of the network's grid",
            "ask for fewer slices at once, or decode the file on a machine with more memory",
            InrFileError,
        )
        with _errors_in_words(self.field.device):
            scaled = self.field.on_grid(*(axis.to(self.field.device) for axis in (z, y, x)))
            return to_intensity(scaled, self.intensity_range)


def restored(lr: NDArray[np.float32], upscaler: Upscaler, inr: InrVolume) -> NDArray[Any]:
    """Put LR slices (n, y, x) back on the HR grid, within the intensity range and in the original's dtype.

    Raises ModelError if the upscaler's weights make no numbers of them, InrFileError if memory does not
    suffice.
    """
    (low, high), dtype = inr.intensity_range, np.dtype(inr.dtype)
    width = spread(inr.intensity_range)
    check_restoring(inr, len(lr))
    hr = upscaler((lr - low) / width, inr.geometry.shape[1:])
    if not np.isfinite(hr).all():
        raise ModelError(
            f"the weights of {upscaler.name} give NaN or infinity, so they are damaged or meant for other"
            " images; use the upscaler lanczos"
        )
    voxels = np.empty(hr.shape, dtype)
    for plane, out in zip(hr, voxels, strict=True):  # one by one, for what they take in between
        # In float64: the largest int32 is no float32, and would come back as the smallest.
        scaled = plane.astype(np.float64) * width + low
        if dtype.kind in "iu":
            # The largest int64 is no float64 either: the one before 2^63 is.
            largest = np.nextafter(float(np.iinfo(dtype).max) + 1, 0)
            out[:] = np.rint(np.clip(scaled, low, min(high, largest))).astype(dtype)
        else:
            out[:] = np.clip(scaled, low, high)
    return voxels


class _Slices:
    """Slices by number: decoded when they are asked for, the latest kept. Thread-safe.

    One call decodes at a time, as one takes all cores; slices that are kept do not wait for it.
    """

    def __init__(self, decode: Callable[[Sequence[int]], NDArray[Any]], limit: int) -> None:
        self.decoded = 0  # how many slices were decoded so far, the same one more than once included
        self._decode = decode
        self.limit = limit  # bytes
        self._kept: OrderedDict[int, Plane] = OrderedDict()  # the latest at the end
        self._bytes = 0
        self._looking, self._decoding = RLock(), RLock()

    def take(self, numbers: Sequence[int]) -> list[Plane]:
        """Return these slices (y, x), read-only."""
        found = self._find(numbers)
        if len(found) < len(numbers):
            with self._decoding:
                found |= self._find([z for z in numbers if z not in found])  # decoded meanwhile
                if missing := [z for z in numbers if z not in found]:
                    for z, plane in zip(missing, self._decode(missing), strict=True):
                        plane.flags.writeable = False
                        found[z] = plane
                        self._keep(z, plane)
        return [found[z] for z in numbers]

    def _find(self, numbers: Sequence[int]) -> dict[int, Plane]:
        with self._looking:
            found = {z: self._kept[z] for z in numbers if z in self._kept}
            for z in found:
                self._kept.move_to_end(z)
            return found

    def _keep(self, z: int, plane: Plane) -> None:
        with self._looking:
            self.decoded += 1
            if plane.base is not None and plane.base.nbytes > plane.nbytes:
                plane = plane.copy()  # or all that was decoded with it would be kept too
                plane.flags.writeable = False
            self._kept[z] = plane
            self._bytes += plane.nbytes
            while self._bytes > self.limit:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes


@contextmanager
def _errors_in_words(device: torch.device) -> Iterator[None]:
    """Turn torch's RuntimeErrors into an InrError that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if out_of_memory(error):
            raise InrError(
                f"{device} ran out of memory while decoding; close what else uses it, or decode on the CPU"
            ) from error
        raise InrError(f"decoding failed on {device}: {str(error).splitlines()[0]}") from error
