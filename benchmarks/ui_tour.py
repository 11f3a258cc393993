"""How long the window stands still in each action of the tour of docs/usage.md, done by a scripted person.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/ui_tour.py SOURCE... [--json OUT]

Each source is opened, scrolled, fitted, restored, compared, saved, and opened again as an `.inr`. A timer
of the UI thread should tick every 10 ms; a gap is what a person would feel. Beside the largest gap of each
action stands how much of it the UI thread computed itself: the rest is other programs, where the machine is
not quiet. What is written to standard error meanwhile is told at the end, and there should be nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("NAPARI_CONFIG", "")  # the settings of whoever runs this stay as they are

import napari
from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QWidget

from napari_inr_volume.plugin import commands, dialogs, kept_fits
from napari_inr_volume.plugin.job import Job
from napari_inr_volume.plugin.settings import PLUGIN
from napari_inr_volume.plugin.sharpening import sharpening_of
from napari_inr_volume.widgets.orthogonal import TITLE

from report import machine, table, write_json, write_section

TICK, LONG = 10, 150  # ms: of the timer, and what a person feels
PATIENCE = 900  # seconds that anything may take
REST = 400  # ms after an action, in which what it set going is drawn


@dataclass(frozen=True)
class Gap:
    """The largest gap of an action, in ms."""

    action: str
    wall: float
    computed: float  # of it, by the UI thread


class Watch(QObject):
    """Ticks, and measures how far its ticks are apart."""

    def __init__(self) -> None:
        super().__init__()
        self.gaps: list[Gap] = []
        self._largest = 0.0, 0.0
        self._now()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        self._timer.start(TICK)

    def _now(self) -> None:
        self._last = time.perf_counter(), time.thread_time()

    def _tick(self) -> None:
        wall, computed = self._last
        self._now()
        self._largest = max(self._largest, (1000 * (self._last[0] - wall), 1000 * (self._last[1] - computed)))

    def during(self, action: str, act: Callable[[], object], done: Callable[[], bool] = lambda: True) -> None:
        """Do something and wait until it is done; keep the largest gap."""
        self._largest = 0.0, 0.0
        self._now()
        act()
        wait(done)
        QTest.qWait(REST)
        self.gaps.append(Gap(action, *self._largest))
        print(f"{action}: {self._largest[0]:.0f} ms", flush=True)


def main() -> None:
    """Take each source through the tour, put the table into docs; fail if anything was written to stderr."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, nargs="+")
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    kept_fits.FOLDER = folder / "fits"
    found: dict[str, list[Gap]] = {}
    with standard_error(folder / "stderr") as written:
        for source in arguments.source:
            found[source.name] = tour(source, folder / "tour.inr", arguments.preset)
    text = as_text(found, arguments.preset)
    print(text)
    write_section("tour", text)
    write_json(
        arguments.json,
        {"machine": machine(), "gaps": {name: [vars(gap) for gap in gaps] for name, gaps in found.items()}},
    )
    if lines := written.read_text():
        sys.exit(f"on standard error:\n{lines}")


def as_text(found: dict[str, list[Gap]], preset: str) -> str:
    """Return the gaps of all sources as one table, in the order of the tour."""
    rows = [
        [gaps[0].action, *(f"{gap.wall:.0f} ms ({gap.computed:.0f})" for gap in gaps)]
        for gaps in zip(*found.values(), strict=True)
    ]
    counts = [f"{sum(gap.computed > LONG for gap in gaps)} in {name}" for name, gaps in found.items()]
    return (
        f"Preset `{preset}`, a window of 1600 x 1000 under Xvfb, drawn by the processor. {machine()}."
        f" The UI thread computed for more than {LONG} ms at a stretch in {', '.join(counts)} of"
        f" {len(rows)} actions.\n\n"
        f"{table(['action', *found], rows)}"
    )


def tour(source: Path, inr: Path, preset: str) -> list[Gap]:
    """Do what docs/usage.md tells, and return the largest gap of each action."""
    dialogs.ask_source = lambda *_: source
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1600, 1000)
    QTest.qWait(1_000)
    watch = Watch()
    panel = in_dock(watch, viewer, "Compress (INR)")
    look(watch, viewer, panel, preset)
    fit(watch, viewer, panel)
    compare(watch, viewer, panel)
    dialogs.ask_where_to_save = lambda *_: inr
    watch.during("save the .inr", panel.save.button.click, inr.exists)
    turn(watch, viewer, "the fit")
    opened(watch, viewer, inr)
    watch.during("close napari", viewer.close)
    return watch.gaps


def in_dock(watch: Watch, viewer: napari.Viewer, name: str) -> QWidget:
    """Open a panel as the menu does."""
    docks: list[QWidget] = []
    watch.during(
        f"open the panel {name}",
        lambda: docks.append(viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]),
    )
    return docks[0]


def look(watch: Watch, viewer: napari.Viewer, panel: QWidget, preset: str) -> None:
    """Open the CT, scroll, change windows, choose settings."""
    watch.during("open CT", panel.source.load.click, lambda: panel.state.volume is not None)
    watch.during("what to expect of a fit", lambda: None, lambda: idle(panel))
    watch.during("scroll the original", lambda: scroll(viewer))
    watch.during("next window, four times", lambda: [panel.show_next_window() for _ in range(4)])

    def choose() -> None:
        panel.settings.preset.setCurrentText(preset)
        panel.settings.preset.textActivated.emit(preset)

    watch.during(f"choose the preset {preset}", choose, lambda: idle(panel))


