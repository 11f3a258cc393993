"""Which DICOM files hold CT images, and what their headers say of each image. No pixels here.

What a header says is parsed once, here: text is made printable, numbers are numbers or None. An element that
is not needed never refuses a file, whatever stands in it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    LegacyConvertedEnhancedCTImageStorage,
    MediaStorageDirectoryStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    XRay3DAngiographicImageStorage,
    XRay3DCraniofacialImageStorage,
)

from ...core.errors import SourceError
from ...core.text import printable
from ...core.volume import Triple
from .codestream import refuse_deflate_bomb

CT_CLASSES = (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)
CONE_BEAM_CLASSES = (XRay3DAngiographicImageStorage, XRay3DCraniofacialImageStorage)
CAPTURE_CLASSES = (  # volumes that a viewer or a cone-beam CT exports frame after frame
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
)

# Which functional group of a frame an attribute belongs to (DICOM part 3, C.7.6.16 and C.8.15.3). It counts
# there only: the same tag in another sequence, or in a private one, means something else.
GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
    "ConvolutionKernel": "CTReconstructionSequence",
    "KVP": "CTXRayDetailsSequence",
    "FrameType": "CTImageFrameTypeSequence",
    "StackID": "FrameContentSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "FrameAcquisitionNumber": "FrameContentSequence",
    "FrameAcquisitionDateTime": "FrameContentSequence",
    "NominalPercentageOfCardiacPhase": "CardiacSynchronizationSequence",
    "NominalCardiacTriggerDelayTime": "CardiacSynchronizationSequence",
    "TemporalPositionTimeOffset": "TemporalPositionSequence",
}

_HEADER_TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "ImageType", "Modality", "Manufacturer"),
    *("StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "InstanceNumber"),
    *("AcquisitionNumber", "AcquisitionTime", "AcquisitionDateTime", "ConvolutionKernel", "FilterType"),
    *("KVP", "EchoNumbers", "EchoTime", "TriggerTime", "NominalPercentageOfCardiacPhase"),
    *("TemporalPositionIdentifier", "TemporalPositionIndex", "ContrastBolusAgent"),
    *("FrameOfReferenceUID", "SliceThickness", "SpacingBetweenSlices"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "NumberOfFrames"),
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "LossyImageCompression"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]

_REQUIRED = ("Rows", "Columns", "BitsAllocated", "PixelRepresentation")
_FLOATING = ("FloatPixelData", "DoubleFloatPixelData")

# What pydicom warns of and which means that something of the file is lost.
_LOST = ("fewer frames", "no JPEG EOI", "is invalid, assuming", "larger than the given", "end of file")


class Traits(NamedTuple):
    """What tells one acquisition or reconstruction from another; None where the file does not say."""

    description: str | None
    kernel: str | None
    filter: str | None
    image_type: str | None
    contrast: str | None
    stack: str | None
    thickness: float | None  # mm
    energy: float | None  # kV
    echo: float | None  # number, or time in ms
    time_point: float | None
    phase: float | None  # % of the cardiac cycle
    trigger: float | None  # ms
    acquisition: float | None
    seconds: float | None  # since midnight, of the acquisition


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a file says about the series that it belongs to."""

    uid: str  # "" where the file has none
    study: str
    number: int | None
    description: str
    modality: str
    vendor: str


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One CT image: a file, or a frame of a multi-frame file."""

    path: Path
    frame: int  # 0 in a file of one image
    frames: int  # how many images the file holds
    sop: str  # SOPInstanceUID: that of a copy is the same
    instance: int | None
    size: tuple[int, int]  # rows, columns
    position: Triple | None  # mm, patient x, y, z of the centre of the first voxel
    orientation: tuple[float, ...] | None  # unit vectors along a row (x) and down a column (y)
    pixel_spacing: tuple[float, ...] | None  # mm between rows (y), between columns (x)
    frame_of_reference: str
    traits: Traits
    slope: float
    intercept: float
    rescale_type: str  # "HU", "US" (unspecified), "raw" for a missing rescale, ...
    lut: Lut | None = field(compare=False)  # in the place of slope and intercept
    padding: tuple[int, int] | None  # stored values from .. to that mean "not measured", as the file has them
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    photometric: str
    lossy: bool
    syntax: UID
    notes: tuple[str, ...] = ()  # what was assumed of it

    def __str__(self) -> str:
        parts = [f"frame {self.frame + 1}"] if self.frames > 1 else []
        if self.frames == 1 and self.instance is not None:
            parts = [f"instance {self.instance}"]
        return f"'{printable(self.path.name)}'" + (f" ({parts[0]})" if parts else "")


@dataclass(frozen=True, eq=False)
class Lut:
    """A modality lookup table (DICOM part 3, C.11.1): what stored values first, first + 1, ... stand for."""

    first: int
    values: NDArray[np.uint16]

    def __call__(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        """Return the values of stored ones; those beyond an end of the table are that end's."""
        index = np.clip(stored.astype(np.int64) - self.first, 0, len(self.values) - 1)
        looked_up: NDArray[np.float64] = self.values[index].astype(np.float64)
        return looked_up


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
        with losses_refused():
            dataset = read_dataset(path, header_only=True)
            return _why_no_ct(dataset) or (_head(dataset), tuple(_slices(path, dataset)))
    except Exception as error:  # pydicom has no closed set of errors for damaged files
        raise SourceError(f"'{path}' cannot be read: {reason(error)}") from error


