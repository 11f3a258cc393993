"""The upscalers by name: titles, and what they cost. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a person may know of an upscaler."""

    title: str
    quick_from: float  # smallest in-plane factor at which a CPU restores a slice in under a tenth of a second


# Times: docs/models.md, "Cost".
CATALOGUE = {
    "lanczos": Entry(title="Lanczos", quick_from=1.0),
    "srdensenet": Entry(title="SRDenseNet", quick_from=inf),
    "span": Entry(title="SPAN", quick_from=4.0),
}


def title_of(upscaler: str) -> str:
    """Return an upscaler's name as a person reads it; one that is not in the catalogue keeps its own."""
    return CATALOGUE[upscaler].title if upscaler in CATALOGUE else upscaler


def slow_on_cpu(upscaler: str, factor: float) -> bool:
    """Whether scrolling would wait for each slice on a CPU, by this factor in the plane."""
    return upscaler in CATALOGUE and factor < CATALOGUE[upscaler].quick_from
