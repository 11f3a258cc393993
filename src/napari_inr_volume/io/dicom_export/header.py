"""The header of a series that has no other: what is known of the volume, and nothing about a person.

CT Image Storage for HU. Of other values nobody knows what scanner they are from, so they are Secondary
Captures, with the place that CT and MR images have too: a false modality would be worse than none. Attributes
that the standard wants (type 2) and nobody knows are there and empty.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import CTImageStorage, SecondaryCaptureImageStorage, generate_uid

from ...core.errors import VolumeError
from ...core.source import Source
from ...core.units import HU, RAW
from ...core.version import __version__
from ...core.volume import Geometry
from ..dicom.header import VOLUME
from .stored import Plane, decimal

RIGHT_ANGLE = 1e-3  # cosine up to which the rows and columns of a slice count as orthogonal
SOFT_TISSUE = 40, 400  # HU, centre and width of the window that viewers show first
DESCRIPTION = 64  # characters of a SeriesDescription


class OwnHeader:
    """Headers of the slices of a volume.

    The same seed gives the same study and frame of reference, and with the same `variant` the same series.
    Raises VolumeError for slices whose rows and columns are not at right angles, which DICOM cannot place.
    """

    stored = None

    def __init__(
        self,
        source: Source,
        *,
        seed: str,  # what stands for the content, such as its hash
        variant: str = "",  # which of several series of that content
        description: str,
        patient: str = "",  # name and ID
    ) -> None:
        refuse_sheared(source.geometry)
        self._geometry = source.geometry
        self._common = common = Dataset()
        is_ct = source.units == HU
        common.SpecificCharacterSet = "ISO_IR 192"  # UTF-8
        common.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if is_ct else VOLUME]
        common.SOPClassUID = CTImageStorage if is_ct else SecondaryCaptureImageStorage
        common.StudyDate = common.StudyTime = common.AccessionNumber = ""
        common.Modality = "CT" if is_ct else "OT"
        common.Manufacturer = common.ReferringPhysicianName = ""
        common.ManufacturerModelName, common.SoftwareVersions = "napari-inr-volume", __version__
        common.SeriesDescription = description[:DESCRIPTION]
        common.PatientName = common.PatientID = patient
        common.PatientBirthDate = common.PatientSex = ""
        common.Laterality = ""
        common.StudyInstanceUID = generate_uid(entropy_srcs=[seed, "study"])
        common.SeriesInstanceUID = generate_uid(entropy_srcs=[seed, "series", variant])
        common.FrameOfReferenceUID = generate_uid(entropy_srcs=[seed, "frame of reference"])
        common.StudyID = common.PositionReferenceIndicator = ""
        common.SeriesNumber = 1
        common.RescaleType = "US" if source.units == RAW else source.units  # US: unspecified
        if is_ct:
            common.KVP = common.AcquisitionNumber = None
            common.PatientPosition = ""
            common.WindowCenter, common.WindowWidth = SOFT_TISSUE
        else:
            common.ConversionType = "WSD"  # from a workstation
            common.PatientOrientation = ""
        _place(common, source.geometry)

    def slice(self, z: int, _: Plane) -> Dataset:
        """Return what the header of slice z says, all but its pixels."""
        image = deepcopy(self._common)
        image.InstanceNumber = z + 1
        image.ImagePositionPatient = [decimal(mm) for mm in position(self._geometry, z)]
        return image


def refuse_sheared(geometry: Geometry) -> None:
    """Raise VolumeError for slices whose rows and columns are not at right angles."""
    _, y_axis, x_axis = np.array(geometry.direction).T
    if abs(y_axis @ x_axis) > RIGHT_ANGLE:
        raise VolumeError(
            "a DICOM series holds slices with rows and columns at right angles, this volume's are sheared;"
            " resample it first, as decompress --even does"
        )


def position(geometry: Geometry, z: int) -> NDArray[np.float64]:
    """Return where (mm, patient x, y, z) the centre of voxel [z, 0, 0] lies."""
    irregular = geometry.slice_positions
    distance = z * geometry.spacing[0] if irregular is None else irregular[z] - irregular[0]
    place: NDArray[np.float64] = np.array(geometry.origin) + distance * np.array(geometry.direction)[:, 0]
    return place


def _place(common: Dataset, geometry: Geometry) -> None:
    """Say what all slices share of their place.

    The thickness of a slice is not known, only the distance to the next; for a single one it was assumed.
    """
    z_axis, y_axis, x_axis = np.array(geometry.direction).T
    single = geometry.shape[0] == 1
    common.SliceThickness = decimal(geometry.spacing[0]) if single else None
    if not single and geometry.slice_positions is None:
        between: Any = geometry.spacing[0] * abs(z_axis @ np.cross(x_axis, y_axis))
        common.SpacingBetweenSlices = decimal(between)
    common.ImageOrientationPatient = [decimal(cosine) for cosine in (*x_axis, *y_axis)]
    common.PixelSpacing = [decimal(mm) for mm in geometry.spacing[1:]]  # between rows (y), between columns
