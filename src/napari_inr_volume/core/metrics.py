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
    window = find_window("full", original) if window is None else window
    low, high = original.intensity_range
    rows = []
    for z in range(len(decoded)):
        rows.append(_measure_slice(original, decoded, z, window))
        if progress is not None:
            progress(z + 1, len(decoded))
    voxels, squares, squares_8bit, ssim_voxels, ssim_sum, p99, max_error = np.array(rows).T
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of a slice that is all padding
        mse, mse_8bit, ssim = squares / voxels, squares_8bit / voxels, ssim_sum / ssim_voxels
    whole_mse = squares.sum() / voxels.sum()
    return Comparison(
        psnr=psnr(whole_mse, high - low),
        psnr_8bit=psnr(squares_8bit.sum() / voxels.sum(), 255),
        ssim=float(ssim_sum.sum() / ssim_voxels.sum()) if ssim_voxels.any() else math.nan,
        rmse=math.sqrt(whole_mse),
        p99=_p99(original, decoded),
        max_error=float(np.nanmax(max_error)),
        window=window,
        slices=SliceErrors(
            psnr=np.array([psnr(value, high - low) for value in mse]),
            psnr_8bit=np.array([psnr(value, 255) for value in mse_8bit]),
            ssim=ssim,
            rmse=np.sqrt(mse),
            p99=p99,
            max_error=max_error,
        ),
    )


def _measure_slice(original: Volume, decoded: NDArray[Any], z: int, window: Window) -> tuple[float, ...]:
    """Return voxels, squared error, the same of grey levels, voxels of SSIM, their sum, P99 and maximum."""
    measured = original.measured(z)
    kept = np.ones(decoded.shape[1:], dtype=np.bool_) if measured is None else measured
    if not kept.any():
        return 0, 0, 0, 0, 0, math.nan, math.nan
    true = original.voxels[z][kept].astype(np.float64)
    found = decoded[z][kept].astype(np.float64)
    error = np.abs(found - true)
    if not np.isfinite(error).all():
        raise VolumeError(f"slice {z} of the decoded volume holds NaN or infinity; it cannot be compared")
    grey_error = window.to_8bit(found).astype(np.float64) - window.to_8bit(true)
    low, high = original.intensity_range
    planes = np.zeros((2, *kept.shape), dtype=np.float32)  # padding: the lowest intensity in both
    peak = (high - low) or 1.0
    planes[:, kept] = (true - low) / peak, (found - low) / peak
    similarity = _ssim_map(planes[0], planes[1])[_within_ssim_reach(kept)]
    return (
        error.size,
        float(np.sum(error**2)),
        float(np.sum(grey_error**2)),
        similarity.size,
        float(np.sum(similarity, dtype=np.float64)),
        float(np.percentile(error, 99)),
        float(error.max()),
    )


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


def _p99(original: Volume, decoded: NDArray[Any]) -> float:
    """Return the 99th percentile of the absolute error over all measured voxels, exactly.

    Integers of up to 16 bits, which CT has, need a histogram only; others all errors at once (float32).
    """
    slices = range(len(decoded))
    small_integers = all(
        array.dtype.kind in "iu" and array.dtype.itemsize <= 2 for array in (original.voxels, decoded)
    )
    if not small_integers:
        every = [_absolute_error(original, decoded, z, np.float64).astype(np.float32) for z in slices]
        return float(np.percentile(np.concatenate(every), 99))
    histogram = np.zeros(2**17, dtype=np.int64)  # int16 against uint16 differ by less than 98,304
    for z in slices:
        histogram += np.bincount(_absolute_error(original, decoded, z, np.int32), minlength=len(histogram))
    up_to = np.cumsum(histogram)
    position = 0.99 * (up_to[-1] - 1)  # in the sorted errors; between two of them, as numpy.percentile
    rank = math.floor(position)
    below, above = np.searchsorted(up_to, [rank, rank + 1], side="right")
    return float(below + (above - below) * (position - rank))


def _absolute_error(original: Volume, decoded: NDArray[Any], z: int, dtype: Any) -> NDArray[Any]:
    """Return |decoded - original| of slice z's measured voxels, as a flat array."""
    error = np.abs(decoded[z].astype(dtype) - original.voxels[z].astype(dtype))
    measured = original.measured(z)
    flat: NDArray[Any] = error.ravel() if measured is None else error[measured]
    return flat
