"""Draw the pictures of docs/images: the plugin at work on the CT head phantom.

Run it as `xvfb-run -a -s "-screen 0 1600x1000x24" python scripts/make_screenshots.py`; it takes two or three
minutes on two CPU cores. Everything is done as a person does it, with the buttons of the panels. The fit is
the preset `fast`. `--size` and `--theme` are for checking how the panels look elsewhere, `--only` draws some.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

os.environ.setdefault("NAPARI_CONFIG", "")  # the settings of whoever runs this stay as they are

import napari
import numpy as np
from PIL import Image
from qtpy.QtWidgets import QApplication, QComboBox, QScrollArea, QWidget

from napari_inr_volume.core.generators import drain
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.windows import WINDOWS
from napari_inr_volume.exact.encode import encode_exact
from napari_inr_volume.io.inr_file import read_inr, write_inr
from napari_inr_volume.io.volumes import write_volume
from napari_inr_volume.plugin import kept_fits
from napari_inr_volume.plugin.exports import labels_on_full_grid, new_labels
from napari_inr_volume.plugin.job import Job
from napari_inr_volume.plugin.samples import SAMPLE

PLUGIN = "napari-inr-volume"
IMAGES = Path(__file__).parents[1] / "docs" / "images"
AIR = -900  # HU; what is above is tissue
PATIENCE = 1_800  # seconds that anything may take


def main() -> None:
    """Draw the pictures, or the moving one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of the pictures")
    parser.add_argument("--size", default="1600x1000", help="of the window in pixels")
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    parser.add_argument("--only", nargs="+", choices=PICTURES, default=list(PICTURES))
    parser.add_argument("--moving", action="store_true", help="draw the moving picture of the README alone")
    given = parser.parse_args()
    width, height = (int(length) for length in given.size.split("x"))
    given.out.mkdir(parents=True, exist_ok=True)
    if given.moving:
        draw_moving(_viewer(width, height, given.theme), given.out)
        return
    for name in given.only:
        PICTURES[name](_viewer(width, height, given.theme), given.out)


def draw_compress(viewer: napari.Viewer, out: Path) -> None:
    """Draw the panel Compress (INR) during a fit, then the comparison and the difference."""
    viewer.open_sample(PLUGIN, "head_phantom")
    _, panel = viewer.window.add_plugin_dock_widget(PLUGIN, "Compress (INR)")
    _wait(lambda: panel.state.volume is not None)
    panel.settings.preset.setCurrentText("fast")
    panel.settings.preset.textActivated.emit("fast")
    _wait(lambda: "about" in panel.settings.prediction.text())  # the speed is known
    _show_window(panel, "soft tissue")

    panel.fit.fit.click()
    _wait(lambda: len(panel.fit.plot.steps) > 0 and panel.fit.plot.steps[-1] > 1_500)
    _scroll_to(panel, panel.fit.plot)
    _draw(viewer, out / "fit.png", seconds=0.3)

    _wait_for(panel)
    panel.reconstruct.apply.click()
    _wait_for(panel)
    panel.compare.button("side by side").click()
    viewer.scene.camera.zoom *= 1.35  # the head, and less of the air around it
    _scroll_to(panel, panel.compare.figures)
    _draw(viewer, out / "side-by-side.png")
    panel.compare.button("difference").click()
    _wait_for(panel)
    _draw(viewer, out / "difference.png")
    viewer.close()


def draw_moving(viewer: napari.Viewer, out: Path) -> None:
    """Draw a fit that sharpens, its reconstruction and the difference, as the README's moving picture."""
    viewer.open_sample(PLUGIN, "head_phantom")
    _, panel = viewer.window.add_plugin_dock_widget(PLUGIN, "Compress (INR)")
    _wait(lambda: panel.state.volume is not None)
    panel.settings.preset.setCurrentText("fast")
    panel.settings.preset.textActivated.emit("fast")
    _wait(lambda: "about" in panel.settings.prediction.text())
    _show_window(panel, "soft tissue")
    frames = [_frame(viewer)]
    panel.fit.fit.click()
    _wait(lambda: len(panel.fit.plot.steps) > 0)
    _scroll_to(panel, panel.fit.plot)
    steps = 0
    while panel.state.fitting.running:
        _pump(0.05)
        if panel.fit.plot.steps[-1] >= steps:
            frames.append(_frame(viewer))
            steps = 1.35 * panel.fit.plot.steps[-1] + 10  # most happens at first
    _wait_for(panel)
    panel.reconstruct.apply.click()
    _wait_for(panel)
    panel.compare.button("side by side").click()
    _scroll_to(panel, panel.compare.figures)
    last = len(frames)
    frames.append(_frame(viewer))
    panel.compare.button("difference").click()
    _wait_for(panel)
    frames.append(_frame(viewer))
    viewer.close()
    durations = [1_200, *[350] * (last - 2), 1_500, 3_000, 3_000]
    palette = frames[-1].quantize(128, dither=Image.Dither.NONE)
    shown = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    path = out / "fit.gif"
    shown[0].save(path, save_all=True, append_images=shown[1:], duration=durations, loop=0, optimize=True)
    print(f"{path.name}: {len(frames)} frames, {path.stat().st_size / 1000:.0f} kB")


