"""A region's voxels on their way to another process: where they lie in a file, or else themselves."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .errors import SourceError
from .region import Region, within
from .volume import Volume

Read = Callable[[], NDArray[Any]]


def portable(volume: Volume, region: Region) -> Read:
    """Return what gives a region's voxels (z, y, x) wherever it is called, and can be pickled for that.

    Voxels that lie in a file as they are, or are read on demand, are read there, by the path that the file
    has here: it raises SourceError if that is not the same file. Those that are in memory here travel.
    """
    z, y, x = (slice(part.start, part.stop) for part in within(region, volume.shape))
    part = volume.voxels[z, y, x] if isinstance(volume.voxels, np.ndarray) else None
    if part is None:
        return partial(_read, volume.voxels, (z, y, x))
    return InFile.of(part) or partial(np.asarray, np.asarray(part))


def _read(voxels: Any, region: Region) -> NDArray[Any]:
    return np.asarray(voxels[region])


@dataclass(frozen=True, kw_only=True)
class InFile:
    """An array as it lies in a file: called, it is read."""

    path: Path
    size: int  # bytes of the file
    changed: int  # when it was changed last, in ns
    start: int  # byte of the first voxel
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # bytes

    @classmethod
    def of(cls, part: NDArray[Any]) -> Self | None:
        """Return where a part of a mapped file lies; None if it lies in memory, or in a nameless file."""
        name = getattr(part, "filename", None)
        if not isinstance(part, np.memmap) or not isinstance(name, str | Path):
            return None
        path, about = Path(name), Path(name).stat()
        mapped = np.frombuffer(part._mmap, np.uint8).__array_interface__["data"][0]  # type: ignore[attr-defined]
        # A view knows where the array began that it is of, and not where it begins itself.
        begins = part.offset - part.offset % mmap.ALLOCATIONGRANULARITY
        start = begins + part.__array_interface__["data"][0] - mapped
        return cls(
            path=path,
            size=about.st_size,
            changed=about.st_mtime_ns,
            start=start,
            dtype=part.dtype,
            shape=part.shape,
            strides=part.strides,
        )

    def __call__(self) -> NDArray[Any]:
        """Read it. Raises SourceError if the file is not there, or is another one."""
        try:
            about = self.path.stat()
            if (about.st_size, about.st_mtime_ns) != (self.size, self.changed):
                raise SourceError(f"'{self.path}' is another file here, or was changed meanwhile")
            mapped = np.memmap(self.path, np.uint8, "r")
        except OSError as error:
            raise SourceError(f"'{self.path}' cannot be read: {error.strerror or error}") from error
        return np.ndarray(self.shape, self.dtype, mapped, self.start, self.strides).copy()
