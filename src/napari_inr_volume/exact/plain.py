"""Voxels that no context network codes, such as floats of any value: their bytes, by LZMA."""

from __future__ import annotations

import lzma
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InrFileError

FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6}]


def encode_plain(voxels: NDArray[Any]) -> bytes:
    """Return voxels (z, y, x) as bytes: first the lowest byte of each, then the next."""
    little = np.ascontiguousarray(voxels, voxels.dtype.newbyteorder("<"))
    planes = little.view(np.uint8).reshape(-1, voxels.dtype.itemsize).T
    return lzma.compress(planes.tobytes(), lzma.FORMAT_XZ, check=lzma.CHECK_NONE, filters=FILTERS)


def decode_plain(data: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the voxels. Raises InrFileError for bytes that are not those of such a slab."""
    size = math.prod(shape) * dtype.itemsize
    try:
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=2**28)
        found = unpacker.decompress(data, size + 1)
    except lzma.LZMAError as error:
        raise InrFileError("a slab of the exact layer cannot be unpacked") from error
    if len(found) != size or unpacker.unused_data:
        raise InrFileError("a slab of the exact layer has another size than it should")
    planes = np.frombuffer(found, np.uint8).reshape(dtype.itemsize, -1)
    return np.ascontiguousarray(planes.T).view(dtype.newbyteorder("<")).reshape(shape).astype(dtype)
