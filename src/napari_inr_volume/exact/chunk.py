"""An array of any shape as bytes, by itself: every voxel as it was, or to within a bound.

A chunk holds no networks, since those fitted to it would take more bytes, and far more time, than they save.
It is coded by networks that all chunks share: those that ship, or those fitted once to the whole array.
"""

from __future__ import annotations

import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import FitError, InrFileError, VolumeError
from ..core.generators import drain
from ..core.units import RAW
from ..core.volume import Volume
from .encode import check_bound
from .lattice import MOST_LEVELS, Lattice, check_max_error, find_lattice
from .layer import checksum
from .network import Network, from_bytes, to_bytes
from .plain import decode_plain, encode_plain
from .slab import SlabDecoder, encode_slab

FEATURES = 16  # of the networks' layers
SHARED = Path(__file__).with_name("shared.bin")  # by scripts/shared_networks.py, see docs/models.md
TRIED = 2**15  # voxels of a chunk by which its coder is chosen

VOXELS, LEVELS, CONTEXTS = 1, 2, 3  # voxels by LZMA; levels by LZMA; levels by context networks
HEAD = struct.Struct("<BI")  # one of these; CRC-32 of the voxels, or of the lattice and the levels
LATTICE = struct.Struct("<dddI")  # base, step, high, levels

Networks = tuple[Network, Network]


@cache
def networks_of(data: bytes | None) -> Networks:
    """Return the networks in these bytes, or those that ship. Raises InrFileError for what are none."""
    return from_bytes(SHARED.read_bytes() if data is None else data, FEATURES)


def encode_chunk(voxels: NDArray[Any], max_error: float, networks: Networks) -> bytes:
    """Return an array as bytes, every value to within `max_error`; NaN and infinity too.

    The last two axes are rows and columns; those before them are slices. The same array gives the same bytes.
    Raises FitError for an error that the dtype does not know, and for what are neither integers nor floats.
    """
    check_dtype(voxels.dtype, max_error)
    stack = as_stack(voxels)
    lattice = _lattice(stack, max_error)
    if lattice is None:
        return HEAD.pack(VOXELS, checksum(stack)) + encode_plain(stack)
    levels = lattice.to_levels(stack, None)
    check_bound(stack, lattice.to_voxels(levels, stack.dtype, None), max_error)
    coder, data = _smaller(levels, lattice.levels, networks)
    numbers = LATTICE.pack(lattice.base, lattice.step, lattice.high, lattice.levels)
    return HEAD.pack(coder, checksum(levels, zlib.crc32(numbers))) + numbers + data


def decode_chunk(
    data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], networks: Networks
) -> NDArray[Any]:
    """Return the array. Raises InrFileError for bytes that are not those of such a chunk."""
    native = _native(dtype)
    stack_shape = _stack_shape(shape)
    if len(data) < HEAD.size or data[0] not in (VOXELS, LEVELS, CONTEXTS):
        raise InrFileError("a chunk does not start as those of the exact layer do; it is damaged")
    coder, crc = HEAD.unpack_from(data)
    rest = data[HEAD.size :]
    if coder == VOXELS:
        found = decode_plain(rest, stack_shape, native)
        _check_crc(checksum(found), crc)
    else:
        lattice, numbers, rest = _parsed(rest), rest[: LATTICE.size], rest[LATTICE.size :]
        if coder == LEVELS:
            levels = decode_plain(rest, stack_shape, _level_dtype(lattice.levels)).astype(np.int32)
        else:
            levels = np.stack(SlabDecoder(rest, stack_shape, networks, lattice.levels).take(stack_shape[0]))
        _check_crc(checksum(levels, zlib.crc32(numbers)), crc)
        found = lattice.to_voxels(levels, native, None)
    return found.reshape(shape).view(dtype.newbyteorder("=")).astype(dtype, copy=False)


def fit_networks(sample: NDArray[Any], max_error: float) -> bytes:
    """Return networks for chunks like this one, of the shape that most of them have, or larger.

    Raises FitError if none can be fitted to it.
    """
    from .learn import learn  # which loads torch, and nothing else here does

    check_dtype(sample.dtype, max_error)
    stack = as_stack(sample)
    lattice = _lattice(stack, max_error)
    if lattice is None or lattice.levels < 2:
        raise FitError(
            "networks can be fitted to integers, or floats in even steps, of more than one and at most"
            f" {MOST_LEVELS:,} values; take another part of the array, or leave the networks out"
        )
    levels = lattice.to_levels(stack, None)
    return to_bytes(drain(learn(lambda region: levels[region], levels.shape, FEATURES)))


def check_dtype(dtype: np.dtype[Any], max_error: float) -> None:
    """Raise FitError unless arrays of this dtype can be kept to within this error."""
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise FitError(f"an array must be of integers, floats or truth values, got {dtype}")
    check_max_error(max_error, _native(dtype))


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")


def _stack_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return the shape of the same array as slices (z, y, x); axes of one voxel are left out."""
    long = [length for length in shape if length != 1]
    rows, columns = ([1, 1, *long])[-2:]
    return int(np.prod(long[:-2], dtype=np.int64)), rows, columns


def as_stack(voxels: NDArray[Any]) -> NDArray[Any]:
    """Return an array as slices (z, y, x), in the byte order of the machine; truth values as 0 and 1."""
    native = np.ascontiguousarray(voxels, voxels.dtype.newbyteorder("=")).view(_native(voxels.dtype))
    return native.reshape(_stack_shape(voxels.shape))


def _lattice(stack: NDArray[Any], max_error: float) -> Lattice | None:
    """Return the levels of a stack; None for values that are kept as they are."""
    try:
        return find_lattice(Volume.from_array(stack, units=RAW), max_error)
    except VolumeError:  # NaN, infinity, or values so large that no network could be fitted to them
        return None


def _level_dtype(levels: int) -> np.dtype[Any]:
    return np.min_scalar_type(levels - 1)


def _smaller(levels: NDArray[np.int32], count: int, networks: Networks) -> tuple[int, bytes]:
    """Return which coder takes fewer bytes, tried on slices in the middle, and what it makes of all."""

    def plain(part: NDArray[np.int32]) -> bytes:
        return encode_plain(part.astype(_level_dtype(count)))

    def by_contexts(part: NDArray[np.int32]) -> bytes:
        return encode_slab(part, networks, count)

    if count < 2:  # which networks cannot code
        return LEVELS, plain(levels)
    slices = min(max(TRIED // levels[0].size, 1), len(levels))
    first = (len(levels) - slices) // 2
    part = levels[first : first + slices]
    tried_plain, tried_by_contexts = plain(part), by_contexts(part)
    fewer = len(tried_by_contexts) < len(tried_plain)
    if slices == len(levels):
        return (CONTEXTS, tried_by_contexts) if fewer else (LEVELS, tried_plain)
    return (CONTEXTS, by_contexts(levels)) if fewer else (LEVELS, plain(levels))


def _parsed(data: bytes) -> Lattice:
    if len(data) < LATTICE.size:
        raise InrFileError("a chunk is cut off")
    base, step, high, levels = LATTICE.unpack_from(data)
    if not (np.isfinite([base, step, high]).all() and step > 0 and 1 <= levels <= MOST_LEVELS):
        raise InrFileError("a chunk holds what no writer writes; it is damaged")
    return Lattice(base=base, step=step, high=high, levels=levels, padded=False)


def _check_crc(found: int, crc: int) -> None:
    if found != crc:
        raise InrFileError("a chunk decodes to other values than were coded; it is damaged")
