"""A folder of PNG or TIFF slices as one stack."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..core.errors import SourceError
from ..core.volume import Volume
from .foreign import errors_of_ours
from .tiff import read_pages
from .values import Voxels, guess_meaning, only_grey

SUFFIXES = (".png", ".tif", ".tiff")


def find_slices(folder: Path) -> list[Path]:
    """Return the PNG and TIFF files of a folder in the order of the numbers in their names: 2 before 10."""
    paths = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return sorted(
        (path for path in paths if not path.name.startswith(".")), key=lambda path: _natural(path.name)
    )


def read_slices(folder: Path, on_progress: Callable[[int, int], None] | None = None) -> Volume:
    """Read a folder of grey slices, 8 or 16 bit and all of one size, as a volume with a spacing of 1 mm.

    Raises SourceError, naming the file, for a slice unlike the others.
    """
    with errors_of_ours(folder, "read"):
        paths = find_slices(folder)
    if not paths:
        raise SourceError(f"there is no slice ({', '.join(SUFFIXES)}) in the folder '{folder}'")
    first = _read_slice(paths[0])
    voxels = np.empty((len(paths), *first.shape), first.dtype)
    for z, path in enumerate(paths):
        plane = _read_slice(path) if z else first
        if (plane.shape, plane.dtype) != (first.shape, first.dtype):
            raise SourceError(
                f"'{path.name}' is {_kind(plane)}, '{paths[0].name}' is {_kind(first)};"
                " put the slices of one stack in a folder of their own"
            )
        voxels[z] = plane
        if on_progress:
            on_progress(z + 1, len(paths))
    units, padding = guess_meaning(voxels)
    return Volume.from_array(voxels, units=units, padding=padding)


def _read_slice(path: Path) -> Voxels:
    """Return the pixels (y, x) of one file. Raises SourceError if it cannot be read or is no grey slice."""
    with errors_of_ours(path, "read"):
        pixels = _decode(path)
    if pixels.ndim == 3 and len(pixels) == 1:
        pixels = pixels[0]
    if pixels.ndim != 2:
        raise SourceError(
            f"'{path.name}' holds a stack of its own, {pixels.shape}; give that file, not its folder"
        )
    return pixels


def _decode(path: Path) -> Voxels:
    if path.suffix.lower() == ".png":
        import imagecodecs  # not Pillow, which cuts 16-bit colour to 8

        pixels: Voxels = imagecodecs.png_decode(path.read_bytes())
        return pixels if pixels.ndim == 2 else only_grey(pixels, 2, path)
    import tifffile

    with tifffile.TiffFile(path) as file:
        return read_pages(file, path)


def _kind(plane: Voxels) -> str:
    return f"{plane.shape[0]}x{plane.shape[1]} {plane.dtype}"


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]
