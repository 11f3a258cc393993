"""Voxels as they lie in a file: how many there can be, and reading just those.

What a header claims is checked against the bytes in the file before anything is allocated.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..core.errors import SourceError
from ..core.memory import check_memory, is_large
from ..core.scratch import room
from ..core.words import in_bytes
from .values import Voxels

# Bytes that one stored byte can become: of deflate never more. bzip2, LZW, JPEG XL and the like could be
# made to give more, but only of nothing: CT stays below 20, so they are held to the same.
EXPANSION = 1032
PARTS = "use a machine with more memory, or cut the volume into parts"
CHUNK = 1 << 22  # bytes read at once, so that no second copy of a volume is held


def check_claim(
    path: Path, shape: Sequence[int], itemsize: int, stored: int, *, packed: bool, skipped: int = 0
) -> None:
    """Raise SourceError if `stored` bytes cannot hold the array that a header claims.

    `skipped` bytes lie before the voxels. Call it before allocating anything.
    """
    if not shape or min(shape) < 1:
        raise SourceError(f"'{path.name}' claims a size of {_times(shape)}; it is damaged")
    needed = math.prod(shape) * itemsize
    most = stored * EXPANSION if packed else stored
    if needed + skipped > most:
        held = f"{in_bytes(stored)}, which hold {in_bytes(most)} at most" if packed else in_bytes(stored)
        raise SourceError(
            f"'{path.name}' is cut off or damaged: it claims {_times(shape)} voxels,"
            f" {in_bytes(needed)}, but its file has {held}; copy it again"
        )


def check_fits(path: Path, shape: Sequence[int], itemsize: int) -> None:
    """Raise SourceError if the memory cannot hold an array, for what cannot be read otherwise."""
    check_memory(math.prod(shape) * itemsize, f"'{path.name}', {_times(shape)} voxels,", PARTS, SourceError)


def room_for(path: Path, shape: Sequence[int], dtype: Any) -> Voxels:
    """Return an array for the voxels of a file, in memory or not. Raises SourceError if there is no room."""
    return room(shape, dtype, f"'{path.name}', {_times(shape)} voxels,", PARTS, SourceError)


def read_voxels(stream: BinaryIO, shape: Sequence[int], dtype: Any, path: Path) -> Voxels:
    """Return the array (C order) that starts here in an open file, packed or not. The claim was checked.

    A large one stays in its file, if that is not packed, to be read where it is looked at. Where a packed
    stream ends behind the array, its checksum is verified. Raises SourceError if the stream breaks off.
    """
    packed = not isinstance(stream, io.BufferedReader)
    if not packed and is_large(math.prod(shape) * np.dtype(dtype).itemsize):
        return np.memmap(stream, dtype, "r", stream.tell(), tuple(shape))
    voxels = room_for(path, shape, dtype)
    target = voxels.reshape(-1).view(np.uint8)
    done = 0
    try:
        while done < len(target):
            chunk = stream.read(min(CHUNK, len(target) - done))
            if not chunk:
                break
            target[done : done + len(chunk)] = np.frombuffer(chunk, np.uint8)
            done += len(chunk)
        stream.read(1)
    except EOFError:  # of gzip and bzip2
        if done == len(target):
            done = 0  # all is there but the checksum: what was read cannot be trusted
    if done < len(target):
        raise SourceError(
            f"'{path.name}' is cut off: {in_bytes(len(target))} of voxels are claimed, and not all are there;"
            " copy it again"
        )
    return voxels


def read_start(stream: Any, count: int) -> bytes:
    """Return at most the first `count` bytes of a stream that may be packed, and may break off."""
    start = bytearray()
    try:
        while len(start) < count and (chunk := stream.read1(min(CHUNK, count - len(start)))):
            start += chunk
    except EOFError:
        pass
    return bytes(start)


def skip(stream: BinaryIO, count: int) -> None:
    """Read over `count` bytes of a stream that may be packed."""
    while count > 0 and (chunk := stream.read(min(CHUNK, count))):
        count -= len(chunk)


def _times(shape: Sequence[int]) -> str:
    return " x ".join(str(length) for length in shape)
