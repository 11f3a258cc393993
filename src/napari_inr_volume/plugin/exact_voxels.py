"""The voxels of an `.inr` with an exact layer, as napari draws them: never waiting for that layer.

    napari draws ----> ExactVoxels[...] ----> exact slices that are kept, else the preview's
                             |
                             v  what was looked at
    Sharpening's Job <--- next_slices()       decodes up to the slice in view first, slabs side by side then
             |
             +--------> decode(z) ----------> kept, those farthest from the view go first

No Qt and no napari here, and no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InrFileError
from ..core.units import within
from .layers import new_voxels

if TYPE_CHECKING:
    from ..reader import Reader

KEPT_BYTES = 2**29  # of exact slices: 1024 of 512 x 512 in int16
BESIDE = 1  # slabs on either side of the one in view that are decoded too

Plane = NDArray[Any]  # a slice (y, x)


class ExactVoxels:
    """An array (z, y, x) whose slices sharpen: an index gives what can be shown at once, without waiting.

    That is so while `on_look` is set, by whoever decodes meanwhile. Without it an index waits for exact
    voxels; `np.asarray` always does, so that what is computed or written of the array is exact. Thread-safe.
    Both raise InrFileError where the exact layer is damaged.
    """

    def __init__(
        self, reader: Reader, preview: Reader | None = None, *, kept_bytes: int = KEPT_BYTES
    ) -> None:
        assert reader.inr.exact is not None
        self.reader, self.preview, self.layer = reader, preview or reader, reader.inr.exact
        self.shape, self.dtype = reader.shape("exact"), reader.dtype("exact")
        self.ndim, self.size = 3, math.prod(self.shape)
        self.sharpening: object = None  # kept alive: what follows the layer
        self.on_look: Callable[[], object] | None = None  # called in the thread of whoever looks
        self._at_once = max(1, kept_bytes // (self.size // self.shape[0] * self.dtype.itemsize))
        self._at_once = max(self._at_once // self.layer.depth, 1) * self.layer.depth  # slices, of whole slabs
        self._lock = Lock()
        self._kept: dict[int, Plane] = {}
        self._damaged: set[int] = set()  # slabs
        self._looked: tuple[int, ...] = ()  # slices, at last
        self._middle, self._onward = 0, 1  # of the slices looked at last, and which way that went

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all exact voxels, new in memory."""
        voxels = new_voxels(self.shape, self.dtype)
        for z, plane in self.reader.slices("exact"):
            voxels[z] = plane
        return voxels if dtype is None else voxels.astype(dtype, copy=False)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        first, *rest = _for_each_axis(key)
        numbers = np.arange(self.shape[0])[first]
        planes = self._planes([int(z) for z in np.atleast_1d(numbers)])
        if numbers.ndim == 0:
            return planes[0][tuple(rest)]
        if not planes:
            return np.empty(self.shape, self.dtype)[:0][:, *rest]
        return np.stack([plane[tuple(rest)] for plane in planes])

    @property
    def exact(self) -> ExactVoxels:
        """The same voxels, of which an index waits too."""
        return ExactVoxels(self.reader)

    def _planes(self, numbers: Sequence[int]) -> list[Plane]:
        if self.on_look is None:
            return self.reader.planes(numbers, "exact")
        with self._lock:
            self._look(numbers)
            found = {z: self._kept[z] for z in numbers if z in self._kept}
        self.on_look()
        return [found[z] if z in found else self.preview.plane(z) for z in numbers]

    def _look(self, numbers: Sequence[int]) -> None:
        self._looked = tuple(numbers)
        if len(numbers) == 1:  # else all slices are in view, and the middle stays where it was
            step = numbers[0] - self._middle
            self._onward = (step > 0) - (step < 0) or self._onward
            self._middle = numbers[0]

    # What is decoded

    def slices_of(self, slab: int) -> range:
        """Return a slab's slices, in the order in which they can be decoded."""
        depth = self.layer.depth
        return range(slab * depth, min((slab + 1) * depth, self.shape[0]))

    def next_slices(self, most: int = 1) -> list[int]:
        """Return the slices to decode next, one of each of so many slabs, the most wanted slab's first.

        While the one slice in view is not there, its slab gets all threads, which decode a slice each.
        Empty if all that is wanted is there, or as much as is kept.
        """
        with self._lock:
            slabs = [slab for slab in self._wanted() if not self._is_done(slab)][:most]
            found = [next(z for z in self.slices_of(slab) if z not in self._kept) for slab in slabs]
            if found and len(self._looked) == 1 and self._looked[0] not in self._kept:
                in_view = self._looked[0]
                if in_view in self.slices_of(slabs[0]):
                    return [min(found[0] + self.reader.threads - 1, in_view)]
            return found

    def decode(self, z: int) -> list[int]:
        """Decode a slab's slices up to one, and keep them; returns those that are new.

        Raises InrFileError if the slab is damaged, which is not wanted again then.
        """
        slab = z // self.layer.depth
        with self._lock:
            missing = [each for each in self.slices_of(slab) if each <= z and each not in self._kept]
        try:
            planes = self.reader.planes(missing, "exact")
        except InrFileError:
            with self._lock:
                self._damaged.add(slab)
                for each in self.slices_of(slab):
                    self._kept.pop(each, None)
            raise
        with self._lock:
            new = [each for each in missing if each not in self._kept]
            self._kept.update(zip(missing, planes, strict=True))
            while len(self._kept) > self._at_once:
                del self._kept[max(self._kept, key=lambda kept: abs(kept - self._middle))]
        return new

    def _wanted(self) -> list[int]:
        """Return slabs by how much they are wanted, no more of them than are kept."""
        count, here = len(self.layer.slabs), self._middle // self.layer.depth
        most = self._at_once // self.layer.depth
        if not self._looked:
            return []
        if len(self._looked) > 1:  # a view of all slices, as in 3D, is worth the work only if it gets all
            return sorted(range(count), key=lambda slab: abs(slab - here)) if count <= most else []
        beside = [here + way * n for n in range(1, BESIDE + 1) for way in (self._onward, -self._onward)]
        return [slab for slab in [here, *beside] if 0 <= slab < count][:most]

    def _is_done(self, slab: int) -> bool:
        return slab in self._damaged or all(z in self._kept for z in self.slices_of(slab))

    # What is in view

    def shows(self, z: int) -> bool:
        """Whether a slice is what is looked at, and nothing else is."""
        return self._looked == (z,)

    @property
    def sharp(self) -> bool:
        """Whether all that is looked at is exact."""
        with self._lock:
            return all(z in self._kept for z in self._looked)

    @property
    def state(self) -> str:
        """How exact what is looked at is, in words."""
        with self._lock:
            left = [z for z in self._looked if z not in self._kept]
            if not left:
                return within(self.layer.max_error, self.reader.inr.units)
            if any(z // self.layer.depth in self._damaged for z in left):
                return "preview, the exact layer is damaged here"
            if not self._wanted():
                return "preview, too many slices to sharpen as you look; use INR file > Decode exact"
            return "preview, sharpening..."

    @property
    def words(self) -> str:
        """What is looked at, and how exact that is."""
        with self._lock:
            looked = self._looked
            there = sum(z in self._kept for z in looked)
        if len(looked) == 1:
            return f"slice {looked[0]}: {self.state}"
        if there in (0, len(looked)):
            return f"all slices: {self.state}"
        return f"{there} of {len(looked)} slices are exact, the others: {self.state}"


def _for_each_axis(key: Any) -> tuple[Any, Any, Any]:
    """Return an index of three axes, with all that it leaves out."""
    parts = list(key) if isinstance(key, tuple) else [key]
    at = next((number for number, part in enumerate(parts) if part is Ellipsis), len(parts))
    rest = parts[at + 1 :]
    parts = [*parts[:at], *[slice(None)] * (3 - at - len(rest)), *rest]
    if len(parts) != 3 or any(part is None for part in parts):
        raise IndexError("voxels have the three axes z, y, x")
    return parts[0], parts[1], parts[2]
