"""How far a decoded volume is from the original: PSNR, SSIM and error in HU, padding excluded.

PSNR means nothing without its range, so there are two and each names its own: `psnr`, with the peak equal
to the original's intensity range, and `psnr_8bit`, on grey levels through a named window as in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .errors import VolumeError
from .volume import Volume
from .windows import Window, find_window

SSIM_REACH = 5  # voxels that the Gaussian window of SSIM (sigma 1.5, 11 taps) reaches to each side


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceErrors:
    """The figures of `Comparison` slice by slice, each of shape (z,); NaN for a slice that is all padding."""

    psnr: NDArray[np.float64]
    psnr_8bit: NDArray[np.float64]
    ssim: NDArray[np.float64]
    rmse: NDArray[np.float64]
    p99: NDArray[np.float64]
    max_error: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """How far a decoded volume is from the original, over all measured voxels.

    PSNRs in dB, infinite for identical voxels; errors in the volume's units (HU).
    """

    psnr: float  # peak: the original's intensity range
    psnr_8bit: float  # peak 255, on grey levels through `window` (Sheibanifard and Yu 2023, eq. 2-3)
    ssim: float  # 2D, averaged over all slices' voxels
    rmse: float
    p99: float  # 99th percentile of the absolute error
    max_error: float
    window: Window  # of psnr_8bit
    slices: SliceErrors


def psnr(mean_squared_error: float, peak: float) -> float:
    """Return the peak signal-to-noise ratio in dB; infinite without error, NaN of NaN or without a peak.

    `peak` is in the unit whose square the error has. Source: Sheibanifard and Yu 2023, eq. 2.
    """
    if mean_squared_error == 0:
        return math.inf
    if peak == 0:  # of a flat original
        return math.nan
    return 10 * math.log10(peak**2 / mean_squared_error)


def largest_error(original: NDArray[Any], decoded: NDArray[Any]) -> float:
    """Return how far any voxel of `decoded` is from that of `original`, padding included."""
    if original.dtype == decoded.dtype and original.dtype.kind in "iu":
        # Modulo 2^bits a difference that is not negative is right, and float64 would round those of 64 bits.
        above, below = np.maximum(original, decoded), np.minimum(original, decoded)
        return float((above - below).view(f"u{original.itemsize}").max())
    return float(np.abs(original.astype(np.float64) - decoded.astype(np.float64)).max())


def compare_volumes(
    original: Volume,
    decoded: NDArray[Any],
    window: Window | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Measure how far `decoded` (z, y, x), in the original's units, is from `original`.

    `window` is the one of the 8-bit PSNR, by default the full intensity range. `progress` is told after each
    slice how many are done, of how many. Raises VolumeError if the shapes differ or `decoded` is not finite.
    """
    if decoded.shape != original.shape:
        raise VolumeError(f"only equal shapes can be compared, got {original.shape} and {decoded.shape}")
    meter = Meter(original, window)
    for z in range(len(decoded)):
        meter.add(z, decoded[z])
        if progress is not None:
            progress(z + 1, len(decoded))
    return meter.result()


