"""The exact layer of a volume: its voxels to within a bound, in slabs that are decoded one by one."""

from __future__ import annotations

import math
import os
import struct
import weakref
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InrFileError
from . import network
from .lattice import MOST_LEVELS, Lattice

VERSION = 2  # 1, in which a slab was a single stream, was never released
FILES_STAY = os.name != "nt"  # open ones, whatever takes their place; Windows lets nothing do so
# Version, features, slices a slab, largest error, base, step, high, levels, padded, bytes of the networks.
HEAD = struct.Struct("<BBHddddI?I")
ENTRY = struct.Struct("<QII")  # of a slab: bytes, CRC-32 of these, CRC-32 of its voxels (levels as int32)


@dataclass(frozen=True)
class Slab:
    """Where a slab's bytes lie among those of all slabs, and what they and their voxels add up to."""

    start: int
    length: int
    crc: int
    decoded_crc: int


class Seekable(Protocol):
    """A file that is open for reading, here or elsewhere."""

    def seek(self, position: int, /) -> int:
        """Go to a position from the beginning."""

    def read(self, count: int, /) -> bytes:
        """Return up to so many bytes."""


@dataclass(frozen=True)
class Slabs:
    """The bytes of all slabs, in memory or in a file: that of an `.inr`, or a nameless one while encoding."""

    where: Path | bytes | Seekable
    start: int
    length: int
    lock: Any = field(default_factory=Lock, repr=False, compare=False)

    def read(self, start: int, length: int) -> bytes:
        """Return some of the bytes. Raises InrFileError if they are not there any more."""
        start += self.start
        if isinstance(self.where, bytes):
            data = self.where[start : start + length]
        elif isinstance(self.where, Path):
            try:
                with self.where.open("rb") as file:
                    file.seek(start)
                    data = file.read(length)
            except OSError as error:
                reason = error.strerror or error
                raise InrFileError(f"{self.where.name}: cannot be read any more: {reason}") from error
        else:
            with self.lock:
                self.where.seek(start)
                data = self.where.read(length)
        if len(data) < length:
            raise InrFileError("the file ends within the exact layer; copy or download it again")
        return data

    def held(self) -> Self:
        """Return the same bytes, there to be read if their file is removed, or another takes its place.

        They stay in the file that is open; on Windows they are read into memory. Raises OSError or
        InrFileError if the file cannot be read.
        """
        if not isinstance(self.where, Path):
            return self
        if not FILES_STAY:
            return replace(self, where=self.read(0, self.length), start=0)
        descriptor = os.open(self.where, os.O_RDONLY)
        file = open(descriptor, "rb", closefd=False)  # noqa: SIM115
        weakref.finalize(file, os.close, descriptor)  # with the last that reads it
        return replace(self, where=file)

    def chunks(self, size: int = 2**20) -> Iterator[bytes]:
        """Yield all of the bytes."""
        for start in range(0, self.length, size):
            yield self.read(start, min(size, self.length - start))


@dataclass(frozen=True, kw_only=True)
class ExactLayer:
    """A volume's voxels to within `max_error`, beside its representation and without need of it.

    Two are the same whose bytes are, by the checksums, wherever these lie.
    """

    max_error: float  # of any voxel, in the volume's units; 0: none
    depth: int  # slices of a slab, but the last may have fewer
    features: int  # of the context networks' layers; 0: there are none, and voxels are coded plainly
    lattice: Lattice | None  # None without networks
    networks: bytes  # as `network.to_bytes` makes them
    slabs: tuple[Slab, ...]
    data: Slabs = field(compare=False)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in a file, but for the sections' heads."""
        return len(self.head()) + self.data.length

    def head(self) -> bytes:
        """Return all but the slabs' bytes."""
        lattice = self.lattice or Lattice(base=0, step=1, high=0, levels=1, padded=False)
        head = HEAD.pack(
            VERSION,
            self.features,
            self.depth,
            self.max_error,
            lattice.base,
            lattice.step,
            lattice.high,
            lattice.levels,
            lattice.padded,
            len(self.networks),
        )
        entries = (ENTRY.pack(slab.length, slab.crc, slab.decoded_crc) for slab in self.slabs)
        return b"".join((head, self.networks, *entries))

    def damaged(self) -> list[int]:
        """Return the numbers of the slabs whose bytes are not those that were written; reads all of them."""
        return [
            number
            for number, slab in enumerate(self.slabs)
            if zlib.crc32(self.data.read(slab.start, slab.length)) != slab.crc
        ]

    @cached_property
    def context_networks(self) -> tuple[network.Network, network.Network]:
        """Those for the first slice of a slab, and for the later ones."""
        return network.from_bytes(self.networks, self.features)


def from_head(head: bytes, data: Slabs, shape: tuple[int, int, int], padded: bool) -> ExactLayer:
    """Return the layer of a volume (z, y, x). Raises InrFileError if the head is not valid."""
    if len(head) < HEAD.size:
        raise InrFileError("the exact layer's head is cut off; the file is damaged")
    version, features, depth, *numbers, levels, with_padding, length = HEAD.unpack_from(head)
    if version != VERSION:
        raise InrFileError(
            f"the exact layer has version {version}, this version reads {VERSION}; "
            + ("compress the volume again" if version < VERSION else "update napari-inr-volume")
        )
    max_error, base, step, high = numbers
    sound = (
        (features == 0 or features in network.FEATURES)
        and 1 <= depth <= 2**10
        and all(map(math.isfinite, numbers))
        and max_error >= 0
        and step > 0
        and (features == 0 or 2 <= levels <= MOST_LEVELS)
        and with_padding <= padded
        and head[HEAD.size - 5] in (0, 1)
    )
    count = -(-shape[0] // depth) if sound else 0
    if not sound or len(head) != HEAD.size + length + count * ENTRY.size:
        raise InrFileError("the exact layer's head holds what no writer writes; the file is damaged")
    slabs, start = [], 0
    for each in ENTRY.iter_unpack(head[HEAD.size + length :]):
        slabs.append(Slab(start, *each))
        start += each[0]
    if start != data.length:
        raise InrFileError(
            f"the exact layer's slabs take {start} bytes, {data.length} are there; the file is damaged"
        )
    lattice = Lattice(base=base, step=step, high=high, levels=levels, padded=with_padding)
    layer = ExactLayer(
        max_error=max_error,
        depth=depth,
        features=features,
        lattice=lattice if features else None,
        networks=head[HEAD.size : HEAD.size + length],
        slabs=tuple(slabs),
        data=data,
    )
    if features:
        layer.context_networks  # noqa: B018, which raises if they are none
    elif length:
        raise InrFileError("the exact layer holds networks that nothing uses; the file is damaged")
    return layer


def checksum(voxels: NDArray[Any], before: int = 0) -> int:
    """Return the CRC-32 of voxels, or levels, in little-endian order, after that of what comes before."""
    return zlib.crc32(np.ascontiguousarray(voxels, voxels.dtype.newbyteorder("<")).tobytes(), before)