def _frame(viewer: napari.Viewer) -> Image.Image:
    """Return the whole window at half its size."""
    _pump(0.3)
    pixels: np.ndarray = viewer.screenshot(canvas_only=False, flash=False)
    picture = Image.fromarray(pixels[..., :3])
    return picture.resize((picture.width * 5 // 8, picture.height * 5 // 8), Image.Resampling.LANCZOS)


def draw_inr_file(viewer: napari.Viewer, out: Path) -> None:
    """Draw the widget INR file with the sample `.inr`, opened as a file, and its error."""
    viewer.open_sample(PLUGIN, "head_phantom")
    viewer.open(str(SAMPLE), plugin=PLUGIN)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "INR file")
    _wait_for(widget)
    widget.errors.measure.click()
    _wait_for(widget)
    _scroll_to(widget, widget.errors.table)
    viewer.fit_to_view()
    _draw(viewer, out / "inr-file.png")
    viewer.close()


def draw_labels(viewer: napari.Viewer, out: Path) -> None:
    """Draw labels of bone that were made on the small LR, beside the same on the full grid."""
    lr, hr = viewer.open(str(SAMPLE), plugin=PLUGIN)
    _wait(lambda: lr.data.sharp and hr.data.sharp)
    lr.contrast_limits = hr.contrast_limits = WINDOWS["soft tissue"].limits
    viewer.layers.selection.active = lr
    new_labels(viewer)
    small = viewer.layers[-1]
    small.data = (np.asarray(lr.data) > 300).astype(np.uint8)  # a segmentation, if a simple one
    viewer.layers.selection.active = small
    labels_on_full_grid(viewer)
    for layer in (lr, small, hr, viewer.layers[-1]):  # in the order of the cells
        viewer.layers.move(viewer.layers.index(layer), len(viewer.layers))
        layer.name_overlay.visible = True
        layer.name_overlay.font_size = 8
    for layer in viewer.layers[1::2]:
        layer.opacity = 0.5
    viewer.canvas.grid.enabled, viewer.canvas.grid.stride, viewer.canvas.grid.shape = True, 2, (1, -1)
    viewer.fit_to_view()
    _draw(viewer, out / "labels.png")
    viewer.close()


def draw_codec_comparison(viewer: napari.Viewer, out: Path) -> None:
    """Draw the widget Codec comparison with the sample `.inr` beside the codecs that are checked at first."""
    viewer.open_sample(PLUGIN, "head_phantom")
    viewer.open(str(SAMPLE), plugin=PLUGIN)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Codec comparison")
    widget.choice.compare.click()
    _wait_for(widget)
    for layer in viewer.layers:
        layer.visible = layer.name.split(" [")[-1].startswith(("INR", "JPEG", "HEVC", "AV1"))
        layer.name_overlay.visible = True
        layer.name_overlay.font_size = 8  # else long names are cut off
    viewer.canvas.grid.enabled = True
    viewer.fit_to_view()
    _draw(viewer, out / "codec-comparison.png")
    viewer.close()


def draw_keep(viewer: napari.Viewer, out: Path) -> None:
    """Draw the panel Compress (INR) with what is expected of a file that keeps a bound."""
    viewer.open_sample(PLUGIN, "head_phantom")
    _, panel = viewer.window.add_plugin_dock_widget(PLUGIN, "Compress (INR)")
    _wait(lambda: panel.state.volume is not None)
    kept = panel.settings.kept.kept
    kept.setCurrentText("within")
    kept.activated.emit(kept.currentIndex())
    _wait(lambda: "The file" in panel.settings.exact_prediction.text())
    _wait(lambda: "measuring" not in panel.settings.prediction.text())
    viewer.fit_to_view()
    _scroll_to(panel, panel.settings.exact_prediction)
    _draw(viewer, out / "keep.png")
    viewer.close()


@cache
def make_exact() -> Path:
    """Save the sample `.inr` with every voxel to within 2 HU beside its network."""
    path = Path(tempfile.mkdtemp()) / "phantom.inr"
    inr = replace(read_inr(SAMPLE), exact=drain(encode_exact(head_phantom(), 2)))
    write_inr(inr, path)
    return path


def draw_exact_file(viewer: napari.Viewer, out: Path) -> None:
    """Draw the widget INR file with a file that has an exact layer, while the slice in view is decoded."""
    exact = make_exact()
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "INR file")
    viewer.open(str(exact), plugin=PLUGIN)
    viewer.fit_to_view()
    _wait(lambda: not widget.looking.running and widget.contents.tree.topLevelItemCount() > 0)
    groups = [widget.contents.tree.topLevelItem(at) for at in range(widget.contents.tree.topLevelItemCount())]
    for group in groups:
        group.setExpanded(group in (groups[0], groups[-1]))  # the file, and its exact layer
    _scroll_to(widget, widget.contents.tree)
    viewer.dims.set_current_step(0, 15)  # the last of a slab
    middle = (viewer.dims.point[0], 0.0, 0.0)
    _wait(lambda: viewer.layers[-1].get_value(middle, world=True) > AIR)  # its preview is there
    _draw(viewer, out / "exact-file.png", seconds=0.2)
    viewer.close()


