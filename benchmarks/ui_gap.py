"""How long the window stands still while a volume is fitted on the CPU, with previews and the plot.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/ui_gap.py [--seconds 20] [--json OUT]

A timer of the UI thread should tick every 10 ms; the gaps between its ticks are what a person would feel.
Below them, what a tick of the scroll wheel and an edit of a setting cost on the UI thread, against writing
the file (`to_bytes`, which checks what it wrote), as both did once to tell its size.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest

from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.io.inr_file import to_bytes
from napari_inr_volume.io.inr_size import predicted_bytes
from napari_inr_volume.plugin.layers import add_layer, original_layer
from napari_inr_volume.widgets.compress import CompressWidget
from napari_inr_volume.widgets.controllers.compare import size_words

from report import machine, table, write_json, write_section

SHAPE = (96, 512, 512)
TICK = 10  # ms


def main() -> None:
    """Measure the idle window, then the fitting one, and put both into docs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    viewer = napari.Viewer(show=True)
    add_layer(viewer, original_layer(head_phantom(SHAPE), "head"))
    panel = CompressWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Compress (INR)")
    while panel.state.volume is None:
        QTest.qWait(50)
    QTest.qWait(2_000)  # until the trial of the speed is over
    figures = {"idle": gaps(arguments.seconds / 4)}
    QTest.mouseClick(panel.fit.fit, Qt.MouseButton.LeftButton)
    QTest.qWait(2_000)  # until the LR layer is there and the network is being fitted
    figures["fitting"] = gaps(arguments.seconds)
    panel.state.fitting.stop()
    while panel.state.fitting.running:
        QTest.qWait(10)
    costs = costs_of(panel)
    viewer.close()
    rows = [
        [name, *(f"{value:.0f} ms" for value in (gap["median"], gap["p99"], gap["largest"]))]
        for name, gap in figures.items()
    ]
    caption = (
        f"Head phantom {' x '.join(map(str, SHAPE))}, preset `default`, {arguments.seconds:.0f} s; a timer of"
        f" {TICK} ms under Xvfb. {machine()}."
    )
    writing = costs["writing the file"]
    cost_rows = [[name, f"{value:.2f} ms", f"1/{writing / value:.0f}"] for name, value in costs.items()]
    text = (
        f"{caption}\n\n{table(['window', 'median', '99 % below', 'largest gap'], rows)}\n\n"
        f"{table(['on the UI thread', 'time', 'of writing the file'], cost_rows)}"
    )
    print(text)
    write_section("ui", text)
    write_json(arguments.json, {"machine": machine(), "milliseconds": figures, "costs": costs})


def costs_of(panel: CompressWidget) -> dict[str, float]:
    """Return in ms what ticks and edits cost, what of it is the size of the file, and writing that."""
    fitted, settings = panel.state.fitted, panel.settings.settings
    assert fitted is not None
    assert fitted.inr is not None

    def milliseconds(work: Callable[[], object]) -> float:
        times = []
        for _ in range(20):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
        return 1000 * float(np.median(times))

    return {
        "writing the file": milliseconds(lambda: to_bytes(fitted.inr)),
        "size in a tick of the wheel": milliseconds(lambda: size_words(fitted)),
        "size in an edit": milliseconds(lambda: predicted_bytes(fitted.volume, settings, "auto")),
        "whole tick of the wheel": milliseconds(panel.figures_controller.show_figures),
        "whole edit": milliseconds(panel.settings_controller.predict),
    }


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
