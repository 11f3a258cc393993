"""Fit a SIREN to each of several boxes of an LR, side by side: one generator, as that of a single fit.

Each box is fitted by itself, so its weights do not depend on how many are fitted at once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from threading import Event
from typing import TypeVar

import torch

from ...coding import range_coding
from ...coding.weights import QUANTISED
from ...compute import threads
from ...compute.device import errors_in_words
from ...core.errors import FitError
from ..base import FitProgress, FitResult
from ..psnr import measure_psnr
from ..samples import LrSamples
from .blocks import Blocks, own_coordinates, units
from .blocks_state import BlocksState, fit_of_box
from .boxes import MARGIN, UNITS, boxes_of, find_cuts
from .config import FitConfig, SirenConfig
from .fit import WAY_OUT, records
from .fit_state import FitState
from .network import Siren
from .sampling import importance

R = TypeVar("R")
Together = Callable[[Sequence[Callable[[], R]]], list[R]]
BoxFit = Generator[FitProgress, None, FitResult]


def fit_blocks(
    samples: LrSamples,
    siren_config: SirenConfig,
    config: FitConfig,
    device: torch.device,
    stop: Event | None = None,
    resume: BlocksState | None = None,
) -> Generator[FitProgress, None, FitResult]:
    """Fit a network to each box; see `fields.siren.fit.fit`, of which this does the same.

    Where the cuts lie follows from the samples. Steps are told in the mean of the boxes. Raises FitError also
    if the LR is too small for so many boxes.
    """
    with errors_in_words(device, WAY_OUT.format(config.batch)):
        if resume is not None:
            resume.check(siren_config, config, samples.factor, device.type)
            siren_config = resume.field
        else:
            siren_config = with_cuts(siren_config, samples)
        return (yield from _BlocksFit(samples, siren_config, config, device, stop, resume).run())


def with_cuts(siren: SirenConfig, samples: LrSamples) -> SirenConfig:
    """Return the settings with the cuts that suit an LR: boxes in each of which there is as much to fit."""
    voxels = samples.intensity.view(samples.shape).cpu().numpy()
    places = [units(axis) for axis in samples.axes]
    cuts = [
        (axis, round((places[axis][before - 1] + places[axis][before]) / 2))
        for axis, before in find_cuts(importance(voxels), siren.boxes)
    ]
    z, y, x = (min(math.ceil(MARGIN * 2 * along[0]), UNITS - 1) for along in places)  # from face to centre
    return replace(siren, cuts=tuple(cuts), margins=(z, y, x))


class _BlocksFit:
    """The fits of all boxes, and what is known of each."""

    def __init__(
        self,
        samples: LrSamples,
        siren_config: SirenConfig,
        config: FitConfig,
        device: torch.device,
        stop: Event | None,
        resume: BlocksState | None,
    ) -> None:
        self.started = time.perf_counter() - (0.0 if resume is None else resume.seconds)
        self.samples, self.siren, self.config, self.device = samples, siren_config, config, device
        states = resume.boxes if resume is not None else (None,) * siren_config.boxes
        parts = parts_of(samples, siren_config)
        self.voxels = [len(part) if part.counted is None else len(part.counted) for part in parts]
        self.fits: list[BoxFit] = [
            records(part, siren_config.of_a_box, fit_of_box(config, box), device, stop, state)
            for box, (part, state) in enumerate(zip(parts, states, strict=True))
        ]
        self.latest: list[FitProgress | None] = [None] * siren_config.boxes
        self.results: list[FitResult | None] = [None] * siren_config.boxes
        self.before = states

    @property
    def seconds(self) -> float:
        """Spent on it, interruptions left out."""
        return time.perf_counter() - self.started

    def run(self) -> Generator[FitProgress, None, FitResult]:
        """Fit all boxes, those behind the others first; yields records and returns the result."""
        with _side_by_side(self.device, self.siren.boxes) as (at_once, together):
            while left := [box for box, result in enumerate(self.results) if result is None]:
                turn = sorted(left, key=self._step)[:at_once]
                together([partial(self._advance, box) for box in turn])
                if all(record is not None for record in self.latest):
                    yield self._progress()
        return self._result()

    def _advance(self, box: int) -> None:
        try:
            self.latest[box] = next(self.fits[box])
        except StopIteration as end:
            self.results[box] = end.value

    def _step(self, box: int) -> int:
        record = self.latest[box]
        return 0 if record is None else record.step

    def _progress(self) -> FitProgress:
        latest = [record for record in self.latest if record is not None]
        count = len(latest)
        done, whole = sum(record.step for record in latest), sum(record.steps for record in latest)
        seconds = self.seconds
        return FitProgress(
            step=done // count,
            steps=whole // count,
            loss=sum(record.loss for record in latest) / count,
            psnr=self._joint_psnr([record.psnr for record in latest]),
            seconds=seconds,
            seconds_left=seconds / done * (whole - done),
            field=self._field([record.field for record in latest]),
            state=self._state,
        )

    def _joint_psnr(self, psnrs: Sequence[float]) -> float:
        """Return the PSNR of all boxes, given that of each; 0 before each has been followed."""
        if 0.0 in psnrs:
            return 0.0
        shares = [voxels * 10 ** (-psnr / 10) for voxels, psnr in zip(self.voxels, psnrs, strict=True)]
        return -10 * math.log10(max(sum(shares) / sum(self.voxels), 1e-15))

    def _field(self, fields: Sequence[object]) -> Blocks:
        sirens = [field for field in fields if isinstance(field, Siren)]
        return Blocks(self.siren, sirens)

    def _state(self) -> BlocksState:
        boxes: list[FitState | None] = []
        for before, record in zip(self.before, self.latest, strict=True):
            now = before if record is None else record.state()
            boxes.append(now if isinstance(now, FitState) else None)
        return BlocksState(
            field=self.siren,
            fit=self.config,
            factor=self.samples.factor,
            device=self.device.type,
            seconds=self.seconds,
            boxes=tuple(boxes),
        )

    def _result(self) -> FitResult:
        results = [result for result in self.results if result is not None]
        stopped = any(result.stopped for result in results)
        begun = min(result.steps for result in results) > 0
        field = self._field([result.field for result in results])
        shapes = [layout.row_shape for layout in self.siren.of_a_box.layouts.values()]
        tensors = [tensor for result in results for tensor in range_coding.decode(result.payload, shapes)]
        measured = field.to(self.samples.intensity.device)
        psnr = measure_psnr(measured, self.samples)
        if not math.isfinite(psnr):
            raise FitError("the fit diverged: its best weights give NaN or infinity; start over")
        return FitResult(
            field=field.to(torch.device("cpu")),
            config=self.siren,
            payload=range_coding.encode(tensors),
            coding=QUANTISED,
            steps=sum(result.steps for result in results) // len(results) if begun else 0,
            psnr=psnr,
            seconds=self.seconds,
            stopped=stopped,
            state=self._state() if stopped else None,
        )


def parts_of(samples: LrSamples, siren: SirenConfig) -> list[LrSamples]:
    """Return the voxels of each box, margins included."""
    parts = []
    for box in boxes_of(siren.cuts):
        region, axes = [], []
        for axis, coordinates in enumerate(samples.axes):
            low, high = (2 * place / UNITS - 1 for place in box.reach(axis, siren.margins))
            inside = ((coordinates >= low) & (coordinates <= high)).nonzero()[:, 0]
            first, last = int(inside[0]), int(inside[-1]) + 1
            region.append(slice(first, last))
            axes.append(own_coordinates(coordinates[first:last], box, axis, siren.margins))
        z, y, x = region
        parts.append(samples.part((z, y, x), axes))
    return parts


@contextmanager
def _side_by_side(device: torch.device, boxes: int) -> Iterator[tuple[int, Together[None]]]:
    """Give how many boxes are fitted at once, and what does it: on a CPU as many as there are threads."""
    if device.type != "cpu":
        yield 1, lambda pieces: [piece() for piece in pieces]
        return
    with threads.lanes(boxes) as together:
        yield min(boxes, threads.count()), together