class Meter:
    """Compares a decoded volume with its original a slice at a time, so that neither need be in memory."""

    def __init__(self, original: Volume, window: Window | None = None) -> None:
        self.original = original
        self.window = find_window("full", original) if window is None else window
        self._rows = np.zeros((original.shape[0], 7))
        self._largest = _Largest(math.prod(original.shape))

    def add(self, z: int, decoded: NDArray[Any]) -> None:
        """Take slice z (y, x) as it decodes; each slice once, in any order. Raises VolumeError on NaN."""
        measured, true = self.original.measured(z), self.original.plane(z)
        kept = np.ones(decoded.shape, dtype=np.bool_) if measured is None else measured
        if not kept.any():
            self._rows[z] = 0, 0, 0, 0, 0, math.nan, math.nan
            return
        true, found = true[kept].astype(np.float64), decoded[kept].astype(np.float64)
        error = np.abs(found - true)
        if not np.isfinite(error).all():
            raise VolumeError(f"slice {z} of the decoded volume holds NaN or infinity; it cannot be compared")
        self._largest.add(error.astype(np.float32))
        grey_error = self.window.to_8bit(found).astype(np.float64) - self.window.to_8bit(true)
        similarity = self._similarity(true, found, kept)
        self._rows[z] = (
            error.size,
            float(np.sum(error**2)),
            float(np.sum(grey_error**2)),
            similarity.size,
            float(np.sum(similarity, dtype=np.float64)),
            float(np.percentile(error, 99)),
            float(error.max()),
        )

    def _similarity(
        self, true: NDArray[np.float64], found: NDArray[np.float64], kept: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return the SSIM at the voxels of a slice for which it counts; the lowest intensity is padding's."""
        low, high = self.original.intensity_range
        planes = np.zeros((2, *kept.shape), dtype=np.float32)
        peak = (high - low) or 1.0
        planes[:, kept] = (true - low) / peak, (found - low) / peak
        return _ssim_map(planes[0], planes[1])[_within_ssim_reach(kept)]

    def result(self) -> Comparison:
        """Return the figures of all slices that were added."""
        low, high = self.original.intensity_range
        voxels, squares, squares_8bit, ssim_voxels, ssim_sum, p99, max_error = self._rows.T
        with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of a slice that is all padding
            mse, mse_8bit, ssim = squares / voxels, squares_8bit / voxels, ssim_sum / ssim_voxels
        measured = max(voxels.sum(), 1.0)  # where nothing was, nothing is wrong
        whole_mse = squares.sum() / measured
        return Comparison(
            psnr=psnr(whole_mse, high - low),
            psnr_8bit=psnr(squares_8bit.sum() / measured, 255),
            ssim=float(ssim_sum.sum() / ssim_voxels.sum()) if ssim_voxels.any() else math.nan,
            rmse=math.sqrt(whole_mse),
            p99=self._largest.percentile_99(),
            max_error=float(np.nan_to_num(max_error).max()),
            window=self.window,
            slices=SliceErrors(
                psnr=np.array([psnr(value, high - low) for value in mse]),
                psnr_8bit=np.array([psnr(value, 255) for value in mse_8bit]),
                ssim=ssim,
                rmse=np.sqrt(mse),
                p99=p99,
                max_error=max_error,
            ),
        )


class _Largest:
    """The 99th percentile of numbers that come in parts: no more than two in a hundred are kept."""

    def __init__(self, most: int) -> None:
        self._count = 0
        self._needed = most - math.floor(0.99 * (most - 1))  # the largest, of which it lies among
        self._kept = np.empty(0, dtype=np.float32)
        self._least = -math.inf  # of those that are needed, once they are too many

    def add(self, values: NDArray[np.float32]) -> None:
        """Take some more of the numbers, a flat array."""
        self._count += values.size
        self._kept = np.concatenate([self._kept, values[values >= self._least]])
        if self._kept.size > 2 * self._needed:
            self._kept = np.partition(self._kept, -self._needed)[-self._needed :]
            self._least = float(self._kept.min())

    def percentile_99(self) -> float:
        """Return it, between two of the numbers as `numpy.percentile` does; 0 of none."""
        if not self._count:
            return 0.0
        position = 0.99 * (self._count - 1)  # among all of them, sorted
        from_top = self._count - math.floor(position)
        largest = np.sort(self._kept)[-from_top:].astype(np.float64)
        below, above = largest[0], largest[min(1, from_top - 1)]
        return float(below + (above - below) * (position - math.floor(position)))


def _ssim_map(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the structural similarity at every voxel of two slices with values in [0, 1].

    Source: Wang et al. 2004, eq. 13, with their Gaussian window of 11 x 11, mirrored at the border. The scale
    starts at 0 because SSIM compares brightness by its ratio, which HU with their negative values do not
    have.
    """

    def local_mean(plane: NDArray[np.float32]) -> NDArray[np.float32]:
        mean: NDArray[np.float32] = ndimage.gaussian_filter(plane, sigma=1.5, radius=SSIM_REACH)
        return mean

    mean_1, mean_2 = local_mean(first), local_mean(second)
    variances = local_mean(first * first) - mean_1 * mean_1 + local_mean(second * second) - mean_2 * mean_2
    covariance = local_mean(first * second) - mean_1 * mean_2
    c_1, c_2 = 0.01**2, 0.03**2  # the paper's, for values in [0, 1]
    similarity: NDArray[Any] = ((2 * mean_1 * mean_2 + c_1) * (2 * covariance + c_2)) / (
        (mean_1 * mean_1 + mean_2 * mean_2 + c_1) * (variances + c_2)
    )
    return similarity


def _within_ssim_reach(kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Drop the border whose windows stick out of the slice, as scikit-image does; a thin slice keeps it."""
    inner = kept.copy()
    for axis, length in enumerate(kept.shape):
        if length > 2 * SSIM_REACH:
            lines = np.moveaxis(inner, axis, 0)
            lines[:SSIM_REACH] = lines[-SSIM_REACH:] = False
    return inner
