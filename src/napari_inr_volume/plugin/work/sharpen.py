"""Decoding the exact slices that are looked at, in the background."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.errors import InrFileError
from ..exact_voxels import ExactVoxels
from ..job import Control


@dataclass(frozen=True)
class Damaged:
    """A slab of the exact layer that cannot be decoded: the preview's slices stay."""

    words: str


def sharpen(control: Control, voxels: ExactVoxels) -> None:
    """Decode what is looked at, until nothing is left to do; reports each slice, and Damaged once a slab.

    A look elsewhere is heard between two slices, and so is the end.
    """
    while (slab := voxels.next_slab()) is not None:
        for z in voxels.slices_of(slab):
            control.check()
            try:
                new = voxels.decode(z)
            except InrFileError as error:
                control.report(Damaged(str(error)))
                break
            if new:
                control.report(z)
            if voxels.next_slab() != slab:
                break
