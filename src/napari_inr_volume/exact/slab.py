"""A slab of slices, coded by context networks: nothing outside it is needed to decode it.

Each slice is a stream of its own, so threads follow one another through a slab: a slice's contexts reach a
few waves beyond its own in the slice before.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Condition, Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InrFileError
from ..core.memory import available
from .contexts import BORDER, LAG, LEAD
from .counts import CODED, FAILED, LEAST_STATE, OTHER, SAME, STATE, WORD, write_words
from .kernels import code_waves, work
from .network import Network
from .tables import tables

Levels = NDArray[np.int32]  # (z, y, x), from 0 on
Stream = tuple[Any, ...]  # a slice's coder, words, starts and counts

BYTES_A_VOXEL = 20  # of a slab while it is coded: voxels, levels twice, residuals
WAVES_AT_ONCE = 64  # that a thread codes before others hear of it

LENGTH = struct.Struct("<I")  # words of a slice's stream
FIRST_STATE = struct.Struct("<Q")
NONE = np.zeros(0, np.uint32)


class Memory:
    """Levels of a slab, with a border and one slice before the first, and what their predictions missed."""

    def __init__(self, shape: tuple[int, int, int], networks: tuple[Network, Network], levels: int) -> None:
        depth, rows, columns = shape
        self.shape, self.levels = shape, levels
        padded = depth + 1, rows + 2 * BORDER, columns + 2 * BORDER
        self.values = np.zeros(padded, np.int32)
        self.residuals = np.zeros(padded, np.int32)
        self.inner = slice(BORDER, BORDER + rows), slice(BORDER, BORDER + columns)
        first, later = networks
        plane, row = padded[1] * padded[2], padded[2]
        self._nets = [first.net(plane, row), later.net(plane, row, before=1), later.net(plane, row)]
        self._waves = columns + LAG * (rows - 1)
        self._coded = [0] * depth  # waves of each slice
        self._moved = Condition()

    def code(
        self,
        slices: range,
        begin: Callable[[int], Stream],
        end: Callable[[int, Stream], None] | None = None,
        *,
        threads: int,
        gone: Event,
    ) -> None:
        """Code the next slices, by several threads one behind another. `gone` ends it early.

        `begin` gives the stream of a slice when it is its turn. With `end`, which is given it as it came to
        be, slices are encoded, or else decoded.
        """
        with ThreadPoolExecutor(min(threads, len(slices)), "exact") as pool:
            # In order: whoever waits for a slice knows that a thread is at it already.
            futures = [pool.submit(self._code, z, begin, end, gone) for z in slices]
        for future in futures:
            future.result()

    def _code(
        self,
        z: int,
        begin: Callable[[int], Stream],
        end: Callable[[int, Stream], None] | None,
        gone: Event,
    ) -> None:
        try:
            stream, encode = begin(z), end is not None
            _, rows, columns = self.shape
            net = self._nets[min(z, 2)]
            made, tile = tables(len(net.residuals)), work(net)
            values, residuals = self.values.reshape(-1), self.residuals.reshape(-1)
            shape = rows, columns, self.levels, (z + 1) * self.values[0].size
            for first in range(0, self._waves, WAVES_AT_ONCE):
                last = min(first + WAVES_AT_ONCE, self._waves)
                self._follow(z, last)
                if gone.is_set():
                    return
                code_waves(net, made, values, residuals, tile, stream, shape, (first, last), encode)
                self._tell(z, last)
            if end is not None:
                end(z, stream)
        finally:
            self._tell(z, self._waves)  # nobody is to wait for it, even if it has failed

    def _follow(self, z: int, last: int) -> None:
        """Wait until the slice before is far enough ahead to code up to a wave; then continue its borders."""
        if z == 0:
            return
        with self._moved:
            self._moved.wait_for(lambda: self._coded[z - 1] >= min(last + LEAD, self._waves))
        before, here = self.values[z], self.values[z + 1]
        here[:BORDER] = before[BORDER]
        before[-BORDER:] = before[-BORDER - 1]

    def _tell(self, z: int, waves: int) -> None:
        with self._moved:
            self._coded[z] = waves
            self._moved.notify_all()


def slabs_at_once(depth: int, shape: tuple[int, int, int]) -> int:
    """Return how many slabs of so many slices are worth coding side by side: as cores and memory allow."""
    one = BYTES_A_VOXEL * min(depth, shape[0]) * shape[1] * shape[2]
    return max(min(os.cpu_count() or 1, -(-shape[0] // depth), available() // 4 // one), 1)


def threads_a_slab(at_once: int) -> int:
    """Return how many threads are there for each of so many slabs that are coded side by side."""
    return max((os.cpu_count() or 1) // at_once, 1)


def encode_slab(
    slab: Levels,
    networks: tuple[Network, Network],
    levels: int,
    gone: Event | None = None,
    threads: int = 1,
) -> bytes:
    """Return a slab's bytes. `slab` holds numbers below `levels`, of which there are 2 to 2^16.

    Setting `gone` ends it soon; the bytes are then empty.
    """
    gone = gone or Event()
    memory = Memory(slab.shape, networks, levels)
    memory.values[1:, *memory.inner] = slab
    voxels = slab[0].size
    coded = [(b"", b"")] * len(slab)  # of each slice: the words of its stream, and how many there are

    def begin(_: int) -> Stream:
        return _coder(), NONE, np.empty(voxels, np.uint32), np.empty(voxels, np.uint32)

    def end(z: int, stream: Stream) -> None:
        coder, _, starts, counts = stream
        words = np.empty(voxels + 1, np.uint32)  # a level takes 28 bits at most
        state, written = write_words(starts, counts, int(coder[CODED]), words)
        data = FIRST_STATE.pack(state) + words[:written][::-1].astype("<u4").tobytes()
        coded[z] = data, LENGTH.pack(written)

    memory.code(range(len(slab)), begin, end, threads=threads, gone=gone)
    if gone.is_set():
        return b""
    return b"".join((*(length for _, length in coded), *(data for data, _ in coded)))


class SlabDecoder:
    """Decodes a slab's slices in order. Raises InrFileError if the bytes are not those of such a slab."""

    def __init__(
        self, data: bytes, shape: tuple[int, int, int], networks: tuple[Network, Network], levels: int
    ) -> None:
        self._streams = _streams(data, shape[0])
        self._memory = Memory(shape, networks, levels)
        self._done = 0  # slices

    def take(self, count: int, threads: int = 1) -> list[Levels]:
        """Return the next slices, each (y, x), decoded by up to so many threads.

        Raises InrFileError if one of them is damaged.
        """
        slices = range(self._done, self._done + count)
        self._memory.code(slices, self._streams.__getitem__, threads=threads, gone=Event())
        for z in slices:
            coder, words, *_ = self._streams[z]
            if coder[FAILED] or coder[STATE] != LEAST_STATE or coder[WORD] != len(words):
                raise InrFileError("a slab of the exact layer is damaged")
        self._done += count
        return [self._memory.values[z + 1, *self._memory.inner] for z in slices]


