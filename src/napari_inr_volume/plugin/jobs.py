"""Long work off the UI thread: a `Job` runs one piece of it in a napari thread worker.

    panel --start--> Job --create_worker--> _run(work, control)    in a thread
      ^               |                        |
      +--- signals ---+<------- yielded -------+-- control.report(record)

Work is a plain function whose first argument is a `Control`: through it the panel stops it, and it reports.
It never touches a layer. Whatever happens in it, the worker's generator ends by returning: superqt swallows
a RuntimeError (which torch's out-of-memory is), and napari keeps what a worker holds that was quit.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.qt.threading import GeneratorWorker, create_worker
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from ..core.choices import Device
from ..core.errors import FitError, InrError
from ..core.windows import Window
from ..fields.settings import Settings
from ..inr_volume import InrVolume, UpscalerRef
from .notices import OUT_OF_MEMORY

if TYPE_CHECKING:
    from napari.layers import Image

    from ..codec import Measured
    from ..core.metrics import Comparison
    from ..core.volume import Volume
    from ..fields.base import Field, FitProgress, FitState
    from ..io.dicom import Broken, Listing
    from ..planning import FactorModel
    from ..superres.model_file import ModelInfo
    from ..superres.upscale import Upscaler
    from .kept_fits import Kept

SECONDS_PER_REPORT = 0.1  # of loading, decoding and measuring
SECONDS_PER_PREVIEW = 0.5  # unless the settings say otherwise
PREVIEW_SHARE = 0.2  # of a fit's time that previews may take
SECONDS_PER_KEPT = 60.0  # what closing napari during a fit loses at most
PROBE_SECONDS = 0.5  # of fitting, from which the time of a whole fit is foretold

_one_fit = Lock()  # a fit takes all the processor there is: two would be done no sooner


class Cancelled(Exception):  # noqa: N818, it is no error
    """Raised inside work that is to be dropped; never leaves this module."""


class Control:
    """What the panel and a piece of work share while it runs. Thread-safe."""

    def __init__(self) -> None:
        self.stop = Event()  # end with what there is
        self.drop = Event()  # end with nothing, and at once
        self.paused = Event()
        self.shown = Event()  # the last preview is in the viewer; no other is made before
        self.z = 0  # slice of the original that is in view
        self.renew()

    def renew(self) -> None:
        """Make ready for other work, and let go of whom the last one reported to."""
        for event in (self.stop, self.drop, self.paused):
            event.clear()
        self.shown.set()
        self.report: Callable[[object], None] = lambda record: None
        self._told = 0.0

    def check(self) -> None:
        """Raise Cancelled if the work is to be dropped."""
        if self.drop.is_set():
            raise Cancelled

    def on_progress(self, done: int, total: int) -> None:
        """Report how many of how many are done, a few times a second; raises Cancelled."""
        self.check()
        now = time.perf_counter()
        if now - self._told >= SECONDS_PER_REPORT or done == total:
            self._told = now
            self.report(Done(done, total))

    def wait_while_paused(self) -> float:
        """Return the seconds that were waited."""
        started = time.perf_counter()
        while self.paused.is_set() and not (self.stop.is_set() or self.drop.is_set()):
            time.sleep(0.02)
        return time.perf_counter() - started


class Job(QObject):
    """Runs one piece of work at a time. All signals come on the UI thread, `ended` last and always."""

    reported = Signal(object)  # a record of the work's own
    finished = Signal(object)  # what the work returned
    failed = Signal(str)  # a sentence a person can act on
    ended = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.control = Control()
        self._worker: _JobWorker | None = None
        self.destroyed.connect(self.control.drop.set)  # nobody is left to be told of the end

    @property
    def running(self) -> bool:
        """Whether work is under way."""
        return self._worker is not None

    def start(self, work: Callable[..., object], *args: Any, **kwargs: Any) -> bool:
        """Run `work(control, *args, **kwargs)` in a thread. Returns False if the job is busy."""
        if self._worker is not None:
            return False
        self.control.renew()
        self._worker = create_worker(
            _run, work, self.control, args, kwargs, _worker_class=_JobWorker, _start_thread=False
        )
        self._worker.control = self.control
        self.control.report = self._worker.yielded.emit
        self._worker.yielded.connect(self._on_yielded)
        self._worker.returned.connect(self._on_returned)
        self._worker.start()
        return True

    def stop(self) -> None:
        """Ask the work to end with what it has."""
        self.control.stop.set()

    def drop(self) -> None:
        """Ask the work to end with nothing."""
        self.control.drop.set()

    def _on_yielded(self, record: object) -> None:
        if record is not None and not self.control.drop.is_set():
            self.reported.emit(record)

    def _on_returned(self, outcome: _Outcome) -> None:
        dropped = self.control.drop.is_set()
        self._worker = None
        self.control.renew()
        if outcome.error is not None:
            self.failed.emit(outcome.error)
        elif not (outcome.cancelled or dropped):
            self.finished.emit(outcome.result)
        self.ended.emit()


class _JobWorker(GeneratorWorker):
    """A worker that ends its generator when it is to quit, as when the window closes."""

    control: Control

    def quit(self) -> None:
        self.control.drop.set()


@dataclass(frozen=True)
class _Outcome:
    result: object = None
    error: str | None = None
    cancelled: bool = False


def _run(
    work: Callable[..., object], control: Control, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Generator[None, None, _Outcome]:
    """Do the work; a generator because napari frees the arguments of those only."""
    yield
    try:
        return _Outcome(result=work(control, *args, **kwargs))
    except Cancelled:
        return _Outcome(cancelled=True)
    except Exception as error:
        # A dropped fit ends with an error, of which nobody needs to hear.
        words = _in_words(error)
        _forget_frames(error)
        return _Outcome(cancelled=True) if control.drop.is_set() else _Outcome(error=words)
    finally:
        _free_gpu()


def _in_words(error: Exception) -> str:
    if isinstance(error, InrError):
        return str(error)
    if isinstance(error, MemoryError):
        return OUT_OF_MEMORY
    if isinstance(error, RuntimeError):
        from ..compute.device import out_of_memory

        if out_of_memory(error):
            return "the device ran out of memory; choose the CPU under Advanced, or close other programs"
    traceback.print_exception(error)  # a bug: the person sees one line, whoever looks for it all
    return f"this should not have happened, please report it: {type(error).__name__}: {error}"


def _forget_frames(error: BaseException | None) -> None:
    """Free what the frames of an error and of its causes hold: voxels, networks."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _free_gpu() -> None:
    # Absent too while another thread imports torch.
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_initialized():
        cuda.empty_cache()


