"""What a fit is worth: decoded and compared with its original slice by slice, and subtracted from it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.lowres import low_res
from ...core.volume import Triple, Volume
from ...core.windows import Window
from ...inr_volume import InrVolume, UpscalerRef
from ..job import Control
from ..layers import new_voxels
from .threads import leave_a_core

if TYPE_CHECKING:
    from ...core.choices import Device
    from ...core.lowres import LowResOf
    from ...measuring import Choice, Measured, Measuring
    from ...reader import Reader
    from ...superres.upscale import Upscaler

SECONDS_PER_FIGURES = 0.5  # between two reports of the figures so far


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoding:
    """How a fit is decoded: what one piece of work has decoded of it, no other decodes again."""

    reader: Reader  # keeps what it decodes, as far as memory allows
    upscalers: tuple[Upscaler, ...]  # to choose from, the usual one first
    lrs: LowResOf  # the original's LR

    def by(self, upscalers: tuple[Upscaler, ...]) -> Decoding:
        """Return the same, restored by one of these upscalers."""
        return replace(self, upscalers=upscalers)


@dataclass(frozen=True)
class LrSlice:
    """A slice of the LR is there, to be drawn."""

    z: int


@dataclass(frozen=True)
class FiguresSoFar:
    """The figures of the slices that were measured so far: never of all, which come with FitMeasured."""

    measured: Measured


@dataclass(frozen=True, kw_only=True, eq=False)
class FitMeasured:
    """A fit with its figures, of every slice."""

    inr: InrVolume  # names the upscaler that was chosen, with its quality
    file_bytes: int  # once it is saved, without an exact layer
    upscaler: Upscaler  # that was chosen
    measured: Measured
    choice: str | None  # why it does not name the usual upscaler, in a sentence
    seconds: float | None = None  # that it took; None if some of it had been decoded before


def measure_fit(
    control: Control, volume: Volume, fit: Decoding, lr: NDArray[np.float32] | None, *, window: Window
) -> FitMeasured | None:
    """Decode a fit and compare it with its original, from the slice in view outwards; None if stopped.

    Fills `lr` (z, y, x), which a layer shows, unless that was done before. Reports LrSlice, FiguresSoFar, and
    Done. Stopped, it fills the rest of `lr` all the same: what is shown is what the file decodes to.
    """
    from ...io.inr_file import packed_size
    from ...measuring import Measuring, confirmed

    leave_a_core()
    started = time.perf_counter()
    run = _Outwards(control, volume, fit, lr)
    run.fill_lr_in_view()
    choice = run.choose()
    measured: Measured | None = None
    if choice is not None:
        reader = fit.reader.by(choice.upscaler)
        measuring = Measuring(volume, reader, window=window, lr=fit.lrs.by(reader.inr.factor))
        measured = run.measure(measuring)
    run.fill_lr()
    if choice is None or measured is None:
        return None
    choice, measured = confirmed(choice, measured, fit.upscalers)
    inr = named(fit.reader.inr, choice.upscaler)
    inr = replace(inr, quality=measured.quality)
    return FitMeasured(
        inr=inr,
        file_bytes=packed_size(inr),
        upscaler=choice.upscaler,
        measured=measured,
        choice=choice.words,
        seconds=None if lr is None else time.perf_counter() - started,
    )


class _Outwards:
    """The steps of `measure_fit`: each takes of what is left the slice nearest to the one in view."""

    def __init__(
        self, control: Control, volume: Volume, fit: Decoding, lr: NDArray[np.float32] | None
    ) -> None:
        inr = fit.reader.inr
        self.control, self.volume, self.fit, self.lr = control, volume, fit, lr
        self.factor = inr.factor[0]
        self.unfilled = set() if lr is None else set(range(inr.lr_shape[0]))
        self.hr, self.of_lr = set(range(volume.shape[0])), set(range(inr.lr_shape[0]))
        self.total = len(self.hr) + len(self.of_lr)

    def choose(self) -> Choice | None:
        """Return the upscaler that restores some slices best; None if it was stopped."""
        from ...measuring import choose_upscaler

        try:
            return choose_upscaler(self.volume, self.fit.reader, self.fit.upscalers, self._choosing)
        except _Stopped:
            return None

    def _choosing(self, done: int, total: int) -> None:
        self.control.on_progress(0, self.total)
        if self.control.stop.is_set():
            raise _Stopped

    def measure(self, measuring: Measuring) -> Measured | None:
        """Return the figures of all slices; None if it was stopped. Fills the LR on the way."""
        told = -SECONDS_PER_FIGURES
        while self.hr or self.of_lr:
            if self.control.stop.is_set():
                self.control.report(FiguresSoFar(measuring.result()))
                return None
            z, k = self._nearest(self.hr), self._nearest(self.of_lr, self.factor)
            if k is not None and (z is None or self._away(k, self.factor) <= self._away(z)):
                self._fill(k)
                measuring.add_lr([k])
                self.of_lr.remove(k)
            elif z is not None:
                measuring.add_hr([z])
                self.hr.remove(z)
            left, now = len(self.hr) + len(self.of_lr), time.perf_counter()
            self.control.on_progress(self.total - left, self.total)
            if now - told >= SECONDS_PER_FIGURES and 0 < left < self.total - 1:
                told = now
                self.control.report(FiguresSoFar(measuring.result()))
        return measuring.result()

    def fill_lr_in_view(self) -> None:
        """Fill the slice of the LR that is in view."""
        k = self._nearest(self.unfilled, self.factor)
        if k is not None:
            self._fill(k)

    def fill_lr(self) -> None:
        """Fill what is left of the LR."""
        while self.unfilled:
            self.control.check()
            self.fill_lr_in_view()

    def _fill(self, k: int) -> None:
        if k in self.unfilled:
            assert self.lr is not None
            self.lr[k] = self.fit.reader.plane(k, "lr")
            self.unfilled.remove(k)
            self.control.report(LrSlice(k))

    def _nearest(self, left: set[int], factor: float = 1.0) -> int | None:
        return min(left, key=lambda z: (self._away(z, factor), z), default=None)

    def _away(self, z: int, factor: float = 1.0) -> float:
        """Return how far a slice of a grid is from the one in view, in slices of the original."""
        return abs((z + 0.5) * factor - 0.5 - self.control.z)


class _Stopped(Exception):  # noqa: N818, it is no error
    """The figures are not wanted any more; never leaves this module."""


def named(inr: InrVolume, upscaler: Upscaler) -> InrVolume:
    """Return a fit as another upscaler restores it, whose quality is not measured yet."""
    ref = UpscalerRef(name=upscaler.name, sha256=upscaler.sha256)
    return inr if inr.upscaler == ref else replace(inr, upscaler=ref, quality=None)


def measure(
    control: Control,
    volume: Volume,
    inr: InrVolume,
    upscaler: Upscaler | None,
    *,
    device: Device,
    window: Window,
) -> Measured:
    """Compare an `.inr` with its original through a window, slice by slice; reports Done.

    It is decoded by the upscaler, or by Lanczos. Raises VolumeError if the volume is not of the original's
    shape.
    """
    from ... import measuring
    from ...reader import Reader

    reader = Reader(inr, upscaler, device=device)
    return measuring.measure(volume, reader, window=window, on_slices=control.on_progress)


def difference(control: Control, volume: Volume, voxels: NDArray[Any], start: int = 0) -> NDArray[Any]:
    """Return what lies over slices of a volume from `start` on, minus it: (z, y, x), in the volume's units.

    It is 0 where nothing was measured.
    """
    whole = all(one.dtype.kind in "iu" and one.dtype.itemsize <= 2 for one in (volume, voxels))
    shape = (len(voxels), *volume.shape[1:])
    error = new_voxels(shape, np.int32 if whole else np.float32)
    for z in range(len(error)):
        control.on_progress(z + 1, len(error))
        plane = np.asarray(voxels[z])
        np.subtract(plane, volume.plane(start + z), out=error[z], dtype=error.dtype, casting="unsafe")
        measured = volume.measured(start + z)
        if measured is not None:
            error[z][~measured] = 0
    return error


def lr_difference(control: Control, volume: Volume, voxels: NDArray[Any], factor: Triple) -> NDArray[Any]:
    """Return an LR minus the volume's own by this factor, (z, y, x) in its units; 0 in the padding."""
    own = low_res(volume, factor)
    control.check()
    error: NDArray[Any] = np.asarray(voxels, dtype=np.float32) - own.voxels
    if own.counted is not None:
        error[~own.counted] = 0
    return error
