"""DICOM in, `Volume` out: find the CT series in files and folders, list their parts, choose one, read it.

    files     folders, DICOMDIRs and zips -> paths
    header    a file's header -> its images, or why it holds none
    parts     images -> acquisitions: what one SeriesInstanceUID holds, taken apart where it is more than one
    series    the listing, the choice, the whole way
    stack     images of one acquisition -> order and geometry
    pixels    -> voxels in HU, padding; codestream guards the decoders, jpeg is one

pydicom alone does the reading. highdicom was measured first and left out: its `get_volume_from_series`
refuses a tilted gantry, uneven distances and files without a frame of reference, keeps padding as if it were
measured, does not name the slice that is wrong, and takes twice the time and three times the memory.
docs/dicom.md has the figures; where both read a series, the tests hold one against the other.
"""

from __future__ import annotations

from .files import files_below, is_dicom_source, is_zip
from .header import looks_like_dicom
from .series import Broken, BrokenFilesError, Listing, Series, list_series, read_dicom

__all__ = [
    "Broken",
    "BrokenFilesError",
    "Listing",
    "Series",
    "files_below",
    "is_dicom_source",
    "is_zip",
    "list_series",
    "looks_like_dicom",
    "read_dicom",
]
