"""From a volume to its exact layer."""

from __future__ import annotations

import math
import os
import tempfile
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import FitError, InrError
from ..core.volume import Volume
from . import network
from .lattice import Lattice, find_lattice
from .layer import ExactLayer, Slab, Slabs, checksum
from .learn import Learning, learn
from .plain import encode_plain
from .slab import encode_slab

DEPTH = 16  # slices of a slab
WIDTHS = ((2**18, 16), (2**63, 32))  # below so many voxels: features of a network
NETWORK_FROM = 2**12  # voxels: fewer are coded as they are


@dataclass(frozen=True)
class Coding:
    """How many slices of the exact layer are coded."""

    done: int
    total: int


def encode_exact(volume: Volume, max_error: float = 0.0) -> Generator[Learning | Coding, None, ExactLayer]:
    """Code every voxel to within `max_error`, in the volume's units; yields how far that has come.

    Voxels of whole numbers, or of floats that count in steps of 2^-16 or more, are coded by context networks
    fitted to the volume; others as they are. Padding is coded without error. Closing it ends it at once.
    Raises FitError for an error that the volume's dtype does not know.
    """
    lattice = find_lattice(volume, max_error)
    voxels = math.prod(volume.shape)
    if lattice is not None and (lattice.levels < 2 or voxels < NETWORK_FROM):
        lattice = None
    features, networks = 0, None
    if lattice is not None:
        features = next(width for most, width in WIDTHS if voxels < most)

        def read(region: Any) -> NDArray[np.int32]:
            return lattice.to_levels(volume.read(region), volume.padding)

        learnt = yield from learn(read, volume.shape, features)
        networks = network.from_bytes(
            network.to_bytes(learnt), features
        )  # the reader's rules are the writer's
    slabs: list[Slab] = []
    start = 0
    with ExitStack() as undo:
        with _room():
            file = undo.enter_context(tempfile.TemporaryFile())
        encoded = _encoded(volume, lattice, networks, max_error)
        undo.callback(encoded.close)
        for first, data, crc in encoded:
            with _room():
                file.write(data)
                file.flush()
            slabs.append(Slab(start, len(data), zlib.crc32(data), crc))
            start += len(data)
            yield Coding(min(first + DEPTH, volume.shape[0]), volume.shape[0])
        undo.pop_all()
    everything = Slabs(file, 0, start)
    weakref.finalize(everything, file.close)
    return ExactLayer(
        max_error=max_error,
        depth=DEPTH,
        features=features,
        lattice=lattice,
        networks=network.to_bytes(networks) if networks else b"",
        slabs=tuple(slabs),
        data=everything,
    )


@contextmanager
def _room() -> Iterator[None]:
    """Turn what a full disk raises into an InrError."""
    try:
        yield
    except OSError as error:
        raise InrError(
            f"the exact layer cannot be kept in {tempfile.gettempdir()} while it is made:"
            f" {error.strerror or error}; free some space there, or set TMPDIR to a folder with more"
        ) from error


def _encoded(
    volume: Volume,
    lattice: Lattice | None,
    networks: tuple[network.Network, network.Network] | None,
    max_error: float,
) -> Generator[tuple[int, bytes, int], None, None]:
    """Yield each slab's first slice, bytes and CRC-32, in order; as many at a time as there are cores."""

    def code(first: int) -> tuple[bytes, int]:
        voxels = volume.read((slice(first, first + DEPTH), slice(None), slice(None)))
        if lattice is None or networks is None:
            return encode_plain(voxels), checksum(voxels)
        levels = lattice.to_levels(voxels, volume.padding)
        _check(voxels, lattice.to_voxels(levels, volume.dtype, volume.padding), max_error)
        return encode_slab(levels, networks, lattice.levels), checksum(levels)

    threads = os.cpu_count() or 1
    waiting: OrderedDict[int, Future[tuple[bytes, int]]] = OrderedDict()
    pool = ThreadPoolExecutor(threads, "exact")
    try:
        for first in range(0, volume.shape[0], DEPTH):
            waiting[first] = pool.submit(code, first)
            if len(waiting) > threads:
                at, future = waiting.popitem(last=False)
                yield at, *future.result()
        for at, future in waiting.items():
            yield at, *future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _check(voxels: NDArray[Any], decoded: NDArray[Any], max_error: float) -> None:
    """Hold what will be decoded against the promise."""
    off = np.abs(voxels.astype(np.float64) - decoded.astype(np.float64)).max()
    if off > max_error:
        raise FitError(f"the exact layer is off by {off:g} where {max_error:g} is allowed; please report it")
