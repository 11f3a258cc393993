"""A fit in the background: what `session.run` yields, as records that the window can show without torch."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.errors import FitError, InrError
from ...core.generators import drain
from ...inr_volume import InrVolume
from ..job import Control
from .exact import one_at_a_time, with_exact
from .previews import Preview, Previews
from .threads import leave_a_core

if TYPE_CHECKING:
    from ... import session
    from ...core.volume import Volume
    from ...fields.base import FitProgress, FitState
    from ...fields.settings import Settings
    from ...measuring import Measured
    from ...planning import Plan
    from ...session import Request
    from ..kept_fits import Kept

SECONDS_PER_PREVIEW = 0.5  # unless the settings say otherwise


@dataclass(frozen=True, kw_only=True)
class NextTry:
    """A fit fell short of the PSNR that was asked for: a larger network is fitted next."""

    plan: Plan
    reached: float  # dB (range) of the reconstruction


@dataclass(frozen=True, kw_only=True, eq=False)
class FitReport:
    """Where a fit stands, without the network."""

    step: int
    steps: int
    loss: float
    psnr: float  # dB (range) of the LR; 0 before it was followed first
    seconds: float  # of fitting, pauses not counted
    seconds_left: float
    preview: Preview | None


@dataclass(frozen=True)
class NotKept:
    """Where the fit stands could not be kept for another day; it continues."""

    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A fit that has ended, not decoded or measured yet: whatever comes of that, it can be saved."""

    inr: InrVolume
    file_bytes: int  # once it is saved
    model_bytes: int  # of the upscaler's weights
    state: FitState | None  # what to resume from, if it was stopped


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedLr:
    """The LR of a fit that has ended, as it decodes from the coded weights."""

    voxels: NDArray[np.float32]  # (z, y, x)


@dataclass(frozen=True, kw_only=True, eq=False)
class FitOutcome:
    """A fit with its figures."""

    inr: InrVolume  # with its quality
    file_bytes: int  # once it is saved
    model_bytes: int  # of the weights of the upscaler that it names
    measured: Measured
    missed: str | None  # why the target was missed, in a sentence
    choice: str | None  # why it does not name the usual upscaler, in a sentence


def fit(
    control: Control,
    volume: Volume,
    request: Request,
    *,
    seconds_per_preview: float = SECONDS_PER_PREVIEW,
    resume: FitState | Kept | InrVolume | None = None,
    keep: bool = False,
) -> FitOutcome:
    """Fit a network and measure it, and where a target PSNR was missed a larger one; returns the last.

    Reports FitReport and at most one NotKept, then Fitted, Done while it decodes, DecodedLr, Done and
    FitOutcome; before each larger network NextTry. If an exact layer is asked for, ExactReport and
    ExactAdded follow, of a fit that was stopped too; stopped then, it ends without that layer.
    `resume` is where a stopped fit of the same volume and settings stood; or a network, which is decoded and
    measured. With `keep` the state is kept once a minute and when the fit is stopped, for when napari runs
    again; of a fit that ends by itself the network is kept until it is saved.
    Raises FitError, as `session.run` does, and while another panel's fit is running.
    """
    from ... import session

    if not one_at_a_time.acquire(blocking=False):
        raise FitError("another fit is running in this napari; stop it, or wait until it has ended")
    try:
        leave_a_core()
        fitting = _Fitting(control, volume, request, seconds_per_preview, keep)
        running = session.run(
            volume,
            replace(request, max_error=None),  # which is made here, of a fit that was stopped too
            stop=control.stop,
            drop=control.drop,
            resume=_where_it_stood(resume),
            keep=fitting.keep if keep else None,
            on_slices=control.on_progress,
        )
        drain(running, fitting.show)
        return fitting.with_exact(request.max_error)
    finally:
        one_at_a_time.release()


def _where_it_stood(resume: FitState | Kept | InrVolume | None) -> FitState | InrVolume | None:
    from .. import kept_fits

    return kept_fits.load(resume) if isinstance(resume, kept_fits.Kept) else resume


