"""Volumes in files that are not DICOM: NIfTI, NRRD, MetaImage, TIFF stacks, NumPy, folders of slices.

What a file does not say about its geometry is taken as voxels of 1 mm, which the volume's notes then say;
and `values.guess_meaning` decides about its units.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from ..core.atomic import atomic_folder, atomic_write
from ..core.errors import SourceError
from ..core.source import Source
from ..core.volume import Volume
from .foreign import errors_of_ours
from .metaimage import read_metaimage
from .nifti import read_nifti, write_nifti
from .npy import read_npy, read_npz, write_npy
from .nrrd import read_nrrd, write_nrrd
from .ome_zarr import image_of, is_level, is_ours, read_ome_zarr, write_ome_zarr
from .slices import read_slices
from .tiff import read_tiff, write_tiff
from .values import Voxels


def read_volume(path: Path, on_progress: Callable[[int, int], None] | None = None) -> Volume:
    """Read a file of any kind in `READERS`, or a folder of PNG or TIFF slices, as a Volume (z, y, x).

    `on_progress` is told (slices done, slices in all) of a folder, and may raise to stop. Raises
    SourceError for what is missing, damaged or of another kind, VolumeError for what can be read but
    makes no volume.
    """
    suffix = source_suffix(path)
    if path.is_dir() and suffix not in FOLDERS:
        return read_slices(path, on_progress)
    if suffix not in READERS:
        raise SourceError(f"'{path.name}' is not one of the file types read here: {', '.join(READERS)}")
    with errors_of_ours(path, "read"):
        return READERS[suffix](path)


def write_volume(source: Source, path: Path, on_slices: Callable[[int, int], None] | None = None) -> None:
    """Write voxels as NIfTI, NRRD, TIFF, OME-Zarr or `.npy`, by the suffix; whole, or not at all.

    They are taken a slice at a time, so a source may be larger than memory; `on_slices` is told how many of
    how many are written, and may raise to end it. TIFF and OME-Zarr keep everything, and NRRD too, the
    spacing to 15 digits. NIfTI keeps the geometry in single precision, and of irregular slices only the mean
    distance, as its description then says. `.npy` keeps nothing but the voxels. Raises SourceError as
    `check_output` does, InrError if it cannot be saved.
    """

    def planes() -> Iterator[Voxels]:
        depth = source.geometry.shape[0]
        for done, plane in enumerate(source.slices(), start=1):
            yield plane
            if on_slices is not None:
                on_slices(done, depth)

    check_output(path)
    save = atomic_folder if find_suffix(path) in FOLDERS else atomic_write
    with errors_of_ours(path, "written"), save(path) as temporary:
        WRITERS[find_suffix(path)](source, planes(), temporary)


def check_output(path: Path, suffixes: Collection[str] | None = None) -> None:
    """Raise SourceError unless `path` can be written, by default as a volume. Call it before a long job."""
    folder = path.absolute().parent
    suffixes = WRITERS if suffixes is None else suffixes
    if find_suffix(path) not in suffixes:
        raise SourceError(f"'{path.name}' must end in {' or '.join(suffixes)}; choose another name")
    if path.is_dir() and find_suffix(path) in FOLDERS:
        if not is_ours(path):
            raise SourceError(f"'{path}' was not written by this software; choose another name")
    elif path.is_dir():
        raise SourceError(f"'{path}' is a folder; give the name of a file in it")
    if not folder.is_dir():
        raise SourceError(f"there is no folder '{folder}' to write '{path.name}' to; create it first")
    if not os.access(folder, os.W_OK):
        raise SourceError(f"nothing can be written to the folder '{folder}'; choose another one")


def find_suffix(path: Path) -> str:
    """Return the suffix that tells the format, in small letters: .nii.gz has two dots."""
    suffix = path.suffix.lower()
    return path.with_suffix("").suffix.lower() + suffix if suffix == ".gz" else suffix


def source_suffix(path: Path) -> str:
    """Return the suffix that tells the format of a source; a level has that of its OME-Zarr image."""
    return find_suffix(image_of(path) if is_level(path) else path)


READERS: dict[str, Callable[[Path], Volume]] = {
    ".nii": read_nifti,
    ".nii.gz": read_nifti,
    ".hdr": read_nifti,
    ".hdr.gz": read_nifti,
    ".img": read_nifti,
    ".img.gz": read_nifti,
    ".nrrd": read_nrrd,
    ".nhdr": read_nrrd,
    ".mha": read_metaimage,
    ".mhd": read_metaimage,
    ".tif": read_tiff,
    ".tiff": read_tiff,
    ".npy": read_npy,
    ".npz": read_npz,
    ".zarr": read_ome_zarr,
}
FOLDERS = (".zarr",)  # which look like one file to a person
EVEN_GRIDS = (".nii", ".nii.gz", ".nrrd")  # whose grids most programs take for even, with right angles
WRITERS: dict[str, Callable[[Source, Iterable[Voxels], Path], None]] = {
    ".nii": write_nifti,
    ".nii.gz": write_nifti,
    ".nrrd": write_nrrd,
    ".tif": write_tiff,
    ".tiff": write_tiff,
    ".npy": write_npy,
    ".zarr": write_ome_zarr,
}
