"""Decoding what is looked at of an `.inr`, in the background."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from ...core.errors import InrError, InrFileError
from ..job import Control
from ..shown_voxels import ShownVoxels, Step
from .threads import leave_a_core

SECONDS_PER_CHECK = 0.1  # whether the work is still wanted


@dataclass(frozen=True)
class Ready:
    """What decodes the file is there: it is known how it is restored."""


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
        control.report(Ready())
        with ThreadPoolExecutor(most, "sharpen", leave_a_core) as pool:
            _decode(control, voxels, pool, most)
    except InrError as error:
        voxels.failed = str(error)
        raise


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
