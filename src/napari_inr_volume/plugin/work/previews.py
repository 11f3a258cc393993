"""Previews of a running fit: a few slices of the LR, as many as a share of the time allows."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.resample import lr_shape
from ...core.volume import Volume
from ...fields.settings import Settings
from ..job import Control

if TYPE_CHECKING:
    from ...fields.base import Field

PREVIEW_SHARE = 0.2  # of a fit's time that previews may take


@dataclass(frozen=True, kw_only=True, eq=False)
class Preview:
    """Some slices of the LR as the network has it by now."""

    slices: tuple[int, ...]  # of the LR, the one in view first
    voxels: NDArray[np.float32]  # (slices, y, x), in the volume's units


class Previews:
    """Makes previews by the wall clock: as many slices as a share of the time allows, those in view first."""

    def __init__(self, volume: Volume, settings: Settings, control: Control, interval: float) -> None:
        self.volume = volume
        self.factor = settings.factor
        self.control = control
        self.interval = interval  # seconds
        self.due = 0.0
        self.age = np.zeros(
            lr_shape(volume.shape, settings.factor)[0], dtype=np.int64
        )  # previews since a slice was in one

    def next(self, field: Field) -> Preview | None:
        """Return a preview if one is due and the last one was shown."""
        from ...reader import FieldGrid

        started = time.perf_counter()
        if started < self.due or not self.control.shown.is_set():
            return None
        grid = FieldGrid(field, self.volume.shape, self.factor, self.volume.intensity_range)
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
        self.due = ended + max(self.interval, (ended - started) * (1 / PREVIEW_SHARE - 1))
        return Preview(slices=tuple(slices), voxels=np.stack(planes))

    def _order(self) -> Iterable[int]:
        """Return the slice in view, then those not seen for longest, near ones first."""
        view = min(int(self.control.z / self.factor[0]), len(self.age) - 1)
        away = np.abs(np.arange(len(self.age)) - view)
        order = np.lexsort((away, -self.age, away > 0))
        return [int(z) for z in order]
