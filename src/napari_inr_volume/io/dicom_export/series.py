"""A volume as a series of DICOM files, one a slice: written a slice at a time, whole or not at all."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from ...core.atomic import atomic_folder
from ...core.errors import SourceError
from ...core.source import Source
from ...core.units import suffix
from ...core.words import in_figures
from ..dicom.header import reason
from .stored import Plane, Stored, decimal, find_stored

METHOD = "INR_VOLUME"  # of the lossy compression; DICOM's own terms name none like it
IMPLEMENTATION = UID(generate_uid(entropy_srcs=["napari-inr-volume"]))  # that wrote a file
LOSSY_COMPRESSION = "113040", "DCM", "Lossy Compression"


@dataclass(frozen=True, kw_only=True)
class Derivation:
    """How the voxels of a series came about, which each of its images says."""

    lossy: bool  # False: they are those of the original, to the bit
    ratio: float  # stored pixels of the original over bytes of the file
    max_error: float | None = None  # the largest of any voxel, in the volume's units; None: it is not known
    description: str  # a sentence on what they were decoded from, and by what


@dataclass(frozen=True, kw_only=True)
class Series:
    """A series that was written."""

    paths: tuple[Path, ...]  # in the order of z
    shape: tuple[int, int, int]
    stored: Stored  # how
    units: str

    @property
    def rounding(self) -> str:
        """What a person must know of rounded values, in a phrase; empty if none are."""
        if self.stored.step == 0:
            return ""
        step = f"{in_figures(self.stored.step)}{suffix(self.units)}"
        return f"values are rounded to steps of {step}, as 16 bits cannot hold them all"


class Header(Protocol):
    """Where the headers of slices come from."""

    @property
    def stored(self) -> Stored | None:
        """How the original stored its values, if there is one and all its slices do it alike."""

    def slice(self, z: int, plane: Plane) -> Dataset:
        """Return what the header of slice z, with these voxels (y, x), says but for its pixels."""


def write_series(
    source: Source,
    folder: Path,
    header: Header,
    derivation: Derivation | None = None,  # of voxels that were decoded from a file
    *,
    on_slices: Callable[[int, int], None] | None = None,  # (done, of how many)
) -> Series:
    """Write one file a slice.

    `folder` is made if it is not there. It may hold an earlier series of ours, which is replaced once the
    new one is there. The same volume and header give the same bytes. DICOM has no z axis: a reader puts
    the slices in the order of their normal, which turns a left-handed volume round.

    Raises VolumeError for what a series cannot hold, SourceError if the folder holds anything else or
    cannot take it, InrError if another run is writing to it.
    """
    stored = _find_stored(source, header, derivation)
    depth = source.geometry.shape[0]
    names = [f"slice-{number:0{max(4, len(str(depth)))}}.dcm" for number in range(1, depth + 1)]
    try:
        refuse_foreign(folder)
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    with atomic_folder(folder) as temporary:
        for z, plane in enumerate(source.slices()):
            image = _image(header.slice(z, plane), z, plane, stored)
            if derivation is not None:
                _derive(image, derivation, stored, suffix(source.units))
            _save(image, temporary / names[z], folder)
            if on_slices is not None:
                on_slices(z + 1, depth)
    paths = tuple(folder / name for name in names)
    return Series(paths=paths, shape=source.geometry.shape, stored=stored, units=source.units)


def _find_stored(source: Source, header: Header, derivation: Derivation | None) -> Stored:
    """Return how values are stored: what the original did without rounding needs none here either."""
    found, original, padding = find_stored(source), header.stored, source.padding
    if found.step == 0 or original is None or not original.holds(*source.intensity_range):
        return found
    lossy = derivation is None or derivation.lossy
    original = replace(original, step=original.slope if lossy else 0.0)
    return original.with_padding(padding) if padding is not None and original.holds(padding) else original


def refuse_foreign(folder: Path) -> None:
    """Raise SourceError if a folder holds anything but a series of ours, OSError if it cannot be read."""
    if not folder.exists():
        return
    foreign = sorted(path.name for path in folder.iterdir() if not _is_ours(path))
    if foreign:
        raise SourceError(
            f"'{folder}' holds {len(foreign)} other files or folders, such as {foreign[0]};"
            " a DICOM series needs a folder of its own"
        )


def _is_ours(path: Path) -> bool:
    """Return whether this software wrote a DICOM file."""
    try:
        meta = read_file_meta_info(path) if path.is_file() else FileMetaDataset()
        return bool(meta.get("ImplementationClassUID") == IMPLEMENTATION)
    except Exception:  # pydicom has no closed set of errors for what is no DICOM
        return False


def _image(image: Dataset, z: int, plane: Plane, stored: Stored) -> Dataset:
    """Return the data set of a slice, ready to be saved, of its header."""
    stored.put(plane, image)
    # Of its pixels too: two instances with one UID are taken for the same.
    pixels = hashlib.sha256(image.PixelData).hexdigest()
    image.SOPInstanceUID = generate_uid(entropy_srcs=[image.SeriesInstanceUID, str(z), pixels])
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.ImplementationClassUID = IMPLEMENTATION
    image.file_meta.ImplementationVersionName = METHOD
    return image


def _save(image: Dataset, path: Path, folder: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values of a copied header that break a rule
            image.save_as(path, enforce_file_format=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    except Exception as error:  # pydicom has no closed set of errors for what cannot be written
        raise SourceError(f"{path.name} cannot be written with this header: {reason(error)}") from error


def _derive(image: Dataset, derivation: Derivation, stored: Stored, units: str) -> None:
    """Say in an image how its voxels came about (DICOM part 3, C.7.6.1.1.3 and C.7.6.1.1.5)."""
    words = [derivation.description]
    lossy = derivation.lossy or stored.step > 0
    if derivation.lossy and derivation.max_error is not None:
        words.append(f"The largest error of a voxel is {in_figures(derivation.max_error)}{units}.")
    if stored.step > 0:
        words.append(f"Values are rounded to steps of {in_figures(stored.step)}{units}.")
    if not lossy:
        words.append("Each voxel has exactly its original value.")
    image.DerivationDescription = " ".join(words)
    if not lossy:
        image.LossyImageCompression = image.get("LossyImageCompression") or "00"  # once lossy, always lossy
        return
    image.LossyImageCompression = "01"
    for keyword, value in (
        ("LossyImageCompressionRatio", decimal(round(derivation.ratio, 2))),
        ("LossyImageCompressionMethod", METHOD),
    ):
        setattr(image, keyword, [*_values(image, keyword), value])
    image.DerivationCodeSequence = [code(*LOSSY_COMPRESSION)]


def _values(image: Dataset, keyword: str) -> list[object]:
    """Return the values of an attribute that an image has already, from earlier compression."""
    found = image.get(keyword)
    if found in (None, ""):
        return []
    return [found] if isinstance(found, str) or not hasattr(found, "__iter__") else list(found)


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Return an item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _unwritable(folder: Path, error: OSError) -> SourceError:
    return SourceError(f"cannot write DICOM to '{folder}': {error.strerror or error}")
