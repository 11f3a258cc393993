"""The one way there: from a volume, and what is asked of its file, to a fitted network. No Qt, no terminal.

    Request -> look at the volume -> plan -> fit, kept once a minute -> encode -> measure -> Compressed
               (only if a target is set)      ^                                     |
               a larger plan, where a target PSNR was missed <----------------------+

`run` yields what happens, for an interface to show and to save; `compress` is the whole in one call.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from threading import Event

from .codec import check_fit_memory, check_fittable, encode, fit_volume
from .compute.device import out_of_memory
from .core.choices import Device
from .core.errors import FitError, InrError
from .core.generators import drain, translated
from .core.lowres import LowResOf
from .core.memory import OUT_OF_MEMORY
from .core.place import Place
from .core.volume import Volume
from .exact.encode import Coding, encode_exact
from .exact.lattice import check_max_error
from .exact.learn import Learning
from .fields.base import FitProgress, FitState
from .fields.constant import NO_NETWORK
from .fields.registry import PRESETS, find_kind, find_preset, ladder_of
from .fields.settings import Settings
from .inr_volume import InrVolume, UpscalerRef
from .io.inr_size import predicted_bytes
from .measuring import Choice, OnSlices, choose_upscaler, confirmed, measure
from .planning import FactorModel, Plan, next_plan, plan, probe
from .records import Compressed, Fitted, Looking, NotKept, Planned, Record, Request
from .target import PRESET, one_target

__all__ = [
    "Coding",
    "Compressed",
    "FitProgress",
    "Fitted",
    "Learning",
    "Looking",
    "NotKept",
    "Planned",
    "Record",
    "Request",
    "compress",
    "run",
]

SECONDS_PER_CHECKPOINT = 60.0  # what a fit that is killed loses at most

Keep = Callable[[FitState], object]  # told where the fit stands, to save it; raises InrError if it cannot


def run(
    volume: Volume,
    request: Request,
    *,
    stop: Event | None = None,
    drop: Event | None = None,
    resume: FitState | InrVolume | None = None,
    keep: Keep | None = None,
    keep_exact: Path | None = None,
    on_slices: OnSlices | None = None,
    place: Place | None = None,
) -> Generator[Record, None, Compressed]:
    """Compress a volume as the request says; yields what happens, and returns the last `Compressed`.

    In this order: `Looking` and `Planned` if a target is set; `FitProgress` about ten times a second, and at
    most one `NotKept`; `Fitted`, to be saved at once; then `on_slices` is told (done, total) while the
    network is decoded, its upscaler chosen and all measured, and may raise to end it; `Compressed`. If a
    target PSNR was missed and a larger network promises more, `Planned` and what follows come again, and the
    last one counts. If an exact layer is asked for, `Learning`, `Coding` and a `Compressed` that has it
    follow at the end.

    From another thread, `stop` ends the fit with what it has, `drop` everything with a FitError and at once.
    `keep` is called with where the fit stands: about once a minute, after the last step, and when the fit
    was stopped; if it fails, the fit continues. `resume` is such a state, and the fit becomes the one that
    was never interrupted; or a network that was fitted to this volume, which is only measured.

    In the file `keep_exact` an exact layer is made, and resumed from it; the caller removes it in the end.
    Boxes and slabs are done at `place`, to the same bytes. It ends by returning or with an InrError; closing
    it early ends the fit and frees what that held. Raises FitError as `codec.fit_volume` does, if memory does
    not suffice, and if no file can be as small as is asked; ModelError if the upscaler cannot be had.
    """
    drop = drop or Event()
    with _errors_in_words():
        request = _checked(volume, request).suited(volume)
        chosen, models = None, request.models
        if request.planned:
            if models is None:
                models = yield from _look(volume, request, stop, drop)
            chosen = plan(volume, list(models), request.target, request.settings, embed=request.embed)
            chosen = _of_resumed(chosen, resume, volume)
            yield Planned(plan=chosen, reached=None)
        lrs = LowResOf(volume)
        while True:
            fitted = yield from _fit(volume, request, chosen, stop, drop, resume, keep, lrs, place)
            yield fitted
            compressed = _measure(volume, fitted, request, chosen, drop, on_slices)
            yield compressed
            resume = None
            if chosen is None or models is None or fitted.stopped or (stop is not None and stop.is_set()):
                break
            reached = compressed.reached
            chosen = next_plan(
                volume, list(models), request.target, request.settings, chosen, reached, embed=request.embed
            )
            if chosen is None:
                break
            yield Planned(plan=chosen, reached=reached)
        if request.max_error is None or fitted.stopped:
            return compressed
        return (yield from _with_exact(volume, request.max_error, compressed, stop, drop, keep_exact, place))


def _checked(volume: Volume, request: Request) -> Request:
    """Return the request. Raises InrError if it cannot be done to the volume."""
    check_fittable(volume, request.settings)
    request.check()
    if request.max_error is not None:
        check_max_error(request.max_error, volume.dtype)
    return request


def compress(
    volume: Volume,
    settings: Settings | str | None = "default",
    *,
    max_bytes: int | None = None,
    ratio: float | None = None,
    target_psnr: float | None = None,
    max_error: float | None = None,
    device: Device = "auto",
    upscaler: str | PathLike[str] = "auto",
    embed_model: bool = False,
    on_progress: Callable[[FitProgress], None] | None = None,
    stop: Event | None = None,
    warn: Callable[[str], object] = warnings.warn,
) -> InrVolume:
    """Turn a volume into a fitted network (Sheibanifard and Yu 2023, section 3.1 and figure 1).

    Raises FitError if the fit diverges or runs out of memory, or no file can be as small as is asked;
    ModelError if the upscaler cannot be had.

    Parameters
    ----------
    volume
        Voxels (z, y, x) in any units.
    settings
        A preset's name, or settings of your own. None: no network, only the exact layer of `max_error`.
    max_bytes, ratio, target_psnr
        At most one of them: the best file of no more bytes, or of no smaller ratio (stored pixels over
        bytes of the file), or the smallest file whose reconstruction reaches this PSNR (range) in dB. It
        chooses factor, hidden features and bits per weight, so the settings must leave those as the preset
        has them. If a PSNR is missed in the end, `warn` is told by how much.
    max_error
        Add an exact layer: every voxel to within this error, in the volume's units. Targets leave it out.
    device
        Where to fit; `auto` takes a GPU where there is one.
    upscaler
        `auto`, the best on this volume; `lanczos`, `srdensenet`, `span`; or a weights file (.safetensors).
    embed_model
        Count the upscaler's weights in the size that is asked for: `save(inr, path, model=...)` follows.
    on_progress
        Called about ten times a second while fitting.
    stop
        Set it from another thread to end the fit with what it has.
    """
    target = one_target(max_bytes=max_bytes, ratio=ratio, target_psnr=target_psnr)
    base = _base(settings, max_error)
    if target != PRESET:
        _check_left_to_target(base)
    request = Request(
        settings=base,
        target=target,
        upscaler=upscaler,
        device=device,
        embed=embed_model,
        max_error=max_error,
    )
    compressed = drain(run(volume, request, stop=stop), _fit_progress_to(on_progress))
    if compressed.missed:
        warn(compressed.missed)
    return compressed.inr


def _base(settings: Settings | str | None, max_error: float | None) -> Settings:
    """Return what `compress` starts from. Raises FitError for a file that would hold nothing."""
    if settings is None:
        if max_error is None:
            raise FitError("a file without a network needs an exact layer; give max_error, 0 for lossless")
        return NO_NETWORK
    return find_preset(settings) if isinstance(settings, str) else settings


def _fit_progress_to(on_progress: Callable[[FitProgress], None] | None) -> Callable[[Record], None]:
    def on_each(record: Record) -> None:
        if on_progress is not None and isinstance(record, FitProgress):
            on_progress(record)

    return on_each


def _check_left_to_target(settings: Settings) -> None:
    """Raise FitError if these settings say of their own what a target is to choose."""
    kind, chosen = find_kind(settings.field.kind), ladder_of(settings).chosen
    usual = replace(settings, field=kind.config(), fit=kind.fit_config(), factor=Settings.factor)
    known = [PRESETS.get(settings.preset, usual), usual]
    own = [
        option.title
        for option in kind.options
        if option.name in chosen and option.of(settings) not in [option.of(one) for one in known]
    ]
    if settings.factor not in [one.factor for one in known]:
        own.append("Factor")
    if own:
        raise FitError(
            "a target chooses factor, size and bits per weight, and the settings give"
            f" {', '.join(own).lower()}; leave those as the preset has them, or leave out the target"
        )


def _look(
    volume: Volume, request: Request, stop: Event | None, drop: Event
) -> Generator[Looking, None, tuple[FactorModel, ...]]:
    probing = probe(
        volume, request.settings, upscaler=request.upscaler, device=request.device, stop=stop, drop=drop
    )
    return tuple((yield from translated(probing, lambda done: [Looking(*done)])))


def _of_resumed(chosen: Plan, resume: FitState | InrVolume | None, volume: Volume) -> Plan:
    """Return the plan, with the settings of a fit that is resumed: it may be of a later, larger try."""
    if resume is None or isinstance(resume, InrVolume):
        return chosen
    settings = replace(chosen.settings, field=resume.field, fit=resume.fit, factor=resume.factor)
    sizes = [predicted_bytes(volume, each, "lanczos") for each in (chosen.settings, settings)]
    return replace(chosen, settings=settings, file_bytes=chosen.file_bytes + sizes[1] - sizes[0])


def _fit(
    volume: Volume,
    request: Request,
    chosen: Plan | None,
    stop: Event | None,
    drop: Event,
    resume: FitState | InrVolume | None,
    keep: Keep | None,
    lrs: LowResOf,
    place: Place | None,
) -> Generator[FitProgress | NotKept, None, Fitted]:
    """Fit, or take the network that is there; its upscalers are those that are asked for."""
    settings = request.settings if chosen is None else chosen.settings
    if isinstance(resume, InrVolume):
        upscalers = request.find_upscalers(replace(settings, factor=resume.factor), or_lanczos=True)
        ref = UpscalerRef(name=upscalers[0].name, sha256=upscalers[0].sha256)
        # Where the voxels lie and what they mean may have been set since.
        inr = replace(resume, geometry=volume.geometry, units=volume.units, upscaler=ref, quality=None)
        return Fitted(inr=inr, upscalers=upscalers, device=request.device, result=None, lrs=lrs)
    upscalers = request.find_upscalers(settings, chosen)
    check_fit_memory(volume, settings)  # before the LR takes any
    lr = lrs.by(settings.factor)
    fitting = fit_volume(
        volume, settings, device=request.device, stop=stop, drop=drop, resume=resume, lr=lr, place=place
    )
    if keep is None:
        result = yield from fitting
    else:
        keeper = _Keeper(keep)
        result = yield from translated(fitting, keeper.after)
        if result.state is not None and result.steps > 0:
            yield from keeper.keep(result.state)
    inr = encode(volume, settings, result, upscalers[0])
    return Fitted(inr=inr, upscalers=upscalers, device=request.device, result=result, lrs=lrs)


def _with_exact(
    volume: Volume,
    max_error: float,
    compressed: Compressed,
    stop: Event | None,
    drop: Event,
    keep: Path | None,
    place: Place | None,
) -> Generator[Learning | Coding | Compressed, None, Compressed]:
    """Add an exact layer, unless that is stopped; yields its progress, and the whole at last."""
    with closing(encode_exact(volume, max_error, keep, place)) as coding:
        while True:
            try:
                record = next(coding)
            except StopIteration as end:
                compressed = replace(compressed, inr=replace(compressed.inr, exact=end.value))
                break
            yield record
            if drop.is_set():
                raise FitError("the exact layer was cancelled; the network is complete, without such a layer")
            if stop is not None and stop.is_set():
                return compressed
    yield compressed
    return compressed


class _Keeper:
    """Has the state of a fit kept when it is time; a fit whose state cannot be kept continues."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._kept = time.perf_counter()
        self._told = False

    def after(self, record: FitProgress) -> Iterator[FitProgress | NotKept]:
        """Yield the record, then keep what it says of the fit if a minute has passed, or it is the last."""
        yield record
        if record.step == record.steps or time.perf_counter() - self._kept >= SECONDS_PER_CHECKPOINT:
            yield from self.keep(record.state())

    def keep(self, state: FitState) -> Iterator[NotKept]:
        """Keep it; yields why that failed, if that was not said before."""
        self._kept = time.perf_counter()
        try:
            self._keep(state)
        except (InrError, MemoryError) as error:
            if not self._told:
                yield NotKept(str(error) or "out of memory")
            self._told = True


