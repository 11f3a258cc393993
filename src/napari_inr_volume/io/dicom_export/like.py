"""The headers of a series that a person has, for voxels that were decoded of it.

All is kept that is true of the new images too: patient, study, acquisition, place, window. What is said of
the pixels is replaced. Left out are private elements, which may speak of pixels in ways that nobody knows,
thumbnails, overlays and curves, which show the original, signatures, which no longer fit, and what cannot be
read.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.uid import UID, generate_uid

from ...core.errors import SourceError, VolumeError
from ...core.source import Source
from ...core.units import RAW
from ...core.version import __version__
from ...core.volume import Geometry
from ..dicom.elements import text_of, texts_of, whole_of
from ..dicom.header import Slice, read_dataset, reason
from ..dicom.pixels import read_voxels
from ..dicom.series import opened_series, units_of
from ..dicom.stack import Stack
from ..dicom.syntaxes import LOSSY
from .header import DESCRIPTION, position
from .series import code
from .stored import Plane, Stored

NEAR = 0.01  # mm by which a slice may lie beside that of the source
TURNED = 1e-3  # by which cosines and spacings may differ, as among the slices of a series
UNCOMPRESSED = "121320", "DCM", "Uncompressed predecessor"
PROCESSING = "109102", "DCM", "Processing Equipment"
NUMBERS_ON = 1000  # between the number of the source's series and that of the new one
LARGEST_NUMBER = 2**31 - 1  # that DICOM has

_ADVICE = "give the series that the .inr was made from"

_PIXELS = [  # tags about the source's pixels alone
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData", "PixelDataProviderURL", "NumberOfFrames"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("SmallestImagePixelValue", "LargestImagePixelValue", "RealWorldValueMappingSequence"),
    *("SmallestPixelValueInSeries", "LargestPixelValueInSeries", "ModalityLUTSequence"),
    *("PixelIntensityRelationshipLUTSequence", "IconImageSequence", "DataSetTrailingPadding"),
    *("DigitalSignaturesSequence", "MACParametersSequence", "EncryptedAttributesSequence"),
]
_MADE = [  # when and by whom the source's images were made
    *("InstanceCreationDate", "InstanceCreationTime", "InstanceCreatorUID", "SeriesDate", "SeriesTime"),
    *("DerivationCodeSequence", "SourceImageSequence"),
]
_DRAWN, _DRAWN_MORE = (0x5000, 0x6000), 0x1E  # first groups of curves and overlays; how far they go on


@dataclass(frozen=True, kw_only=True)
class Original:
    """The series that a volume was made from, whose headers its images get."""

    path: Path
    series: str | None = None  # which, if there are several
    skip_broken: bool = False


@dataclass(frozen=True, kw_only=True)
class Closeness:
    """How far voxels may be from those of the original, in their units; None: it is not known."""

    rmse: float | None = None  # of the whole
    max_error: float | None = None  # of any voxel


class LikeHeader:
    """Headers of the original's slices, for voxels that are compared with the original's."""

    def __init__(
        self,
        images: Sequence[Slice],  # in the order of the volume's z
        source: Source,
        closeness: Closeness,
        *,
        seed: str,
        variant: str,
        description: str,
    ) -> None:
        self._images, self._range, self._max_error = images, source.intensity_range, closeness.max_error
        self._description = description
        self._uid = generate_uid(entropy_srcs=[seed, "series", variant, images[0].sop])
        # Squares add up: what is too much for the whole after some slices will not become less.
        voxels, rmse = math.prod(source.geometry.shape), closeness.rmse
        self._most = None if rmse is None else voxels * rmse**2
        self._squares = 0.0  # of all errors so far

    @property
    def stored(self) -> Stored | None:
        """How the original stored its values, if all slices do it alike."""
        first = self._images[0]
        kinds = {(one.slope, one.intercept, one.signed, one.bits_stored) for one in self._images}
        if len(kinds) > 1 or first.lut is not None:
            return None
        return Stored(
            signed=first.signed, bits=first.bits_stored, slope=first.slope, intercept=first.intercept
        )

    def slice(self, z: int, plane: Plane) -> Dataset:
        """Return the header of slice z; of each slice once. Raises VolumeError if its voxels are others."""
        image = self._images[z]
        self._compare(image, plane)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that break a rule; they are kept as they are
            try:
                return self._header(image)
            except Exception as error:  # pydicom has no closed set of errors for damaged files
                raise SourceError(f"the header of {image} cannot be copied: {reason(error)}") from error

    def _header(self, image: Slice) -> Dataset:
        header = _kept(read_dataset(image.path))
        header.SOPClassUID = text_of(header, "SOPClassUID") or header.file_meta.MediaStorageSOPClassUID
        header.ImageType = ["DERIVED", "SECONDARY", *texts_of(header, "ImageType")[2:]]
        header.SeriesInstanceUID = self._uid
        number = whole_of(header, "SeriesNumber")
        header.SeriesNumber = None if number is None else min(number + NUMBERS_ON, LARGEST_NUMBER)
        earlier = text_of(header, "SeriesDescription")[: DESCRIPTION - len(self._description) - 2]
        header.SeriesDescription = ", ".join(filter(None, (earlier, self._description)))
        if UID(image.sop).is_valid:
            header.SourceImageSequence = [_reference(header.SOPClassUID, image.sop)]
        contributors = header.get("ContributingEquipmentSequence") or []
        header.ContributingEquipmentSequence = [*contributors, _software()]
        header.RescaleType = "US" if units_of(image) == RAW else units_of(image)
        if image.lossy or image.syntax in LOSSY:
            header.LossyImageCompression = "01"
        return header

    def _compare(self, image: Slice, plane: Plane) -> None:
        """Raise VolumeError if voxels (y, x) are further from the source's than what was lost explains."""
        (read,) = read_voxels([[image]], lambda done, total: None).voxels
        # Padding is decoded as the lowest intensity, or as it was: alike in the range of what was measured.
        one, other = (np.clip(voxels.astype(np.float64), *self._range) for voxels in (read, plane))
        error = np.abs(one - other)
        self._squares += float(np.square(error).sum())
        far = self._max_error is not None and bool((error > self._max_error).any())
        if far or (self._most is not None and self._squares > self._most):
            raise VolumeError(
                f"the voxels are not those of {image}: they lie in the same place, but differ by more than"
                f" what was lost; {_ADVICE}"
            )