def read_dataset(path: Path, *, header_only: bool = False) -> Dataset:
    """Read a DICOM file, also one without preamble and file meta information, and name its syntax."""
    refuse_deflate_bomb(path)
    tags = _HEADER_TAGS if header_only else None
    dataset = dcmread(path, force=True, stop_before_pixels=header_only, specific_tags=tags)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit = dataset.original_encoding[0]
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


@contextmanager
def losses_refused() -> Iterator[None]:
    """Raise ValueError for what pydicom warns of and which means lost data; keep its other warnings quiet."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        words = str(warning.message)
        if any(sign in words for sign in _LOST):
            raise ValueError(" ".join(words.split()))


def reason(error: Exception) -> str:
    """Return what a foreign error tells a user: the last line of its message, without its guesses."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return printable(lines[-1].split(" - ")[0]) if lines else type(error).__name__


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
    sop_class = UID(_text(dataset, "SOPClassUID") or media_class or "")
    if sop_class == MediaStorageDirectoryStorage:
        return "DICOMDIR"
    if not sop_class and "Rows" in dataset:
        raise ValueError("it lacks SOPClassUID, so what it holds is unknown; export it again")
    if not sop_class and dataset.preamble:
        raise ValueError("it breaks off before it says what it holds")
    if not sop_class:
        return "not DICOM"
    name = printable(sop_class.name) if sop_class.name != str(sop_class) else "unknown DICOM object"
    if sop_class not in (*CT_CLASSES, *CONE_BEAM_CLASSES, *CAPTURE_CLASSES):
        return name
    if "LOCALIZER" in _texts(dataset, "ImageType"):
        return "localizer"
    photometric = _text(dataset, "PhotometricInterpretation")
    if photometric == "PALETTE COLOR":
        return "image in PALETTE COLOR"
    if _whole(dataset, "SamplesPerPixel") not in (None, 1):
        return "colour image"
    if sop_class in CAPTURE_CLASSES and (lacking := _lacking_geometry(next(_frames(dataset)))):
        return f"{name} without {lacking}"
    return ""


def _lacking_geometry(frame: _Frame) -> str:
    """Return which attributes that place an image are missing."""
    needed = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
    return ", ".join(keyword for keyword, count in needed.items() if frame.numbers(keyword, count) is None)


def _head(dataset: Dataset) -> Head:
    return Head(
        uid=_text(dataset, "SeriesInstanceUID"),
        study=_text(dataset, "StudyInstanceUID"),
        number=_whole(dataset, "SeriesNumber"),
        description=_text(dataset, "SeriesDescription"),
        modality=_text(dataset, "Modality"),
        vendor=_vendor(_text(dataset, "Manufacturer")),
    )


