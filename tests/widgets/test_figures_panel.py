"""Figures in the panels: stopped and gone on with, the body, another upscaler for the whole, as CSV."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from napari.components import ViewerModel
from numpy.typing import NDArray
from qtpy.QtCore import Qt

from napari_inr_volume import compress
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.core.words import in_decibels
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.io.inr_file import write_inr
from napari_inr_volume.measuring import SLICES, Measuring
from napari_inr_volume.plugin import commands, dialogs
from napari_inr_volume.plugin.job import Job
from napari_inr_volume.plugin.layers import add_layer, original_layer
from napari_inr_volume.records import Request
from napari_inr_volume.superres.upscale import LanczosUpscaler
from napari_inr_volume.widgets.compress import CompressWidget
from napari_inr_volume.widgets.figure_table import BODY
from napari_inr_volume.widgets.inr_info import InrFileWidget

pytestmark = [pytest.mark.gui, pytest.mark.slow]

LEFT = Qt.MouseButton.LeftButton
SMALL = Settings(
    field=SirenConfig(layers=2, hidden_features=16), fit=FitConfig(steps=30, batch=256, learning_rate=1e-3)
)
LANCZOS = LanczosUpscaler((4.0, 4.0))


def start(qtbot, panel: CompressWidget) -> None:
    panel.settings.show_settings(SMALL)
    qtbot.mouseClick(panel.fit.fit, LEFT)


def settle(qtbot, panel: CompressWidget) -> None:
    """Wait until nothing is fitted, restored or measured any more."""
    jobs = panel.state.fitting, panel.state.applying, panel.state.measuring
    qtbot.waitUntil(lambda: not any(job.running for job in jobs))


def headings(panel: CompressWidget) -> list[str]:
    """Return what the table says the figures are of."""
    table = panel.compare.figures.table
    return [table.item(row, 0).text() for row in range(table.rowCount()) if table.columnSpan(row, 0) > 1]


# Stopped, and gone on with


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Event:
    """Measuring waits after three slices until this is set."""
    go_on, add, added = Event(), Measuring.add_hr, []

    def wait(self: Measuring, slices: list[int]) -> None:
        added.extend(slices)
        assert len(added) <= 3 or go_on.wait(60)
        add(self, slices)

    monkeypatch.setattr(Measuring, "add_hr", wait)
    return go_on


def test_cancelled_figures_stay_and_the_rest_is_measured_when_it_is_asked_for(
    qtbot, panel: CompressWidget, head, held: Event
) -> None:
    figures = panel.compare.figures
    assert not figures.save.isEnabled()
    start(qtbot, panel)
    qtbot.waitUntil(lambda: figures.progress.isVisible() and "lanczos" in panel.state.fitted.comparisons)
    assert panel.reconstruct.apply.isEnabled()  # the fit can be used meanwhile
    qtbot.mouseClick(figures.progress.cancel, LEFT)
    assert not figures.progress.isVisible()
    held.set()
    settle(qtbot, panel)
    fit = panel.state.fitted
    found = fit.comparisons["lanczos"]
    assert 0 < np.count_nonzero(found.compared) < 16
    assert headings(panel)[1] == f"Volume, {np.count_nonzero(found.compared)} of 16 slices so far"
    assert fit.inr.quality is None
    assert not np.isnan(fit.lr.data).any()  # what is shown is what the file decodes to
    assert figures.save.isEnabled()
    assert figures.measure.isVisible()
    qtbot.mouseClick(figures.measure, LEFT)
    settle(qtbot, panel)
    assert fit.measured
    assert headings(panel)[1] == "Volume"
    assert not figures.measure.isVisible()
    assert fit.inr.quality is not None


# The body


def test_column_body_shows_the_errors_of_the_body_and_only_where_that_is_known(
    qtbot, panel: CompressWidget, head
) -> None:
    start(qtbot, panel)
    settle(qtbot, panel)
    table = panel.compare.figures.table
    assert not table.isColumnHidden(BODY)
    assert table.horizontalHeaderItem(BODY).text() == "Body"
    whole = panel.state.fitted.comparisons["lanczos"].of_volume()
    last = [table.item(row, BODY).text() for row in range(table.rowCount())][-1]
    assert last.startswith(f"{in_decibels(whole.body.psnr)} dB\n")
    assert whole.body.psnr != whole.whole.psnr
    panel.viewer.layers.remove(head)
    table.show_regions("raw", None)
    assert table.isColumnHidden(BODY)


# Another upscaler for the whole


@dataclass(frozen=True, eq=False)
class Flattering:
    """Restores the few slices that upscalers are compared on perfectly, and all others badly."""

    true: NDArray[np.float32]  # of every slice, scaled to [0, 1]
    name: str = "span"
    sha256: str | None = "0" * 64
    weights: bytes = b"weights"
    given: list[int] = field(default_factory=list)

    def __call__(self, lr: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
        self.given.append(len(lr))
        if len(self.given) <= SLICES:
            return np.broadcast_to(self.true, (len(lr), *shape)).copy()
        return LANCZOS(lr, shape) + np.float32(0.2)


def test_auto_goes_over_to_lanczos_where_the_whole_volume_speaks_for_it(
    qtbot, panel: CompressWidget, monkeypatch: pytest.MonkeyPatch
) -> None:
    alike = np.repeat(head_phantom((8, 64, 64)).voxels[4:5], 20, axis=0)
    volume = Volume.from_array(alike, units="HU")
    low, high = volume.intensity_range
    network = Flattering(((volume.plane(0) - low) / (high - low)).astype(np.float32))
    monkeypatch.setattr(Request, "find_upscalers", lambda *_, **__: (network, LANCZOS))
    add_layer(panel.viewer, original_layer(volume, "head"))
    qtbot.waitUntil(lambda: panel.state.volume is not None)
    start(qtbot, panel)
    settle(qtbot, panel)
    fit = panel.state.fitted
    assert fit.inr.upscaler.name == "lanczos"
    assert "Lanczos restores this volume better than SPAN" in panel.fit.words.text()
    assert "on all slices, so the file names Lanczos" in panel.fit.words.text()
    qtbot.mouseClick(panel.reconstruct.apply, LEFT)
    settle(qtbot, panel)
    assert fit.hr.name.startswith("head [Lanczos ")


# As CSV


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_figures_of_a_fit_are_saved_as_csv(qtbot, panel: CompressWidget, head, tmp_path, monkeypatch) -> None:
    start(qtbot, panel)
    settle(qtbot, panel)
    path, asked = tmp_path / "figures.csv", []
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *args: asked.append(args[1]) or path)
    qtbot.mouseClick(panel.compare.figures.save, LEFT)
    qtbot.waitUntil(lambda: not commands.running)
    assert asked == ["head-figures.csv"]
    found = rows(path)
    whole = [row for row in found if row["slice"] == ""]
    psnr = panel.state.fitted.comparisons["lanczos"].psnr
    assert psnr in [pytest.approx(float(row["psnr_db"])) for row in whole]
    assert len(found) > 2 * 16  # of every slice, for each line


def test_figures_of_an_opened_inr_are_saved_as_csv(qtbot, settings, volume, tmp_path, monkeypatch) -> None:
    write_inr(compress(volume, SMALL, device="cpu", upscaler="lanczos"), tmp_path / "a.inr")
    viewer = ViewerModel()
    widget = InrFileWidget(viewer)
    qtbot.addWidget(widget)
    widget.show()
    viewer.open(str(tmp_path / "a.inr"), plugin="napari-inr-volume")
    add_layer(viewer, original_layer(volume, "head"))
    qtbot.waitUntil(lambda: widget.errors.measure.isEnabled() and not widget.looking.running)
    qtbot.mouseClick(widget.errors.measure, LEFT)
    qtbot.waitUntil(lambda: widget.errors.save.isVisible() and not widget.measuring.running)
    path = tmp_path / "figures.csv"
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *_: path)
    qtbot.mouseClick(widget.errors.save, LEFT)
    qtbot.waitUntil(lambda: not commands.running)
    assert {row["slice"] for row in rows(path)} >= {"", "0", "15"}
    qtbot.waitUntil(lambda: not any(job.at_work for job in widget.findChildren(Job)))