def _measure(
    volume: Volume,
    fitted: Fitted,
    request: Request,
    chosen: Plan | None,
    drop: Event,
    on_slices: OnSlices | None,
) -> Compressed:
    """Choose an upscaler, decode the network by it, and compare what comes out with the volume."""
    if not request.fits:
        choice = Choice(upscaler=fitted.upscaler)
        return Compressed(
            inr=fitted.inr, measured=None, fitted=fitted, choice=choice, target=request.target, plan=chosen
        )
    rest, compared = volume.shape[0] + fitted.inr.lr_shape[0], 0  # slices to measure, slices to choose by

    def on_each(done: int, total: int) -> None:
        if on_slices is not None:
            on_slices(done, total)
        if drop.is_set():
            raise FitError(
                "measuring was cancelled; the network is complete, but its quality was not measured"
            )

    def on_compared(done: int, total: int) -> None:
        nonlocal compared
        compared = total
        on_each(done, total + rest)

    choice = choose_upscaler(volume, fitted.reader, fitted.upscalers, on_compared)
    measured = measure(
        volume,
        fitted.reader.by(choice.upscaler),
        window=request.window,
        lr=fitted.lrs.by(fitted.inr.factor),
        on_slices=lambda done, total: on_each(compared + done, compared + total),
    )
    choice, measured = confirmed(choice, measured, fitted.upscalers)
    fitted = fitted.by(choice.upscaler)
    return Compressed(
        inr=replace(fitted.inr, quality=measured.quality),
        measured=measured,
        fitted=fitted,
        choice=choice,
        target=request.target,
        plan=chosen,
    )


@contextmanager
def _errors_in_words() -> Iterator[None]:
    """Turn what NumPy and torch raise outside a fit into a FitError, which no worker swallows."""
    try:
        yield
    except MemoryError as error:
        raise FitError(OUT_OF_MEMORY) from error
    except RuntimeError as error:
        if out_of_memory(error):
            raise FitError(OUT_OF_MEMORY) from error
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise FitError(f"compressing failed: {reason}") from error
