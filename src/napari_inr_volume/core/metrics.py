"""How far a decoded volume is from the original: PSNR, SSIM and error in HU, padding excluded.

PSNR means nothing without its range, so there are two and each names its own: `psnr`, with the peak equal
to the original's intensity range, and `psnr_8bit`, on grey levels through a named window as in the paper.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .errors import VolumeError
from .units import HU
from .volume import Volume
from .windows import Window, find_window

FULL = "full"  # the window that is the whole intensity range
BODY_HU = -500.0  # between lung and soft tissue
DROPPED = 7  # of the 24 binary digits of an error in float32, in counting how many there are of each
THIN = 2  # voxels that are taken off all around, and put back where something is left
LARGE_PART = 0.1  # of the largest part: arms and legs are, a table is not

_AXES = None, 1, 0  # of a slice (y, x), summed over for sums across z, y and x

SSIM_REACH = 5  # voxels that the Gaussian window of SSIM (sigma 1.5, 11 taps) reaches to each side


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Of some voxels of a volume; NaN of none."""

    psnr: float  # dB, peak: the original's intensity range, whichever voxels these are
    rmse: float  # in the volume's units (HU)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a table says of a slice or of a volume. NaN where nothing was measured."""

    whole: Errors  # all measured voxels
    body: Errors | None  # those of the patient, lungs included; None unless the values are HU
    window: Errors | None  # those that the original shows neither black nor white; None: the window is full
    ssim: float


@dataclass(frozen=True, kw_only=True, eq=False)
class SliceErrors:
    """The figures of `Comparison` slice by slice, each of shape (z,); NaN for a slice that is all padding."""

    psnr: NDArray[np.float64]
    psnr_8bit: NDArray[np.float64]
    ssim: NDArray[np.float64]
    rmse: NDArray[np.float64]
    p99: NDArray[np.float64]
    max_error: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tally:
    """Sums over each slice across one axis; of `Figures`' regions whole, body and window in this order."""

    voxels: NDArray[np.float64]  # (length, 3)
    squares: NDArray[np.float64]  # (length, 3), of the error, in the volume's units squared
    similar: NDArray[np.float64]  # (length, 2): voxels that SSIM counts, and the sum of it there

    @classmethod
    def empty(cls, length: int) -> Tally:
        """Return sums of nothing."""
        return cls(np.zeros((length, 3)), np.zeros((length, 3)), np.zeros((length, 2)))


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """How far a decoded volume is from the original, over all measured voxels of the slices compared.

    PSNRs in dB, infinite for identical voxels; errors in the volume's units (HU).
    """

    psnr: float  # peak: the original's intensity range
    psnr_8bit: float  # peak 255, on grey levels through `window` (Sheibanifard and Yu 2023, eq. 2-3)
    ssim: float  # 2D, averaged over all slices' voxels
    rmse: float
    p99: float  # 99th percentile of the absolute error
    max_error: float
    window: Window  # of psnr_8bit, and of the voxels within the window
    slices: SliceErrors
    compared: NDArray[np.bool_]  # (z,), which slices were
    tallies: tuple[Tally, Tally, Tally]  # across z, y, x
    peak: float
    has_body: bool

    @property
    def complete(self) -> bool:
        """Whether all slices were compared."""
        return bool(self.compared.all())

    def of_volume(self) -> Figures:
        """Return the figures of all slices that were compared."""
        return self._figures(self.tallies[0], slice(None))

    def of_slice(self, index: int, axis: int = 0) -> Figures | None:
        """Return those of one slice across an axis, of the nearest if there is none of this number.

        None if it was not compared yet. SSIM is that of axial slices, whichever way they are cut.
        """
        index = min(max(index, 0), len(self.tallies[axis].voxels) - 1)
        there = self.compared[index] if axis == 0 else self.complete
        return self._figures(self.tallies[axis], slice(index, index + 1)) if there else None

    def _figures(self, tally: Tally, part: slice) -> Figures:
        voxels, squares = tally.voxels[part].sum(axis=0), tally.squares[part].sum(axis=0)
        counted, similar = tally.similar[part].sum(axis=0)
        whole, body, window = (
            _errors(float(square), float(count), self.peak)
            for square, count in zip(squares, voxels, strict=True)
        )
        return Figures(
            whole=whole,
            body=body if self.has_body else None,
            window=None if self.window.name == FULL else window,
            ssim=float(similar / counted) if counted else math.nan,
        )


