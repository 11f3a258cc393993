"""How good an `.inr` is: decoded and compared with its original a slice at a time, neither in memory.

Which upscaler restores it best is measured too, on a few slices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .core.errors import VolumeError
from .core.lowres import LowRes, low_res
from .core.metrics import Comparison, Meter, largest_error, psnr
from .core.volume import Volume, spread
from .core.windows import Window, find_window
from .core.words import counted
from .inr_volume import InrVolume, Quality
from .reader import Reader
from .superres.catalogue import title_of
from .superres.upscale import LanczosUpscaler, Upscaler

SLICES = 6  # of a volume, on which upscalers are compared

OnSlices = Callable[[int, int], None]  # told (slices done, slices in all)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How good an `InrVolume` is, against the original. PSNR in dB, padding excluded."""

    lr: Comparison  # the decoded LR, against the Lanczos LR of the original
    reconstruction: Comparison  # as the file decodes
    lanczos: Comparison  # the same decoded LR, put back by Lanczos alone
    upscaler: str

    @property
    def lr_psnr(self) -> float:
        """PSNR of the LR in dB (range)."""
        return self.lr.psnr

    @property
    def complete(self) -> bool:
        """Whether every slice was measured."""
        return all(one.complete for one in (self.lr, self.reconstruction, self.lanczos))

    @property
    def quality(self) -> Quality:
        """What of it an `.inr` records."""
        return Quality(
            lr_psnr=self.lr.psnr,
            hr_psnr=self.reconstruction.psnr,
            lanczos_psnr=self.lanczos.psnr,
            rmse=self.reconstruction.rmse,
            p99=self.reconstruction.p99,
            max_error=self.reconstruction.max_error,
        )


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The upscaler that restores a volume best."""

    upscaler: Upscaler
    words: str | None = None  # why it is not the usual one, in a sentence


def choose_upscaler(
    volume: Volume, reader: Reader, upscalers: Sequence[Upscaler], on_slices: OnSlices | None = None
) -> Choice:
    """Return the upscaler by which slices of an `.inr` have the highest PSNR; the usual one comes first.

    Among equals the last is taken, which is Lanczos. `on_slices` is told of slices compared, if there is
    more than one upscaler, and may raise to end it.
    """
    usual, *others = upscalers
    if not others:
        return Choice(upscaler=usual)
    slices = some_slices(volume)
    errors = slice_errors(volume, slices, [reader.by(one).plane for one in upscalers], on_slices)
    best = upscalers[least(errors)]
    if best is usual:
        return Choice(upscaler=usual)
    peak = spread(volume.intensity_range)
    found, before = psnr(min(errors), peak), psnr(errors[0], peak)
    return Choice(upscaler=best, words=_better(best, found, usual, before, counted(len(slices), "slice")))


def confirmed(choice: Choice, measured: Measured, upscalers: Sequence[Upscaler]) -> tuple[Choice, Measured]:
    """Return the choice as it is once the whole volume was measured, and its figures.

    Some slices may speak for a network and the whole for Lanczos: then it is Lanczos, if there was a choice.
    """
    usual, last = choice.upscaler, upscalers[-1]
    found, before = measured.lanczos.psnr, measured.reconstruction.psnr
    if len(upscalers) == 1 or last.name != "lanczos" or usual.name == "lanczos" or found < before:
        return choice, measured
    words = _better(last, found, usual, before, "all slices")
    by_lanczos = replace(measured, reconstruction=measured.lanczos, upscaler=last.name)
    return Choice(upscaler=last, words=words), by_lanczos


def _better(best: Upscaler, found: float, usual: Upscaler, before: float, where: str) -> str:
    """Say why another upscaler than the usual one is taken; PSNRs in dB (range)."""
    title, other = title_of(best.name), title_of(usual.name)
    how = f"better than {other}, {found:.2f} against {before:.2f}"
    if f"{found:.2f}" == f"{before:.2f}":
        how = f"as well as {other} does, {found:.2f}"
    return f"{title} restores this volume {how} dB (range) on {where}, so the file names {title}"


def slice_errors(
    volume: Volume,
    slices: Sequence[int],
    ways: Sequence[Callable[[int], NDArray[Any]]],
    on_slices: OnSlices | None = None,
) -> list[float]:
    """Return the mean squared error over these slices of a volume, for each way to restore a slice.

    A way is given the number of a slice and gives its voxels (y, x), in the volume's units. Padding is left
    out. `on_slices` is told how many slices are done, of how many.
    """
    squares, voxels = [0.0] * len(ways), 0
    for done, z in enumerate(slices, 1):
        measured = volume.measured(z)
        kept = ... if measured is None else measured
        true = volume.plane(z)[kept].astype(np.float64)
        voxels += true.size
        for index, restore in enumerate(ways):
            squares[index] += float(np.sum(np.square(restore(z)[kept] - true)))
        if on_slices is not None:
            on_slices(done, len(slices))
    return [each / voxels for each in squares]


def least(errors: Sequence[float]) -> int:
    """Return which error is the least, the last of equals."""
    return min(reversed(range(len(errors))), key=lambda index: errors[index])


def some_slices(volume: Volume) -> list[int]:
    """Return evenly spaced slices, SLICES of them at most, in which something was measured."""
    there = [
        z for z in range(volume.shape[0]) if (measured := volume.measured(z)) is None or bool(measured.any())
    ]
    if len(there) <= SLICES:
        return there
    return [there[place] for place in np.linspace(0, len(there) - 1, SLICES + 2)[1:-1].astype(int)]


def check_original(volume: Volume, inr: InrVolume) -> None:
    """Raise VolumeError if a volume is of another shape than the original of an `.inr`."""
    if volume.shape != inr.geometry.shape:
        raise VolumeError(
            f"the original has the shape {volume.shape}, the .inr decodes to {inr.geometry.shape};"
            " give the volume that it was made from"
        )


def exact_error(volume: Volume, reader: Reader, on_slices: OnSlices | None = None) -> float:
    """Return how far any voxel of the exact layer is from its original, padding included.

    Raises VolumeError if the volume is not of the original's shape, InrFileError if a part of the layer is
    damaged.
    """
    check_original(volume, reader.inr)
    largest = 0.0
    for z, plane in reader.slices("exact"):
        largest = max(largest, largest_error(volume.plane(z), plane))
        if on_slices is not None:
            on_slices(z + 1, volume.shape[0])
    return largest


class Measuring:
    """Compares an `.inr` with its original slice by slice, in any order: each slice of both grids once.

    `window` is the one of the 8-bit PSNR, by default the full range; `lr` the original's LR if it is at hand.
    Raises VolumeError if the volume is not of the original's shape, InrFileError if memory does not suffice.
    """

    def __init__(
        self, volume: Volume, reader: Reader, *, window: Window | None = None, lr: LowRes | None = None
    ) -> None:
        inr = reader.inr
        check_original(volume, inr)
        window = window or find_window("full", volume)
        lr = low_res(volume, inr.factor) if lr is None else lr
        self.reader = reader
        plain = Meter(volume, window)
        self._meters = [(reader.by(LanczosUpscaler(inr.factor[1:])), plain)]
        if reader.upscaler.name == LanczosUpscaler.name:
            self._meters = [(reader, plain)]
        else:
            self._meters.append((reader, Meter(volume, window, beside=plain)))
        # The peak of the LR's PSNR is the original's intensity range, as everywhere.
        self._lr = Meter(_as_volume(lr, volume, inr), window, peak=spread(volume.intensity_range))

    def add_hr(self, slices: Sequence[int]) -> None:
        """Decode slices of the original's grid together, and compare them."""
        for reader, meter in self._meters:
            for z, decoded in zip(slices, reader.planes(slices), strict=True):
                meter.add(z, decoded)

    def add_lr(self, slices: Sequence[int]) -> None:
        """Decode slices of the LR together, and compare them with the Lanczos LR of the original."""
        for z, decoded in zip(slices, self.reader.planes(slices, "lr"), strict=True):
            self._lr.add(z, decoded)

    def result(self) -> Measured:
        """Return the figures of the slices so far."""
        return Measured(
            lr=self._lr.result(),
            reconstruction=self._meters[-1][1].result(),
            lanczos=self._meters[0][1].result(),
            upscaler=self.reader.upscaler.name,
        )