def fit(watch: Watch, viewer: napari.Viewer, panel: QWidget) -> None:
    """Fit, scroll meanwhile, stop, wait for the figures, restore."""
    watch.during("press Fit", panel.fit.fit.click, lambda: len(panel.fit.plot.steps) > 20)
    watch.during("scroll while it is fitted", lambda: scroll(viewer))
    watch.during("roll to coronal while it is fitted", lambda: roll(viewer))
    watch.during("roll back while it is fitted", lambda: roll(viewer, -1))
    watch.during("ten seconds of the fit", lambda: QTest.qWait(10_000))
    watch.during("stop and keep", panel.fit.fit.click, lambda: not panel.state.fitting.running)
    watch.during("measure", lambda: None, lambda: idle(panel))
    watch.during("apply", panel.reconstruct.apply.click, lambda: idle(panel))


def compare(watch: Watch, viewer: napari.Viewer, panel: QWidget) -> None:
    """Compare in every way, with orthogonal views."""
    for mode in ("side by side", "wipe", "difference", "3D", "off"):
        watch.during(f"compare: {mode}", panel.compare.button(mode).click, lambda: idle(panel))
        if mode == "side by side":
            watch.during("scroll side by side", lambda: scroll(viewer))
        elif mode == "wipe":
            edge = panel.compare.edge
            watch.during("move the wipe", lambda edge=edge: [edge.setValue(at) for at in (20, 60, 80)])
        elif mode == "difference":
            watch.during("scroll the difference", lambda: scroll(viewer))
            watch.during("absolute", panel.compare.absolute.click)
    watch.during("orthogonal views", panel.compare.orthogonal.click)
    watch.during("scroll with orthogonal views", lambda: scroll(viewer))
    views = viewer.window.dock_widgets[TITLE]
    watch.during("close them", lambda: viewer.window.remove_dock_widget(views))


def turn(watch: Watch, viewer: napari.Viewer, what: str, done: Callable[[], bool] = lambda: True) -> None:
    """Look from the front and in 3D."""
    watch.during(f"roll {what} to coronal", lambda: roll(viewer), done)
    watch.during(f"scroll {what} in coronal", lambda: scroll(viewer))
    watch.during("roll back", lambda: roll(viewer, -1), done)
    watch.during(f"{what} in 3D", lambda: setattr(viewer.dims, "ndisplay", 3), done)
    watch.during("back to 2D", lambda: setattr(viewer.dims, "ndisplay", 2), done)


def opened(watch: Watch, viewer: napari.Viewer, inr: Path) -> None:
    """Open the file beside its original, look into it and measure it; open the other panels."""
    layers: list[napari.layers.Layer] = []

    def sharp() -> bool:
        following = [sharpening_of(layer) for layer in layers]
        return not any(one is not None and one.job.running for one in following)

    watch.during(
        "open the .inr", lambda: layers.extend(viewer.open(str(inr), plugin=PLUGIN)), lambda: bool(layers)
    )
    watch.during("scroll the opened .inr", lambda: scroll(viewer))
    turn(watch, viewer, "the opened .inr", sharp)
    widget = in_dock(watch, viewer, "INR file")
    wait(lambda: idle(widget))
    watch.during("measure it in INR file", widget.errors.measure.click, lambda: idle(widget))
    path = inr.with_suffix(".csv")
    dialogs.ask_where_to_save = lambda *_: path
    watch.during("figures as CSV", widget.errors.save.click, lambda: not commands.running)
    in_dock(watch, viewer, "Codec comparison")
    batch = in_dock(watch, viewer, "Batch")
    watch.during("add the folder to the batch", lambda: batch.add(inr.parent), lambda: idle(batch))


def scroll(viewer: napari.Viewer) -> None:
    """Turn the wheel ten times, as fast as a person does."""
    axis = viewer.dims.not_displayed[-1]
    for _ in range(10):
        viewer.dims.set_current_step(axis, viewer.dims.current_step[axis] + 1)
        QTest.qWait(60)


def roll(viewer: napari.Viewer, by: int = 1) -> None:
    """Roll the axes, as the button below the layers does."""
    order = viewer.dims.order
    viewer.dims.order = order[by:] + order[:by]


def idle(panel: QWidget) -> bool:
    """Whether nothing is under way in a panel."""
    return not any(job.running for job in panel.findChildren(Job))


def wait(is_so: Callable[[], bool]) -> None:
    """Let Qt do what there is to do until it is so."""
    until = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > until:
            raise SystemExit("ui_tour.py: gave up waiting; is the computer busy with something else?")
        QTest.qWait(20)


@contextmanager
def standard_error(path: Path) -> Iterator[Path]:
    """Catch what is written to standard error, by other than Python too."""
    before = os.dup(2)
    with path.open("wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield path
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)
        if sys.exc_info()[0] is not None:
            sys.stderr.write(path.read_text())


if __name__ == "__main__":
    main()
