"""Numbers in words: sizes, ratios, lengths, times and qualities, the same on a terminal and in a panel."""

from __future__ import annotations

import math
from collections.abc import Iterable

DASH = "–"  # for a number that is being computed or is missing


def counted(count: int, noun: str) -> str:
    """Return how many there are of something, such as `1 picture` and `1,200 pictures`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def in_bytes(count: float) -> str:
    """Return a size in words, decimal units."""
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            value = count / size
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"
    return f"{count:.0f} bytes"


def in_ratio(ratio: float) -> str:
    """Return a compression ratio, below ten with one decimal."""
    return f"{ratio:,.0f}:1" if ratio >= 10 else f"{ratio:.1f}:1"


def in_mm(lengths: Iterable[float]) -> str:
    """Return lengths in mm, such as a spacing."""
    return " × ".join(f"{mm:.2f}" if mm >= 0.1 else f"{mm:.3g}" for mm in lengths) + " mm"


def in_time(seconds: float) -> str:
    """Return a span of time in words, no finer than it is known."""
    minutes, rest = divmod(max(1, round(seconds)), 60)
    if not minutes:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if minutes < 10 else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def in_decibels(psnr: float, decimals: int = 1) -> str:
    """Return a PSNR without its unit."""
    return "identical" if math.isinf(psnr) else _number(psnr, decimals)


def with_decibels(psnr: float, decimals: int = 2) -> str:
    """Return a PSNR with its unit."""
    return f"{in_decibels(psnr, decimals)} dB" if math.isfinite(psnr) else in_decibels(psnr)


def in_figures(value: float) -> str:
    """Return a value with four significant digits, whole numbers in full, and never with an exponent."""
    if not math.isfinite(value):
        return DASH
    decimals = 0 if value == round(value) else max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def in_ssim(ssim: float) -> str:
    """Return a structural similarity with three decimals."""
    return _number(ssim, 3)


def in_error(error: float) -> str:
    """Return an error in the units of its volume: whole from ten on, three significant digits below."""
    if not 0 < error < 9.995:
        return _number(error, 0)
    return f"{error:.{max(0, 2 - math.floor(math.log10(error)))}f}"


def _number(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}" if math.isfinite(value) else DASH
