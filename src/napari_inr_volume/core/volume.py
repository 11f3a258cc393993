"""A CT volume: voxels, where they lie in the patient, and what their values mean."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import VolumeError
from .region import WHOLE, Region, within
from .units import RAW, Units, check_units, guess_units

Triple = tuple[float, float, float]

LARGEST = 1e30  # value of a voxel: all that comes after computes in float32
LEAST_RANGE = float(np.finfo(np.float32).tiny)  # of intensities that a network is fitted to
# Of a grid; what lies beyond is a mistake in a header, and no file of ours could hold it.
MAX_AXIS = 65_535  # voxels along one axis
MAX_VOXELS = 2**40
MIN_MM, MAX_MM = 1e-9, 1e9  # of spacing; the larger of origin and slice positions too
SHEARED = 0.1  # degrees between an axis and the normal of the other two, from which a grid counts as sheared

# Direction of an axial series with the patient supine: z towards the head, y to the back, x to the left.
AXIAL: NDArray[np.float64] = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Where the voxels of a (z, y, x) grid lie, in the patient coordinates of DICOM (LPS, mm).

    The columns of `direction` are the unit vectors of the array's axes z, y, x. They need not be
    orthogonal: a tilted gantry shears the stack, and the voxels stay as they were measured.
    """

    shape: tuple[int, int, int]  # voxels along z, y, x
    spacing: Triple = (1.0, 1.0, 1.0)  # mm from voxel centre to voxel centre along z, y, x
    origin: Triple = (0.0, 0.0, 0.0)  # mm, patient x, y, z of the centre of voxel [0, 0, 0]
    direction: tuple[Triple, Triple, Triple] = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    slice_positions: tuple[float, ...] | None = None  # mm along z from slice 0, only if irregular

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise VolumeError(f"a volume has three axes of at least one voxel, got shape {self.shape}")
        if max(self.shape) > MAX_AXIS or math.prod(self.shape) > MAX_VOXELS:
            raise VolumeError(
                f"a volume has at most {MAX_AXIS:,} voxels along an axis and {MAX_VOXELS:,} in all, got shape"
                f" {self.shape}; give a part of it"
            )
        numbers = np.array([*self.spacing, *self.origin, *np.ravel(self.direction)], dtype=np.float64)
        if len(numbers) != 15 or not np.isfinite(numbers).all():
            raise VolumeError("spacing, origin and direction must be 3, 3 and 3 x 3 finite numbers")
        if min(self.spacing) <= 0:
            raise VolumeError(f"spacing must be positive on every axis, got {self.spacing} mm")
        if min(self.spacing) < MIN_MM or max(map(abs, (*self.spacing, *self.origin))) > MAX_MM:
            raise VolumeError(
                f"spacing must be from {MIN_MM:g} to {MAX_MM:g} mm and origin within {MAX_MM:g} mm, got"
                f" {self.spacing} and {self.origin} mm"
            )
        columns = np.array(self.direction)
        if not np.allclose(np.linalg.norm(columns, axis=0), 1.0, atol=1e-3):
            raise VolumeError("the columns of direction must be unit vectors")
        if abs(np.linalg.det(columns)) < 0.1:
            raise VolumeError("the columns of direction must not lie in one plane")
        if self.slice_positions is not None:
            steps = np.diff(self.slice_positions)
            rising = bool((steps > 0).all() and (np.abs(self.slice_positions) <= MAX_MM).all())  # NaN is not
            if len(self.slice_positions) != self.shape[0] or not rising:
                raise VolumeError(
                    f"slice_positions must be {self.shape[0]} increasing distances in mm, one a slice, within"
                    f" {MAX_MM:g} mm"
                )

    @property
    def affine(self) -> NDArray[np.float64]:
        """Matrix (4, 4) from voxel index (z, y, x, 1) to patient coordinates (x, y, z, 1) in mm (LPS).

        With irregular slices it holds for the mean distance only.
        """
        matrix = np.eye(4)
        matrix[:3, :3] = np.array(self.direction) * np.array(self.spacing)
        matrix[:3, 3] = self.origin
        return matrix

    @property
    def caveats(self) -> tuple[str, ...]:
        """What to know before treating the grid as even, with right angles; empty if it is."""
        words = []
        if self.slice_positions is not None and self.shape[0] > 1:
            steps = np.diff(self.slice_positions)
            words.append(f"slice distances are uneven, {steps.min():.4g} to {steps.max():.4g} mm")
        z_axis, y_axis, x_axis = np.array(self.direction).T
        if (tilt := _degrees_off(z_axis, np.cross(x_axis, y_axis))) > SHEARED:
            words.append(f"the stack is sheared by {tilt:.1f} degrees, as by a tilted gantry")
        if (skew := abs(90 - np.degrees(np.arccos(np.clip(y_axis @ x_axis, -1, 1))))) > SHEARED:
            words.append(f"rows and columns are {skew:.1f} degrees off a right angle")
        return tuple(words)

    def coarser(self, factor: Triple, shape: tuple[int, int, int]) -> Geometry:
        """Return the geometry of the LR grid whose voxels are `factor` times as large on each axis.

        The outer faces of both grids' first voxels coincide, so the first LR centre lies
        (factor - 1) / 2 voxels further in.
        """
        shift = (np.array(factor) - 1) / 2
        origin = self.affine[:3, :3] @ shift + np.array(self.origin)
        spacing = np.array(self.spacing) * np.array(factor)
        return Geometry(
            shape=shape,
            spacing=triple(spacing),
            origin=triple(origin),
            direction=self.direction,
            slice_positions=self.slice_positions if factor[0] == 1 else None,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """Voxels (z, y, x) with their geometry and the meaning of their values.

    Raises VolumeError for what makes no volume: not three axes, empty, not numeric, NaN or infinity; of what
    is not in memory the last two are found when its values are first asked for. One of a single value
    everywhere is a volume, but no network can be fitted to it.
    """

    voxels: Any  # (z, y, x), in `units`: a NumPy array, or one read on demand, as those of Dask and Zarr are
    geometry: Geometry
    units: Units = RAW
    padding: float | None = None  # the value of voxels that were never measured (outside the scan circle)
    source_bytes: int = 0  # bytes of the stored pixels this came from; 0 means those of `voxels`
    found: tuple[str, ...] = ()  # where it was read from, in phrases: "GE", "98 files of 101"
    notes: tuple[str, ...] = ()  # what was assumed, left out or ignored in reading it, in phrases

    def __post_init__(self) -> None:
        voxels = self.voxels
        dtype = getattr(voxels, "dtype", None)
        if not isinstance(dtype, np.dtype) or dtype.kind not in "iuf" or not hasattr(voxels, "__getitem__"):
            kind = type(voxels).__name__ if dtype is None else dtype
            raise VolumeError(f"voxels must be an array of integers or floats, got {kind}")
        if len(voxels.shape) != 3:
            raise VolumeError(
                f"a volume has three axes (z, y, x), got {len(voxels.shape)} with shape"
                f" {tuple(voxels.shape)};"
                " give a stack of slices, or one channel or time point of it"
            )
        if math.prod(voxels.shape) == 0:
            raise VolumeError(f"the volume is empty: shape {tuple(voxels.shape)}")
        if tuple(voxels.shape) != self.geometry.shape:
            raise VolumeError(f"the voxels are {voxels.shape}, the geometry is for {self.geometry.shape}")
        check_units(self.units)
        if not self.source_bytes:
            object.__setattr__(self, "source_bytes", math.prod(voxels.shape) * dtype.itemsize)
        if isinstance(voxels, np.ndarray):
            self.intensity_range  # noqa: B018, what is in memory is looked at now, so that errors come early

    @cached_property
    def intensity_range(self) -> tuple[float, float]:
        """Smallest and largest value, padding excluded; if there is nothing else, both are the padding.

        Looks at every voxel, a slice at a time, when it is first asked for. Raises VolumeError for voxels
        that make no volume.
        """
        low, high = np.inf, -np.inf
        for z in range(self.shape[0]):
            plane = self.plane(z)
            if plane.dtype.kind == "f" and not np.isfinite(plane).all():
                raise VolumeError(f"slice {z} holds NaN or infinity; give every voxel a finite value first")
            measured = plane if self.padding is None else plane[plane != self.padding]
            if measured.size:
                low, high = min(low, float(measured.min())), max(high, float(measured.max()))
        if low > high:  # nothing was measured
            low = high = float(self.plane(0).flat[0])
        largest = max(abs(low), abs(high))
        if largest > LARGEST:
            raise VolumeError(
                f"the volume holds values up to {largest:.3g}; at most {LARGEST:.0g} can be kept, so scale"
                " them"
            )
        return low, high

    @classmethod
    def from_array(
        cls,
        voxels: Any,
        spacing: Triple = (1.0, 1.0, 1.0),
        *,
        origin: Triple = (0.0, 0.0, 0.0),
        direction: NDArray[np.float64] = AXIAL,
        units: Units | None = None,
        padding: float | None = None,
    ) -> Volume:
        """Make a volume of an array (z, y, x) and its spacing in mm (z, y, x).

        Without `units`, those of an array in memory are HU if some values are as low as only a CT's are.
        """
        if not hasattr(voxels, "dtype"):
            voxels = np.asarray(voxels)
        if len(voxels.shape) != 3 or math.prod(voxels.shape) == 0:  # before the geometry speaks of shapes
            return cls(voxels=voxels, geometry=Geometry(shape=(1, 1, 1)))
        z, y, x = voxels.shape
        rows = np.asarray(direction, dtype=np.float64)
        geometry = Geometry(
            shape=(z, y, x),
            spacing=triple(spacing),
            origin=triple(origin),
            direction=(triple(rows[0]), triple(rows[1]), triple(rows[2])),
        )
        if units is None:
            in_memory = isinstance(voxels, np.ndarray) and voxels.dtype.kind in "if"
            units = guess_units(float(voxels.min())) if in_memory else RAW
        return cls(voxels=voxels, geometry=geometry, units=units, padding=padding)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y, x."""
        return self.geometry.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the voxels."""
        found: np.dtype[Any] = self.voxels.dtype
        return found

    @property
    def nbytes(self) -> int:
        """Bytes of all voxels, in memory or not."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self, region: Region = WHOLE) -> NDArray[Any]:
        """Return a region's voxels (z, y, x); those of a volume that is not in memory are read now.

        What is in memory comes as a view of it. Raises VolumeError for what is no region.
        """
        z, y, x = (slice(part.start, part.stop) for part in within(region, self.shape))
        return np.asarray(self.voxels[z, y, x])

    def plane(self, z: int) -> NDArray[Any]:
        """Return slice z, its voxels (y, x)."""
        return np.asarray(self.voxels[z])

    def slices(self) -> Iterator[NDArray[Any]]:
        """Yield every slice (y, x), in order."""
        for z in range(self.shape[0]):
            yield self.plane(z)

    @property
    def summary(self) -> str:
        """One line on what the volume is, what it was read from, and what a person must know of it.

        For example `98 x 512 x 512, 1.00 x 0.70 x 0.70 mm, HU -1024 to 3071, GE, 98 files of 101 (3
        localizers left out); slice distances are uneven, 4 to 7 mm`.
        """
        size = " x ".join(str(length) for length in self.shape)
        spacing = " x ".join(f"{mm:.2f}" if mm >= 0.1 else f"{mm:.3g}" for mm in self.geometry.spacing)
        low, high = self.intensity_range
        values = f"{'values' if self.units == RAW else self.units} {low:.7g} to {high:.7g}"
        first = ", ".join((size, f"{spacing} mm", values, *self.found))
        return "; ".join((first, *self.geometry.caveats, *self.notes))

    def check_fittable(self) -> None:
        """Raise VolumeError if no network can be fitted: there is one single value, or only padding."""
        low, high = self.intensity_range
        if high - low >= LEAST_RANGE:
            return
        if low < high:
            found = f"values from {low:g} to {high:g}, which float32 does not tell apart"
        elif self.padding is not None and low == self.padding:
            found = "nothing but padding"
        else:
            found = f"the single value {low:g}"
        raise VolumeError(
            f"the volume holds {found}, to which no network can be fitted; `inr-volume compress --exact-only`"
            " saves it without one"
        )

    def measured(self, z: int | slice = slice(None)) -> NDArray[np.bool_] | None:
        """Return which voxels of slice(s) `z` were measured, or None if all of the volume was."""
        if self.padding is None:
            return None
        kept: NDArray[np.bool_] = np.asarray(self.voxels[z]) != self.padding
        return kept


def spread(intensity_range: tuple[float, float]) -> float:
    """Return how far apart the two are, to divide by; 1 where that is nothing that float32 could hold."""
    low, high = intensity_range
    return high - low if high - low >= LEAST_RANGE else 1.0


def _degrees_off(axis: NDArray[np.float64], normal: NDArray[np.float64]) -> float:
    """Return the angle between an axis, either way along it, and a normal of any length."""
    cosine = abs(float(axis @ normal)) / float(np.linalg.norm(normal))
    return float(np.degrees(np.arccos(min(cosine, 1.0))))


def triple(values: Any) -> Triple:
    """Return three numbers, one an axis, as floats."""
    first, second, third = (float(value) for value in values)
    return first, second, third
