"""The part of the widget INR file that holds it against its original, slice by slice."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph
from napari.utils.theme import get_theme
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from ..core.units import Units, suffix
from ..core.windows import Window
from ..figures_table import Compared
from ..plugin.figures import LR, ORIGINAL, Line
from ..plugin.work.inr import Errors
from ..superres.catalogue import title_of
from .figure_table import FIGURES_TOOLTIP, FigureTable
from .layer_box import LayerBox
from .plot import COLOURS, still_plot
from .section import Section, TextLine, labelled

if TYPE_CHECKING:
    from ..measuring import Measured

HEIGHT = 150  # pixels of the plot
EMPTY = "Measure to see PSNR and error of each slice."


class ErrorSection(Section):
    """Chooses the original, and shows the error of each slice and of the one in view."""

    measure_wanted = Signal()
    save_wanted = Signal()

    def __init__(self) -> None:
        super().__init__("Error", "How far each slice is from the original, if that is in the viewer.")
        self.originals = LayerBox(
            "The layer that the .inr was made from; it has the same number of voxels along z, y, x.", "last"
        )
        self.measure = QPushButton("&Measure")
        self.measure.setToolTip(
            "Decode the reconstruction and compare it with the original: PSNR in dB and error of each"
            " slice, in the background."
        )
        self.body.addLayout(labelled("Ori&ginal", self.originals, self.measure))
        self.words = TextLine()
        self.body.addWidget(self.words)
        self.plot = SlicePlot()
        self.body.addWidget(self.plot)
        self.table = FigureTable()
        self.body.addWidget(self.table)
        self.save = QPushButton("Figures as CS&V...")
        self.save.setToolTip(FIGURES_TOOLTIP)
        self.body.addWidget(self.save)
        self.save.clicked.connect(self.save_wanted)
        self.measure.clicked.connect(self.measure_wanted)
        self._found: Measured | None = None
        self.show_nothing("")

    @property
    def measured(self) -> bool:
        """Whether there are figures."""
        return self._found is not None

    @property
    def compared(self) -> list[Compared]:
        """What was measured; nothing if nothing was."""
        found = self._found
        if found is None:
            return []
        parts = [("LR fit", LR, found.lr), ("Lanczos", ORIGINAL, found.lanczos)]
        if found.upscaler != "lanczos":
            parts.append((title_of(found.upscaler), ORIGINAL, found.reconstruction))
        return [Compared(name=name, against=against, figures=one) for name, against, one in parts]

    def show_nothing(self, words: str) -> None:
        """Show why there are no figures."""
        self._found = None
        self.words.setText(words)
        self.words.setVisible(bool(words))
        for widget in (self.plot, self.table, self.save):
            widget.hide()

    def show_errors(self, errors: Errors, window: Window, units: Units) -> None:
        """Show what was measured; `window` is how the original was shown."""
        found = self._found = errors.measured
        (black, white), unit = window.limits, suffix(units)
        words = f"Window: from {black:.0f} to {white:.0f}{unit}, as the original was shown."
        self.words.setText(" ".join([*errors.notes, words]))
        self.words.show()
        curves = [(title_of(found.upscaler), found.reconstruction.slices.psnr)]
        if found.upscaler != "lanczos":
            curves.append((title_of("lanczos"), found.lanczos.slices.psnr))
        self.plot.show_curves(curves)
        self.table.show_regions(units, window)
        for widget in (self.plot, self.table, self.save):
            widget.show()

    def show_slice(self, z: int, lr_z: int) -> None:
        """Show the figures of a slice, by its number in the reconstruction and in the LR."""
        if self._found is None:
            return
        lines = [
            Line(
                name=one.name,
                against=one.against,
                in_slice=one.figures.of_slice(lr_z if one.against == LR else z),
                whole=one.figures.of_volume(),
            )
            for one in self.compared
        ]
        self.table.show_figures(f"Slice {z}", "Volume", lines)
        self.plot.show_slice(z)


class SlicePlot(QWidget):
    """PSNR of each slice, and a line at the one in view."""

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip(
            "PSNR of each slice of the reconstruction in dB (peak: the intensity range of the original)."
            " The line is at the slice in view."
        )
        self._plot = still_plot(self, HEIGHT)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._plot)
        item = self._plot.getPlotItem()
        item.layout.setContentsMargins(0, 6, 0, 4)  # else the outermost labels are cut off
        self._axes = {name: item.getAxis(name) for name in ("left", "bottom")}
        for axis in self._axes.values():
            axis.enableAutoSIPrefix(False)
        self._axes["bottom"].setHeight(40)
        self._axes["left"].setWidth(44)
        self.curves = [item.plot(), item.plot()]
        self.marker = pyqtgraph.InfiniteLine(angle=90)
        item.addItem(self.marker)
        self.legend = QLabel()
        layout.addWidget(self.legend, 0, Qt.AlignmentFlag.AlignHCenter)
        self._names: list[str] = []
        self.set_theme("dark")

    def set_theme(self, name: str) -> None:
        """Take the colours of a napari theme."""
        theme = get_theme(name)
        self._colours = COLOURS["light" if theme.type == "light" else "dark"]
        self._plot.setBackground(theme.background.as_hex())
        text = theme.text.as_hex()
        for axis in self._axes.values():
            axis.setPen(theme.secondary.as_hex())
            axis.setTextPen(text)
        self._axes["bottom"].setLabel("slice", color=text)
        self._axes["left"].setLabel("PSNR, dB", color=text)
        for curve, colour in zip(self.curves, self._colours, strict=True):
            curve.setPen(colour, width=2)
        self.marker.setPen(text, style=Qt.PenStyle.DashLine)
        self._show_legend()

    def show_curves(self, curves: list[tuple[str, NDArray[np.float64]]]) -> None:
        """Show one or two curves by their names, dB (z,); what is not finite is left out."""
        self._names = [name for name, _ in curves]
        for index, curve in enumerate(self.curves):
            values = curves[index][1] if index < len(curves) else np.array([])
            shown = np.where(np.isfinite(values), values, math.nan)
            curve.setData(np.arange(len(shown)), shown, connect="finite")
        self._show_legend()

    def show_slice(self, z: int) -> None:
        """Put the line at a slice."""
        self.marker.setValue(z)

    def _show_legend(self) -> None:
        words = (
            f'<span style="color: {colour}">{name}</span>'
            for name, colour in zip(self._names, self._colours, strict=False)
        )
        self.legend.setText("&nbsp;&nbsp;".join(words))
