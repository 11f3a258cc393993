"""Which DICOM files hold CT images, and what their headers say of each image. No pixels here."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
    MediaStorageDirectoryStorage,
)

from ..core.errors import SourceError
from ..core.volume import Triple

CT_CLASSES = (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)

_HEADER_TAGS = [
    *("SOPClassUID", "ImageType", "Modality", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription"),
    *("InstanceNumber", "ConvolutionKernel", "FrameOfReferenceUID", "SliceThickness"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "NumberOfFrames"),
    *("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "LossyImageCompression"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]

_REQUIRED = ("SeriesInstanceUID", "Rows", "Columns", "BitsAllocated", "PixelRepresentation")


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a file says about the series that it belongs to."""

    uid: str
    number: int | None
    description: str
    modality: str
    kernel: str


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One CT image: a file, or a frame of a multi-frame file."""

    path: Path
    frame: int  # 0 in a file of one image
    frames: int  # how many images the file holds
    instance: int | None
    size: tuple[int, int]  # rows, columns
    position: Triple | None  # mm, patient x, y, z of the centre of the first voxel
    orientation: tuple[float, ...] | None  # unit vectors along a row (x) and down a column (y)
    pixel_spacing: tuple[float, ...] | None  # mm between rows (y), between columns (x)
    thickness: float | None  # mm; used only where there is no second slice to measure to
    frame_of_reference: str
    slope: float
    intercept: float
    rescale_type: str  # "HU", "US" (unspecified), "raw" for a missing rescale, ...
    padding: tuple[int, int] | None  # stored values from .. to that mean "not measured", as the file has them
    bits_allocated: int
    signed: bool
    lossy: bool
    syntax: UID

    def __str__(self) -> str:
        parts = [f"frame {self.frame + 1}"] if self.frames > 1 else []
        if self.frames == 1 and self.instance is not None:
            parts = [f"instance {self.instance}"]
        return f"'{self.path.name}'" + (f" ({parts[0]})" if parts else "")


def looks_like_dicom(path: Path) -> bool:
    """Return whether the first bytes of a file are those of a DICOM file, with or without preamble."""
    try:
        return path.is_file() and _starts_like_dicom(path)
    except OSError:
        return False


def read_header(path: Path) -> tuple[Head, tuple[Slice, ...]] | str:
    """Return the series and the CT images of a file, or in a word why it holds none.

    Raises SourceError if the file cannot be opened, or is DICOM with a damaged header.
    """
    try:
        if not path.is_file():
            return "not a file"
        if not _starts_like_dicom(path):
            return "not DICOM"
        with quiet_pydicom():
            dataset = read_dataset(path, header_only=True)
            return _why_no_ct(dataset) or (_head(dataset), tuple(_slices(path, dataset)))
    except Exception as error:  # pydicom has no closed set of errors for damaged files
        raise SourceError(f"'{path}' cannot be read: {reason(error)}") from error


def read_dataset(path: Path, *, header_only: bool = False) -> Dataset:
    """Read a DICOM file, also one without preamble and file meta information, and name its syntax."""
    tags = _HEADER_TAGS if header_only else None
    dataset = dcmread(path, force=True, stop_before_pixels=header_only, specific_tags=tags)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit = dataset.original_encoding[0]
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Keep pydicom's warnings to itself: what matters of them we check and raise as an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def reason(error: Exception) -> str:
    """Return what a foreign error tells a user: the last line of its message, without its guesses."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].split(" - ")[0] if lines else type(error).__name__


def _starts_like_dicom(path: Path) -> bool:
    """Whether there is "DICM" after the preamble, or else a first data element that can be one."""
    with path.open("rb") as file:
        start = file.read(132)
    if start[128:] == b"DICM":
        return True
    # No preamble: a data set begins with an element of group 2 or 8, its VR in two capitals or, in
    # implicit VR, a length of four bytes that is short for these first elements.
    if len(start) < 8 or start[:2] not in (b"\x02\x00", b"\x08\x00"):
        return False
    vr, length = start[4:6], int.from_bytes(start[4:8], "little")
    return (vr.isalpha() and vr.isupper()) or length <= 256