class _Fitting:
    """Turns what `session.run` yields into reports, and keeps what can be continued another day."""

    def __init__(
        self, control: Control, volume: Volume, request: Request, interval: float, keep: bool
    ) -> None:
        from .. import kept_fits

        self.control = control
        self.volume = volume
        self.interval = interval  # seconds between previews
        self.name = kept_fits.identity(volume) if keep else None
        self.outcome: FitOutcome | None = None
        self._begin(request.settings)

    def _begin(self, settings: Settings) -> None:
        self.settings = settings
        self.previews = Previews(self.volume, settings, self.control, self.interval)
        self.idle = 0.0  # seconds of pauses

    def show(self, record: session.Record) -> None:
        """Report what was yielded."""
        from ... import session
        from ...fields.base import FitProgress

        self.control.check()
        if isinstance(record, session.Looking):
            self.control.on_progress(record.done, record.total)
        elif isinstance(record, session.Planned):
            self._begin(record.plan.settings)
            if record.reached is not None:
                self.control.report(NextTry(plan=record.plan, reached=record.reached))
        elif isinstance(record, session.NotKept):
            self.control.report(NotKept(record.reason))
        elif isinstance(record, session.Fitted):
            self._show_fitted(record)
        elif isinstance(record, session.Compressed):
            self._show_compressed(record)
        elif isinstance(record, FitProgress):
            self.control.report(_report(record, self.idle, self.previews.next(record.field)))
            self.idle += self.control.wait_while_paused()

    def keep(self, state: FitState) -> None:
        """Keep where the fit stands. Raises InrError if that cannot be saved."""
        from .. import kept_fits

        assert self.name is not None
        kept_fits.keep(self.name, self.settings, replace(state, seconds=state.seconds - self.idle))

    def _show_fitted(self, fitted: session.Fitted) -> None:
        """Report the network, keep it if nothing is left to fit, and decode its LR."""
        from ...io.inr_file import packed_size
        from .. import kept_fits, unsaved
        from ..layers import new_voxels

        inr, state = fitted.inr, None if fitted.result is None else fitted.result.state
        if self.name is not None and state is None:
            with suppress(InrError):  # a full disk must not end the fit
                unsaved.keep(self.name, inr)
                kept_fits.forget(self.name)
        if state is not None:
            state = replace(state, seconds=state.seconds - self.idle)
            self.control.stop.clear()  # from now on it ends the exact layer
        size = packed_size(inr)
        self.control.report(Fitted(inr=inr, file_bytes=size, model_bytes=fitted.model_bytes, state=state))
        lr = new_voxels(inr.lr_shape, np.float32)
        for z, plane in fitted.reader.slices("lr"):
            self.control.on_progress(z, len(lr))
            lr[z] = plane
        self.control.report(DecodedLr(voxels=lr))

    def _show_compressed(self, made: session.Compressed) -> None:
        from ...io.inr_file import packed_size

        self.outcome = FitOutcome(
            inr=made.inr,
            file_bytes=packed_size(made.inr),
            model_bytes=made.fitted.model_bytes,
            measured=made.measured,
            missed=made.missed,
            choice=made.choice.words,
        )
        self.control.report(self.outcome)

    def with_exact(self, max_error: float | None) -> FitOutcome:
        """Return what was fitted, with the exact layer that is asked for, unless that was stopped."""
        assert self.outcome is not None
        inr = self.outcome.inr
        if max_error is None or (inr.exact is not None and inr.exact.max_error == max_error):
            return self.outcome
        added = with_exact(self.control, self.volume, inr, max_error, keep=self.name is not None)
        if added is None:
            return self.outcome
        return replace(self.outcome, inr=added.inr, file_bytes=added.file_bytes)


def _report(progress: FitProgress, idle: float, preview: Preview | None) -> FitReport:
    seconds = progress.seconds - idle
    return FitReport(
        step=progress.step,
        steps=progress.steps,
        loss=progress.loss,
        psnr=progress.psnr,
        seconds=seconds,
        seconds_left=seconds / progress.step * (progress.steps - progress.step),
        preview=preview,
    )
