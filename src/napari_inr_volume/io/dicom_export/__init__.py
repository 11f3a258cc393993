"""A volume as a DICOM series: `Source` in, one file a slice out.

    stored    values -> 16 bits, slope and intercept
    header    what is known of a volume -> the headers of its slices, without a patient
    like      the headers of a series that a person has
    series    headers and pixels -> files, in a folder of their own, whole or not at all

`write_series` does it for what is decoded; `write_dicom_series` for the phantoms of the demo and the tests.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from ...core.volume import Volume
from .header import OwnHeader
from .like import Closeness, Original, headers_like
from .series import Derivation, Series, refuse_foreign, write_series

__all__ = [
    "Closeness",
    "Derivation",
    "Original",
    "OwnHeader",
    "Series",
    "headers_like",
    "refuse_foreign",
    "write_dicom_series",
    "write_series",
]

PHANTOM = "Phantom"


def write_dicom_series(volume: Volume, folder: Path, *, description: str = PHANTOM) -> list[Path]:
    """Write the series of a patient "Phantom" into `folder`, and return its files in the order of z.

    The same volume and description (at most 64 characters) give the same UIDs and bytes. Otherwise as
    `write_series`.
    """
    header = OwnHeader(
        volume, seed=_fingerprint(volume, description), description=description, patient=PHANTOM
    )
    return list(write_series(volume, folder, header).paths)


def _fingerprint(volume: Volume, description: str) -> str:
    """Return a hash of all that is written, from which the UIDs are made."""
    digest = hashlib.sha256(repr((description, volume.geometry, volume.padding, volume.dtype)).encode())
    for plane in map(volume.plane, range(volume.shape[0])):
        digest.update(np.ascontiguousarray(plane).data)
    return digest.hexdigest()
