"""A volume as a fitted network: everything an `.inr` file holds, and nothing else. No torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .core.errors import InrFileError
from .core.memory import check_memory
from .core.resample import lr_shape
from .core.units import Units
from .core.version import __version__
from .core.volume import Geometry, Triple, Volume
from .exact.layer import ExactLayer
from .fields.registry import find_kind
from .fields.settings import FieldConfig, Settings

BYTES_A_VOXEL = 24  # of slices that are restored: float32 of LR, Lanczos and network, float64, the dtype


@dataclass(frozen=True, kw_only=True)
class UpscalerRef:
    """Which upscaler restores the in-plane resolution: a name, and the hash of its weights."""

    name: str = "lanczos"
    sha256: str | None = None  # of the weights file; None for Lanczos


@dataclass(frozen=True, kw_only=True)
class FitRecord:
    """How the network came about. No times: the same fit gives the same bytes."""

    preset: str
    steps: int  # steps done when the weights were kept
    seed: int


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What was measured when the volume was compressed, padding excluded.

    PSNR in dB with the peak equal to the intensity range, errors in the volume's units.
    """

    lr_psnr: float  # the decoded LR against the Lanczos LR of the original
    hr_psnr: float  # the reconstruction against the original
    lanczos_psnr: float  # the same LR put back by Lanczos alone
    rmse: float
    p99: float  # 99th percentile of the absolute error
    max_error: float


@dataclass(frozen=True, kw_only=True)
class InrVolume:
    """A volume as a fitted network. `io.inr_file` writes and reads it, `decode` evaluates it."""

    field: FieldConfig  # what was fitted; its `kind` says of which kind it is
    coding: str  # name of the weights' coding, see `coding.weights`
    payload: bytes  # the coded weights
    geometry: Geometry  # of the original, which is that of the reconstruction
    factor: Triple  # HR voxels per LR voxel along z, y, x, as the network was fitted
    intensity_range: tuple[float, float]  # of the original, padding excluded
    units: Units
    dtype: str  # of the original's voxels, e.g. "int16"
    padding: float | None  # the original's; decoded voxels there hold the lowest intensity
    source_bytes: int  # of the original's stored pixels
    upscaler: UpscalerRef
    fit: FitRecord
    quality: Quality | None
    software: str  # name and version of the writer
    exact: ExactLayer | None = None  # the voxels to within a bound, beside the network

    @classmethod
    def of(
        cls,
        volume: Volume,
        settings: Settings,
        *,
        coding: str,
        payload: bytes,
        upscaler: UpscalerRef,
        steps: int,
        quality: Quality | None = None,
    ) -> InrVolume:
        """Return what a volume becomes by a fit with these settings, written by this version."""
        return cls(
            field=settings.field,
            coding=coding,
            payload=payload,
            geometry=volume.geometry,
            factor=settings.factor,
            intensity_range=volume.intensity_range,
            units=volume.units,
            dtype=volume.dtype.name,
            padding=volume.padding,
            source_bytes=volume.source_bytes,
            upscaler=upscaler,
            fit=FitRecord(preset=settings.preset, steps=steps, seed=settings.fit.seed),
            quality=quality,
            software=f"napari-inr-volume {__version__}",
        )

    @property
    def has_preview(self) -> bool:
        """Whether the network shows the volume; without an exact layer nothing else does."""
        return find_kind(self.field.kind).preview

    @property
    def lr_shape(self) -> tuple[int, int, int]:
        """Shape (z, y, x) of the grid the network was fitted to."""
        return lr_shape(self.geometry.shape, self.factor)

    @property
    def lr_geometry(self) -> Geometry:
        """Geometry of the grid the network was fitted to."""
        return self.geometry.coarser(self.factor, self.lr_shape)


def check_restoring(inr: InrVolume, slices: int = 1) -> None:
    """Raise InrFileError if memory does not suffice to restore so many slices at once."""
    shape = slices, *inr.geometry.shape[1:]
    check_memory(
        BYTES_A_VOXEL * math.prod(shape),
        f"restoring {' x '.join(map(str, shape))} voxels",
        "ask for fewer slices at once, or use a machine with more memory",
        InrFileError,
    )