def _errors(squares: float, voxels: float, peak: float) -> Errors:
    mse = squares / voxels if voxels else math.nan
    return Errors(psnr=psnr(mse, peak), rmse=math.sqrt(mse))


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
    """Compares a decoded volume with its original a slice at a time, so that neither need be in memory.

    `peak` is that of the PSNR, by default the spread of the original's intensity range. Meters of one
    original can share where its body is: give one to the next as `beside`.
    """

    def __init__(
        self,
        original: Volume,
        window: Window | None = None,
        *,
        peak: float | None = None,
        beside: Meter | None = None,
    ) -> None:
        self.original = original
        self.window = find_window(FULL, original) if window is None else window
        low, high = original.intensity_range
        self.peak = float(high) - float(low) if peak is None else peak
        z, y, x = original.shape
        self._tallies = Tally.empty(z), Tally.empty(y), Tally.empty(x)
        self._rows = np.zeros((z, 3))  # squares of 8 bit, 99th percentile, largest error
        self._compared = np.zeros(z, dtype=np.bool_)
        least = ((float(high) - float(low)) or 1.0) * 2**-20
        self._errors = _Errors(min(least, 0.5) if original.dtype.kind in "iu" else least)
        self._bodies: dict[int, NDArray[np.bool_]] = {} if beside is None else beside._bodies  # the latest

    def add(self, z: int, decoded: NDArray[Any]) -> None:
        """Take slice z (y, x) as it decodes; each slice once, in any order. Raises VolumeError on NaN."""
        measured, plane = self.original.measured(z), self.original.plane(z)
        kept = np.ones(decoded.shape, dtype=np.bool_) if measured is None else measured
        if not kept.any():
            self._rows[z], self._compared[z] = (0, math.nan, math.nan), True
            return
        true, found = plane[kept].astype(np.float64), decoded[kept].astype(np.float64)
        error = np.abs(found - true)
        if not np.isfinite(error).all():
            raise VolumeError(f"slice {z} of the decoded volume holds NaN or infinity; it cannot be compared")
        self._errors.add(error.astype(np.float32))
        grey_error = self.window.to_8bit(found).astype(np.float64) - self.window.to_8bit(true)
        self._rows[z] = float(np.sum(grey_error**2)), float(np.percentile(error, 99)), float(error.max())
        squares = np.zeros(kept.shape)
        squares[kept] = error**2
        for region, mask in enumerate(self._regions(z, plane, kept)):
            if mask is not None:
                self._sum(z, region, mask, squares)
        similarity, counted = self._similarity(true, found, kept)
        for tally, across in zip(self._tallies, _AXES, strict=True):
            row = z if across is None else slice(None)
            tally.similar[row, 0] += np.sum(counted, axis=across)
            tally.similar[row, 1] += np.sum(similarity, axis=across, dtype=np.float64)
        self._compared[z] = True

    def _regions(
        self, z: int, plane: NDArray[Any], kept: NDArray[np.bool_]
    ) -> list[NDArray[np.bool_] | None]:
        """Return which voxels of a slice are measured, of the body and within the window; None: not asked."""
        black, white = self.window.limits
        body = None
        if self.original.units == HU:
            if z not in self._bodies:
                self._bodies.clear()
                self._bodies[z] = body_of(plane)
            body = self._bodies[z] & kept
        shown = None if self.window.name == FULL else (plane >= black) & (plane <= white) & kept
        return [kept, body, shown]

    def _sum(self, z: int, region: int, mask: NDArray[np.bool_], squares: NDArray[np.float64]) -> None:
        """Add the voxels of a region to the sums across all three axes."""
        inside = np.where(mask, squares, 0)
        for tally, across in zip(self._tallies, _AXES, strict=True):
            row = z if across is None else slice(None)
            tally.voxels[row, region] += np.sum(mask, axis=across)
            tally.squares[row, region] += np.sum(inside, axis=across)

    def _similarity(
        self, true: NDArray[np.float64], found: NDArray[np.float64], kept: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return SSIM (y, x), 0 where it does not count, and where it does; padding is the lowest value."""
        low, high = self.original.intensity_range
        planes = np.zeros((2, *kept.shape), dtype=np.float32)
        peak = (high - low) or 1.0
        planes[:, kept] = (true - low) / peak, (found - low) / peak
        counted = _within_ssim_reach(kept)
        return np.where(counted, _ssim_map(planes[0], planes[1]), np.float32(0)), counted

    def result(self) -> Comparison:
        """Return the figures of all slices that were added so far; it stays as it is when more are."""
        tallies = copy.deepcopy(self._tallies)
        of_z = tallies[0]
        voxels, squares = of_z.voxels[:, 0], of_z.squares[:, 0]
        squares_8bit, p99, max_error = self._rows.T.copy()
        counted, similar = of_z.similar.T
        with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN of a slice that is all padding
            mse, mse_8bit, ssim = squares / voxels, squares_8bit / voxels, similar / counted
        measured = max(voxels.sum(), 1.0)  # where nothing was, nothing is wrong
        whole_mse = squares.sum() / measured
        return Comparison(
            psnr=psnr(whole_mse, self.peak),
            psnr_8bit=psnr(squares_8bit.sum() / measured, 255),
            ssim=float(similar.sum() / counted.sum()) if counted.any() else math.nan,
            rmse=math.sqrt(whole_mse),
            p99=self._errors.percentile_99(),
            max_error=float(np.nan_to_num(max_error).max()),
            window=self.window,
            slices=SliceErrors(
                psnr=np.array([psnr(value, self.peak) for value in mse]),
                psnr_8bit=np.array([psnr(value, 255) for value in mse_8bit]),
                ssim=ssim,
                rmse=np.sqrt(mse),
                p99=p99,
                max_error=max_error,
            ),
            compared=self._compared.copy(),
            tallies=tallies,
            peak=self.peak,
            has_body=self.original.units == HU,
        )


def body_of(plane: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where the patient is in an axial slice (y, x) in HU, lungs and other air inside included.

    That is what is denser than air, without what is thin, such as the table and clothes, and without small
    parts; what these surround belongs to them.
    """
    dense = ndimage.binary_opening(plane > BODY_HU, iterations=THIN)
    parts, _ = ndimage.label(dense)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0  # the air around
    large = sizes >= max(1, sizes.max() * LARGE_PART)
    outside, _ = ndimage.label(~large[parts])
    edges = np.concatenate([outside[0], outside[-1], outside[:, 0], outside[:, -1]])
    around = np.zeros(outside.max() + 1, dtype=np.bool_)
    around[edges] = True
    around[0] = False  # the parts themselves
    body: NDArray[np.bool_] = ~around[outside]
    return body


class _Errors:
    """The 99th percentile of absolute errors that come in parts: how many there are of each is kept.

    Errors are told apart to 17 binary digits, so whole numbers below 131,072 are exact and all others within
    1.6e-5 of themselves; up to `least`, one is none.
    """

    def __init__(self, least: float) -> None:
        self._none = int(_bins(np.array([least], np.float32))[0])
        self._counts = np.zeros(1, np.int64)

    def add(self, errors: NDArray[np.float32]) -> None:
        """Take some more of them, a flat array."""
        found = np.bincount(np.maximum(_bins(errors) - self._none, 0), minlength=len(self._counts))
        found[: len(self._counts)] += self._counts
        self._counts = found

    def percentile_99(self) -> float:
        """Return it, between two of the errors as `numpy.percentile` does; 0 of none."""
        sums = np.cumsum(self._counts)
        if not sums[-1]:
            return 0.0
        position = 0.99 * (sums[-1] - 1)  # among all of them, sorted
        before = math.floor(position)
        below, above = (self._error(int(np.searchsorted(sums, at, "right"))) for at in (before, before + 1))
        return float(below + (above - below) * (position - before))

    def _error(self, found: int) -> float:
        found = min(found, len(self._counts) - 1)  # above the largest is the largest
        return float(np.int32(found + self._none << DROPPED).view(np.float32)) if found else 0.0


def _bins(errors: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return which errors are counted as one, in their order: those of the same leading digits."""
    return errors.view(np.int32) >> DROPPED


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