def _slices(path: Path, dataset: Dataset) -> Iterator[Slice]:
    _refuse_incomplete(path, dataset)
    size = (int(dataset.Rows), int(dataset.Columns))
    bits_allocated = int(dataset.BitsAllocated)
    bits_stored = _whole(dataset, "BitsStored") or bits_allocated
    high_bit = _whole(dataset, "HighBit")
    frames = _count_frames(path, dataset)
    lut = _lut(dataset)
    for index, frame in enumerate(_frames(dataset)):
        position, notes = _position(frame, index, frames)
        slope, intercept = (frame.numbers(f"Rescale{name}", 1) for name in ("Slope", "Intercept"))
        yield Slice(
            path=path,
            frame=index,
            frames=frames,
            sop=_text(dataset, "SOPInstanceUID"),
            instance=_whole(dataset, "InstanceNumber"),
            size=size,
            position=position,
            orientation=frame.numbers("ImageOrientationPatient", 6),
            pixel_spacing=frame.numbers("PixelSpacing", 2),
            frame_of_reference=_text(dataset, "FrameOfReferenceUID"),
            traits=_traits(dataset, frame),
            slope=slope[0] if slope else 1.0,
            intercept=intercept[0] if intercept else 0.0,
            rescale_type=_rescale_type(dataset, frame, bool(slope and intercept), lut),
            lut=None if slope and intercept else lut,
            padding=_padding(dataset),
            bits_allocated=bits_allocated,
            bits_stored=bits_stored,
            high_bit=bits_stored - 1 if high_bit is None else high_bit,
            signed=dataset.PixelRepresentation == 1,
            photometric=_text(dataset, "PhotometricInterpretation"),
            lossy=_text(dataset, "LossyImageCompression") == "01",
            syntax=dataset.file_meta.TransferSyntaxUID,
            notes=notes,
        )


def _refuse_incomplete(path: Path, dataset: Dataset) -> None:
    """Raise ValueError, with the true reason, for an image that lacks what its pixels are read by."""
    lacking = [keyword for keyword in _REQUIRED if _whole(dataset, keyword) is None]
    if lacking and _whole(dataset, "BitsAllocated") in (32, 64):  # behind the header, where pixels begin
        whole = read_dataset(path)
        if stored := [keyword for keyword in _FLOATING if keyword in whole]:
            raise ValueError(
                f"its pixels are floating-point numbers ({stored[0]}), and whole numbers can be read;"
                " export it again with whole numbers"
            )
    if lacking:
        raise ValueError(f"it lacks {', '.join(lacking)}")
    if dataset.Rows < 1 or dataset.Columns < 1:
        raise ValueError(f"it has {dataset.Rows} rows and {dataset.Columns} columns")


def _count_frames(path: Path, dataset: Dataset) -> int:
    """Return how many images the file holds, not more than there are bytes for."""
    frames = _whole(dataset, "NumberOfFrames")
    if frames is None and _value(dataset, "NumberOfFrames") not in (None, ""):
        raise ValueError("NumberOfFrames is no whole number")
    frames = 1 if frames is None else frames
    if frames < 1:
        raise ValueError(f"NumberOfFrames is {frames}; at least 1 is needed")
    syntax, size = dataset.file_meta.TransferSyntaxUID, path.stat().st_size
    # An encapsulated frame is an item, whose tag and length alone take 8 bytes.
    least = 8 if syntax.is_encapsulated else dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
    if frames > 1 and syntax != DeflatedExplicitVRLittleEndian and frames * least > size:
        raise ValueError(
            f"NumberOfFrames is {frames}, for which {frames * least:,} bytes are needed; the file has"
            f" {size:,} and is cut off or damaged"
        )
    return frames


