"""A slab of slices, coded by context networks: nothing outside it is needed to decode it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InrFileError
from ..core.memory import available
from .contexts import BORDER
from .kernels import CODED, FAILED, LEAST_STATE, OTHER, SAME, STATE, WORD, code_slice, work, write_words
from .network import Network
from .tables import tables

Levels = NDArray[np.int32]  # (z, y, x), from 0 on

BYTES_A_VOXEL = 40  # of a slab while it is coded: voxels twice, levels twice, residuals, counts, words

NONE = np.zeros(0, np.uint32)


class Memory:
    """Levels of a slab, with a border and one slice before the first, and what their predictions missed."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        depth, rows, columns = shape
        self.shape = shape
        padded = depth + 1, rows + 2 * BORDER, columns + 2 * BORDER
        self.values = np.zeros(padded, np.int32)
        self.residuals = np.zeros(padded, np.int32)
        self.inner = slice(BORDER, BORDER + rows), slice(BORDER, BORDER + columns)

    def code(
        self, networks: tuple[Network, Network], levels: int, stream: tuple[Any, ...], *, encode: bool
    ) -> Iterator[int]:
        """Code slice after slice, and yield the number of each that is done."""
        depth, rows, columns = self.shape
        plane, row = self.values[0].size, columns + 2 * BORDER
        nets = [network.net(plane, row) for network in networks]
        tiles = [work(net) for net in nets]
        values, residuals = self.values.reshape(-1), self.residuals.reshape(-1)
        for z in range(depth):
            later = int(z > 0)
            if later:  # what lies above the slice is what lies above the one before
                self.values[z + 1, :BORDER] = self.values[z, BORDER]
            net = nets[later]
            shape = rows, columns, levels, (z + 1) * plane
            table = tables(len(net.residuals))
            code_slice(net, table, values, residuals, tiles[later], stream, shape, encode)
            border(self.values[z + 1])
            if not later:
                self.values[0] = self.values[1]
            yield z


def slabs_at_once(depth: int, shape: tuple[int, int, int]) -> int:
    """Return how many slabs of so many slices are worth coding side by side: as cores and memory allow."""
    one = BYTES_A_VOXEL * min(depth, shape[0]) * shape[1] * shape[2]
    return max(min(os.cpu_count() or 1, -(-shape[0] // depth), available() // 4 // one), 1)


def border(plane: NDArray[np.int32]) -> None:
    """Fill in the border of a slice from its edges."""
    plane[:, :BORDER] = plane[:, BORDER, None]
    plane[:, -BORDER:] = plane[:, -BORDER - 1, None]
    plane[:BORDER] = plane[BORDER]
    plane[-BORDER:] = plane[-BORDER - 1]


def encode_slab(
    slab: Levels, networks: tuple[Network, Network], levels: int, gone: Event | None = None
) -> bytes:
    """Return a slab's bytes. `slab` holds numbers below `levels`, of which there are 2 to 2^16.

    Setting `gone` ends it after the current slice; the bytes are then empty.
    """
    memory = Memory(slab.shape)
    memory.values[1:, *memory.inner] = slab
    starts, counts = np.empty(slab.size, np.uint32), np.empty(slab.size, np.uint32)
    coder = _coder()
    for _ in memory.code(networks, levels, (coder, NONE, starts, counts), encode=True):
        if gone is not None and gone.is_set():
            return b""
    words = np.empty(slab.size + 1, np.uint32)  # a level takes 28 bits at most
    state, written = write_words(starts, counts, int(coder[CODED]), words)
    return int(state).to_bytes(8, "little") + words[:written][::-1].astype("<u4").tobytes()


def decode_slab(
    data: bytes, shape: tuple[int, int, int], networks: tuple[Network, Network], levels: int
) -> Iterator[Levels]:
    """Yield a slab's slices, each (y, x), as they are decoded.

    Raises InrFileError if the bytes are not those of such a slab, at the latest after the last slice.
    """
    if len(data) < 8 or len(data) % 4:
        raise InrFileError("a slab of the exact layer is cut off")
    coder = _coder()
    state = int.from_bytes(data[:8], "little")
    words = np.frombuffer(data, "<u4", offset=8).astype(np.uint32)
    if not LEAST_STATE <= state < 2**63:
        raise InrFileError("a slab of the exact layer is damaged")
    coder[STATE] = state
    memory = Memory(shape)
    for z in memory.code(networks, levels, (coder, words, NONE, NONE), encode=False):
        if coder[FAILED]:
            break
        yield memory.values[z + 1, *memory.inner]
    if coder[FAILED] or coder[STATE] != LEAST_STATE or coder[WORD] != len(words):
        raise InrFileError("a slab of the exact layer is damaged")


def _coder() -> NDArray[np.int64]:
    coder = np.zeros(6, np.int64)
    coder[[SAME, OTHER]] = 1
    return coder
