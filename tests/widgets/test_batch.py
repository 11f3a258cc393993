"""The widget Batch, with real files and real processes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.io.inr_file import read_inr
from napari_inr_volume.outputs import Kept
from napari_inr_volume.plugin import commands, dialogs
from napari_inr_volume.plugin.samples import SAMPLE
from napari_inr_volume.widgets.batch import BatchWidget
from napari_inr_volume.widgets.batch_sections import ONLY_EXACT
from napari_inr_volume.widgets.batch_table import WAITING

pytestmark = [pytest.mark.gui, pytest.mark.slow]

LEFT = Qt.MouseButton.LeftButton
VOXELS = head_phantom((8, 24, 24)).voxels.astype(np.int16)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Two volumes, and between them a file that is none."""
    folder = tmp_path / "sources"
    (folder / "b").mkdir(parents=True)
    np.save(folder / "a.npy", VOXELS)
    np.save(folder / "b" / "bad.npy", np.array(["no", "voxels"]))
    np.save(folder / "c.npy", VOXELS[:3])
    return folder


@pytest.fixture
def widget(qtbot, settings) -> Iterator[BatchWidget]:
    widget = BatchWidget(ViewerModel())
    qtbot.addWidget(widget)
    widget.resize(360, 900)
    widget.show()
    yield widget
    jobs = widget.looking, widget.running
    for job in jobs:
        job.drop()
    qtbot.waitUntil(lambda: not any(job.at_work for job in jobs))


def add(qtbot, widget: BatchWidget, path: Path) -> None:
    widget.add(path)
    qtbot.waitUntil(lambda: not widget.looking.running)


def ask(widget: BatchWidget, preset: str) -> None:
    widget.request.preset.setCurrentText(preset)
    widget.request.preset.activated.emit(widget.request.preset.currentIndex())


def run(qtbot, widget: BatchWidget) -> None:
    qtbot.mouseClick(widget.run.start, LEFT)
    qtbot.waitUntil(lambda: not widget.running.running)


def column(widget: BatchWidget, number: int) -> list[str]:
    return [widget.table.item(row, number).text() for row in range(widget.table.rowCount())]


@pytest.fixture
def exact(qtbot, widget: BatchWidget, sources: Path) -> BatchWidget:
    """The widget with the sources, to be saved without a network."""
    add(qtbot, widget, sources)
    ask(widget, ONLY_EXACT)
    return widget


def test_a_bad_volume_stops_no_other_and_the_table_says_what_became_of_each(
    qtbot, exact: BatchWidget, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert column(exact, 0) == ["a", "b/bad", "c"]
    assert column(exact, 1) == ["lossless"] * 3
    assert column(exact, 2) == [WAITING] * 3
    run(qtbot, exact)
    first, bad, last = column(exact, 2)
    assert bad.startswith("refused: ")
    assert all("lossless" in words for words in (first, last))
    assert exact.run.words.text() == "2 done, 1 refused."
    for name, voxels in (("a", VOXELS), ("c", VOXELS[:3])):  # beside the sources
        assert read_inr(sources / f"{name}.inr").geometry.shape == voxels.shape
    assert not (sources / "b" / "bad.inr").exists()

    np.save(sources / "later.npy", VOXELS)
    add(qtbot, exact, sources)  # what is in the list is not added again
    path = sources / "table.csv"
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *_: path)
    qtbot.mouseClick(exact.run.save, LEFT)
    qtbot.waitUntil(lambda: not commands.running)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["a", "b/bad", "c", "later"]
    assert [row["status"] for row in rows] == ["done", "refused", "done", WAITING]
    assert rows[0]["asked"] == "lossless"
    assert int(rows[0]["file_bytes"]) == Path(rows[0]["output"]).stat().st_size
    assert rows[1]["reason"]

    exact.table.cellDoubleClicked.emit(1, 2)
    assert not exact.viewer.layers  # nothing was made of it
    exact.table.cellDoubleClicked.emit(0, 2)
    assert any("lossless" in layer.name for layer in exact.viewer.layers)


