"""A folder of PNG or TIFF slices as one stack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ..core.errors import SourceError
from ..core.scratch import room
from ..core.text import printable
from ..core.volume import Geometry, Volume
from .foreign import errors_of_ours
from .lengths import completed
from .names import in_order
from .png import read_png
from .tiff import read_pages
from .tiff_spacing import page_sizes
from .values import Voxels, guess_meaning

KINDS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF"}
OTHER_KINDS = {".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".gif": "GIF", ".webp": "WebP"}

PixelSizes = tuple[float | None, float | None]  # mm along y and x, None where they are not known


def find_pictures(folder: Path) -> list[Path]:
    """Return the pictures directly in a folder, by name: those that are read, and those that are refused."""
    with errors_of_ours(folder, "read"):
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in (*KINDS, *OTHER_KINDS)
            and not path.name.startswith(".")
            and path.is_file()
        )


def read_slices(folder: Path, on_progress: Callable[[int, int], None] | None = None) -> Volume:
    """Read a folder of grey slices, 8 or 16 bit and all of one size, in the order of `names.in_order`.

    Their distance is taken as 1 mm, and their pixels are too unless all tell one resolution.
    Raises SourceError, naming the file, for a slice unlike the others.
    """
    pictures = find_pictures(folder)
    paths = [path for path in pictures if path.suffix.lower() in KINDS]
    if not paths:
        if pictures:
            kind = OTHER_KINDS[pictures[0].suffix.lower()]
            raise SourceError(f"'{pictures[0].name}' is a {kind} picture; save the slices as PNG or TIFF")
        raise SourceError(f"there is no slice ({', '.join(KINDS)}) in the folder '{folder}'")
    paths, step = in_order(paths)
    first, sizes = _read_slice(paths[0])
    height, width = first.shape
    what = f"the stack of {len(paths)} files like '{paths[0].name}', {_kind(first)},"
    voxels = room((len(paths), height, width), first.dtype, what, "give fewer slices", SourceError)
    for z, path in enumerate(paths):
        plane, told = _read_slice(path) if z else (first, sizes)
        if (plane.shape, plane.dtype) != (first.shape, first.dtype):
            raise SourceError(
                f"'{path.name}' is {_kind(plane)}, '{paths[0].name}' is {_kind(first)};"
                " put the slices of one stack in a folder of their own"
            )
        voxels[z] = plane
        sizes = sizes if told == sizes else (None, None)
        if on_progress:
            on_progress(z + 1, len(paths))
    spacing, notes = completed((None, *sizes))
    if step.denominator == 1 and step > 1:
        notes = (*notes, f"the numbers of the files rise by {step}")
    if left_out := [path for path in pictures if path.suffix.lower() not in KINDS]:
        notes = (*notes, f"{len(left_out)} other pictures left out, such as {printable(left_out[0].name)}")
    units, padding = guess_meaning(voxels)
    return Volume(
        voxels=voxels,
        geometry=Geometry(shape=(len(paths), height, width), spacing=spacing),
        units=units,
        padding=padding,
        found=(_count(paths),),
        notes=notes,
    )


def _read_slice(path: Path) -> tuple[Voxels, PixelSizes]:
    """Return the pixels (y, x) of one file, and their sizes as far as it tells them.

    Raises SourceError if it cannot be read or is no grey slice.
    """
    with errors_of_ours(path, "read"):
        pixels, sizes = read_png(path) if path.suffix.lower() == ".png" else _read_tiff(path)
    if pixels.ndim == 3 and len(pixels) == 1:
        pixels = pixels[0]
    if pixels.ndim != 2:
        raise SourceError(
            f"'{path.name}' holds a stack of its own, {pixels.shape}; give that file, not its folder"
        )
    return pixels, sizes


def _read_tiff(path: Path) -> tuple[Voxels, PixelSizes]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        return read_pages(file, path), page_sizes(file.pages.first)


def _kind(plane: Voxels) -> str:
    return f"{plane.shape[0]}x{plane.shape[1]} {plane.dtype}"


def _count(paths: list[Path]) -> str:
    """Return how many files of which kind, such as `120 PNG files`."""
    kinds = Counter(KINDS[path.suffix.lower()] for path in paths)
    return " and ".join(f"{count} {kind} file{'s' * (count > 1)}" for kind, count in kinds.items())