class _Frame:
    """The attributes of one image: the file's own, or those of its functional groups."""

    def __init__(self, own: Dataset, groups: Sequence[Dataset] | None = None) -> None:
        self.own = own
        self.groups = groups  # those of the frame, then those shared by all; None in a file without any

    def value(self, keyword: str) -> Any:
        """Return the value of an attribute, from the functional group that it belongs to."""
        if self.groups is None:
            return _value(self.own, keyword)
        for group in self.groups:
            items = _value(group, GROUPS[keyword])
            if items and (found := _value(items[0], keyword)) is not None:
                return found
        return None

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return the finite numbers of an attribute, or None if there are not `count` of them."""
        return _numbers(self.value(keyword), count)

    def number(self, *keywords: str) -> float | None:
        """Return the first of these attributes that is one finite number."""
        for keyword in keywords:
            if (self.groups is None or keyword in GROUPS) and (found := self.numbers(keyword, 1)):
                return found[0]
        return None

    def text(self, *keywords: str) -> str | None:
        """Return the first of these attributes that is a text."""
        for keyword in keywords:
            if (self.groups is None or keyword in GROUPS) and (found := _joined(self.value(keyword))):
                return found
        return None


def _frames(dataset: Dataset) -> Iterator[_Frame]:
    """Yield the attributes of each image.

    A functional group is a sequence of one item, shared by all frames or of one frame.
    """
    count = _whole(dataset, "NumberOfFrames") or 1
    frames = _value(dataset, "PerFrameFunctionalGroupsSequence")
    if not frames:
        yield from (_Frame(dataset) for _ in range(count))
        return
    if len(frames) != count:
        raise ValueError(f"NumberOfFrames is {count}, but {len(frames)} frames are described")
    shared = list(_value(dataset, "SharedFunctionalGroupsSequence") or [])
    yield from (_Frame(dataset, [frame, *shared]) for frame in frames)


def _position(frame: _Frame, index: int, frames: int) -> tuple[Triple | None, tuple[str, ...]]:
    """Return where an image's first voxel lies, and what was assumed for that.

    A file of several images may give the place of the first only, as cone-beam CT does: then the others
    follow along the normal, at the distance that the file gives.
    """
    first = frame.numbers("ImagePositionPatient", 3)
    orientation = frame.numbers("ImageOrientationPatient", 6)
    if first is None or frames == 1 or frame.groups is not None or orientation is None:
        return (None if first is None else _triple(first)), ()
    distance, thickness = frame.number("SpacingBetweenSlices"), frame.number("SliceThickness")
    notes = ["frames taken to follow each other along their normal"]
    if not distance:
        notes.append(f"distance of frames taken from SliceThickness, {thickness or 0:g} mm")
    step = abs(distance or thickness or 0.0)
    if step == 0:
        raise ValueError(
            "it has several frames and one position for all, but neither SpacingBetweenSlices nor"
            " SliceThickness, so the distance of its frames is unknown"
        )
    normal = np.cross(orientation[:3], orientation[3:])
    return _triple(np.array(first) + index * step * normal), tuple(notes)


def _traits(dataset: Dataset, frame: _Frame) -> Traits:
    return Traits(
        description=_text(dataset, "SeriesDescription") or None,
        kernel=frame.text("ConvolutionKernel"),
        filter=_text(dataset, "FilterType") or None,
        image_type=frame.text("FrameType", "ImageType"),
        contrast=_text(dataset, "ContrastBolusAgent") or None,
        stack=None if frame.groups is None else frame.text("StackID"),
        thickness=frame.number("SliceThickness"),
        energy=frame.number("KVP"),
        echo=frame.number("EchoNumbers", "EchoTime"),
        time_point=frame.number(
            "TemporalPositionIndex", "TemporalPositionIdentifier", "TemporalPositionTimeOffset"
        ),
        phase=frame.number("NominalPercentageOfCardiacPhase"),
        trigger=frame.number("TriggerTime", "NominalCardiacTriggerDelayTime"),
        acquisition=frame.number("FrameAcquisitionNumber", "AcquisitionNumber"),
        seconds=_seconds(
            frame.text("FrameAcquisitionDateTime", "AcquisitionTime", "AcquisitionDateTime") or ""
        ),
    )


def _rescale_type(dataset: Dataset, frame: _Frame, rescaled: bool, lut: Lut | None) -> str:
    """Return what the values are after the rescale; without a type, a CT's are HU."""
    if not rescaled and lut is None:
        return "raw"
    if lut is not None and not rescaled:
        return _text(_value(dataset, "ModalityLUTSequence")[0], "ModalityLUTType") or "raw"
    is_ct = UID(_text(dataset, "SOPClassUID")) in CT_CLASSES or not _text(dataset, "SOPClassUID")
    return _joined(frame.value("RescaleType")) or ("HU" if is_ct else "raw")


