"""Which pixels of a series were never measured: what its files declare, and the fill of their corners.

A tag is believed only as far as the pixels bear it out. What lies far below air cannot have been measured.
A declared value of about air may have been: it is padding if all of it reaches in from the edge of its slice,
as what lies outside the scan circle does. One that stands for tissue is none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .header import Slice
from .syntaxes import LOSSY

FILL_BELOW = -1200.0  # HU; air is -1000 and many scanners clip at -1024: a corner below this was filled in
AIR = -1000.0  # HU; what is above may be tissue
CORNER = 4  # voxels; side of the blocks in an image's corners that show its fill value

Plane = NDArray[Any]  # (y, x)
Mask = NDArray[np.bool_]


class Padding:
    """Finds the padding of a volume slice by slice, gives it one value, and says what was not believed."""

    def __init__(self, depth: int) -> None:
        self.value: float | None = None  # of all padding
        self._doubtful: list[NDArray[np.uint8] | None] = [None] * depth  # masks, as bits
        self._doubtful_value: float | None = None
        self._tissue: float | None = None  # a declared value that maps to tissue
        self._inside = 0  # doubtful voxels that do not reach in from the edge

    def find(self, z: int, image: Slice, stored: Plane, values: Plane, dtype: np.dtype[Any]) -> None:
        """Give what is padding in slice z its one value in `values`, and keep what is doubtful for later."""
        is_hu = image.rescale_type == "HU"
        padded = np.zeros(stored.shape, np.bool_)
        doubtful = _declared(stored, image)
        if is_hu:
            padded |= doubtful & (values < FILL_BELOW)
            padded |= _filled(values, image)
            doubtful &= ~padded
            tissue = doubtful & (values > AIR)
            if tissue.any():
                self._tissue = float(values[tissue].max())
            doubtful &= ~tissue
        if padded.any():
            if self.value is None:
                self.value = _one_value(values[padded], dtype)
            values[padded] = self.value
        if doubtful.any():
            self._doubtful[z] = np.packbits(doubtful)
            self._doubtful_value = float(values[doubtful].min())
            self._inside += int(doubtful.sum() - _from_the_edge(doubtful).sum())

    def settle(self, voxels: NDArray[Any]) -> tuple[float | None, tuple[str, ...]]:
        """Decide on what is doubtful, now that all slices are there; returns the value and what to say."""
        notes = []
        if self._tissue is not None:
            notes.append(f"PixelPaddingValue stands for {self._tissue:g} HU, more than air, and was ignored")
        if self._doubtful_value is not None and self._inside:
            notes.append(
                f"PixelPaddingValue ({self._doubtful_value:g}) also occurs inside the body, and was ignored"
            )
        elif self._doubtful_value is not None:
            for z, bits in enumerate(self._doubtful):
                if bits is not None:
                    mask = np.unpackbits(bits, count=voxels[z].size).view(np.bool_).reshape(voxels[z].shape)
                    self.value = (
                        _one_value(voxels[z][mask], voxels.dtype) if self.value is None else self.value
                    )
                    voxels[z][mask] = self.value
        return self.value, tuple(notes)


def _declared(stored: Plane, image: Slice) -> Mask:
    """Return which pixels have the value, or lie in the range, that the file declares as padding."""
    if image.padding is None:
        return np.zeros(stored.shape, np.bool_)
    # Some scanners write -2000 as the unsigned 63536 beside signed pixels: same bits, other sign.
    ends = np.array([value % 2**16 for value in image.padding], np.uint16)
    low, high = sorted(ends.astype(stored.dtype).tolist())
    declared: Mask = (stored >= low) & (stored <= high)
    return declared


def _filled(values: Plane, image: Slice) -> Mask | bool:
    """Return which pixels have the fill value that an image's corners show, whatever the header says.

    The reconstructed circle leaves at least one corner of the square out. No noise makes a block of
    one value far below air. Lossy compression smears the fill, so there all far below air counts.
    """
    ends = (slice(None, CORNER), slice(-CORNER, None))
    corner = min((values[rows, columns] for rows in ends for columns in ends), key=np.median)
    fill = float(np.median(corner))
    if fill >= FILL_BELOW:
        return False
    if image.lossy or image.syntax in LOSSY:
        return values < FILL_BELOW
    return values == fill if (corner == fill).all() else False


def _from_the_edge(mask: Mask) -> Mask:
    """Return the parts of a slice's mask that touch its edge."""
    parts, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    edge = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    return mask & np.isin(parts, edge)


def _one_value(padded: Plane, dtype: np.dtype[Any]) -> float:
    """Return the one value for all padding: the lowest found first, within what `dtype` can hold."""
    lowest = float(padded.min())
    if dtype.kind == "i":
        return max(lowest, float(np.iinfo(dtype).min))
    return float(dtype.type(lowest))