def measure(
    volume: Volume,
    reader: Reader,
    *,
    window: Window | None = None,
    lr: LowRes | None = None,
    on_slices: OnSlices | None = None,
) -> Measured:
    """Say how good an `InrVolume` is, as `Measuring` does, from the first slice to the last.

    `on_slices` is told of slices decoded and compared, and may raise to end it.
    """
    measuring = Measuring(volume, reader, window=window, lr=lr)
    depth, lr_depth = volume.shape[0], reader.inr.lr_shape[0]
    for add, length, before in ((measuring.add_hr, depth, 0), (measuring.add_lr, lr_depth, depth)):
        for start in range(0, length, reader.at_once):
            part = range(start, min(start + reader.at_once, length))
            add(part)
            if on_slices is not None:
                on_slices(before + part.stop, depth + lr_depth)
    return measuring.result()


def _as_volume(lr: LowRes, volume: Volume, inr: InrVolume) -> Volume:
    """Return the LR as a volume; voxels that were mostly not measured are its padding."""
    if lr.counted is None:
        return Volume(voxels=lr.voxels, geometry=inr.lr_geometry, units=volume.units)
    padding = np.float32(lr.voxels.min() - 1)
    voxels = _Padded(lr.voxels, lr.counted, padding)
    return Volume(voxels=voxels, geometry=inr.lr_geometry, units=volume.units, padding=float(padding))


class _Padded:
    """An LR with one value wherever it does not count, put there as it is read: the LR may be large."""

    def __init__(self, voxels: NDArray[np.float32], counted: NDArray[np.bool_], padding: np.float32) -> None:
        self.shape, self.dtype = voxels.shape, voxels.dtype
        self._voxels, self._counted, self._padding = voxels, counted, padding

    def __getitem__(self, part: Any) -> NDArray[np.float32]:
        return np.where(self._counted[part], self._voxels[part], self._padding)
