"""The fit of a box on another machine: in rounds, each from where the last one ended to where it stands then.

A round is a function of the box's voxels and of a state, so one whose machine was lost is done again on
another, to the same weights; and the state comes back often enough to be kept.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from concurrent.futures import wait
from dataclasses import dataclass, replace
from threading import Event

import torch

from ...compute import threads
from ...core.place import Caller, Pieces
from ..base import FitProgress, FitResult
from ..samples import LrSamples
from .config import FitConfig, SirenConfig
from .fit import records
from .fit_state import FitState, from_bytes, to_bytes
from .network import Siren

LEAST, MOST = 1.0, 30.0  # seconds of a round: as long as the fit took so far
SECONDS_PER_LOOK = 0.2  # at whether to stop


@dataclass(frozen=True, kw_only=True)
class Round:
    """Where a box's fit stands after a round."""

    state: bytes | None  # None: it was stopped before its first step
    loss: float
    steps: int  # in all
    seconds_left: float | None
    psnr: float
    result: FitResult | None  # once it has ended


def records_elsewhere(
    pieces: Pieces,
    count: int,
    samples: LrSamples,
    siren: SirenConfig,
    config: FitConfig,
    device: torch.device,
    stop: Event | None,
    resume: FitState | None,
) -> Generator[FitProgress, None, FitResult]:
    """Do what `fit.records` does, at `pieces`, with `count` threads; yields a record after each round."""
    state = None if resume is None else to_bytes(resume)
    sent = samples.portable()
    while True:
        future = pieces.submit(fit_round, sent, siren, config, device.type, count, state)
        while not wait([future], SECONDS_PER_LOOK).done:
            samples.raise_if_dropped()
            if stop is not None and stop.is_set():
                pieces.stop()
        done = future.result()
        state = done.state
        if state is not None:
            yield _progress(done, from_bytes(state))
        if done.result is not None:
            kept = from_bytes(state) if done.result.stopped and state is not None else None
            return replace(done.result, state=kept)


def _progress(done: Round, state: FitState) -> FitProgress:
    field = Siren(state.field)
    field.load_state_dict(state.weights)
    return FitProgress(
        step=state.step,
        steps=done.steps,
        loss=done.loss,
        psnr=done.psnr,
        seconds=state.seconds,
        seconds_left=done.seconds_left,
        field=field,
        state=lambda: state,
    )


def fit_round(
    samples: LrSamples,
    siren: SirenConfig,
    config: FitConfig,
    device: str,
    count: int,
    state: bytes | None,
    caller: Caller,
) -> Round:
    """Go on with a fit for a while, with `count` threads on a CPU; or to its end once nobody waits."""
    on = torch.device(device)

    def work() -> Round:
        before = None if state is None else from_bytes(state)
        left = min(max(LEAST, 0.0 if before is None else before.seconds), MOST)
        return _round(records(samples.to(on), siren, config, on, caller.gone, before), left, state)

    return threads.with_count(count, work) if on.type == "cpu" else work()


def _round(fitting: Generator[FitProgress, None, FitResult], seconds: float, before: bytes | None) -> Round:
    until, state, record = time.monotonic() + seconds, before, None
    result: FitResult | None = None
    while result is None:
        try:
            record = next(fitting)
        except StopIteration as end:
            result = end.value
            state = to_bytes(result.state) if isinstance(result.state, FitState) else state
            break
        over = time.monotonic() >= until
        if over or record.step == record.steps:  # the result will have other weights: the best
            reached = record.state()
            assert isinstance(reached, FitState)
            state = to_bytes(reached)
        if over and record.step < record.steps:
            fitting.close()
            break
    return Round(
        state=state,
        loss=0.0 if record is None else record.loss,
        steps=0 if record is None else record.steps,
        seconds_left=None if record is None else record.seconds_left,
        psnr=0.0 if record is None else record.psnr,
        result=None if result is None else replace(result, state=None),
    )
