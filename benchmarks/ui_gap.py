"""How long the window stands still while a volume is fitted on the CPU, with previews and the plot.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/ui_gap.py [--seconds 20] [--json OUT]

A timer of the UI thread should tick every 10 ms; the gaps between its ticks are what a person would feel.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest

from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.plugin.layers import add_layer, original_layer
from napari_inr_volume.widgets.compress import CompressWidget

from report import machine, table, write_json, write_section

SHAPE = (96, 512, 512)
TICK = 10  # ms


def main() -> None:
    """Measure the idle window, then the fitting one, and put both into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    viewer = napari.Viewer(show=True)
    add_layer(viewer, original_layer(head_phantom(SHAPE), "head"))
    panel = CompressWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Compress (INR)")
    while not panel.fit.fit.isEnabled():
        QTest.qWait(50)
    QTest.qWait(2_000)  # until the trial of the speed is over
    figures = {"idle": gaps(arguments.seconds / 4)}
    QTest.mouseClick(panel.fit.fit, Qt.MouseButton.LeftButton)
    QTest.qWait(2_000)  # until the LR layer is there and the network is being fitted
    figures["fitting"] = gaps(arguments.seconds)
    panel.fitting.drop()
    while panel.fitting.running:
        QTest.qWait(10)
    viewer.close()
    rows = [
        [name, *(f"{value:.0f} ms" for value in (gap["median"], gap["p99"], gap["largest"]))]
        for name, gap in figures.items()
    ]
    caption = (
        f"Head phantom {' x '.join(map(str, SHAPE))}, preset `default`, {arguments.seconds:.0f} s; a timer of"
        f" {TICK} ms under Xvfb. {machine()}."
    )
    text = f"{caption}\n\n{table(['window', 'median', '99 % below', 'largest gap'], rows)}"
    print(text)
    write_section("ui", text)
    write_json(arguments.json, {"machine": machine(), "milliseconds": figures})


def gaps(seconds: float) -> dict[str, float]:
    """Return how long the timer's ticks are apart, in ms."""
    ticks = [time.perf_counter()]
    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    timer.start(TICK)
    QTest.qWait(int(seconds * 1000))
    timer.stop()
    between = np.diff(ticks) * 1000
    return {
        "median": float(np.median(between)),
        "p99": float(np.percentile(between, 99)),
        "largest": float(between.max()),
    }


if __name__ == "__main__":
    main()
