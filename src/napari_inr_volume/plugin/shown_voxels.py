"""The voxels of an `.inr` as napari draws them: an index never waits for anything to be decoded.

    napari draws ----> ShownVoxels[...] ----> slices that are kept, else those of the coarser level below
                             |
                             v  what was looked at
    Sharpening's Job <--- next_steps()        the slice in view first: LR, then restored, then exact
             |
             +--------> decode(z) ----------> kept, those farthest from the view go first

No Qt and no napari here, and torch only where something is decoded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InrFileError
from ..core.units import within
from .indexing import each_axis
from .layers import new_voxels
from .pyramid import WHOLE

if TYPE_CHECKING:
    from ..inr_volume import InrVolume
    from ..reader import Reader

    GetReader = Callable[[], Reader]

Level = Literal["lr", "hr", "exact"]
Plane = NDArray[Any]  # a slice (y, x)

KEPT_BYTES = WHOLE  # of a level's slices: 1024 of 512 x 512 in int16
PART = 8  # slices that are decoded on, at levels without slabs
BESIDE = 1  # parts on either side of the one in view that are decoded too
COARSE = {"lr": "nothing", "hr": "LR fit", "exact": "preview"}  # what is shown before a level's own slices
BUTTONS = {"lr": "Decode LR", "hr": "Decode HR", "exact": "Decode exact"}


@dataclass(frozen=True)
class Step:
    """A slice to decode, or that was decoded, at one of the levels."""

    voxels: ShownVoxels
    z: int


class ShownVoxels:
    """An array (z, y, x) of a level whose slices sharpen: an index gives what can be shown at once.

    That is so while `on_look` is set, by whoever decodes meanwhile. Without it an index waits for decoded
    voxels; `np.asarray` always does, so that what is computed or written of the array is right. Thread-safe.
    What decodes raises InrFileError where the file is damaged, InrError where memory does not suffice.
    """

    def __init__(
        self,
        inr: InrVolume,
        level: Level,
        get_reader: GetReader,  # makes it at the first call, which takes seconds
        coarse: ShownVoxels | None = None,  # of the level below, shown meanwhile; None for the LR
        *,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self.inr, self.level, self.get_reader, self.coarse = inr, level, get_reader, coarse
        self.shape = inr.lr_shape if level == "lr" else inr.geometry.shape
        self.dtype = np.dtype(np.float32 if level == "lr" else inr.dtype)
        self.ndim, self.size = 3, math.prod(self.shape)
        self.part = inr.exact.depth if level == "exact" and inr.exact is not None else PART
        self.sharpening: object = None  # kept alive: what follows the layer
        self.on_look: Callable[[], object] | None = None  # called in the thread of whoever looks
        self.failed = ""  # why nothing more is decoded, in words
        slices = max(1, kept_bytes // (self.size // self.shape[0] * self.dtype.itemsize))
        self._at_once = max(slices // self.part, 1) * self.part  # slices, of whole parts
        self._lock = Lock()
        self._kept: dict[int, Plane] = {}
        self._damaged: set[int] = set()  # parts
        self._looked: tuple[int, ...] = ()  # slices, at last
        self._lr_was_whole = True  # when they were looked at
        self._middle, self._onward = 0, 1  # of the slices looked at last, and which way that went

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all decoded voxels, new in memory."""
        voxels = new_voxels(self.shape, self.dtype)
        for z, plane in self.get_reader().slices(self.level):
            voxels[z] = plane
        return voxels if dtype is None else voxels.astype(dtype, copy=False)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        first, *rest = each_axis(key, 3)
        numbers = np.arange(self.shape[0])[first]
        planes = self._planes([int(z) for z in np.atleast_1d(numbers)], tuple(rest))
        if numbers.ndim == 0:
            return planes[0]
        if not planes:
            return np.empty(self.shape, self.dtype)[:0][:, *rest]
        return np.stack(planes)

    @property
    def decoded(self) -> ShownVoxels:
        """The same voxels, of which an index waits too."""
        return ShownVoxels(self.inr, self.level, self.get_reader)

    def _planes(self, numbers: Sequence[int], inside: tuple[Any, ...]) -> list[NDArray[Any]]:
        if self.on_look is None:
            return [plane[inside] for plane in self.get_reader().planes(numbers, self.level)]
        self._look(numbers)
        self.on_look()
        return [self._best(z, inside) for z in numbers]

    def _best(self, z: int, inside: tuple[Any, ...]) -> NDArray[Any]:
        """Return what there is of a slice, the best of all levels: its own, a coarser one's, or black."""
        with self._lock:
            plane = self._kept.get(z)
        if plane is not None:
            return plane[inside]
        low, high = self.inr.intensity_range
        if self.coarse is None:
            black = np.asarray(low).astype(self.dtype)
            return np.broadcast_to(black, self.shape[1:])[inside]
        coarse = self.coarse._best(self._under(z), _nearest(inside, self.shape, self.coarse.shape, self.inr))
        if coarse.dtype == self.dtype:
            return coarse
        values = np.clip(coarse, low, high)
        return (np.rint(values) if self.dtype.kind in "iu" else values).astype(self.dtype)

    def _under(self, z: int) -> int:
        """Return the slice of the level below that covers slice z."""
        assert self.coarse is not None
        same = self.coarse.shape[0] == self.shape[0]
        return z if same else min(int((z + 0.5) / self.inr.factor[0]), self.coarse.shape[0] - 1)

    def _look(self, numbers: Sequence[int]) -> None:
        lr_is_whole = self.lr.is_whole
        with self._lock:
            self._looked, self._lr_was_whole = tuple(numbers), lr_is_whole
        if len(numbers) == 1:  # else all slices are in view, and the middle stays where it was
            self._move_to(numbers[0])

    def _move_to(self, z: int) -> None:
        with self._lock:
            step = z - self._middle
            self._onward = (step > 0) - (step < 0) or self._onward
            self._middle = z
        if self.coarse is not None:
            self.coarse._move_to(self._under(z))

    # What is decoded

    @property
    def lr(self) -> ShownVoxels:
        """The lowest level."""
        return self if self.coarse is None else self.coarse.lr

    @property
    def is_whole(self) -> bool:
        """Whether all slices are kept, or as many as are ever kept."""
        return len(self._kept) >= min(self.shape[0], self._at_once)

    @property
    def at_once(self) -> int:
        """How many slices are best decoded side by side."""
        return self.get_reader().slabs_at_once if self.level == "exact" else 1

    def slices_of(self, part: int) -> range:
        """Return a part's slices, in the order in which they can be decoded."""
        return range(part * self.part, min((part + 1) * self.part, self.shape[0]))

    def next_steps(self, most: int = 1) -> list[Step]:
        """Return what to decode next, at most one slice of each of so many parts, the most wanted first.

        The one slice in view comes first, from level to level; then the LR of all slices, which is small, and
        is what a quick scroll, a rolled view and 3D show at first; then the parts around the view.
        Empty if all that is wanted is there, or as much as is kept.
        """
        with self._lock:
            looked = self._looked
        if self.failed or not looked:
            return []
        if len(looked) == 1 and (step := self._toward(looked[0])) is not None:
            return [step]
        z = self.lr._nearest_missing()
        if z is not None:
            return [Step(self.lr, z)]
        with self._lock:
            parts = [part for part in self._wanted() if not self._is_done(part)][:most]
            return [
                Step(self, next(z for z in self.slices_of(part) if z not in self._kept)) for part in parts
            ]

    def _toward(self, z: int) -> Step | None:
        """Return the next step to slice z: that of a coarser level first."""
        below = None if self.coarse is None else self.coarse._toward(self._under(z))
        if below is not None:
            return below
        with self._lock:
            if z in self._kept or z // self.part in self._damaged:
                return None
            if self.level != "exact":
                return Step(self, z)
            first = next(each for each in self.slices_of(z // self.part) if each not in self._kept)
        # Its slab gets all threads, which decode a slice each.
        return Step(self, min(first + self.get_reader().threads - 1, z))

    def _nearest_missing(self) -> int | None:
        with self._lock:
            if self.is_whole:
                return None
            missing = (z for z in range(self.shape[0]) if z not in self._kept)
            return min(missing, key=lambda z: abs(z - self._middle))

    def decode(self, z: int) -> list[int]:
        """Decode a slice, at the exact level its slab up to it, and keep them; returns those that are new.

        Raises InrFileError if the slab is damaged, which is not wanted again then.
        """
        part = z // self.part
        first = part * self.part if self.level == "exact" else z
        with self._lock:
            missing = [each for each in range(first, z + 1) if each not in self._kept]
        try:
            planes = self.get_reader().planes(missing, self.level)
        except InrFileError:
            with self._lock:
                self._damaged.add(part)
                for each in self.slices_of(part):
                    self._kept.pop(each, None)
            raise
        with self._lock:
            new = [each for each in missing if each not in self._kept]
            self._kept.update(zip(missing, planes, strict=True))
            while len(self._kept) > self._at_once:
                del self._kept[max(self._kept, key=lambda kept: abs(kept - self._middle))]
        return new

    def _wanted(self) -> list[int]:
        """Return parts by how much they are wanted, no more of them than are kept."""
        count, here = -(-self.shape[0] // self.part), self._middle // self.part
        most = self._at_once // self.part
        if len(self._looked) > 1:  # a view of all slices, as in 3D, is worth the work only if it gets all
            return sorted(range(count), key=lambda part: abs(part - here)) if count <= most else []
        beside = [here + way * n for n in range(1, BESIDE + 1) for way in (self._onward, -self._onward)]
        return [part for part in [here, *beside] if 0 <= part < count][:most]

    def _is_done(self, part: int) -> bool:
        return part in self._damaged or all(z in self._kept for z in self.slices_of(part))

    # What is in view

    def changes_view(self, step: Step) -> bool:
        """Whether what was decoded is to be drawn at once: the slice in view, or the last of the LR."""
        if len(self._looked) == 1:
            return step.z == self._at_level(step.voxels, self._looked[0])
        if self._lr_was_whole or not self.lr.is_whole:
            return False
        self._lr_was_whole = True
        return True

    def _at_level(self, voxels: ShownVoxels, z: int) -> int | None:
        if voxels is self:
            return z
        return None if self.coarse is None else self.coarse._at_level(voxels, self._under(z))

    @property
    def views_all(self) -> bool:
        """Whether all slices are looked at, as in 3D and in a view along another axis."""
        return len(self._looked) > 1

    @property
    def there(self) -> int:
        """How many of the slices looked at are decoded."""
        with self._lock:
            return sum(z in self._kept for z in self._looked)

    @property
    def sharp(self) -> bool:
        """Whether all that is looked at is decoded."""
        return self.there == len(self._looked)

    @property
    def state(self) -> str:
        """How good what is looked at is, in words."""
        with self._lock:
            left = [z for z in self._looked if z not in self._kept]
            shown, button = COARSE[self.level], BUTTONS[self.level]
            level = self.inr.exact if self.level == "exact" else None
            if not left:
                return "decoded" if level is None else within(level.max_error, self.inr.units)
            if self.failed:
                return f"{shown}, the file cannot be decoded"
            if any(z // self.part in self._damaged for z in left):
                return f"{shown}, the {'file' if level is None else 'exact layer'} is damaged here"
            if not self._wanted():
                return f"{shown}, too many slices to sharpen as you look; use INR file > {button}"
            seen = self.coarse is not None and self.coarse._has_any(map(self._under, left))
            return f"{shown}, sharpening..." if seen else "decoding..."

    def _has_any(self, numbers: Iterable[int]) -> bool:
        numbers = list(numbers)
        with self._lock:
            if any(z in self._kept for z in numbers):
                return True
        return self.coarse is not None and self.coarse._has_any(map(self._under, numbers))

    @property
    def words(self) -> str:
        """What is looked at, and how good that is."""
        looked, there = self._looked, self.there
        if len(looked) == 1:
            return f"slice {looked[0]}: {self.state}"
        if there in (0, len(looked)):
            return f"all slices: {self.state}"
        what = "exact" if self.level == "exact" else "decoded"
        return f"{there} of {len(looked)} slices are {what}, the others: {self.state}"


def shown_levels(
    inr: InrVolume, get_reader: GetReader, get_preview: GetReader | None = None
) -> dict[Level, ShownVoxels]:
    """Return the voxels of an `.inr` at all its levels, each over the one below it.

    `get_preview` makes the reader of what is shown before exact slices, if it is another one.
    """
    lr = ShownVoxels(inr, "lr", get_reader)
    hr = ShownVoxels(inr, "hr", get_preview if get_preview and inr.exact is not None else get_reader, lr)
    if inr.exact is None:
        return {"lr": lr, "hr": hr}
    return {"lr": lr, "hr": hr, "exact": ShownVoxels(inr, "exact", get_reader, hr)}


def _nearest(
    inside: tuple[Any, ...], shape: Sequence[int], coarse: Sequence[int], inr: InrVolume
) -> tuple[Any, ...]:
    """Return the index (y, x) of the voxels of a coarser slice that cover those of `inside`."""
    if tuple(shape[1:]) == tuple(coarse[1:]):
        return inside
    found = []
    for index, length, below, factor in zip(inside, shape[1:], coarse[1:], inr.factor[1:], strict=True):
        at = np.minimum(((np.arange(length) + 0.5) / factor).astype(np.intp), below - 1)
        found.append(at[index])
    rows, columns = found
    if rows.ndim and columns.ndim:
        return (rows[:, np.newaxis], columns)
    return (rows, columns)
