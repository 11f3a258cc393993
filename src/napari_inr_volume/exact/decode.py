"""From an exact layer back to voxels."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InrFileError
from .layer import ExactLayer, checksum
from .plain import decode_plain
from .slab import decode_slab, slabs_at_once

Plane = NDArray[Any]  # a slice (y, x)


class ExactSlices:
    """Decodes a layer's slices in any order. Thread-safe. The latest slabs stay, as far as decoded."""

    def __init__(
        self, layer: ExactLayer, shape: tuple[int, int, int], dtype: np.dtype[Any], padding: float | None
    ) -> None:
        self.layer, self.shape, self.dtype, self.padding = layer, shape, dtype, padding
        self._kept: OrderedDict[int, _Decoding] = OrderedDict()  # the latest at the end
        self._lock = Lock()
        self.at_once = slabs_at_once(layer.depth, shape)  # slabs that are decoded side by side, and stay

    def take(self, numbers: Sequence[int]) -> list[Plane]:
        """Return these slices (y, x), read-only. Raises InrFileError if their slab is damaged."""
        return [self._slab(z // self.layer.depth).plane(z % self.layer.depth) for z in numbers]

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
            return list(self._decode(number))
        except InrFileError as error:
            return error

    def _each(
        self, number: int, planes: list[Plane] | InrFileError
    ) -> Iterator[tuple[int, Plane | InrFileError]]:
        for index in range(self._slices(number)):
            found = planes if isinstance(planes, InrFileError) else planes[index]
            yield number * self.layer.depth + index, found

    def _slices(self, number: int) -> int:
        return min(self.layer.depth, self.shape[0] - number * self.layer.depth)

    def _slab(self, number: int) -> _Decoding:
        with self._lock:
            if number not in self._kept:
                self._kept[number] = _Decoding(self._decode(number))
            self._kept.move_to_end(number)
            while len(self._kept) > self.at_once:
                self._kept.popitem(last=False)
            return self._kept[number]

    def _decode(self, number: int) -> Iterator[Plane]:
        """Yield a slab's slices; what is damaged is found before the first of them, or before the last."""
        layer, slab = self.layer, self.layer.slabs[number]
        first = number * layer.depth
        where = f"slices {first} to {first + self._slices(number) - 1} of the exact layer are damaged"
        data = layer.data.read(slab.start, slab.length)
        if zlib.crc32(data) != slab.crc:
            raise InrFileError(f"{where}; copy or download the file again")
        shape = self._slices(number), *self.shape[1:]
        crc = 0
        try:
            for index, levels in enumerate(self._levels(data, shape)):
                crc = checksum(levels, crc)
                lattice = layer.lattice
                plane = levels if lattice is None else lattice.to_voxels(levels, self.dtype, self.padding)
                plane.flags.writeable = False
                if index < shape[0] - 1:  # the last one waits for the checks
                    yield plane
        except InrFileError as error:
            raise InrFileError(f"{where}: {error}") from error
        if crc != slab.decoded_crc:
            raise InrFileError(f"{where}: they decode to other voxels than were coded; please report it")
        yield plane

    def _levels(self, data: bytes, shape: tuple[int, int, int]) -> Iterator[NDArray[Any]]:
        if self.layer.lattice is None:
            yield from decode_plain(data, shape, self.dtype)
        else:
            yield from decode_slab(data, shape, self.layer.context_networks, self.layer.lattice.levels)


class _Decoding:
    """A slab as far as it was decoded."""

    def __init__(self, slices: Iterator[Plane]) -> None:
        self._slices = slices
        self._planes: list[Plane] = []
        self._error: InrFileError | None = None
        self._lock = Lock()

    def plane(self, index: int) -> Plane:
        with self._lock:
            if self._error is not None:
                raise self._error
            try:
                while len(self._planes) <= index:
                    self._planes.append(next(self._slices))
            except InrFileError as error:
                self._error = error
                raise
            return self._planes[index]