def test_files_are_saved_in_a_folder_as_the_sources_lie(
    qtbot, exact: BatchWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sources" / "a.npy").rename(tmp_path / "sources" / "b" / "bad.npy")
    for row in (2, 0):
        exact.table.selectRow(row)
        exact.queue.remove.click()
    out = tmp_path / "out"
    monkeypatch.setattr(dialogs, "ask_folder", lambda *_: out)
    exact.run.place.setCurrentIndex(1)
    exact.run.place.activated.emit(1)
    run(qtbot, exact)
    assert [path.relative_to(out).as_posix() for path in out.rglob("*.inr")] == ["b/bad.inr"]


def test_selected_rows_have_settings_of_their_own(qtbot, exact: BatchWidget) -> None:
    exact.table.selectRow(2)
    ask(exact, "fast")
    row = exact.request.target_row
    row.kind.setCurrentIndex(row.kind.findData("ratio"))
    row.kind.activated.emit(row.kind.currentIndex())
    row.value.setValue(50)
    exact.request.kept.kept.setCurrentText("preview")
    exact.request.kept.kept.activated.emit(0)
    assert column(exact, 1) == ["lossless", "lossless", "fast, 50:1"]
    exact.table.selectRow(0)
    assert exact.request.preset.currentText() == ONLY_EXACT  # follows the row
    assert not row.isEnabled()


def test_only_an_inr_is_replaced_and_only_if_asked(qtbot, exact: BatchWidget, sources: Path) -> None:
    before = SAMPLE.read_bytes()
    (sources / "a.inr").write_bytes(before)
    (sources / "c.inr").write_text("mine")
    run(qtbot, exact)
    assert "is there already" in column(exact, 2)[0]
    assert (sources / "a.inr").read_bytes() == before
    exact.run.replace.setChecked(True)
    run(qtbot, exact)
    assert read_inr(sources / "a.inr").geometry.shape == VOXELS.shape
    assert "is no .inr" in column(exact, 2)[2]
    assert (sources / "c.inr").read_text() == "mine"


def test_stop_keeps_how_far_a_volume_has_come_and_other_settings_forget_it(
    qtbot, widget: BatchWidget, sources: Path
) -> None:
    add(qtbot, widget, sources / "a.npy")
    ask(widget, "paper-2")  # does not end by itself
    qtbot.mouseClick(widget.run.start, LEFT)
    qtbot.waitUntil(lambda: column(widget, 2)[0].startswith("fitting"))
    assert not widget.run.start.isEnabled()
    qtbot.mouseClick(widget.run.stop, LEFT)
    qtbot.waitUntil(lambda: not widget.running.running)
    assert column(widget, 2)[0].startswith("interrupted")
    kept = Kept(sources / "a.inr")
    assert kept.fit.exists()
    assert not (sources / "a.inr").exists()
    ask(widget, ONLY_EXACT)  # to which the state is of no use
    run(qtbot, widget)
    assert "lossless" in column(widget, 2)[0]
    assert not kept.there()


def test_what_is_dropped_ends_its_processes(qtbot, widget: BatchWidget, sources: Path) -> None:
    add(qtbot, widget, sources / "a.npy")
    ask(widget, "paper-2")
    qtbot.mouseClick(widget.run.start, LEFT)
    qtbot.waitUntil(lambda: column(widget, 2)[0].startswith("reading"))
    widget.running.drop()
    qtbot.waitUntil(lambda: not widget.running.at_work)
    assert not active_children()


def test_a_folder_without_volumes_says_so(qtbot, widget: BatchWidget, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    add(qtbot, widget, tmp_path / "empty")
    assert "no volume in empty" in widget.queue.words.text()
    assert not widget.run.start.isEnabled()
