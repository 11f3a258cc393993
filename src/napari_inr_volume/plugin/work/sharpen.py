"""Decoding what is looked at of an `.inr`, in the background."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import InrError, InrFileError
from ...core.windows import WINDOWS, Window, is_head, slices_of_a_head
from ..job import Control
from ..layers import DEFAULT_WINDOW, default_limits
from ..shown_voxels import ShownVoxels, Step
from .threads import leave_a_core

if TYPE_CHECKING:
    from ...reader import Reader

SECONDS_PER_CHECK = 0.1  # whether the work is still wanted


@dataclass(frozen=True)
class Ready:
    """What decodes the file is there: it is known how it is restored, and what it opens in."""

    window: Window | None = None  # None: as it was opened


@dataclass(frozen=True)
class Damaged:
    """A slab of the exact layer that cannot be decoded: the preview's slices stay."""

    words: str


def sharpen(control: Control, voxels: ShownVoxels) -> None:
    """Decode what is looked at, until nothing is left to do; reports Ready, each Step, Damaged once a slab.

    Several slabs are decoded side by side, as cores and memory allow. Between two slices it notices when
    something else is looked at, or when it is to end. Raises InrError if nothing can be decoded.
    """
    try:
        voxels.get_reader()  # importing torch, and reading the network and the weights, takes seconds
        most = voxels.at_once
        control.report(Ready(opening_window(voxels.get_reader())))
        with ThreadPoolExecutor(most, "sharpen", leave_a_core) as pool:
            _decode(control, voxels, pool, most)
    except InrError as error:
        voxels.failed = str(error)
        raise


def opening_window(reader: Reader) -> Window | None:
    """Return the brain window for the `.inr` of a head, as its original opens, by some slices of its LR.

    None for any other, and for a file without a network, of which slabs would have to be decoded.
    """
    inr, usual = reader.inr, WINDOWS[DEFAULT_WINDOW]
    if not inr.has_preview or default_limits(inr.units, inr.intensity_range) != usual.limits:
        return None
    planes = reader.planes(slices_of_a_head(inr.lr_shape[0]), "lr")
    return WINDOWS["brain"] if is_head(np.stack(planes)) else None


def _decode(control: Control, voxels: ShownVoxels, pool: ThreadPoolExecutor, most: int) -> None:
    running: dict[Future[list[int]], Step] = {}
    while True:
        control.check()
        busy = {(step.voxels.level, step.z // step.voxels.part) for step in running.values()}
        for step in voxels.next_steps(most):
            if (step.voxels.level, step.z // step.voxels.part) not in busy and len(running) < most:
                running[pool.submit(step.voxels.decode, step.z)] = step
        if not running:
            return
        for future in wait(running, SECONDS_PER_CHECK, FIRST_COMPLETED).done:
            _report(control, future, running.pop(future))


def _report(control: Control, future: Future[list[int]], step: Step) -> None:
    try:
        for z in future.result():
            control.report(Step(step.voxels, z))
    except InrFileError as error:
        if step.voxels.level != "exact":
            raise
        control.report(Damaged(str(error)))
