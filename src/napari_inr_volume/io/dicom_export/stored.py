"""How values become the pixels of a DICOM image: 16 bits, a slope and an intercept.

Whole numbers are stored as they are wherever 16 bits hold them. What they do not hold, fractions and
ranges that are too wide, is spread over all 16 bits, rounded to steps that are as small as they can be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

from ...core.errors import VolumeError
from ...core.source import Source
from ...core.units import HU

Plane = NDArray[Any]  # (y, x)

CT_INTERCEPT = -1024  # HU of a stored 0, as most scanners have it
CT_BITS = 12  # that most scanners store
STEPS = 2**16 - 1  # between the least and the largest of 16 bits


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What is stored for a value: (value - intercept) / slope, in so many bits."""

    signed: bool = False
    bits: int = 16
    slope: float = 1.0
    intercept: float = 0.0
    step: float = 0.0  # to which values are rounded, in their units; 0: none is
    padding: float | None = None  # the value of voxels that were never measured, if it can be stored
    padding_pixel: int | None = None  # what is stored for it

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the largest stored value."""
        return (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1) if self.signed else (0, 2**self.bits - 1)

    def with_padding(self, value: float) -> Stored:
        """Return the same for values that have this padding among them, which it holds."""
        return replace(self, padding=value, padding_pixel=round((value - self.intercept) / self.slope))

    def holds(self, *values: float) -> bool:
        """Return whether these values can be stored."""
        low, high = self.limits
        return all(low <= round((value - self.intercept) / self.slope) <= high for value in values)

    def pixels(self, plane: Plane) -> Plane:
        """Return the stored values of a slice (y, x). Raises VolumeError for values that have none."""
        low, high = self.limits
        stored = np.rint((plane.astype(np.float64) - self.intercept) / self.slope)
        if self.padding is not None:
            stored[plane == self.padding] = self.padding_pixel
        if not np.isfinite(stored).all():
            raise VolumeError(
                "a slice holds NaN or infinity, for which DICOM has no pixel; replace them first"
            )
        if not ((stored >= low) & (stored <= high)).all():
            least, most = (end * self.slope + self.intercept for end in (low, high))
            raise VolumeError(
                f"this series holds {least:g} to {most:g}, and a slice {plane.min():g} to {plane.max():g};"
                " clip the volume first"
            )
        return stored.astype(np.int16 if self.signed else np.uint16)

    def put(self, plane: Plane, image: Dataset) -> None:
        """Put a slice's pixels into an image, with all that says what they stand for but the units.

        The photometric interpretation stays as it is, if the image has one.
        """
        photometric = image.get("PhotometricInterpretation") or "MONOCHROME2"
        image.set_pixel_data(self.pixels(plane), "MONOCHROME2", self.bits, generate_instance_uid=False)
        image.PhotometricInterpretation = photometric
        image.RescaleSlope, image.RescaleIntercept = decimal(self.slope), decimal(self.intercept)
        if self.padding_pixel is not None:
            # With its kind: pydicom does not ask for the sign of the pixels in a header that was read.
            image.add_new("PixelPaddingValue", "SS" if self.signed else "US", self.padding_pixel)


def find_stored(source: Source) -> Stored:
    """Return how the values of a source are stored, so that as little as possible is lost.

    Padding that does not fit beside whole numbers is not declared. Looks through all values of floats, for
    fractions. Raises VolumeError for NaN and infinity.
    """
    low, high = source.intensity_range
    padding = source.padding
    whole = source.dtype.kind != "f" or all(map(_is_whole, source.slices()))
    if whole:
        for values in [(low, high)] if padding is None else [(low, high, padding), (low, high)]:
            for found in _exact(source.units, min(values)):
                if found.holds(*values):
                    return found if len(values) == 2 else found.with_padding(values[-1])
    if padding is not None and abs(padding - (low + high) / 2) <= 1.5 * (high - low):
        low, high = min(low, padding), max(high, padding)
        return _rounded(low, high, whole, STEPS).with_padding(padding)
    if padding is None:
        return _rounded(low, high, whole, STEPS)
    # So far off that steps would be more than twice as large: the least of the 16 bits stands for it.
    found = _rounded(low, high, whole, STEPS - 1)
    intercept = float(decimal(found.intercept - found.slope))
    return replace(found, intercept=intercept, padding=padding, padding_pixel=0)


def _rounded(low: float, high: float, whole: bool, steps: int) -> Stored:
    """Return how values are spread over so many steps, whole ones over whole ones."""
    slope, intercept = (high - low) / steps or 1.0, float(decimal(low))
    slope = float(decimal(math.ceil(slope) if whole else slope))
    step = slope if low < high else 2 * abs(low - intercept)  # a single value is the intercept itself
    return Stored(slope=slope, intercept=intercept, step=step)


def _exact(units: str, low: float) -> list[Stored]:
    """Return how whole numbers from `low` on can be stored, the most usual way first."""
    zero = float(CT_INTERCEPT) if units == HU else 0.0
    return [
        Stored(bits=CT_BITS, intercept=zero),
        Stored(signed=True, intercept=zero),
        Stored(intercept=zero),
        Stored(intercept=low),
    ]


def _is_whole(plane: Plane) -> bool:
    return bool((plane == np.rint(plane)).all())


def decimal(number: float) -> str:
    """Return a number as DICOM's decimal string of at most 16 characters."""
    return format_number_as_ds(float(number))
