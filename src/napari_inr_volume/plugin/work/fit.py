"""A fit in the background: what `session.run` yields, as records that the window can show without torch."""

from __future__ import annotations

import math
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import FitError, InrError
from ...core.memory import available
from ...inr_volume import InrVolume
from ..job import Control
from .exact import one_at_a_time, with_exact
from .measure import Decoding, FitMeasured
from .previews import PREVIEW_SHARE, Preview, Previews
from .threads import leave_a_core

if TYPE_CHECKING:
    from ... import session
    from ...core.volume import Volume
    from ...fields.base import FitProgress, FitState
    from ...fields.settings import Settings
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
    seconds_left: float | None  # until the fit has its result, previews counted; None before it is known
    preview: Preview | None


@dataclass(frozen=True)
class NotKept:
    """Where the fit stands could not be kept for another day; it continues."""

    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A fit that has ended, not decoded or measured yet: whatever comes of that, it can be used and saved."""

    inr: InrVolume
    file_bytes: int  # once it is saved
    model_bytes: int  # of the upscaler's weights
    state: FitState | None  # what to resume from, if it was stopped
    decoding: Decoding


@dataclass(frozen=True, kw_only=True, eq=False)
class FitOutcome:
    """A fit for a target PSNR with its figures."""

    found: FitMeasured
    missed: str | None  # why the target was missed, in a sentence


def fit(
    control: Control,
    volume: Volume,
    request: Request,
    *,
    seconds_per_preview: float = SECONDS_PER_PREVIEW,
    resume: FitState | Kept | InrVolume | None = None,
    keep: bool = False,
) -> None:
    """Fit a network to a volume; for a target PSNR measure it, and where that was missed fit a larger one.

    Reports FitReport and at most one NotKept, then Fitted; for a target PSNR also Done while it is measured
    and FitOutcome, and before each larger network NextTry. If an exact layer is asked for, ExactReport and
    ExactAdded follow, of a fit that was stopped too; stopped then, it ends without that layer.
    `resume` is where a stopped fit of the same volume and settings stood; or a network, which is only
    reported. With `keep` the state is kept once a minute and when the fit is stopped, for when napari runs
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
            on_slices=fitting.on_slices,
        )
        with suppress(_Enough), closing(running):
            for record in running:
                fitting.show(record)
        fitting.add_exact(request.max_error)
    finally:
        one_at_a_time.release()


class _Enough(Exception):  # noqa: N818, it is no error
    """What is left need not be done before the fit is used; never leaves this module."""


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
        self.measuring = request.target.kind == "psnr"  # which says whether a larger network is needed
        self.inr: InrVolume | None = None  # once it is fitted
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
            preview = self.previews.next(record.field, record.loss)
            if self.control.is_time(last=preview is not None or record.step == record.steps):
                self.control.report(self._report(record, preview))
            self.idle += self.control.wait_while_paused()

    def _report(self, progress: FitProgress, preview: Preview | None) -> FitReport:
        seconds, left = progress.seconds - self.idle, progress.seconds_left
        fitting = max(seconds - self.previews.seconds, seconds * (1 - PREVIEW_SHARE))
        return FitReport(
            step=progress.step,
            steps=progress.steps,
            loss=progress.loss,
            psnr=progress.psnr,
            seconds=seconds,
            seconds_left=None if left is None else left * seconds / fitting,
            preview=preview,
        )

    def keep(self, state: FitState) -> None:
        """Keep where the fit stands. Raises InrError if that cannot be saved."""
        from .. import kept_fits

        assert self.name is not None
        kept_fits.keep(self.name, self.settings, replace(state, seconds=state.seconds - self.idle))

    def on_slices(self, done: int, total: int) -> None:
        """Report how far the measuring for a target PSNR is; stopped, it ends the search for that."""
        self.control.on_progress(done, total)
        if self.control.stop.is_set():
            raise _Enough

    def _show_fitted(self, fitted: session.Fitted) -> None:
        """Report the network, and keep it if nothing is left to fit."""
        from ...io.inr_file import packed_size
        from .. import kept_fits, unsaved

        inr, state = fitted.inr, None if fitted.result is None else fitted.result.state
        if self.name is not None and state is None:
            with suppress(InrError):  # a full disk must not end the fit
                unsaved.keep(self.name, inr)
                kept_fits.forget(self.name)
        if state is not None:
            state = replace(state, seconds=state.seconds - self.idle)
        stopped = self.control.stop.is_set()
        self.control.stop.clear()  # from now on it ends the measuring, and the exact layer
        fitted.reader.keep(*room_for(inr))
        self.inr = inr
        self.control.report(
            Fitted(
                inr=inr,
                file_bytes=packed_size(inr),
                model_bytes=fitted.model_bytes,
                state=state,
                decoding=Decoding(reader=fitted.reader, upscalers=fitted.upscalers, lrs=fitted.lrs),
            )
        )
        if stopped or not self.measuring:
            raise _Enough

    def _show_compressed(self, made: session.Compressed) -> None:
        from ...io.inr_file import packed_size

        assert made.measured is not None
        self.inr = made.inr
        found = FitMeasured(
            inr=made.inr,
            file_bytes=packed_size(made.inr),
            upscaler=made.choice.upscaler,
            measured=made.measured,
            choice=made.choice.words,
        )
        self.control.report(FitOutcome(found=found, missed=made.missed))

    def add_exact(self, max_error: float | None) -> None:
        """Add the exact layer that is asked for to what was fitted, unless that is stopped."""
        assert self.inr is not None
        if max_error is not None and (self.inr.exact is None or self.inr.exact.max_error != max_error):
            with_exact(self.control, self.volume, self.inr, max_error, keep=self.name is not None)


def room_for(inr: InrVolume) -> tuple[int, int]:
    """Return how many bytes of decoded LR and HR slices to keep: all, if that leaves most of the memory."""
    from ...reader import CACHE_BYTES

    depth, (lr_depth, *lr_plane) = inr.geometry.shape[0], inr.lr_shape
    lr_bytes = max(depth, lr_depth) * math.prod(lr_plane) * np.dtype(np.float32).itemsize
    hr_bytes = math.prod(inr.geometry.shape) * np.dtype(inr.dtype).itemsize
    left = available() // 2
    if lr_bytes + 2 * hr_bytes <= left:  # by a network, and by Lanczos beside it
        return lr_bytes, hr_bytes
    return (lr_bytes if lr_bytes <= left else CACHE_BYTES), CACHE_BYTES
