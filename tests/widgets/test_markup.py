"""What widgets show of files is shown as it is written: no markup, nothing that does not print."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QAbstractItemModel, QModelIndex, Qt
from qtpy.QtWidgets import QComboBox, QLabel, QTableWidget, QTreeWidget, QWidget

from napari_inr_volume import compress
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.inr_volume import FitRecord, InrVolume
from napari_inr_volume.io.inr_file import write_inr
from napari_inr_volume.plugin.layers import add_layer, original_layer
from napari_inr_volume.plugin.readers import open_inr
from napari_inr_volume.widgets.codec_comparison import CodecComparisonWidget
from napari_inr_volume.widgets.compress import CompressWidget
from napari_inr_volume.widgets.inr_info import InrFileWidget

pytestmark = pytest.mark.gui

MARKUP = "<b>x</b> &lt;"
HOSTILE = f"{MARKUP} \x1b[31m"
NAME = "<b>x<b> \x1b[31m"  # of a file
SMALL = Settings(field=SirenConfig(layers=2, hidden_features=8), fit=FitConfig(steps=2, batch=64))


def items(model: QAbstractItemModel, parent: QModelIndex) -> Iterator[QModelIndex]:
    for row in range(model.rowCount(parent)):
        for column in range(model.columnCount(parent)):
            yield model.index(row, column, parent)
        yield from items(model, model.index(row, 0, parent))


def texts(widget: QWidget) -> Iterator[tuple[str, bool]]:
    """Yield what a widget and all in it show, and whether Qt may take that for markup."""
    for one in (widget, *widget.findChildren(QWidget)):
        yield one.toolTip(), True
        if isinstance(one, QLabel):
            yield one.text(), one.textFormat() != Qt.TextFormat.PlainText
        if isinstance(one, QComboBox | QTableWidget | QTreeWidget):
            for index in items(one.model(), QModelIndex()):
                yield index.data(Qt.ItemDataRole.DisplayRole) or "", False
                yield index.data(Qt.ItemDataRole.ToolTipRole) or "", True


def check(widget: QWidget) -> None:
    found = list(texts(widget))
    assert any("x<" in text.replace("\u2060", "") for text, _ in found)  # it was shown at all
    for text, guessed in found:
        assert "\x1b" not in text
        markup = guessed and Qt.mightBeRichText(text)
        assert not (markup and "x<" in text.replace("\u2060", "")), text


@pytest.fixture
def hostile_inr(tmp_path: Path) -> Path:
    volume = head_phantom((8, 16, 16))
    inr: InrVolume = compress(volume, SMALL, upscaler="lanczos", device="cpu")
    path = tmp_path / f"{NAME}.inr"
    write_inr(replace(inr, fit=FitRecord(preset=MARKUP, steps=2, seed=0), software=MARKUP), path)
    return path


@pytest.fixture
def viewer(settings: None) -> ViewerModel:
    return ViewerModel()


def test_panel_shows_a_volume_as_it_is_written(qtbot, viewer: ViewerModel) -> None:
    panel = CompressWidget(viewer)
    qtbot.addWidget(panel)
    volume = replace(head_phantom((8, 16, 16)), found=(HOSTILE,), notes=(HOSTILE,))
    add_layer(viewer, original_layer(volume, HOSTILE))
    qtbot.waitUntil(lambda: panel.state.volume is not None)
    panel.reconstruct.show_own(Path(NAME), "tooltip")
    panel.fit.words.setText(HOSTILE)
    check(panel)
    for job in (panel.fit_controller.recalling, panel.settings_controller.probing):
        job.drop()
        qtbot.waitUntil(lambda job=job: not job.running)


def test_info_shows_an_inr_as_it_is_written(qtbot, viewer: ViewerModel, hostile_inr: Path) -> None:
    widget = InrFileWidget(viewer)
    qtbot.addWidget(widget)
    for layer in open_inr(hostile_inr, hostile_inr.stem):
        add_layer(viewer, layer)
    qtbot.waitUntil(lambda: widget.contents.tree.topLevelItemCount() > 0)
    widget.errors.show_nothing(HOSTILE)
    check(widget)


def test_comparison_shows_layers_as_they_are_named(qtbot, viewer: ViewerModel, hostile_inr: Path) -> None:
    widget = CodecComparisonWidget(viewer)
    qtbot.addWidget(widget)
    for layer in open_inr(hostile_inr, hostile_inr.stem):
        add_layer(viewer, layer)
    check(widget)


def test_layers_are_named_so_that_napari_takes_nothing_for_markup(viewer: ViewerModel, hostile_inr) -> None:
    names = [add_layer(viewer, layer).name for layer in open_inr(hostile_inr, hostile_inr.stem)]
    names.append(add_layer(viewer, original_layer(head_phantom((8, 16, 16)), HOSTILE)).name)
    assert not any(Qt.mightBeRichText(name) or "\x1b" in name for name in names)
