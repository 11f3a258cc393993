"""Parts of a volume: a slice of voxels along each of z, y, x."""

from __future__ import annotations

from .errors import VolumeError

Region = tuple[slice, slice, slice]  # voxels along z, y, x

WHOLE: Region = (slice(None), slice(None), slice(None))


def within(region: Region, shape: tuple[int, int, int]) -> tuple[range, range, range]:
    """Return the voxels of a region of a volume of this shape, along z, y, x.

    As in NumPy what lies outside is left out, and a region may be empty. Raises VolumeError for steps other
    than 1, and for what are not three slices.
    """
    if not isinstance(region, tuple) or len(region) != 3 or not all(isinstance(one, slice) for one in region):
        raise VolumeError(f"a region is three slices, along z, y and x, got {region!r}")
    if any(part.step not in (None, 1) for part in region):
        raise VolumeError(f"a region is read without gaps, so each step must be 1, got {region!r}")
    z, y, x = (range(length)[part] for part, length in zip(region, shape, strict=True))
    return z, y, x