@contextmanager
def headers_like(
    original: Original, source: Source, closeness: Closeness, **words: str
) -> Iterator[LikeHeader]:
    """Yield the headers of a series for a volume that was decoded of it; `words` as those of `OwnHeader`.

    Study and frame of reference stay those of the series: it is the same patient in the same place. Raises
    SourceError, with what differs, if its slices are not where those of the volume are.
    """
    with opened_series(original.path, original.series, skip_broken=original.skip_broken) as ordered:
        first = ordered.planes[0][0]
        if first.frames > 1:
            raise SourceError(
                f"{first} holds {first.frames} images in one file; --like takes a series of one file a slice"
            )
        if units_of(first) != source.units:
            raise SourceError(f"{first} is in {units_of(first)}, and the volume in {source.units}; {_ADVICE}")
        images = [ordered.planes[index][0] for index in _places(ordered, source.geometry)]
        yield LikeHeader(images, source, closeness, **words)


def _places(ordered: Stack, wanted: Geometry) -> list[int]:
    """Return which slice of a series lies where each slice of the volume does."""
    found = ordered.geometry
    for name, one, two in (
        ("slices x rows x columns", found.shape, wanted.shape),
        ("pixels", found.spacing[1:], wanted.spacing[1:]),
        ("rows and columns along", np.array(found.direction)[:, 1:], np.array(wanted.direction)[:, 1:]),
    ):
        if not np.allclose(one, two, rtol=0, atol=TURNED):
            raise SourceError(_unlike(name, one, two))
    theirs = np.array([position(found, z) for z in range(found.shape[0])])
    places = []
    for z in range(wanted.shape[0]):
        distances = np.linalg.norm(theirs - position(wanted, z), axis=1)
        places.append(int(distances.argmin()))
        if distances.min() > NEAR:
            place = ", ".join(f"{mm:.2f}" for mm in position(wanted, z))
            raise SourceError(
                f"the source has no slice at ({place}) mm, where slice {z} of the volume lies; the nearest is"
                f" {distances.min():.2f} mm away; {_ADVICE}"
            )
    return places


def _unlike(name: str, one: object, two: object) -> str:
    words = (" x ".join(f"{number:.4g}" for number in np.ravel(np.array(value))) for value in (one, two))
    first, second = words
    return f"the source has {name} {first}, and the volume {second}; {_ADVICE}"


def _kept(dataset: Dataset) -> Dataset:
    """Return what of a source's data set is true of images with other pixels, every element readable."""
    for keyword in (*_PIXELS, *_MADE):
        if keyword in dataset:
            del dataset[keyword]
    _clean(dataset)
    # Before the pixels change, whose sign decides about the kind of some elements.
    return correct_ambiguous_vr(dataset, dataset.original_encoding[1] is not False)


def _clean(dataset: Dataset) -> None:
    """Leave out what is private, drawn or unreadable, in sequences too."""
    for tag in list(dataset.keys()):
        drawn = any(group <= tag.group <= group + _DRAWN_MORE for group in _DRAWN)
        try:
            element = dataset[tag]
            for item in element.value if element.VR == "SQ" else ():
                _clean(item)
            readable = not tag.is_private and not drawn and tag.element != 0
        except (
            Exception
        ):  # pydicom converts what is stored when it is asked for, and has no closed set of errors
            readable = False
        if not readable:
            del dataset[tag]


def _reference(sop_class: str, instance: str) -> Dataset:
    """Return what refers to an image as that which others were made from."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
    item.PurposeOfReferenceCodeSequence = [code(*UNCOMPRESSED)]
    return item


def _software() -> Dataset:
    """Return this software as what contributed to an image."""
    item = Dataset()
    item.Manufacturer, item.SoftwareVersions = "napari-inr-volume", __version__
    item.PurposeOfReferenceCodeSequence = [code(*PROCESSING)]
    return item
