"""What the panel's parts are made of: sections that collapse, wrapped lines of text, numbers as words.

Text from files is shown by a `TextLine`, or goes through `notices.plain`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from ..core.advice import advice
from ..core.text import printable

FRAMED = "font-weight: bold; border: 1px solid palette(mid); padding: 3px;"  # style of what must be seen
DASH = "–"  # for a number that is being computed, or that there is not


class Section(QWidget):
    """A heading that shows and hides what is below it; add that to `body`, a vertical layout."""

    def __init__(self, title: str, tooltip: str, *, expanded: bool = True) -> None:
        super().__init__()
        self.heading = QToolButton()
        self.heading.setText(title)
        self.heading.setToolTip(tooltip)
        self.heading.setCheckable(True)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.heading.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._content = QWidget()
        self.body = QVBoxLayout(self._content)
        self.body.setContentsMargins(4, 0, 4, 6)
        self.body.setSpacing(4)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.heading)
        layout.addWidget(self._content)
        self.heading.toggled.connect(self.set_expanded)
        self.heading.setChecked(expanded)
        self.set_expanded(expanded)

    def set_expanded(self, expanded: bool) -> None:
        """Show or hide what is below the heading."""
        self.heading.setArrowType(Qt.ArrowType.DownArrow if expanded else Qt.ArrowType.RightArrow)
        self._content.setVisible(expanded)


class TextLine(QLabel):
    """A label that wraps, takes no more width than there is, and shows text from files as it is written."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setText(text)

    def setText(self, text: str | None) -> None:  # noqa: N802
        """Show lines of text, what does not print in them escaped."""
        super().setText("\n".join(printable(line) for line in (text or "").split("\n")))


class AdviceLine(QLabel):
    """A framed line of what must be said of a ratio; hidden where nothing must."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.setStyleSheet(FRAMED)
        self.setToolTip("A fitted network loses detail. Look at the difference before you rely on it.")
        self.show_ratio(None)

    def show_ratio(self, ratio: float | None) -> None:
        """Say what must be said of this ratio, if it is known."""
        words = None if ratio is None else advice(ratio)
        self.setText(words or "")
        self.setVisible(words is not None)


def in_bytes(count: float) -> str:
    """Return a size in words, decimal units."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            value = count / size
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"
    return f"{count:.0f} B"


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


def in_decibels(psnr: float) -> str:
    """Return a PSNR with one decimal."""
    return "identical" if math.isinf(psnr) else _number(psnr, 1)


def in_ssim(ssim: float) -> str:
    """Return a structural similarity with three decimals."""
    return _number(ssim, 3)


def in_hu(error: float) -> str:
    """Return an error in whole HU; below one, that it is."""
    return "< 1" if 0 < error < 0.5 else _number(error, 0)


def _number(value: float, decimals: int) -> str:
    return f"{value:.{decimals}f}" if math.isfinite(value) else DASH
