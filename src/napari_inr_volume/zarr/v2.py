"""The codecs as numcodecs has them, for Zarr's format 2: given as `compressors=`, without filters."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
from numcodecs.abc import Codec
from numcodecs.compat import ensure_bytes, ensure_contiguous_ndarray_like
from numpy.typing import NDArray

from ..core.errors import InrFileError
from .chunks import Chunks, ExactChunks, LossyChunks

LENGTH = struct.Struct(
    "<H"
)  # of the JSON that follows: dtype and shape of the chunk, which format 2 tells no codec
MOST_AXES = 32


class ChunkNumcodec(Codec):  # type: ignore[misc]  # which has no types
    """Codes every chunk by itself."""

    kind: ClassVar[type[Chunks]]
    chunks: Chunks

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the codec of an array's metadata. Raises FitError for options that it does not know."""
        codec = cls.__new__(cls)
        codec.chunks = cls.kind.parsed({key: value for key, value in config.items() if key != "id"})
        return codec

    def get_config(self) -> dict[str, Any]:
        """Return what the array's metadata hold of it."""
        return {"id": self.codec_id, **self.chunks.options()}

    def encode(self, buf: Any) -> bytes:
        """Return a chunk as bytes. Raises FitError for a dtype that cannot be coded."""
        voxels = np.asarray(buf)
        self.chunks.check(voxels.dtype)
        if not voxels.flags.c_contiguous and voxels.flags.f_contiguous:
            voxels = voxels.T  # bytes in the order of the memory, as numcodecs has them
        head = json.dumps([voxels.dtype.str, *voxels.shape]).encode("ascii")
        return LENGTH.pack(len(head)) + head + self.chunks.encode(voxels)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Return a chunk's values in the order of the memory, or fill `out` with their bytes."""
        data = ensure_bytes(buf)
        shape, dtype, start = _head(data)
        found = self.chunks.decode(data[start:], shape, dtype).reshape(-1)
        if out is None:
            return found
        ensure_contiguous_ndarray_like(out).view(np.uint8)[:] = found.view(np.uint8)
        return out


def _head(data: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return shape and dtype of a chunk, and where it begins. Raises InrFileError for a damaged one."""
    try:
        (length,) = LENGTH.unpack_from(data)
        name, *shape = json.loads(data[LENGTH.size : LENGTH.size + length])
        dtype = np.dtype(str(name))
        sound = len(shape) <= MOST_AXES and all(isinstance(each, int) and each > 0 for each in shape)
        if not sound or math.prod(shape) >= 2**31:
            raise ValueError(shape)
    except (struct.error, ValueError, TypeError) as error:
        raise InrFileError("a chunk does not start as those of this codec do; it is damaged") from error
    return tuple(shape), dtype, LENGTH.size + length


class Exact(ChunkNumcodec):
    """Keeps every value as it was, or to within `max_error`; see `ExactCodec`."""

    codec_id = ExactChunks.name
    kind = ExactChunks

    def __init__(self, max_error: float = 0, networks: str | None = None) -> None:
        self.chunks = ExactChunks(max_error, networks)

    @classmethod
    def fitted(cls, sample: NDArray[Any], max_error: float = 0) -> Self:
        """Return the codec with networks fitted to a part of the array, which takes some seconds."""
        return cls.from_config(ExactChunks.of(sample, max_error).options())


class Lossy(ChunkNumcodec):
    """Makes a network of every chunk, at a ratio or a PSNR; see `LossyCodec`."""

    codec_id = LossyChunks.name
    kind = LossyChunks

    def __init__(
        self, ratio: float | None = None, psnr: float | None = None, preset: str = "default"
    ) -> None:
        self.chunks = LossyChunks(ratio, psnr, preset)