def draw_bounded_comparison(viewer: napari.Viewer, out: Path) -> None:
    """Draw the widget Codec comparison at the bound of a file with an exact layer."""
    viewer.open_sample(PLUGIN, "head_phantom")
    viewer.open(str(make_exact()), plugin=PLUGIN)
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Codec comparison")
    widget.choice.compare.click()
    _wait_for(widget)
    viewer.fit_to_view()
    _scroll_to(widget, widget.result.table)
    _draw(viewer, out / "codec-comparison-at-a-bound.png")
    viewer.close()


def draw_batch(viewer: napari.Viewer, out: Path) -> None:
    """Draw the widget Batch: three volumes, of which one is done, one at work, and one cannot be read."""
    folder = Path(tempfile.mkdtemp()) / "studies"
    for name, depth in (("patient-1/head", 16), ("patient-2/head", 24)):
        (folder / name).parent.mkdir(parents=True)
        write_volume(head_phantom((depth, 128, 128)), folder / f"{name}.nii.gz")
    (folder / "patient-3.nii.gz").write_bytes(b"cut off")
    _, widget = viewer.window.add_plugin_dock_widget(PLUGIN, "Batch")
    widget.add(folder)
    _wait_for(widget)
    _choose(widget.request.preset, "fast")
    widget.table.selectRow(1)
    _choose(widget.request.target_row.kind, "ratio")
    widget.request.target_row.value.setValue(100)
    _choose(widget.request.kept.kept, "within")
    widget.table.clearSelection()
    widget.run.start.click()
    _wait(lambda: widget.table.item(1, 2).text().startswith("fitting,"))
    _draw(viewer, out / "batch.png")
    widget.run.stop.click()
    _wait_for(widget)
    viewer.close()


def _choose(box: QComboBox, words: str) -> None:
    """Choose from a list, as a person would."""
    box.setCurrentText(words)
    box.activated.emit(box.currentIndex())


def _viewer(width: int, height: int, theme: str) -> napari.Viewer:
    kept_fits.FOLDER = Path(tempfile.mkdtemp())  # a picture shows no fit of another
    viewer = napari.Viewer(show=True)
    viewer.theme = theme
    viewer.window.resize(width, height)
    _pump(0.8)
    return viewer


def _show_window(panel: QWidget, name: str) -> None:
    """Choose a window under Source."""
    box = panel.source.windows
    box.setCurrentIndex(box.findData(name))
    box.textActivated.emit(box.currentText())


def _wait_for(panel: QWidget) -> None:
    """Wait until nothing is under way in a panel."""
    jobs = panel.findChildren(Job)
    _pump(0.2)
    _wait(lambda: not any(job.running for job in jobs))


def _wait(is_so: Callable[[], bool]) -> None:
    started = time.monotonic()
    while not is_so():
        if time.monotonic() - started > PATIENCE:
            raise SystemExit(
                "make_screenshots.py: gave up waiting; is the computer busy with something else?"
            )
        _pump(0.05)


def _pump(seconds: float) -> None:
    """Let Qt do what there is to do for a while."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        QApplication.processEvents()
        time.sleep(0.005)


def _scroll_to(panel: QWidget, what: QWidget) -> None:
    _pump(0.3)
    panel.findChild(QScrollArea).ensureWidgetVisible(what)


def _draw(viewer: napari.Viewer, path: Path, seconds: float = 1.0) -> None:
    """Save the whole window as a small PNG."""
    _pump(seconds)
    pixels: np.ndarray = viewer.screenshot(canvas_only=False, flash=False)
    picture = Image.fromarray(pixels[..., :3])
    picture.save(path, optimize=True)
    if path.stat().st_size > 300_000:  # colours that nobody can tell apart take most of it
        picture.quantize(256, kmeans=3, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {picture.width} x {picture.height}, {path.stat().st_size / 1000:.0f} kB")


PICTURES = {  # by what they show, each of them one or several
    "compress": draw_compress,
    "inr-file": draw_inr_file,
    "labels": draw_labels,
    "codec-comparison": draw_codec_comparison,
    "keep": draw_keep,
    "exact-file": draw_exact_file,
    "bounded-comparison": draw_bounded_comparison,
    "batch": draw_batch,
}

if __name__ == "__main__":
    main()
