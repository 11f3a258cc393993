"""A `Volume` in HU as a plain CT series: what the demo, the samples and the tests feed the DICOM reader.

It names no patient but "Phantom", and has no dates and no institution.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from ..core.errors import SourceError, VolumeError
from ..core.units import HU, RAW
from ..core.volume import Geometry, Volume

INTERCEPT = -1024  # HU of a stored 0, as most scanners have it
RIGHT_ANGLE = 1e-3  # cosine up to which the rows and columns of a slice count as orthogonal


def write_dicom_series(volume: Volume, folder: Path, *, description: str = "Phantom") -> list[Path]:
    """Write one CT Image Storage file a slice into `folder`, and return their paths in the order of z.

    Values are stored as 12-bit unsigned integers where they fit, else as signed 16-bit ones, with slope 1
    and intercept -1024. The same volume and description (at most 64 characters) give the same UIDs and
    bytes. `folder` is made if it is not there; of files in it, only those of an earlier export are
    replaced, and only once all new ones are written. DICOM has no z axis: a reader puts the slices in
    the order of their normal, which turns a left-handed volume round.

    Raises VolumeError for what such a series cannot hold: raw units, fractions of a HU, values out of
    range, slices whose rows and columns are not at right angles; SourceError if the folder cannot take it.
    """
    dtype = _stored_dtype(volume)
    _refuse_sheared_slices(volume.geometry)
    names = [f"slice-{number:04d}.dcm" for number in range(1, volume.shape[0] + 1)]
    common = _common(volume, dtype, description)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_foreign_files(folder, names)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as scratch:
            for z, name in enumerate(names):
                _slice(volume, z, dtype, common).save_as(Path(scratch, name), enforce_file_format=True)
            return [Path(scratch, name).replace(folder / name) for name in names]
    except OSError as error:
        raise SourceError(f"cannot write DICOM to '{folder}': {error.strerror or error}") from error


def _stored_dtype(volume: Volume) -> type[np.uint16] | type[np.int16]:
    """Return what holds the stored values: uint16 (of which 12 bits are used) or int16."""
    if volume.units != HU:
        found = "of unknown units" if volume.units == RAW else f"in {volume.units}"
        raise VolumeError(f"a CT series holds HU, and this volume is {found}; rescale it to HU first")
    for z in range(volume.shape[0]):
        plane = volume.plane(z)
        if plane.dtype.kind == "f" and (plane != np.rint(plane)).any():
            raise VolumeError(f"a CT series holds whole HU, slice {z} has fractions; round the voxels first")
    low, high = int(volume.voxels.min()) - INTERCEPT, int(volume.voxels.max()) - INTERCEPT
    if low >= 0 and high < 2**12:
        return np.uint16
    if low >= -(2**15) and high < 2**15:
        return np.int16
    raise VolumeError(
        f"a CT series holds {INTERCEPT - 2**15} to {INTERCEPT + 2**15 - 1} HU,"
        f" this volume {low + INTERCEPT} to {high + INTERCEPT}; clip it first"
    )


def _refuse_sheared_slices(geometry: Geometry) -> None:
    _, y_axis, x_axis = np.array(geometry.direction).T
    if abs(y_axis @ x_axis) > RIGHT_ANGLE:
        raise VolumeError(
            "a CT series holds slices with rows and columns at right angles, this volume's are sheared;"
            " resample it first"
        )


def _refuse_foreign_files(folder: Path, names: list[str]) -> None:
    foreign = sorted({path.name for path in folder.iterdir()} - set(names))
    if foreign:
        raise SourceError(
            f"'{folder}' holds {len(foreign)} other files or folders, such as {foreign[0]};"
            " a series needs a folder of its own"
        )


def _common(volume: Volume, dtype: type[np.uint16] | type[np.int16], description: str) -> Dataset:
    """Return the attributes that all slices share; those of type 2 that a phantom has not are empty."""
    seed = _fingerprint(volume, description)
    geometry = volume.geometry
    _, y_axis, x_axis = np.array(geometry.direction).T
    common = Dataset()
    common.SpecificCharacterSet = "ISO_IR 192"  # UTF-8
    common.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
    common.SOPClassUID = CTImageStorage
    common.StudyDate = common.StudyTime = common.AccessionNumber = ""
    common.Modality = "CT"
    common.Manufacturer = common.ReferringPhysicianName = ""
    common.SeriesDescription = description
    common.PatientName = common.PatientID = "Phantom"
    common.PatientBirthDate = common.PatientSex = ""
    common.SliceThickness = format_number_as_ds(geometry.spacing[0])
    common.KVP = None
    common.PatientPosition = "HFS"
    common.StudyInstanceUID = generate_uid(entropy_srcs=[seed, "study"])
    common.SeriesInstanceUID = generate_uid(entropy_srcs=[seed, "series"])
    common.FrameOfReferenceUID = generate_uid(entropy_srcs=[seed, "frame of reference"])
    common.StudyID = ""
    common.SeriesNumber = 1
    common.AcquisitionNumber = None
    common.PositionReferenceIndicator = ""
    common.ImageOrientationPatient = _decimals([*x_axis, *y_axis])
    common.PixelSpacing = _decimals(geometry.spacing[1:])  # between rows (y), then between columns (x)
    common.PixelRepresentation = int(dtype is np.int16)
    padding = None if volume.padding is None else volume.padding - INTERCEPT
    if padding is not None and padding in range(np.iinfo(dtype).min, np.iinfo(dtype).max + 1):
        common.PixelPaddingValue = int(padding)
    common.WindowCenter, common.WindowWidth = 40, 400
    common.RescaleIntercept, common.RescaleSlope, common.RescaleType = INTERCEPT, 1, "HU"
    return common


def _slice(volume: Volume, z: int, dtype: type[np.uint16] | type[np.int16], common: Dataset) -> Dataset:
    """Return the data set of slice `z`, ready to be saved."""
    image = Dataset(common)
    image.SOPInstanceUID = generate_uid(entropy_srcs=[common.SeriesInstanceUID, str(z)])
    image.InstanceNumber = z + 1
    image.ImagePositionPatient = _decimals(_position(volume.geometry, z))
    stored: NDArray[Any] = (volume.plane(z).astype(np.int32) - INTERCEPT).astype(dtype)
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    bits = 16 if dtype is np.int16 else 12
    image.set_pixel_data(stored, "MONOCHROME2", bits, generate_instance_uid=False)
    return image


def _position(geometry: Geometry, z: int) -> NDArray[np.float64]:
    """Return where (mm, patient x, y, z) the centre of voxel [z, 0, 0] lies."""
    irregular = geometry.slice_positions
    distance = z * geometry.spacing[0] if irregular is None else irregular[z] - irregular[0]
    position: NDArray[np.float64] = np.array(geometry.origin) + distance * np.array(geometry.direction)[:, 0]
    return position


def _decimals(values: Any) -> list[str]:
    """Return numbers as DICOM's decimal strings of at most 16 characters."""
    return [format_number_as_ds(float(value)) for value in values]


def _fingerprint(volume: Volume, description: str) -> str:
    """Return a hash of all that is written, from which the UIDs are made."""
    digest = hashlib.sha256(repr((description, volume.geometry, volume.padding, volume.dtype)).encode())
    for plane in map(volume.plane, range(volume.shape[0])):
        digest.update(np.ascontiguousarray(plane).data)
    return digest.hexdigest()
