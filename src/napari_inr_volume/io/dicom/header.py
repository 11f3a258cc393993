"""Which DICOM files hold CT images, and what their headers say of each image. No pixels here.

What a header says is parsed once, here: text is made printable, numbers are numbers or None. An element that
is not needed never refuses a file, whatever stands in it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    XRay3DAngiographicImageStorage,
    XRay3DCraniofacialImageStorage,
)

from ...core.errors import SourceError
from ...core.text import printable
from ...core.volume import Triple
from .codestream import refuse_deflate_bomb
from .elements import text_of, texts_of, value_of, whole_of
from .frames import (
    CT_CLASSES,
    Frame,
    Lut,
    Traits,
    frames_of,
    lut_of,
    position_of,
    rescale_type,
    traits_of,
)

CONE_BEAM_CLASSES = (XRay3DAngiographicImageStorage, XRay3DCraniofacialImageStorage)
CAPTURE_CLASSES = (  # volumes that a viewer or a cone-beam CT exports frame after frame
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
)
VOLUME = "VOLUME"  # value of ImageType, by which a capture of one image says that it is a slice of one

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
    sop_class = UID(text_of(dataset, "SOPClassUID") or media_class or "")
    if sop_class == MediaStorageDirectoryStorage:
        return "DICOMDIR"
    if not sop_class and "Rows" in dataset:
        raise ValueError("it lacks SOPClassUID, so what it holds is unknown; export it again")
    if not sop_class and dataset.preamble:
        raise ValueError("it is cut off before it says what it holds")
    if not sop_class:
        return "not DICOM"
    name = printable(sop_class.name) if sop_class.name != str(sop_class) else "unknown DICOM object"
    image_type = texts_of(dataset, "ImageType")
    # Other captures of one image are pictures of a scout, of a dose report and the like.
    of_volume = sop_class == SecondaryCaptureImageStorage and VOLUME in image_type
    is_capture = of_volume or sop_class in CAPTURE_CLASSES
    if not is_capture and sop_class not in (*CT_CLASSES, *CONE_BEAM_CLASSES):
        return name
    if "LOCALIZER" in image_type:
        return "localizer"
    photometric = text_of(dataset, "PhotometricInterpretation")
    if photometric == "PALETTE COLOR":
        return "image in PALETTE COLOR"
    if whole_of(dataset, "SamplesPerPixel") not in (None, 1):
        return "colour image"
    if is_capture and (lacking := _lacking_geometry(next(frames_of(dataset)))):
        return f"{name} without {lacking}"
    return ""


def _lacking_geometry(frame: Frame) -> str:
    """Return which attributes that place an image are missing."""
    needed = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
    return ", ".join(keyword for keyword, count in needed.items() if frame.numbers(keyword, count) is None)


def _head(dataset: Dataset) -> Head:
    return Head(
        uid=text_of(dataset, "SeriesInstanceUID"),
        study=text_of(dataset, "StudyInstanceUID"),
        number=whole_of(dataset, "SeriesNumber"),
        description=text_of(dataset, "SeriesDescription"),
        modality=text_of(dataset, "Modality"),
        vendor=_vendor(text_of(dataset, "Manufacturer")),
    )


def _slices(path: Path, dataset: Dataset) -> Iterator[Slice]:
    _refuse_incomplete(path, dataset)
    size = (int(dataset.Rows), int(dataset.Columns))
    bits_allocated = int(dataset.BitsAllocated)
    bits_stored = whole_of(dataset, "BitsStored") or bits_allocated
    high_bit = whole_of(dataset, "HighBit")
    frames = _count_frames(path, dataset)
    lut = lut_of(dataset)
    for index, frame in enumerate(frames_of(dataset)):
        position, notes = position_of(frame, index, frames)
        slope, intercept = (frame.numbers(f"Rescale{name}", 1) for name in ("Slope", "Intercept"))
        yield Slice(
            path=path,
            frame=index,
            frames=frames,
            sop=text_of(dataset, "SOPInstanceUID"),
            instance=whole_of(dataset, "InstanceNumber"),
            size=size,
            position=position,
            orientation=frame.numbers("ImageOrientationPatient", 6),
            pixel_spacing=frame.numbers("PixelSpacing", 2),
            frame_of_reference=text_of(dataset, "FrameOfReferenceUID"),
            traits=traits_of(dataset, frame),
            slope=slope[0] if slope else 1.0,
            intercept=intercept[0] if intercept else 0.0,
            rescale_type=rescale_type(dataset, frame, bool(slope and intercept), lut),
            lut=None if slope and intercept else lut,
            padding=_padding(dataset),
            bits_allocated=bits_allocated,
            bits_stored=bits_stored,
            high_bit=bits_stored - 1 if high_bit is None else high_bit,
            signed=dataset.PixelRepresentation == 1,
            photometric=text_of(dataset, "PhotometricInterpretation"),
            lossy=text_of(dataset, "LossyImageCompression") == "01",
            syntax=dataset.file_meta.TransferSyntaxUID,
            notes=notes,
        )


def _refuse_incomplete(path: Path, dataset: Dataset) -> None:
    """Raise ValueError, with the true reason, for an image that lacks what its pixels are read by."""
    lacking = [keyword for keyword in _REQUIRED if whole_of(dataset, keyword) is None]
    if lacking and whole_of(dataset, "BitsAllocated") in (32, 64):  # behind the header, where pixels begin
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
    frames = whole_of(dataset, "NumberOfFrames")
    if frames is None and value_of(dataset, "NumberOfFrames") not in (None, ""):
        raise ValueError("NumberOfFrames is not a whole number")
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


def _padding(dataset: Dataset) -> tuple[int, int] | None:
    value = value_of(dataset, "PixelPaddingValue")
    limit = value_of(dataset, "PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return None
    return value, limit if isinstance(limit, int) else value


def _vendor(manufacturer: str) -> str:
    """Return a scanner's maker as people call it."""
    first = manufacturer.split()[0] if manufacturer.split() else ""
    known = ("GE", "Siemens", "Philips", "Toshiba", "Canon", "Hitachi", "UIH", "Neusoft", "Hologic")
    names = {name.casefold(): name for name in known}
    return names.get(first.casefold(), manufacturer[:40])


# Elements, parsed
