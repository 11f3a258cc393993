"""From a volume to its exact layer."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import FitError
from ..core.place import Caller, Place, Threads
from ..core.portable import Read, portable
from ..core.region import Region
from ..core.volume import Volume
from . import network
from .growing import Growing, NotResumableError
from .lattice import Lattice, find_lattice
from .layer import ExactLayer, Slabs, checksum
from .learn import Learning, learn
from .plain import encode_plain
from .slab import Levels, encode_slab, slabs_at_once, threads_a_slab

DEPTH = 16  # slices of a slab
AHEAD = 2  # slabs begun or waiting, for each that is coded at a time: nobody waits for the next
SECONDS_PER_WAIT = 0.1  # for a slab, before whoever waits is heard
WIDTHS = ((2**18, 16), (2**63, 32))  # below so many voxels: features of a network
NETWORK_FROM = 2**12  # voxels: fewer are coded as they are


@dataclass(frozen=True)
class Coding:
    """How many slices of the exact layer are coded."""

    done: int
    total: int


@dataclass(frozen=True)
class Coder:
    """What context networks code of a volume: levels, with so many features a layer."""

    lattice: Lattice
    features: int

    def reading(self, volume: Volume) -> Callable[[Region], Levels]:
        """Return what reads the volume's levels."""
        return lambda region: self.lattice.to_levels(volume.read(region), volume.padding)


def find_coder(volume: Volume, max_error: float) -> Coder | None:
    """Return how networks code the voxels; None if there are too many levels or too few voxels for it.

    Raises FitError for an error that the volume's dtype does not know.
    """
    lattice = find_lattice(volume, max_error)
    voxels, (low, high) = math.prod(volume.shape), volume.intensity_range
    of_one_value = low == high and volume.padding in (None, low)
    if lattice is None or lattice.levels < 2 or of_one_value or voxels < NETWORK_FROM:
        return None
    return Coder(lattice, next(width for most, width in WIDTHS if voxels < most))


