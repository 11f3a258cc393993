"""What a person asks of an `.inr`: a size, a ratio or a quality. No torch here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from .core.errors import FitError

TargetKind = Literal["preset", "bytes", "ratio", "psnr"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A target of a kind: nothing beyond the preset, bytes of the file, ratio, or PSNR (range) in dB.

    The ratio is the bytes of the stored pixels over those of the file; the PSNR is that of the
    reconstruction against the original. Raises FitError on a value that no file can have.
    """

    kind: TargetKind = "preset"
    value: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(TargetKind):
            raise FitError(f"a target must be one of {', '.join(get_args(TargetKind))}, got {self.kind!r}")
        low, high, words = _ALLOWED[self.kind]
        if not low <= self.value <= high or math.isnan(self.value):
            raise FitError(f"{words} must be from {low:,.0f} to {high:,.0f}, got {self.value:g}")

    def most_bytes(self, source_bytes: int) -> int | None:
        """Return how many bytes the file may have; None if the target does not say."""
        if self.kind == "bytes":
            return int(self.value)
        return int(source_bytes / self.value) if self.kind == "ratio" else None


def one_target(
    *, max_bytes: int | None = None, ratio: float | None = None, target_psnr: float | None = None
) -> Target:
    """Return the one target that is given, or that of a preset. Raises FitError if several are given."""
    values: dict[TargetKind, float | None] = {"bytes": max_bytes, "ratio": ratio, "psnr": target_psnr}
    given = [Target(kind=kind, value=value) for kind, value in values.items() if value is not None]
    if len(given) > 1:
        raise FitError("a file size, a ratio and a PSNR cannot be asked for together; give only one of them")
    return given[0] if given else PRESET


_ALLOWED: dict[TargetKind, tuple[float, float, str]] = {
    "preset": (0.0, 0.0, "a preset"),
    "bytes": (1.0, 1e9, "a file size in bytes"),
    "ratio": (1.0, 1e6, "a ratio"),
    "psnr": (5.0, 150.0, "a PSNR in dB"),
}

PRESET = Target()  # nothing beyond what the preset makes of a volume
