"""Decoding the exact slices that are looked at, in the background."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from ...core.errors import InrFileError
from ..exact_voxels import ExactVoxels
from ..job import Control

SECONDS_PER_CHECK = 0.1  # whether the work is still wanted


@dataclass(frozen=True)
class Damaged:
    """A slab of the exact layer that cannot be decoded: the preview's slices stay."""

    words: str


def sharpen(control: Control, voxels: ExactVoxels) -> None:
    """Decode what is looked at, until nothing is left to do; reports each slice, and Damaged once a slab.

    Several slabs are decoded side by side, as cores and memory allow. Between two slices it notices when
    something else is looked at, or when it is to end.
    """
    most, depth = voxels.reader.slabs_at_once, voxels.layer.depth
    running: dict[Future[list[int]], int] = {}
    with ThreadPoolExecutor(most, "sharpen") as pool:
        while True:
            control.check()
            slabs = {z // depth for z in running.values()}
            for z in voxels.next_slices(most):
                if z // depth not in slabs and len(running) < most:
                    running[pool.submit(voxels.decode, z)] = z
            if not running:
                return
            for future in wait(running, SECONDS_PER_CHECK, FIRST_COMPLETED).done:
                del running[future]
                _report(control, future)


def _report(control: Control, future: Future[list[int]]) -> None:
    try:
        for z in future.result():
            control.report(z)
    except InrFileError as error:
        control.report(Damaged(str(error)))