def _lut(dataset: Dataset) -> Lut | None:
    """Return the modality lookup table of a file, if it has one. Raises ValueError if it is damaged."""
    items = _value(dataset, "ModalityLUTSequence")
    if not items:
        return None
    descriptor, data = _value(items[0], "LUTDescriptor"), _value(items[0], "LUTData")
    numbers = _numbers(descriptor, 3)
    if numbers is None or data is None:
        raise ValueError("its ModalityLUTSequence lacks a LUTDescriptor of three numbers or its LUTData")
    count, first, bits = (int(number) for number in numbers)
    count = count or 2**16  # 0 stands for it
    if dataset.PixelRepresentation == 1 and first >= 2**15:
        first -= 2**16
    little = "<" if dataset.original_encoding[1] else ">"
    if isinstance(data, bytes):
        values = np.frombuffer(data, f"{little}u2" if len(data) >= 2 * count else "u1")
    else:
        values = np.atleast_1d(np.array(data, np.uint16))
    if bits not in range(8, 17) or len(values) < count:
        raise ValueError(f"its ModalityLUTSequence declares {count} entries of {bits} bits; it is damaged")
    return Lut(first, values[:count].astype(np.uint16))


def _padding(dataset: Dataset) -> tuple[int, int] | None:
    value = _value(dataset, "PixelPaddingValue")
    limit = _value(dataset, "PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return None
    return value, limit if isinstance(limit, int) else value


def _seconds(text: str) -> float | None:
    """Return the seconds since midnight of a DICOM time (HHMMSS.F) or date and time (YYYYMMDDHHMMSS.F)."""
    digits = text.partition(".")[0].partition("+")[0].partition("-")[0].replace(":", "")
    clock = digits[8:14] if len(digits) >= 14 else digits[:6]
    if len(clock) != 6 or not clock.isdecimal():
        return None
    fraction = text.partition(".")[2]
    whole = int(clock[:2]) * 3600 + int(clock[2:4]) * 60 + int(clock[4:])
    return whole + (float(f"0.{fraction}") if fraction.isdecimal() else 0.0)


def _vendor(manufacturer: str) -> str:
    """Return a scanner's maker as people call it."""
    first = manufacturer.split()[0] if manufacturer.split() else ""
    known = ("GE", "Siemens", "Philips", "Toshiba", "Canon", "Hitachi", "UIH", "Neusoft", "Hologic")
    names = {name.casefold(): name for name in known}
    return names.get(first.casefold(), manufacturer[:40])


# Elements, parsed


def _value(dataset: Dataset, keyword: str) -> Any:
    """Return the value of an element; None if it is missing, or no value of its kind."""
    try:
        return dataset.get(keyword)
    except Exception:  # pydicom converts what is stored when it is asked for
        return None


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    """Return the finite numbers of a value, or None if there are not `count` of them."""
    if value is None or isinstance(value, str | bytes):
        return None
    values = list(value) if hasattr(value, "__iter__") else [value]
    try:
        numbers = tuple(float(number) for number in values)
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if len(numbers) == count and all(map(math.isfinite, numbers)) else None


def _whole(dataset: Dataset, keyword: str) -> int | None:
    """Return the whole number of an element, or None if it is missing or anything else."""
    found = _numbers(_value(dataset, keyword), 1)
    return int(found[0]) if found is not None and found[0].is_integer() else None


def _text(dataset: Dataset, keyword: str) -> str:
    return _joined(_value(dataset, keyword))


def _texts(dataset: Dataset, keyword: str) -> list[str]:
    return _joined(_value(dataset, keyword)).split(", ")


def _joined(value: Any) -> str:
    """Return a value as one printable text, its parts with commas between them."""
    parts = [value] if value is None or isinstance(value, str | bytes) else value
    parts = parts if hasattr(parts, "__iter__") else [parts]
    return printable(", ".join(str(part).strip() for part in parts if part is not None))


def _triple(values: Any) -> Triple:
    x, y, z = (float(value) for value in values)
    return x, y, z
