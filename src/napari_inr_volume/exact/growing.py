"""An exact layer while it is made: in a file, so that it takes no memory, and so that it can be resumed."""

from __future__ import annotations

import struct
import tempfile
import weakref
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Self

from ..core.errors import FitError, InrError, InrFileError
from .layer import ENTRY, ExactLayer, Slab, Slabs, from_head

LENGTH = struct.Struct("<8sQ")  # what the file is, and the bytes of the layer's head, which follow
MAGIC = b"inrexact"
MOST = 2**22  # bytes of a head
NO_SLAB = Slab(0, 0, 0, 0)


class NotResumableError(FitError):
    """A file holds something else than the layer that is to be resumed in it."""


class Growing:
    """The layer's head, in which slabs to come have no bytes; then the bytes of those that are done."""

    def __init__(self, file: BinaryIO, path: Path | None, layer: ExactLayer, count: int) -> None:
        self._file, self._path = file, path
        self._layer = layer  # with the slabs that are done
        self._count = count  # of slabs, in the end
        self._start = LENGTH.size + len(self._head())  # of the slabs' bytes

    @classmethod
    def begin(cls, path: Path | None, layer: ExactLayer, count: int) -> Self:
        """Begin with a layer without slabs, in a file at `path`, or in a nameless one."""
        with _room(path):
            file = tempfile.TemporaryFile() if path is None else path.open("w+b")  # noqa: SIM115
            growing = cls(file, path, layer, count)
            head = growing._head()
            try:
                file.write(LENGTH.pack(MAGIC, len(head)) + head)
                file.flush()
            except OSError:
                growing.close()
                raise
        return growing

    @classmethod
    def resume(cls, path: Path, shape: tuple[int, int, int], padded: bool, count: int) -> Self | None:
        """Return what a file has of a layer, up to the first slab that is not whole; None if that is nothing.

        Raises InrError if it cannot be read, NotResumableError if it is a file of another kind.
        """
        if not path.exists():
            return None
        with _room(path):
            file = path.open("r+b")
            if not MAGIC.startswith(file.read(len(MAGIC))):
                file.close()
                raise NotResumableError(f"{path} is not an unfinished exact layer; move it away")
            file.seek(0)
            try:
                layer = _parse(file, shape, padded, count)
                done: list[Slab] = []
                for slab in layer.slabs:
                    data = file.read(slab.length)
                    if not data or len(data) < slab.length or zlib.crc32(data) != slab.crc:
                        break
                    done.append(slab)
            except InrFileError:
                file.close()
                return None
        return cls(file, path, replace(layer, slabs=tuple(done)), count)

    @property
    def layer(self) -> ExactLayer:
        """The layer with the slabs that are done."""
        return self._layer

    def add(self, data: bytes, decoded_crc: int) -> None:
        """Write the next slab, and then that it is there."""
        done = self._layer.slabs
        start = done[-1].start + done[-1].length if done else 0
        slab = Slab(start, len(data), zlib.crc32(data), decoded_crc)
        with _room(self._path):
            self._file.seek(self._start + start)
            self._file.write(data)
            self._file.flush()
            self._file.seek(self._start - (self._count - len(done)) * ENTRY.size)
            self._file.write(ENTRY.pack(slab.length, slab.crc, slab.decoded_crc))
            self._file.flush()
        self._layer = replace(self._layer, slabs=(*done, slab))

    def finish(self) -> ExactLayer:
        """Return the whole layer. A nameless file stays open for as long as that is used."""
        length = sum(slab.length for slab in self._layer.slabs)
        data = Slabs(self._path or self._file, self._start, length)
        if self._path is None:
            weakref.finalize(data, self._file.close)
        else:
            self.close()
        return replace(self._layer, data=data)

    def close(self) -> None:
        """Close the file; one that has a name stays, to be resumed."""
        with suppress(OSError):  # of what could not be written, which was said already
            self._file.close()

    def _head(self) -> bytes:
        missing = self._count - len(self._layer.slabs)
        return replace(self._layer, slabs=(*self._layer.slabs, *[NO_SLAB] * missing)).head()


def _parse(file: BinaryIO, shape: tuple[int, int, int], padded: bool, count: int) -> ExactLayer:
    """Return the layer as its head says. Raises InrFileError for what was not written by `Growing`."""
    start = file.read(LENGTH.size)
    magic, size = LENGTH.unpack(start) if len(start) == LENGTH.size else (b"", 0)
    if magic != MAGIC or not count * ENTRY.size <= size <= MOST:
        raise InrFileError("no exact layer")
    head = file.read(size)
    if len(head) < size:
        raise InrFileError("no whole head of an exact layer")
    length = sum(entry[0] for entry in ENTRY.iter_unpack(head[size - count * ENTRY.size :]))
    return from_head(head, Slabs(b"", 0, length), shape, padded)


@contextmanager
def _room(path: Path | None) -> Iterator[None]:
    """Turn what a full disk raises into an InrError."""
    try:
        yield
    except OSError as error:
        where = tempfile.gettempdir() if path is None else path
        other = ", or set TMPDIR to a folder with more" if path is None else ""
        raise InrError(
            f"the exact layer cannot be kept in {where} while it is made: {error.strerror or error};"
            f" free some space there{other}"
        ) from error
