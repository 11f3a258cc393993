"""What can be compressed: voxels that are read a region at a time, with their place and meaning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .region import Region
from .volume import Geometry


class Source(Protocol):
    """Voxels (z, y, x), in memory or not; there may be one value everywhere. `core.volume.Volume` is one."""

    @property
    def geometry(self) -> Geometry:
        """Where they lie."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Their type."""

    @property
    def units(self) -> str:
        """What their values are in."""

    @property
    def padding(self) -> float | None:
        """The value of voxels that were never measured."""

    @property
    def intensity_range(self) -> tuple[float, float]:
        """The smallest and the largest value, padding excluded."""

    def read(self, region: Region) -> NDArray[Any]:
        """Return the voxels of a region (z, y, x)."""

    def slices(self) -> Iterator[NDArray[Any]]:
        """Yield every slice (y, x) once, in order: the best way to go through all of a large source."""
