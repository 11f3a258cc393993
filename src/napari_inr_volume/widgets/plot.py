"""Plots of the panels: a fit while it runs, sizes to choose from, codecs beside each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pyqtgraph
from napari.utils.theme import get_theme
from qtpy.QtCore import QPointF, Qt, QTimer, Signal
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from ..core.words import in_bytes

HEIGHT, LOW_HEIGHT = 190, 150  # pixels
MOST_POINTS = 2_000  # of a curve; beyond them every other one is left out
REDRAW_MS = 300
COLOURS = {  # PSNR and loss: told apart by everybody, readable on the theme's background
    "dark": ("#56b4e9", "#e69f00"),
    "light": ("#0072b2", "#b35900"),
}


def still_plot(parent: QWidget, height: int) -> pyqtgraph.PlotWidget:
    """Return an empty plot, as wide as its parent, that answers neither mouse nor menu."""
    plot = pyqtgraph.PlotWidget(parent=parent)
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    # pyqtgraph asks for 640 x 480, and would widen the panel.
    plot.setFixedHeight(height)
    plot.setMinimumWidth(0)
    plot.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    # The menu that nobody sees is a window of its own, and would stay when the panel is gone.
    menu = plot.getPlotItem().ctrlMenu
    menu.setParent(plot, menu.windowFlags())
    return plot


@dataclass(frozen=True)
class Curve:
    """PSNR in dB and loss against the step."""

    steps: tuple[int, ...] = ()
    psnr: tuple[float, ...] = ()  # nan where it was not followed yet
    loss: tuple[float, ...] = ()


NO_CURVE = Curve()


class FitPlot(QWidget):
    """PSNR in dB on the left axis, loss on the right one, logarithmic, as in the paper's figures 4 to 6."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []
        self.psnr: list[float] = []
        self.loss: list[float] = []
        self._plot = still_plot(self, HEIGHT)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._plot)
        self.setToolTip("Left: PSNR of the LR in dB (peak: the intensity range). Right: loss, logarithmic.")

        item = self._plot.getPlotItem()
        item.layout.setContentsMargins(0, 6, 0, 8)  # else the outermost labels are cut off
        self._loss_view = pyqtgraph.ViewBox(enableMenu=False)
        self._loss_view.setMouseEnabled(x=False, y=False)
        item.showAxis("right")
        item.scene().addItem(self._loss_view)
        self._axes = {name: item.getAxis(name) for name in ("left", "right", "bottom")}
        self._axes["right"].linkToView(self._loss_view)
        self._axes["right"].setLogMode(True)
        for axis in self._axes.values():
            axis.enableAutoSIPrefix(False)
        self._axes["bottom"].setHeight(40)
        self._axes["left"].setWidth(44)
        self._axes["right"].setWidth(52)
        self._loss_view.setXLink(item.vb)
        item.vb.sigResized.connect(self._fit_loss_view)
        self._psnr_curve = item.plot()
        self._loss_curve = pyqtgraph.PlotDataItem()
        self._loss_curve.setLogMode(False, True)
        self._loss_view.addItem(self._loss_curve)
        self._redraw = QTimer(self)
        self._redraw.setSingleShot(True)
        self._redraw.setInterval(REDRAW_MS)
        self._redraw.timeout.connect(self.draw)
        self.set_theme("dark")
        self.draw()

    def set_theme(self, name: str) -> None:
        """Take the colours of a napari theme."""
        theme = get_theme(name)
        psnr, loss = COLOURS["light" if theme.type == "light" else "dark"]
        self._plot.setBackground(theme.background.as_hex())
        text = theme.text.as_hex()
        for axis in self._axes.values():
            axis.setPen(theme.secondary.as_hex())
            axis.setTextPen(text)
        self._axes["bottom"].setLabel("step", color=text)
        self._axes["left"].setLabel("PSNR", units=None, color=psnr)
        self._axes["left"].setTextPen(psnr)
        self._axes["right"].setLabel("loss", color=loss)
        self._axes["right"].setTextPen(loss)
        self._psnr_curve.setPen(psnr, width=2)
        self._loss_curve.setPen(loss, width=1)

    @property
    def curve(self) -> Curve:
        """What is drawn, or will be soon."""
        return Curve(tuple(self.steps), tuple(self.psnr), tuple(self.loss))

    def show_curve(self, curve: Curve) -> None:
        """Draw the curve of another fit."""
        self.steps, self.psnr, self.loss = list(curve.steps), list(curve.psnr), list(curve.loss)
        self.draw()

    def add(self, step: int, psnr: float, loss: float) -> None:
        """Add a point, to be drawn soon; PSNR is 0 before it was followed first."""
        self.steps.append(step)
        self.psnr.append(psnr if psnr > 0 else float("nan"))
        self.loss.append(max(loss, 1e-12))
        if len(self.steps) > MOST_POINTS:
            self.steps, self.psnr, self.loss = self.steps[::2], self.psnr[::2], self.loss[::2]
        if not self._redraw.isActive():
            self._redraw.start()

    def draw(self) -> None:
        """Draw what was added."""
        self._psnr_curve.setData(self.steps, self.psnr, connect="finite")
        self._loss_curve.setData(self.steps, self.loss)
        loss = self.loss or [1e-4, 1.0]
        low, high = math.floor(math.log10(min(loss))), math.ceil(math.log10(max(loss)))
        high = max(high, low + 1)
        self._loss_view.setYRange(low, high, padding=0.02)
        # Decades only: pyqtgraph would label what lies between them too, one over the other.
        self._axes["right"].setTicks([[(decade, f"1e{decade}") for decade in range(low, high + 1)]])

    def _fit_loss_view(self) -> None:
        self._loss_view.setGeometry(self._plot.getPlotItem().vb.sceneBoundingRect())


