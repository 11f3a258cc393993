"""What a header says of each of its frames: place, rescale, and what tells acquisitions apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
)

from ...core.volume import Triple, triple
from .elements import joined, numbers_of, seconds, text_of, value_of, whole_of

CT_CLASSES = (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage)


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


class Frame:
    """The attributes of one image: the file's own, or those of its functional groups."""

    def __init__(self, own: Dataset, groups: Sequence[Dataset] | None = None) -> None:
        self.own = own
        self.groups = groups  # those of the frame, then those shared by all; None in a file without any

    def value(self, keyword: str) -> Any:
        """Return the value of an attribute, from the functional group that it belongs to."""
        if self.groups is None:
            return value_of(self.own, keyword)
        for group in self.groups:
            items = value_of(group, GROUPS[keyword])
            if items and (found := value_of(items[0], keyword)) is not None:
                return found
        return None

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return the finite numbers of an attribute, or None if there are not `count` of them."""
        return numbers_of(self.value(keyword), count)

    def number(self, *keywords: str) -> float | None:
        """Return the first of these attributes that is one finite number."""
        for keyword in keywords:
            if (self.groups is None or keyword in GROUPS) and (found := self.numbers(keyword, 1)):
                return found[0]
        return None

    def text(self, *keywords: str) -> str | None:
        """Return the first of these attributes that is a text."""
        for keyword in keywords:
            if (self.groups is None or keyword in GROUPS) and (found := joined(self.value(keyword))):
                return found
        return None


def frames_of(dataset: Dataset) -> Iterator[Frame]:
    """Yield the attributes of each image.

    A functional group is a sequence of one item, shared by all frames or of one frame.
    """
    count = whole_of(dataset, "NumberOfFrames") or 1
    frames = value_of(dataset, "PerFrameFunctionalGroupsSequence")
    if not frames:
        yield from (Frame(dataset) for _ in range(count))
        return
    if len(frames) != count:
        raise ValueError(f"NumberOfFrames is {count}, but {len(frames)} frames are described")
    shared = list(value_of(dataset, "SharedFunctionalGroupsSequence") or [])
    yield from (Frame(dataset, [frame, *shared]) for frame in frames)


def position_of(frame: Frame, index: int, frames: int) -> tuple[Triple | None, tuple[str, ...]]:
    """Return where an image's first voxel lies, and what was assumed for that.

    A file of several images may give the place of the first only, as cone-beam CT does: then the others
    follow along the normal, at the distance that the file gives.
    """
    first = frame.numbers("ImagePositionPatient", 3)
    orientation = frame.numbers("ImageOrientationPatient", 6)
    if first is None or frames == 1 or frame.groups is not None or orientation is None:
        return (None if first is None else triple(first)), ()
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
    return triple(np.array(first) + index * step * normal), tuple(notes)


def traits_of(dataset: Dataset, frame: Frame) -> Traits:
    """Return what tells the acquisition of a frame from others."""
    return Traits(
        description=text_of(dataset, "SeriesDescription") or None,
        kernel=frame.text("ConvolutionKernel"),
        filter=text_of(dataset, "FilterType") or None,
        image_type=frame.text("FrameType", "ImageType"),
        contrast=text_of(dataset, "ContrastBolusAgent") or None,
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
        seconds=seconds(
            frame.text("FrameAcquisitionDateTime", "AcquisitionTime", "AcquisitionDateTime") or ""
        ),
    )


def rescale_type(dataset: Dataset, frame: Frame, rescaled: bool, lut: Lut | None) -> str:
    """Return what the values are after the rescale; without a type, a CT's are HU."""
    if not rescaled and lut is None:
        return "raw"
    if lut is not None and not rescaled:
        return text_of(value_of(dataset, "ModalityLUTSequence")[0], "ModalityLUTType") or "raw"
    is_ct = UID(text_of(dataset, "SOPClassUID")) in CT_CLASSES or not text_of(dataset, "SOPClassUID")
    return joined(frame.value("RescaleType")) or ("HU" if is_ct else "raw")


def lut_of(dataset: Dataset) -> Lut | None:
    """Return the modality lookup table of a file, if it has one. Raises ValueError if it is damaged."""
    items = value_of(dataset, "ModalityLUTSequence")
    if not items:
        return None
    descriptor, data = value_of(items[0], "LUTDescriptor"), value_of(items[0], "LUTData")
    numbers = numbers_of(descriptor, 3)
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
