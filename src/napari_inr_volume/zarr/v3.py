"""The codecs as Zarr's format 3 has them: from an array to bytes, in place of `bytes` and a compressor."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer

from .chunks import Chunks, ExactChunks, LossyChunks


@dataclass(frozen=True, init=False)
class ChunkCodec(ArrayBytesCodec):
    """Codes every chunk by itself, in threads of zarr's."""

    is_fixed_size = False
    chunks: Chunks

    kind: ClassVar[type[Chunks]]

    def _set(self, chunks: Chunks) -> None:
        object.__setattr__(self, "chunks", chunks)

    @classmethod
    def _of(cls, chunks: Chunks) -> Self:
        codec = cls.__new__(cls)
        codec._set(chunks)
        return codec

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the codec of an array's metadata. Raises FitError for options that it does not know."""
        return cls._of(cls.kind.parsed(data.get("configuration") or {}))

    def to_dict(self) -> dict[str, Any]:
        """Return what the array's metadata hold of it."""
        return {"name": self.kind.name, "configuration": self.chunks.options()}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Raise FitError for a dtype that cannot be coded."""
        self.chunks.check(dtype.to_native_dtype())

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    def _encode_sync(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        return chunk_spec.prototype.buffer.from_bytes(self.chunks.encode(chunk_data.as_numpy_array()))

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        dtype = chunk_spec.dtype.to_native_dtype()
        found = self.chunks.decode(chunk_data.to_bytes(), chunk_spec.shape, dtype)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(found)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Raise NotImplementedError, since it is known only afterwards."""
        raise NotImplementedError


class ExactCodec(ChunkCodec):
    """Keeps every value as it was, or to within `max_error`.

        zarr.create_array(..., serializer=ExactCodec(max_error=2), compressors=None)

    `networks` is the text of networks fitted to this array: `fitted` gives them. Without it, those that ship
    code the chunks. Raises FitError for options that no array can have.
    """

    kind = ExactChunks

    def __init__(self, *, max_error: float = 0, networks: str | None = None) -> None:
        self._set(ExactChunks(max_error, networks))

    @classmethod
    def fitted(cls, sample: NDArray[np.generic], *, max_error: float = 0) -> Self:
        """Return the codec with networks fitted to a part of the array, which takes some seconds.

        They lie in the array's metadata, once for all chunks. Raises FitError if none can be fitted.
        """
        return cls._of(ExactChunks.of(sample, max_error))


class LossyCodec(ChunkCodec):
    """Makes a network of every chunk, at a ratio or a PSNR (dB, of the range of the chunk's values).

        zarr.create_array(..., serializer=LossyCodec(ratio=100), compressors=None)

    Raises FitError for options that no array can have.
    """

    kind = LossyChunks

    def __init__(
        self, *, ratio: float | None = None, psnr: float | None = None, preset: str = "default"
    ) -> None:
        self._set(LossyChunks(ratio, psnr, preset))