class SizePlot(QWidget):
    """PSNR in dB to expect of a file against its size, logarithmic: points, of which one can be chosen."""

    chosen = Signal(int)  # bytes of the point that was clicked
    REACH = 14.0  # pixels around a point that are the point's
    WORDS = (
        "PSNR of the reconstruction to expect (peak: the intensity range) of files of several sizes; the ring"
        " is what the target comes to. Click a point to ask for its size."
    )

    def __init__(self) -> None:
        super().__init__()
        self._plot = still_plot(self, LOW_HEIGHT)
        self._plot.setToolTip(self.WORDS)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._plot)
        item = self._plot.getPlotItem()
        item.layout.setContentsMargins(0, 6, 8, 4)  # else the outermost labels are cut off
        item.getAxis("bottom").setHeight(40)
        item.getAxis("left").setWidth(44)
        for name in ("left", "bottom"):
            item.getAxis(name).enableAutoSIPrefix(False)
        self._curve, self._ring = item.plot(symbol="o", symbolSize=7), item.plot(symbol="o", symbolSize=14)
        self._points: list[tuple[int, float]] = []
        self._plot.scene().sigMouseClicked.connect(self._clicked)
        self._plot.scene().sigMouseMoved.connect(self._hovered)
        self.set_theme("dark")

    def set_theme(self, name: str) -> None:
        """Take the colours of a napari theme."""
        theme = get_theme(name)
        colour, text = COLOURS["light" if theme.type == "light" else "dark"][0], theme.text.as_hex()
        self._plot.setBackground(theme.background.as_hex())
        item = self._plot.getPlotItem()
        for axis, words in (("left", "PSNR, dB"), ("bottom", "file size, kB")):
            item.getAxis(axis).setPen(theme.secondary.as_hex())
            item.getAxis(axis).setTextPen(text)
            item.setLabel(axis, words, color=text)
        self._curve.setPen(colour, width=1)
        self._curve.setSymbolPen(colour)
        self._curve.setSymbolBrush(colour)
        self._ring.setPen(None)
        self._ring.setSymbolPen(text, width=2)
        self._ring.setSymbolBrush(None)

    def show_points(self, points: list[tuple[int, float]], ring: tuple[int, float] | None) -> None:
        """Draw points, each bytes and PSNR, and a ring around what the target comes to, if it can be met."""
        self._points = points
        self._curve.setData([math.log10(size) for size, _ in points], [psnr for _, psnr in points])
        rings = [] if ring is None else [ring]
        self._ring.setData([math.log10(size) for size, _ in rings], [psnr for _, psnr in rings])
        low, high = math.floor(math.log10(points[0][0])), math.ceil(math.log10(points[-1][0]))
        ticks = [first * 10**decade for decade in range(low, high + 1) for first in (1, 2, 5)]
        axis = self._plot.getPlotItem().getAxis("bottom")
        axis.setTicks([[(math.log10(tick), f"{tick / 1000:,g}") for tick in ticks]])

    def place(self, point: tuple[int, float]) -> QPointF:
        """Return where a point lies, in pixels of the plot."""
        size, psnr = point
        place: QPointF = self._plot.getPlotItem().vb.mapViewToScene(QPointF(math.log10(size), psnr))
        return place

    def _near(self, at: QPointF) -> tuple[int, float] | None:
        def distance(point: tuple[int, float]) -> float:
            away = self.place(point) - at
            return math.hypot(away.x(), away.y())

        nearest = min(self._points, key=distance, default=None)
        return None if nearest is None or distance(nearest) > self.REACH else nearest

    def _clicked(self, click: pyqtgraph.GraphicsScene.mouseEvents.MouseClickEvent) -> None:
        point = self._near(click.scenePos())
        if point is not None and click.button() == Qt.MouseButton.LeftButton:
            self.chosen.emit(point[0])

    def _hovered(self, at: QPointF) -> None:
        point = self._near(at)
        self._plot.setCursor(
            Qt.CursorShape.ArrowCursor if point is None else Qt.CursorShape.PointingHandCursor
        )
        words = self.WORDS
        if point is not None:
            words = f"{in_bytes(point[0])}: about {point[1]:.1f} dB. Click to ask for this size."
        self._plot.setToolTip(words)