def _streams(data: bytes, depth: int) -> list[Stream]:
    """Return the streams of a slab's slices."""
    at = depth * LENGTH.size
    lengths = [each for (each,) in LENGTH.iter_unpack(data[:at])] if len(data) >= at else []
    if len(data) != at + depth * FIRST_STATE.size + 4 * sum(lengths) or not lengths:
        raise InrFileError("a slab of the exact layer is cut off")
    streams = []
    for length in lengths:
        (state,) = FIRST_STATE.unpack_from(data, at)
        if not LEAST_STATE <= state < 2**63:
            raise InrFileError("a slab of the exact layer is damaged")
        coder = _coder()
        coder[STATE] = state
        words = np.frombuffer(data, "<u4", length, at + FIRST_STATE.size).astype(np.uint32)
        streams.append((coder, words, NONE, NONE))
        at += FIRST_STATE.size + 4 * length
    return streams


def border(plane: NDArray[np.int32]) -> None:
    """Fill in the border of a slice from its edges."""
    plane[:, :BORDER] = plane[:, BORDER, None]
    plane[:, -BORDER:] = plane[:, -BORDER - 1, None]
    plane[:BORDER] = plane[BORDER]
    plane[-BORDER:] = plane[-BORDER - 1]


def _coder() -> NDArray[np.int64]:
    coder = np.zeros(6, np.int64)
    coder[[SAME, OTHER]] = 1
    return coder
