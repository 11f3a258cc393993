"""Small synthetic CT files, as the tests of the DICOM reader make them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, JPEGLosslessSV1

AXIAL = [1, 0, 0, 0, 1, 0]


def pixels_of(seed: int, rows: int = 6, columns: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2000, (rows, columns)).astype(np.int16)


def ct_dataset(z: float = 0.0, pixels: np.ndarray | None = None, **tags: Any) -> Dataset:
    """A minimal CT image; `tags` are set last, and None removes one."""
    pixels = pixels_of(int(z * 10) + 5000) if pixels is None else pixels
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.Modality = "CT"
    dataset.SeriesInstanceUID = "1.2.3.4"
    dataset.FrameOfReferenceUID = "1.2.3.5"
    dataset.ImagePositionPatient = [-10.0, -20.0, z]
    dataset.ImageOrientationPatient = AXIAL
    dataset.PixelSpacing = [0.5, 0.25]  # between rows (y), between columns (x)
    dataset.SliceThickness = 3.0
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    for keyword, value in tags.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, heights: Sequence[float], **tags: Any) -> list[Path]:
    return [save(ct_dataset(z, **tags), folder / f"{i:03}.dcm") for i, z in enumerate(heights)]


def enhanced(heights: Sequence[float], slopes: Sequence[float], **tags: Any) -> Dataset:
    frames = np.stack([pixels_of(i) for i in range(len(heights))])
    dataset = ct_dataset(0.0, frames, **tags)
    dataset.SOPClassUID = EnhancedCTImageStorage
    dataset.NumberOfFrames = len(heights)
    shared = Dataset()
    shared.PlaneOrientationSequence = [Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = AXIAL
    shared.PixelMeasuresSequence = [Dataset()]
    shared.PixelMeasuresSequence[0].PixelSpacing = [0.5, 0.25]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = []
    for z, slope in zip(heights, slopes, strict=True):
        frame = Dataset()
        frame.PlanePositionSequence = [Dataset()]
        frame.PlanePositionSequence[0].ImagePositionPatient = [-10, -20, z]
        frame.PixelValueTransformationSequence = [Dataset()]
        transformation = frame.PixelValueTransformationSequence[0]
        transformation.RescaleSlope, transformation.RescaleIntercept = slope, -1024
        transformation.RescaleType = "HU"
        dataset.PerFrameFunctionalGroupsSequence.append(frame)
    for keyword in (
        *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
        *("RescaleSlope", "RescaleIntercept", "SliceThickness"),
    ):
        delattr(dataset, keyword)
    return dataset


def jpeg_lossless(pixels: np.ndarray) -> Dataset:
    frame = imagecodecs.jpeg8_encode(pixels.view(np.uint16), lossless=True)
    dataset = ct_dataset(0, pixels, PixelData=encapsulate([frame]))
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    return dataset