class RatePlot(QWidget):
    """PSNR in dB against the ratio, logarithmic, a curve for each codec; the first is ours, drawn large."""

    CURVES = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#999999")  # told apart by everybody
    TICKS = (2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000)

    def __init__(self) -> None:
        super().__init__()
        self._plot = still_plot(self, HEIGHT)
        self.legend = QLabel()  # below the plot: within it, it would lie over the points
        self.legend.setWordWrap(True)
        self.legend.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._plot)
        layout.addWidget(self.legend)
        self.setToolTip("PSNR in dB (peak: the intensity range) against the ratio; right: smaller files.")
        item = self._plot.getPlotItem()
        item.layout.setContentsMargins(0, 6, 8, 8)
        item.getAxis("bottom").setHeight(40)
        item.getAxis("left").setWidth(44)
        for name in ("left", "bottom"):
            item.getAxis(name).enableAutoSIPrefix(False)
        self._curves: list[tuple[str, list[tuple[float, float]]]] = []
        self._theme = "dark"
        self.set_theme("dark")

    def set_theme(self, name: str) -> None:
        """Take the colours of a napari theme."""
        self._theme = name
        theme = get_theme(name)
        item = self._plot.getPlotItem()
        self._plot.setBackground(theme.background.as_hex())
        text = theme.text.as_hex()
        for axis in ("left", "bottom"):
            item.getAxis(axis).setPen(theme.secondary.as_hex())
            item.getAxis(axis).setTextPen(text)
        item.setLabel("bottom", "ratio (:1)", color=text)
        item.setLabel("left", "PSNR", color=text)
        self.show_curves(self._curves)

    def show_curves(self, curves: list[tuple[str, list[tuple[float, float]]]]) -> None:
        """Draw curves, each a name and its points (ratio, PSNR); those without any error have no place."""
        self._curves = curves
        item, text = self._plot.getPlotItem(), get_theme(self._theme).text.as_hex()
        item.clear()
        names = []
        for index, (name, points) in enumerate(curves):
            ordered = sorted(point for point in points if math.isfinite(point[1]))
            ratios = [math.log10(ratio) for ratio, _ in ordered]
            ours = index == 0
            colour = text if ours else self.CURVES[(index - 1) % len(self.CURVES)]
            item.plot(
                ratios,
                [psnr for _, psnr in ordered],
                pen=pyqtgraph.mkPen(colour, width=2),
                symbol="star" if ours else "o",
                symbolSize=15 if ours else 5,
                symbolBrush=colour,
                symbolPen=colour,
            )
            sign = "\u2605" if ours else "\u25cf"  # star, disc
            names.append(f'<span style="color: {colour}">{sign}</span>&nbsp;{name.replace(" ", "&nbsp;")}')
        self.legend.setText("&ensp; ".join(names))
        item.getAxis("bottom").setTicks([[(math.log10(tick), f"{tick:,}") for tick in self.TICKS]])
