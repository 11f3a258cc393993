"""The exact layer of a fit: made in the background, beside the network that is there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING

from ...core.errors import FitError, InrError
from ...core.generators import drain
from ...inr_volume import InrVolume
from ..job import Control
from .threads import leave_a_core

if TYPE_CHECKING:
    from ...core.volume import Volume
    from ...exact.layer import ExactLayer
    from ...session import Coding, Learning

one_at_a_time = Lock()  # fits and exact layers take all the processor there is


@dataclass(frozen=True)
class ExactReport:
    """How far the exact layer has come: first networks are fitted for it, then slices coded with them."""

    words: str
    done: int
    total: int


@dataclass(frozen=True, kw_only=True, eq=False)
class ExactAdded:
    """A fit that has its exact layer now."""

    inr: InrVolume
    file_bytes: int  # once it is saved


class _Stopped(Exception):  # noqa: N818, it is no error
    """The layer is not wanted any more; never leaves this module."""


def add_exact(
    control: Control, volume: Volume, inr: InrVolume, max_error: float, *, keep: bool = False
) -> ExactAdded | None:
    """Add every voxel to within `max_error`; reports ExactReport, then ExactAdded. None if it was stopped.

    With `keep`, what is coded of it is kept if it is stopped, and resumed; and once it is whole, the network
    with it is kept until it is saved. Raises FitError as `encode_exact` does, and while a fit is running.
    """
    if not one_at_a_time.acquire(blocking=False):
        raise FitError("another fit is running in this napari; stop it, or wait until it has ended")
    try:
        return with_exact(control, volume, inr, max_error, keep=keep)
    finally:
        one_at_a_time.release()


def with_exact(
    control: Control, volume: Volume, inr: InrVolume, max_error: float, *, keep: bool = False
) -> ExactAdded | None:
    """Do what `add_exact` does, as a part of a fit."""
    from ...exact.predict import is_ready, make_ready
    from ...io.inr_file import packed_size
    from .. import kept_fits, unsaved

    leave_a_core()

    def show(record: Learning | Coding) -> None:
        control.check()
        if control.stop.is_set():
            raise _Stopped
        report = _report(record)
        if control.is_time(last=report.done == report.total):
            control.report(report)

    if not is_ready():
        control.report(ExactReport("compiling, the first time only", 0, 1))
        make_ready()
        control.check()
    control.report(ExactReport("looking at the volume", 0, 1))
    name = kept_fits.identity(volume) if keep else None
    try:
        inr = replace(inr, exact=_encoded(volume, max_error, name, show))
    except _Stopped:
        return None
    if name is not None:
        with suppress(InrError):  # a full disk must not end it
            unsaved.keep(name, inr)
    added = ExactAdded(inr=inr, file_bytes=packed_size(inr))
    control.report(added)
    return added


def _encoded(
    volume: Volume, max_error: float, name: str | None, show: Callable[[Learning | Coding], None]
) -> ExactLayer:
    """Return the exact layer; of a volume of this name, what is coded stays if `show` ends it by raising."""
    from ...exact.encode import encode_exact
    from ...exact.growing import NotResumableError
    from .. import kept_fits

    with ExitStack() as kept:
        path = None if name is None else kept.enter_context(kept_fits.room_for_exact(name, max_error))
        if path is None:
            return drain(encode_exact(volume, max_error), show)
        try:
            layer = drain(encode_exact(volume, max_error, path), show)
        except NotResumableError:  # of another version
            kept_fits.remove(path)
            layer = drain(encode_exact(volume, max_error, path), show)
        layer = replace(layer, data=layer.data.held())
        kept_fits.remove(path)
        return layer


def _report(record: Learning | Coding) -> ExactReport:
    from ...session import Learning

    if isinstance(record, Learning):
        return ExactReport("fitting its networks", record.step, record.steps)
    return ExactReport("coding slices", record.done, record.total)
