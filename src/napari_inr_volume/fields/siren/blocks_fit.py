"""Fit a SIREN to each of several boxes of an LR, side by side: one generator, as that of a single fit.

Each box is fitted by itself, so its weights do not depend on how many are fitted at once. Only where there
are threads for two or more in each box do they depend on the threads, as those of a single fit. Elsewhere
each has as many as it would have here, so its weights are the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from threading import Event

import torch

from ...coding import range_coding
from ...coding.weights import QUANTISED
from ...compute import threads
from ...compute.device import errors_in_words
from ...core.errors import FitError
from ...core.place import Place
from ..base import FitProgress, FitResult
from ..psnr import measure_psnr
from ..samples import LrSamples
from .blocks import Blocks, own_coordinates, units
from .blocks_state import BlocksState, fit_of_box
from .boxes import MARGIN, UNITS, boxes_of, find_cuts
from .config import FitConfig, SirenConfig
from .elsewhere import records_elsewhere
from .fit import WAY_OUT, records
from .fit_state import FitState
from .network import Siren
from .sampling import importance, run_of

SOME_VOXELS = 2**16  # by which a look at all boxes is timed


@dataclass(frozen=True)
class SideBySide:
    """How boxes are fitted at the same time."""

    at_once: Callable[[], int]  # how many
    together: Callable[[Sequence[Callable[[], None]]], object]  # advances so many to their next records
    fitting: Callable[..., Generator[FitProgress, None, FitResult]]  # begins the fit of one, as `fit.records`


def fit_blocks(
    samples: LrSamples,
    siren_config: SirenConfig,
    config: FitConfig,
    device: torch.device,
    stop: Event | None = None,
    resume: BlocksState | None = None,
    place: Place | None = None,
) -> Generator[FitProgress, None, FitResult]:
    """Fit a network to each box; see `fields.siren.fit.fit`, of which this does the same.

    Where the cuts lie follows from the samples. Steps are told in the mean of the boxes. Boxes are fitted at
    `place`, on its device, or here. Raises FitError also if the LR is too small for so many boxes.
    """
    device = device if place is None else torch.device(place.device)
    with errors_in_words(device, WAY_OUT.format(config.batch)):
        blocks = with_cuts(siren_config, samples)
        if resume is not None:
            resume.check(blocks, config, samples.factor, device.type)
        lanes = _side_by_side(device, blocks.boxes) if place is None else _elsewhere(place, blocks.boxes)
        with lanes as side_by_side:
            return (yield from _BlocksFit(samples, blocks, config, device, stop, resume, side_by_side).run())


def with_cuts(siren: SirenConfig, samples: LrSamples) -> SirenConfig:
    """Return the settings with the cuts that suit an LR: boxes in each of which there is as much to fit."""
    places = [units(axis) for axis in samples.axes]
    cuts = [
        (axis, round((places[axis][before - 1] + places[axis][before]) / 2))
        for axis, before in find_cuts(importance(samples), siren.boxes, run_of(samples))
    ]
    z, y, x = (min(math.ceil(MARGIN * 2 * along[0]), UNITS - 1) for along in places)  # from face to centre
    return replace(siren, cuts=tuple(cuts), margins=(z, y, x))


class _BoxFit:
    """The fit of one box, and what is known of it."""

    def __init__(
        self, voxels: int, fitting: Generator[FitProgress, None, FitResult], resume: FitState | None
    ) -> None:
        self.voxels = voxels  # that count
        self.record: FitProgress | None = None  # the latest
        self.result: FitResult | None = None
        self._kept = resume  # where it stood when it began, or when it ended
        self._records = fitting

    @property
    def step(self) -> int:
        """Steps done."""
        if self.record is not None:
            return self.record.step
        return 0 if self._kept is None else self._kept.step

    @property
    def steps(self) -> int:
        """Steps in all."""
        return self.step if self.record is None else self.record.steps

    @property
    def psnr(self) -> float:
        """PSNR of the box in dB (range); 0 before it is known."""
        if self.result is not None:
            return self.result.psnr
        return 0.0 if self.record is None else self.record.psnr

    @property
    def seconds_left(self) -> float | None:
        """How long it takes by itself; None before that is known."""
        if self.result is not None:
            return 0.0
        return None if self.record is None else self.record.seconds_left

    @property
    def field(self) -> Siren | None:
        """Its network as it is now; None before its first record."""
        latest = self.result or self.record
        return latest.field if latest is not None and isinstance(latest.field, Siren) else None

    @property
    def state(self) -> FitState | None:
        """What to resume from; None if it has not begun."""
        if self.result is None and self.record is not None:
            return _of_siren(self.record.state())
        return self._kept

    def advance(self) -> None:
        """Go on to the next record, or to the result."""
        try:
            self.record = next(self._records)
        except StopIteration as end:
            self.result = end.value
            self._kept = _of_siren(end.value.state) or self._kept
        else:
            if self.record.step == self.record.steps:
                self._kept = _of_siren(self.record.state())  # its result will have other weights: the best


class _BlocksFit:
    """The fits of all boxes."""

    def __init__(
        self,
        samples: LrSamples,
        siren_config: SirenConfig,
        config: FitConfig,
        device: torch.device,
        stop: Event | None,
        resume: BlocksState | None,
        side_by_side: SideBySide,
    ) -> None:
        self.started = time.perf_counter() - (0.0 if resume is None else resume.seconds)
        self.samples, self.siren, self.config, self.device = samples, siren_config, config, device
        self.side_by_side = side_by_side
        self.look: float | None = None  # seconds at all boxes together, once they can be timed
        states = (None,) * siren_config.boxes if resume is None else resume.boxes
        self.boxes = [
            _BoxFit(
                part.count,
                side_by_side.fitting(
                    part, siren_config.networks[box], fit_of_box(config, box), device, stop, state
                ),
                state,
            )
            for box, (part, state) in enumerate(zip(parts_of(samples, siren_config), states, strict=True))
        ]

    @property
    def seconds(self) -> float:
        """Spent on it, interruptions left out."""
        return time.perf_counter() - self.started

    def run(self) -> Generator[FitProgress, None, FitResult]:
        """Fit all boxes, those that are behind first; yields records and returns the result."""
        while left := [box for box in self.boxes if box.result is None]:
            left.sort(key=lambda box: box.step)
            self.side_by_side.together([box.advance for box in left[: self.side_by_side.at_once()]])
            if all(box.field is not None for box in self.boxes):
                yield self._progress()
        return self._result()

    def _progress(self) -> FitProgress:
        count = len(self.boxes)
        done, whole = sum(box.step for box in self.boxes), sum(box.steps for box in self.boxes)
        losses = [box.record.loss for box in self.boxes if box.record is not None]
        return FitProgress(
            step=done // count,
            steps=whole // count,
            loss=sum(losses) / max(len(losses), 1),
            psnr=self._joint_psnr(),
            seconds=self.seconds,
            seconds_left=self._seconds_left(),
            field=self._field(),
            state=self._state,
        )

    def _seconds_left(self) -> float | None:
        """Return how long all boxes take, as many at once as there are threads, and a look at all of them."""
        left = [box.seconds_left for box in self.boxes]
        known = [seconds for seconds in left if seconds is not None]
        if len(known) < len(left):
            return None
        if self.look is None:
            self.look = self._timed_look()
        return sum(known) / self.side_by_side.at_once() + self.look

    def _timed_look(self) -> float:
        """Return how long it takes to evaluate all boxes together, by some voxels in the middle."""
        some = min(len(self.samples), SOME_VOXELS)
        first = (len(self.samples) - some) // 2
        index = torch.arange(first, first + some, device=self.samples.device)
        field = self._field().to(self.samples.device)
        for _ in range(2):  # the first may load compiled functions
            began = time.perf_counter()
            measure_psnr(field, self.samples, index)
            seconds = time.perf_counter() - began
        return seconds * len(self.samples) / some

    def _joint_psnr(self) -> float:
        """Return the PSNR of all boxes, given that of each; 0 before each has been followed."""
        if any(box.psnr == 0 for box in self.boxes):
            return 0.0
        squares = sum(box.voxels * 10 ** (-box.psnr / 10) for box in self.boxes)
        return -10 * math.log10(max(squares / sum(box.voxels for box in self.boxes), 1e-15))

    def _field(self) -> Blocks:
        return Blocks(self.siren, [box.field for box in self.boxes if box.field is not None])

    def _state(self) -> BlocksState:
        return BlocksState(
            field=self.siren,
            fit=self.config,
            factor=self.samples.factor,
            device=self.device.type,
            seconds=self.seconds,
            boxes=tuple(box.state for box in self.boxes),
        )

    def _result(self) -> FitResult:
        results = [box.result for box in self.boxes if box.result is not None]
        field = self._field()
        psnr = measure_psnr(field.to(self.samples.device), self.samples)
        if not math.isfinite(psnr):
            raise FitError("the fit diverged: its best weights give NaN or infinity; start over")
        tensors = [
            tensor
            for result, network in zip(results, self.siren.networks, strict=True)
            for tensor in range_coding.decode(
                result.payload, [layout.row_shape for layout in network.layouts.values()]
            )
        ]
        stopped = any(result.stopped for result in results)
        begun = all(result.steps > 0 for result in results)
        return FitResult(
            field=field.to(torch.device("cpu")),
            config=self.siren,
            payload=range_coding.encode(tensors),
            coding=QUANTISED,
            steps=max(sum(result.steps for result in results) // len(results), 1) if begun else 0,
            psnr=psnr,
            seconds=self.seconds,
            stopped=stopped,
            state=self._state() if stopped else None,
        )


def _of_siren(state: object) -> FitState | None:
    return state if isinstance(state, FitState) else None


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
def _side_by_side(device: torch.device, boxes: int) -> Iterator[SideBySide]:
    """Fit boxes here, on a CPU as many at once as there are threads."""
    if device.type != "cpu":
        yield SideBySide(lambda: 1, lambda advances: [advance() for advance in advances], records)
        return
    with threads.lanes(boxes) as together:
        yield SideBySide(lambda: min(boxes, threads.count()), together, records)


@contextmanager
def _elsewhere(place: Place, boxes: int) -> Iterator[SideBySide]:
    """Fit boxes at a place, each with as many threads as it would have here."""
    count = threads.count() // min(boxes, threads.count())
    # Threads that wait; they are let go before they are waited for.
    with ThreadPoolExecutor(boxes, "boxes") as waiting, place.pieces(fitting=True) as pieces:

        def together(advances: Sequence[Callable[[], None]]) -> None:
            for future in [waiting.submit(advance) for advance in advances]:
                future.result()

        yield SideBySide(
            lambda: min(boxes, pieces.at_once), together, partial(records_elsewhere, pieces, count)
        )
