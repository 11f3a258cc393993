"""From an exact layer back to voxels."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InrFileError
from .layer import ExactLayer, checksum
from .plain import decode_plain
from .slab import SlabDecoder, slabs_at_once, threads_a_slab

Plane = NDArray[Any]  # a slice (y, x)


class ExactSlices:
    """Decodes a layer's slices in any order. Thread-safe. The latest slabs stay, as far as decoded."""

    def __init__(
        self, layer: ExactLayer, shape: tuple[int, int, int], dtype: np.dtype[Any], padding: float | None
    ) -> None:
        self.layer, self.shape, self.dtype, self.padding = layer, shape, dtype, padding
        self._kept: OrderedDict[int, _Decoding] = OrderedDict()  # the latest at the end
        self._lock = Lock()
        self.threads = threads_a_slab(1)  # that follow one another through a slab
        self.at_once = slabs_at_once(layer.depth, shape)  # slabs that are decoded side by side, and stay

    def take(self, numbers: Sequence[int]) -> list[Plane]:
        """Return these slices (y, x), read-only. Raises InrFileError if their slab is damaged."""
        # Of a slab the last first: those before it are decoded on the way, on all cores.
        found = {z: self._slab(z // self.layer.depth).plane(z) for z in sorted(numbers, reverse=True)}
        return [found[z] for z in numbers]

    def all(self) -> Iterator[tuple[int, Plane | InrFileError]]:
        """Yield every slice's number with its voxels, or with what is wrong with its slab; on all cores."""
        pool = ThreadPoolExecutor(self.at_once, "exact")
        waiting: OrderedDict[int, Future[list[Plane] | InrFileError]] = OrderedDict()
        try:
            for number in range(len(self.layer.slabs) + self.at_once):
                if number < len(self.layer.slabs):
                    waiting[number] = pool.submit(self._whole, number)
                if number >= self.at_once and waiting:
                    at, future = waiting.popitem(last=False)
                    yield from self._each(at, future.result())
            for at, future in waiting.items():
                yield from self._each(at, future.result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _whole(self, number: int) -> list[Plane] | InrFileError:
        try:
            decoding = self._begin(number, threads_a_slab(self.at_once))
            return [decoding.plane(z) for z in reversed(decoding.slices)][::-1]
        except InrFileError as error:
            return error

    def _each(
        self, number: int, planes: list[Plane] | InrFileError
    ) -> Iterator[tuple[int, Plane | InrFileError]]:
        for index, z in enumerate(self._slices(number)):
            yield z, planes if isinstance(planes, InrFileError) else planes[index]

    def _slices(self, number: int) -> range:
        first = number * self.layer.depth
        return range(first, min(first + self.layer.depth, self.shape[0]))

    def _slab(self, number: int) -> _Decoding:
        with self._lock:
            if number not in self._kept:
                self._kept[number] = self._begin(number, self.threads)
            self._kept.move_to_end(number)
            while len(self._kept) > self.at_once:
                self._kept.popitem(last=False)
            return self._kept[number]

    def _begin(self, number: int, threads: int) -> _Decoding:
        return _Decoding(self.layer, self._slices(number), self.shape[1:], self.dtype, self.padding, threads)


class _Decoding:
    """A slab as far as it was decoded, by so many threads."""

    def __init__(
        self,
        layer: ExactLayer,
        slices: range,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        padding: float | None,
        threads: int,
    ) -> None:
        self.slices = slices
        self._layer, self._slab = layer, layer.slabs[slices.start // layer.depth]
        self._shape, self._dtype, self._padding, self._threads = shape, dtype, padding, threads
        self._take: Callable[[int], list[NDArray[Any]]] | None = None  # the next levels, or voxels
        self._planes: list[Plane] = []
        self._crc = 0  # of what was decoded
        self._error: InrFileError | None = None
        self._lock = Lock()

    @property
    def _damaged(self) -> str:
        return f"slices {self.slices[0]} to {self.slices[-1]} of the exact layer are damaged"

    def plane(self, z: int) -> Plane:
        """Return slice z; those before it are decoded, those after it are not."""
        with self._lock:
            if self._error is not None:
                raise self._error
            missing = z + 1 - self.slices.start - len(self._planes)
            if missing > 0:
                try:
                    self._planes += self._decoded(missing)
                except InrFileError as error:
                    self._error = error
                    raise
            return self._planes[z - self.slices.start]

    def _decoded(self, count: int) -> list[Plane]:
        """Return the next slices. What is damaged is found before the first of them, or before the last."""
        take = self._take or self._begin()
        try:
            found = take(count)
        except InrFileError as error:
            raise InrFileError(f"{self._damaged}: {error}") from error
        for part in found:
            self._crc = checksum(part, self._crc)
        done = len(self._planes) + count == len(self.slices)
        if done and self._crc != self._slab.decoded_crc:
            raise InrFileError(
                f"{self._damaged}: they decode to other voxels than were coded; please report it"
            )
        self._take = None if done else take  # which holds the memory of the whole slab
        lattice = self._layer.lattice
        if lattice is not None:
            found = [lattice.to_voxels(levels, self._dtype, self._padding) for levels in found]
        for plane in found:
            plane.flags.writeable = False
        return found

    def _begin(self) -> Callable[[int], list[NDArray[Any]]]:
        """Return what gives the next slices."""
        data = self._layer.data.read(self._slab.start, self._slab.length)
        if zlib.crc32(data) != self._slab.crc:
            raise InrFileError(f"{self._damaged}; copy or download the file again")
        shape = len(self.slices), *self._shape
        try:
            if self._layer.lattice is None:
                planes = iter(decode_plain(data, shape, self._dtype))
                return lambda count: list(islice(planes, count))
            decoder = SlabDecoder(data, shape, self._layer.context_networks, self._layer.lattice.levels)
            return lambda count: decoder.take(count, self._threads)
        except InrFileError as error:
            raise InrFileError(f"{self._damaged}: {error}") from error