def _why_no_ct(dataset: Dataset) -> str:
    """Return why this is no CT image of a stack, or nothing if it is one."""
    media_class = dataset.file_meta.get("MediaStorageSOPClassUID", "")
    sop_class = UID(dataset.get("SOPClassUID") or media_class or "")
    if sop_class == MediaStorageDirectoryStorage:
        return "DICOMDIR"
    if not sop_class and dataset.preamble:
        raise ValueError("it breaks off before it says what it holds")
    if not sop_class:
        return "not DICOM"
    if sop_class not in CT_CLASSES:
        return sop_class.name if sop_class.name != str(sop_class) else "unknown DICOM object"
    if dataset.get("SamplesPerPixel", 1) != 1:
        return "colour image"
    if "LOCALIZER" in (dataset.get("ImageType") or ()):
        return "localizer"
    return ""


def _head(dataset: Dataset) -> Head:
    flat = next(_frames(dataset))  # an enhanced object keeps the kernel in a functional group
    number = dataset.get("SeriesNumber")
    return Head(
        uid=_text(dataset.get("SeriesInstanceUID")),
        number=None if number is None else int(number),
        description=_text(dataset.get("SeriesDescription")),
        modality=_text(dataset.get("Modality")),
        kernel=_text(flat.get("ConvolutionKernel")),
    )


def _slices(path: Path, dataset: Dataset) -> Iterator[Slice]:
    if lacking := [keyword for keyword in _REQUIRED if keyword not in dataset]:
        raise ValueError(f"it lacks {', '.join(lacking)}")
    size = (int(dataset.Rows), int(dataset.Columns))
    instance = dataset.get("InstanceNumber")
    frames = int(dataset.get("NumberOfFrames") or 1)
    for index, frame in enumerate(_frames(dataset)):
        position = _numbers(frame, "ImagePositionPatient", 3)
        thickness = _numbers(frame, "SliceThickness", 1)
        slope, intercept = (_numbers(frame, f"Rescale{name}", 1) for name in ("Slope", "Intercept"))
        rescale_type = _text(frame.get("RescaleType")) or "HU"
        yield Slice(
            path=path,
            frame=index,
            frames=frames,
            instance=None if instance is None else int(instance),
            size=size,
            position=None if position is None else _triple(position),
            orientation=_numbers(frame, "ImageOrientationPatient", 6),
            pixel_spacing=_numbers(frame, "PixelSpacing", 2),
            thickness=thickness[0] if thickness and thickness[0] > 0 else None,
            frame_of_reference=_text(dataset.get("FrameOfReferenceUID")),
            slope=slope[0] if slope else 1.0,
            intercept=intercept[0] if intercept else 0.0,
            rescale_type=rescale_type if slope and intercept else "raw",
            padding=_padding(dataset),
            bits_allocated=int(dataset.BitsAllocated),
            signed=dataset.PixelRepresentation == 1,
            lossy=_text(dataset.get("LossyImageCompression")) == "01",
            syntax=dataset.file_meta.TransferSyntaxUID,
        )


def _frames(dataset: Dataset) -> Iterator[Dataset]:
    """Yield the attributes of each image: the file's own, or those of its functional groups.

    A functional group is a sequence of one item, shared by all frames or of one frame; their items
    hold different attributes, so that they can be laid flat.
    """
    count = int(dataset.get("NumberOfFrames") or 1)
    frames = dataset.get("PerFrameFunctionalGroupsSequence")
    if not frames:
        yield from [dataset] * count
        return
    if len(frames) != count:
        raise ValueError(f"NumberOfFrames is {count}, but {len(frames)} frames are described")
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for frame in frames:
        flat = Dataset()
        for groups in (*shared, frame):
            for group in groups:
                if group.VR == "SQ" and group.value:
                    flat.update(group.value[0])
        yield flat


def _padding(dataset: Dataset) -> tuple[int, int] | None:
    value = dataset.get("PixelPaddingValue")
    limit = dataset.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return None
    return value, limit if isinstance(limit, int) else value


def _numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return the finite numbers of an element, or None if there are not `count` of them."""
    value: Any = dataset.get(keyword)
    values = [] if value is None or value == "" else [value] if count == 1 else list(value)
    numbers = tuple(float(number) for number in values)
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _text(value: Any) -> str:
    parts = [value] if value is None or isinstance(value, str) else list(value)
    return ", ".join(str(part).strip() for part in parts if part is not None)


def _triple(values: Any) -> Triple:
    x, y, z = (float(value) for value in values)
    return x, y, z