def _leave_a_core() -> None:
    """Let the UI have a core to itself. torch counts threads for each thread that calls it."""
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 1) - 1))


# Records and results


@dataclass(frozen=True)
class Done:
    """How far countable work has come."""

    done: int
    total: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Preview:
    """Some slices of the LR as the network has it by now."""

    slices: tuple[int, ...]  # of the LR, the one in view first
    voxels: NDArray[np.float32]  # (slices, y, x), in the volume's units


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A fit that has ended, not decoded or measured yet: whatever comes of that, it can be saved."""

    inr: InrVolume
    model_bytes: int  # of the upscaler's weights
    state: FitState | None  # what to go on from, if it was stopped


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedLr:
    """The LR of a fit that has ended, as it decodes from the coded weights."""

    voxels: NDArray[np.float32]  # (z, y, x)


@dataclass(frozen=True, kw_only=True, eq=False)
class FitOutcome:
    """A fit with its figures."""

    inr: InrVolume  # with its quality
    lr: Comparison
    measured: Measured


@dataclass(frozen=True, kw_only=True, eq=False)
class Reconstruction:
    """An HR volume with its figures."""

    inr: InrVolume  # naming the upscaler that made it, with its quality
    comparison: Comparison
    model_bytes: int  # of the upscaler's weights


# Work


def describe(control: Control, layer: Image) -> Volume:
    """Return the volume of a layer, to be compressed: looks at every voxel."""
    from .layers import volume_of

    volume = volume_of(layer)
    volume.check_fittable()
    return volume


def find_series(control: Control, folder: Path) -> Listing:
    """List the CT series in a folder."""
    from ..io.dicom import list_series

    return list_series(folder, control.on_progress)


def read(
    control: Control, path: Path, series: str | None, *, skip_broken: bool = False
) -> Volume | tuple[Broken, ...]:
    """Read a CT source, or return the broken files that it could be read without."""
    from ..io.dicom import BrokenFilesError
    from ..io.sources import read_source

    try:
        return read_source(path, series, control.on_progress, skip_broken=skip_broken)
    except BrokenFilesError as error:
        return error.broken


def recall(control: Control, volume: Volume) -> tuple[Volume, str, Kept | InrVolume | None]:
    """Return a volume, its identity, and the fit of it that is kept: stopped, or finished and not saved."""
    from . import kept_fits, unsaved

    name = kept_fits.identity(volume)
    return volume, name, kept_fits.find(name) or unsaved.find(name)


def look(
    control: Control, volume: Volume, base: Settings, *, device: Device, upscaler: str
) -> list[FactorModel]:
    """Find out what fits to a volume come to, for targets; reports Done. See `planning.probe`."""
    from ..planning import probe

    _leave_a_core()
    probing = probe(volume, base, upscaler=upscaler, device=device, drop=control.drop)
    while True:
        try:
            control.on_progress(*next(probing))
        except StopIteration as end:
            models: list[FactorModel] = end.value
            return models


def fit(
    control: Control,
    volume: Volume,
    settings: Settings,
    *,
    device: Device,
    upscaler: str,
    window: Window,
    or_lanczos: bool = False,
    seconds_per_preview: float = SECONDS_PER_PREVIEW,
    resume: FitState | Kept | InrVolume | None = None,
    keep: bool = False,
) -> FitOutcome:
    """Fit a network and measure it; reports FitReport, Fitted, Done while it decodes, DecodedLr, Done.

    `resume` is where a stopped fit of the same volume and settings stood; this one goes on from there. If
    it is a network, that is what is decoded and measured.
    With `keep` its state is kept once a minute and when it is stopped, for when napari runs again; of a fit
    that ends by itself the network is kept until it is saved.
    `or_lanczos` lets Lanczos take the place of a network that is not for the factor (`find_upscaler`).
    Raises FitError, as `codec.compress` does, and while another panel's fit is running.
    """
    from ..superres.upscale import find_upscaler

    if not _one_fit.acquire(blocking=False):
        raise FitError("another fit is running in this napari; stop it, or wait until it has ended")
    try:
        restore = find_upscaler(upscaler, settings.factor[1:], device=device, or_lanczos=or_lanczos)
        if isinstance(resume, InrVolume):
            ref = UpscalerRef(name=restore.name, sha256=restore.sha256)
            # Where the voxels lie and what they mean may have been set since.
            inr = replace(resume, geometry=volume.geometry, units=volume.units, upscaler=ref, quality=None)
            state = None
        else:
            inr, state = _fit(control, volume, settings, device, restore, seconds_per_preview, resume, keep)
        control.report(Fitted(inr=inr, model_bytes=len(restore.weights), state=state))
        return _measured(control, volume, inr, device, restore, window)
    finally:
        _one_fit.release()


def _fit(
    control: Control,
    volume: Volume,
    settings: Settings,
    device: Device,
    restore: Upscaler,
    seconds_per_preview: float,
    resume: FitState | Kept | None,
    keep: bool,
) -> tuple[InrVolume, FitState | None]:
    """Return the network, and where the fit stands if it was stopped; both are kept for another day."""
    from .. import codec
    from . import kept_fits, unsaved

    _leave_a_core()
    if isinstance(resume, kept_fits.Kept):
        resume = kept_fits.load(resume)
    name = kept_fits.identity(volume) if keep else None
    kept = time.perf_counter()
    previews = _Previews(volume, settings, control, seconds_per_preview)
    idle = 0.0
    steps = codec.fit_volume(
        volume, settings, device=device, stop=control.stop, drop=control.drop, resume=resume
    )
    with closing(steps):
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                result = end.value
                break
            control.check()
            if name is not None and time.perf_counter() - kept >= SECONDS_PER_KEPT:
                kept = time.perf_counter()
                with suppress(InrError):  # a full disk must not end the fit
                    kept_fits.keep(name, settings, progress.state())
            control.report(_fit_report(progress, idle, previews.next(progress.field)))
            idle += control.wait_while_paused()
    inr = codec.encode(volume, settings, result, restore)
    if name is not None:
        with suppress(InrError):
            if result.state is None:
                unsaved.keep(name, inr)
                kept_fits.forget(name)
            else:
                kept_fits.keep(name, settings, result.state)
    state = None if result.state is None else replace(result.state, seconds=result.state.seconds - idle)
    return inr, state


def _measured(
    control: Control, volume: Volume, inr: InrVolume, device: Device, restore: Upscaler, window: Window
) -> FitOutcome:
    """Decode a fitted network, and compare it with the volume."""
    from .. import codec
    from ..decode import LrDecoder
    from .compare import compare_lr
    from .layers import new_voxels

    decoder = LrDecoder(inr, device)
    lr = new_voxels(inr.lr_shape, np.float32)
    for z in range(len(lr)):
        control.on_progress(z, len(lr))
        lr[z] = decoder.fitted(slice(z, z + 1))[0]
    control.report(DecodedLr(voxels=lr))
    measured = codec.measure(
        volume, inr, restore, device=device, window=window, lr=lr, on_slices=control.on_progress
    )
    return FitOutcome(
        inr=replace(inr, quality=measured.quality),
        lr=compare_lr(volume, inr, lr, window),
        measured=measured,
    )


def reconstruct(
    control: Control,
    volume: Volume,
    inr: InrVolume,
    voxels: NDArray[Any],
    *,
    device: Device,
    upscaler: str,
    window: Window,
    or_lanczos: bool = False,
) -> Reconstruction:
    """Fill `voxels` with the HR, from the slice in view outwards, then measure it; reports slices, then Done.

    The array is the one that a layer shows: a report of slice numbers means that they can be drawn.
    """
    from .. import codec
    from ..core.metrics import compare_volumes
    from ..decode import LrDecoder
    from ..superres.upscale import find_upscaler
    from .compare import with_upscaler

    _leave_a_core()
    restore = find_upscaler(upscaler, inr.factor[1:], device=device, or_lanczos=or_lanczos)
    decoder = LrDecoder(inr, device)
    left = set(range(len(voxels)))
    while left:
        control.check()
        z = min(left, key=lambda slice_: abs(slice_ - control.z))
        voxels[z] = codec.restore_slices(decoder.slices([z]), restore, inr)[0]
        left.remove(z)
        control.report(z)
        control.on_progress(len(voxels) - len(left), 2 * len(voxels))
    comparison = compare_volumes(
        volume,
        voxels,
        window,
        lambda done, total: control.on_progress(total + done, 2 * total),
    )
    return Reconstruction(
        inr=with_upscaler(inr, restore, comparison), comparison=comparison, model_bytes=len(restore.weights)
    )


def missing_weights(control: Control) -> list[str]:
    """Return the networks whose weights are missing from this installation. Imports torch."""
    from ..superres.factors import FACTORS
    from ..superres.model_file import NETWORKS, available_models

    return [name for name in NETWORKS if not any(name in available_models(factor) for factor in FACTORS)]


def check_weights(control: Control, path: Path) -> ModelInfo:
    """Read a weights file and return what it says of itself. Raises ModelError if it cannot be used."""
    from ..superres.model_file import load_weights

    return load_weights(path)[1]


def probe(control: Control, settings: Settings, shape: tuple[int, int, int], device: Device) -> float:
    """Return the steps a second that these settings make on the device, by fitting noise for a moment."""
    import torch

    from ..compute.device import find_device
    from ..core.resample import lr_shape
    from ..fields.registry import find_kind
    from ..fields.samples import LrSamples

    _leave_a_core()
    where = find_device(device)
    small: tuple[int, int, int] = (min(shape[0], 8), min(shape[1], 64), min(shape[2], 64))
    lr = np.random.default_rng(0).random(lr_shape(small, settings.factor), dtype=np.float32)
    samples = LrSamples(lr, small, settings.factor, (0.0, 1.0), torch.device(where), drop=control.drop)
    endless = replace(settings, fit=replace(settings.fit, steps=10_000_000, target_psnr=None))
    started: tuple[int, float] | None = None
    kind = find_kind(settings.field.kind)
    with closing(kind.fit(samples, endless, where, control.stop)) as steps:
        for progress in steps:
            control.check()
            if started is None:  # the first steps build kernels and caches
                started = progress.step, progress.seconds
            elif progress.seconds - started[1] >= PROBE_SECONDS:
                break
    assert started is not None
    speed = (progress.step - started[0]) / (progress.seconds - started[1])
    return speed * (1 - PREVIEW_SHARE) if where.type == "cpu" else speed


def _fit_report(progress: FitProgress, idle: float, preview: Preview | None) -> FitReport:
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


class _Previews:
    """Makes previews by the wall clock: as many slices as a share of the time allows, those in view first."""

    def __init__(self, volume: Volume, settings: Settings, control: Control, interval: float) -> None:
        from ..core.resample import lr_shape
        from ..fields.grid import axis_coordinates

        counts = lr_shape(volume.shape, settings.factor)
        self.axes = [
            axis_coordinates(length, scale, count)
            for length, scale, count in zip(volume.shape, settings.factor, counts, strict=True)
        ]
        self.intensity_range = volume.intensity_range
        self.factor = settings.factor[0]
        self.control = control
        self.interval = interval  # seconds
        self.due = 0.0
        self.age = np.zeros(counts[0], dtype=np.int64)  # previews since a slice was in one

    def next(self, field: Field) -> Preview | None:
        """Return a preview if one is due and the last one was shown."""
        started = time.perf_counter()
        if started < self.due or not self.control.shown.is_set():
            return None
        slices, planes = [], []
        for z in self._order():
            self.control.check()
            slices.append(z)
            planes.append(self._plane(field, z))
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
        view = min(int(self.control.z / self.factor), len(self.age) - 1)
        away = np.abs(np.arange(len(self.age)) - view)
        order = np.lexsort((away, -self.age, away > 0))
        return [int(z) for z in order]

    def _plane(self, field: Field, z: int) -> NDArray[np.float32]:
        from ..fields.grid import to_intensity

        z_axis, y, x = (axis.to(field.device) for axis in self.axes)
        plane: NDArray[np.float32] = to_intensity(
            field.on_grid(z_axis[z : z + 1], y, x), self.intensity_range
        )[0]
        return plane
