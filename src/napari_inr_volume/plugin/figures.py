"""What a line of figures says: of what, against what, in the slice in view and in the volume."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.metrics import Figures

LR, ORIGINAL = "LR", "original"  # what a line is compared with


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the table; None is being computed, or not there."""

    name: str
    against: str  # LR or ORIGINAL
    in_slice: Figures | None
    whole: Figures | None

    @property
    def tooltip(self) -> str:
        """What it is compared with, in a sentence."""
        if self.against == LR:
            return (
                f"{self.name}, against the original downsampled to the same grid: how well the network was"
                " fitted. It cannot be compared with the lines below."
            )
        return f"{self.name}, against the original itself."