def encode_exact(
    volume: Volume, max_error: float = 0.0, keep: Path | None = None, place: Place | None = None
) -> Generator[Learning | Coding, None, ExactLayer]:
    """Code every voxel to within `max_error`, in the volume's units; yields how far that has come.

    Voxels of whole numbers, or of floats that count in steps of 2^-16 or more, are coded by context networks
    fitted to the volume; others as they are. Padding is coded without error. Closing it ends it at once.

    With `keep`, the layer lies in a file of that name from the first slab on; if one is there that was not
    finished, the rest is coded. The layer that is returned needs that file, which is the caller's to remove.
    The slabs are coded at `place`, or on threads here, to the same bytes.
    Raises FitError for an error that the volume's dtype does not know, NotResumableError if `keep` is of
    another volume.
    """
    coder = find_coder(volume, max_error)
    count = -(-volume.shape[0] // DEPTH)
    growing = None if keep is None else _resumed(keep, volume, coder, max_error, count)
    if growing is None:
        networks = b""
        if coder is not None:
            learnt = yield from learn(coder.reading(volume), volume.shape, coder.features)
            networks = network.to_bytes(learnt)
        growing = Growing.begin(keep, _empty(coder, max_error, networks), count)
    with ExitStack() as undo:
        undo.callback(growing.close)
        encoded = _encoded(volume, coder, growing.layer, place)
        undo.callback(encoded.close)
        done = min(DEPTH * len(growing.layer.slabs), volume.shape[0])
        for slab in encoded:
            if slab is not None:
                growing.add(*slab)
                done = min(done + DEPTH, volume.shape[0])
            yield Coding(done, volume.shape[0])
        undo.pop_all()
    return growing.finish()


def _empty(coder: Coder | None, max_error: float, networks: bytes = b"") -> ExactLayer:
    """Return a layer without slabs."""
    return ExactLayer(
        max_error=max_error,
        depth=DEPTH,
        features=0 if coder is None else coder.features,
        lattice=None if coder is None else coder.lattice,
        networks=networks,
        slabs=(),
        data=Slabs(b"", 0, 0),
    )


def _resumed(keep: Path, volume: Volume, coder: Coder | None, max_error: float, count: int) -> Growing | None:
    """Return the layer that was begun in a file. Raises NotResumableError if it is of another one."""
    growing = Growing.resume(keep, volume.shape, volume.padding is not None, count)
    if growing is None:
        return None
    layer = growing.layer
    same = replace(layer, slabs=(), networks=b"") == _empty(coder, max_error)
    for number in {0, len(layer.slabs) - 1} if same and layer.slabs else ():
        voxels = _slab_of(volume, number * DEPTH)
        found = voxels if coder is None else coder.lattice.to_levels(voxels, volume.padding)
        same &= checksum(found) == layer.slabs[number].decoded_crc
    if not same:
        growing.close()
        raise NotResumableError(
            f"{keep} holds the exact layer of another volume, or with another largest error; give those again"
            " to resume it, or delete the file to start over"
        )
    return growing


def _slab_of(volume: Volume, first: int) -> NDArray[Any]:
    return volume.read(_region(first))


def _region(first: int) -> Region:
    return slice(first, first + DEPTH), slice(None), slice(None)


@dataclass(frozen=True)
class SlabCoder:
    """Codes slabs of a volume; what it needs of that, for it may travel."""

    coder: Coder | None
    networks: bytes
    max_error: float
    padding: float | None
    threads: int  # a slab

    def __call__(self, read: Read, caller: Caller) -> tuple[bytes, int]:
        """Return the bytes of a slab and the CRC-32 of its voxels."""
        voxels = read()
        if self.coder is None:
            return encode_plain(voxels), checksum(voxels)
        lattice = self.coder.lattice
        levels = lattice.to_levels(voxels, self.padding)
        for plane, found in zip(voxels, levels, strict=True):  # one by one, for what they take in between
            check_bound(plane, lattice.to_voxels(found, voxels.dtype, self.padding), self.max_error)
        # Networks as the reader has them: its rules are the writer's.
        networks = network.from_bytes(self.networks, self.coder.features)
        return encode_slab(levels, networks, lattice.levels, caller.gone, self.threads), checksum(levels)


def _encoded(
    volume: Volume, coder: Coder | None, layer: ExactLayer, place: Place | None
) -> Generator[tuple[bytes, int] | None, None, None]:
    """Yield each missing slab's bytes and CRC-32, in order; several are coded at a time.

    Yields None a few times a second in between, so that the caller can end it.
    """
    here = slabs_at_once(DEPTH, volume.shape)
    with Threads(here) if place is None else place.pieces() as pieces:
        threads = threads_a_slab(here) if place is None else 1
        code = SlabCoder(coder, layer.networks, layer.max_error, volume.padding, threads)
        waiting: deque[Future[tuple[bytes, int]]] = deque()
        for first in range(DEPTH * len(layer.slabs), volume.shape[0], DEPTH):
            region = _region(first)
            read = partial(volume.read, region) if place is None else portable(volume, region)
            waiting.append(pieces.submit(code, read))
            if len(waiting) >= AHEAD * pieces.at_once:
                yield from _result(waiting.popleft())
        while waiting:
            yield from _result(waiting.popleft())


def _result(future: Future[tuple[bytes, int]]) -> Iterator[tuple[bytes, int] | None]:
    """Yield None until the result is there, and then the result."""
    while not wait([future], timeout=SECONDS_PER_WAIT).done:
        yield None
    yield future.result()


def check_bound(voxels: NDArray[Any], decoded: NDArray[Any], max_error: float) -> None:
    """Raise FitError if what will be decoded is further off than promised."""
    off = np.abs(voxels.astype(np.float64) - decoded.astype(np.float64)).max()
    if off > max_error:
        raise FitError(f"the exact layer is off by {off:g} where {max_error:g} is allowed; please report it")
