"""Previews of a running fit: a few slices of the LR, as many as a share of the time allows."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.resample import lr_shape
from ...core.volume import Volume, spread
from ...fields.settings import Settings
from ..job import Control

if TYPE_CHECKING:
    from ...fields.base import Field
    from ...reader import FieldGrid

PREVIEW_SHARE = 0.2  # of a fit's time that previews may take
SHOWN_FROM = 0.5  # of the squared error of the volume's mean: with more, there is little to see but grey
SAMPLED = 16  # slices from which the volume's mean and deviation are taken


@dataclass(frozen=True, kw_only=True, eq=False)
class Preview:
    """Some slices of the LR as the network has it by now."""

    slices: tuple[int, ...]  # of the LR along z, the one in view first
    voxels: NDArray[np.float32]  # (slices, y, x), in the volume's units
    across: (
        tuple[int, int, NDArray[np.float32]] | None
    )  # a slice in view across another axis: axis, index, 2D

    def draw(self, lr: NDArray[np.float32]) -> None:
        """Put its slices into the LR (z, y, x)."""
        lr[list(self.slices)] = self.voxels
        if self.across is not None:
            axis, index, plane = self.across
            np.moveaxis(lr, axis, 0)[index] = plane


class Previews:
    """Makes previews by the wall clock: as many slices as a share of the time allows, those in view first."""

    def __init__(self, volume: Volume, settings: Settings, control: Control, interval: float) -> None:
        self.volume = volume
        self.factor = settings.factor
        self.control = control
        self.interval = interval  # seconds
        self.due = 0.0
        self.seconds = 0.0  # spent on previews so far
        self.most = SHOWN_FROM * 4 * mean_s_error(volume)  # of the loss, which is on a scale of [-1, 1]
        self.shape = lr_shape(volume.shape, settings.factor)
        self.age = np.zeros(self.shape[0], dtype=np.int64)  # previews since a slice was in one

    def next(self, field: Field, loss: float) -> Preview | None:
        """Return a preview if one is due and the last one was shown.

        Nothing is shown before the loss is well below that of the volume's mean: it would be all grey.
        """
        from ...reader import FieldGrid

        started = time.perf_counter()
        if loss >= self.most or started < self.due or not self.control.shown.is_set():
            return None
        self.most = math.inf  # from now on each is shown, whatever its loss
        grid = FieldGrid(field, self.volume.shape, self.factor, self.volume.intensity_range)
        across = self._across(grid)
        slices, planes = [], []
        for z in self._order():
            self.control.check()
            slices.append(z)
            planes.append(grid.fitted([z])[0])
            late = time.perf_counter() - started > PREVIEW_SHARE * self.interval
            if late and len(slices) > 1:  # one beside that in view, so that in time every slice is renewed
                break
        self.age += 1
        self.age[slices] = 0
        self.control.shown.clear()
        ended = time.perf_counter()
        self.seconds += ended - started
        self.due = ended + max(self.interval, (ended - started) * (1 / PREVIEW_SHARE - 1))
        return Preview(slices=tuple(slices), voxels=np.stack(planes), across=across)

    def _across(self, grid: FieldGrid) -> tuple[int, int, NDArray[np.float32]] | None:
        """Return the slice in view, if it is one across y or x."""
        axis, index = self.control.cut or (0, 0)
        if axis == 0:
            return None
        index = min(int(index / self.factor[axis]), self.shape[axis] - 1)
        return axis, index, grid.across(axis, index)

    def _order(self) -> Iterable[int]:
        """Return the slice in view, then those not seen for longest, near ones first."""
        view = min(int(self.control.z / self.factor[0]), len(self.age) - 1)
        away = np.abs(np.arange(len(self.age)) - view)
        order = np.lexsort((away, -self.age, away > 0))
        return [int(z) for z in order]


def mean_s_error(volume: Volume) -> float:
    """Return the mean squared error of the volume's mean, in place of its voxels, from some slices.

    As a share of the squared intensity range.
    """
    parts = []
    for z in np.linspace(0, volume.shape[0] - 1, min(volume.shape[0], SAMPLED)).astype(int):
        plane, measured = volume.plane(int(z)), volume.measured(int(z))
        parts.append((plane if measured is None else plane[measured]).astype(np.float64).ravel())
    width = spread(volume.intensity_range)
    return float(np.concatenate(parts).var()) / width**2 if width else math.inf
