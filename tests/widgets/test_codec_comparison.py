"""The widget Codec comparison, on real layers and real codecs."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from pyqtgraph import PlotWidget
from qtpy.QtCore import Qt

from napari_inr_volume import codec, compress
from napari_inr_volume.classical.by_bytes import CODECS, missing
from napari_inr_volume.core.generators import drain
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.exact.encode import encode_exact
from napari_inr_volume.exact.layer import ExactLayer
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.inr_volume import InrVolume
from napari_inr_volume.plugin.layers import add_layer, exact_layer, hr_layer, original_layer
from napari_inr_volume.widgets.codec_comparison import CodecComparisonWidget
from napari_inr_volume.widgets.codec_sections import NO_FILE

pytestmark = [pytest.mark.gui, pytest.mark.slow]

LEFT = Qt.MouseButton.LeftButton
VOLUME = head_phantom((8, 48, 48))


@pytest.fixture
def widget(qtbot, settings) -> Iterator[CodecComparisonWidget]:
    widget = CodecComparisonWidget(ViewerModel())
    qtbot.addWidget(widget)
    widget.resize(360, 900)
    widget.show()
    yield widget
    widget.comparing.drop()
    qtbot.waitUntil(lambda: not widget.comparing.running)


@pytest.fixture(scope="module")
def inr() -> InrVolume:
    small = Settings(
        field=SirenConfig(layers=2, hidden_features=32),
        fit=FitConfig(steps=40, batch=512, learning_rate=3e-3),
    )
    return compress(VOLUME, small, device="cpu", upscaler="lanczos")


@pytest.fixture(scope="module")
def layer() -> ExactLayer:
    return drain(encode_exact(VOLUME, 2))


@pytest.fixture
def filled(widget: CodecComparisonWidget, inr: InrVolume) -> CodecComparisonWidget:
    add_layer(widget.viewer, original_layer(VOLUME, "head"))
    voxels = codec.decompress(inr, device="cpu").voxels
    add_layer(widget.viewer, hr_layer(voxels, "head [Lanczos]", inr, widget.viewer.layers[0]))
    for name, box in widget.choice.codecs.items():
        box.setChecked(name == "jpeg2000")
    return widget


def compare(qtbot, widget: CodecComparisonWidget) -> None:
    qtbot.mouseClick(widget.choice.compare, LEFT)
    assert widget.comparing.running
    qtbot.waitUntil(lambda: not widget.comparing.running)


def test_without_layers_it_says_what_to_do(widget: CodecComparisonWidget) -> None:
    assert widget.choice.words.text() == NO_FILE
    assert not widget.choice.compare.isEnabled()


def test_the_other_codec_becomes_a_linked_layer_over_the_original(qtbot, filled) -> None:
    compare(qtbot, filled)
    original, *_, ours, other = filled.viewer.layers
    assert other.name.startswith("head [JPEG 2000 ")
    assert ours.name.startswith("head [INR ")
    assert other.data.shape == VOLUME.shape
    np.testing.assert_allclose(other.data_to_world((3, 5, 7)), original.data_to_world((3, 5, 7)))
    original.contrast_limits = (-100, 100)
    assert list(other.contrast_limits) == [-100, 100]
    assert "At this size" in filled.result.words.text()
    assert filled.result.table.rowCount() == 2


def test_some_slices_lie_where_they_are_in_the_original(qtbot, filled) -> None:
    filled.choice.all_slices.setChecked(False)
    filled.choice.count.setValue(2)
    original = filled.viewer.layers[0]
    filled.viewer.dims.set_point(0, original.data_to_world((5, 0, 0))[0])
    compare(qtbot, filled)
    other = filled.viewer.layers[-1]
    assert other.data.shape == (2, 48, 48)
    np.testing.assert_allclose(other.data_to_world((0, 0, 0)), original.data_to_world((4, 0, 0)))


def test_the_latest_file_is_chosen_and_what_has_its_shape_is_offered(widget, inr) -> None:
    viewer, choice = widget.viewer, widget.choice
    other = head_phantom((8, 40, 48))
    add_layer(viewer, original_layer(other, "other"))
    voxels = codec.decompress(inr, device="cpu").voxels
    add_layer(viewer, hr_layer(voxels, "head [Lanczos]", inr, viewer.layers[0]))
    assert choice.words.text() == "Open the original of this .inr too, a volume of 8 x 48 x 48 voxels."
    assert not choice.compare.isEnabled()
    add_layer(viewer, original_layer(VOLUME, "head"))
    assert [layer.name for layer in choice.originals.layers] == ["head"]
    assert (choice.words.text(), choice.compare.isEnabled()) == ("", True)
    again = replace(inr, units="")
    add_layer(viewer, hr_layer(voxels, "head again [Lanczos]", again, viewer.layers[-1]))
    assert choice.files.layer is viewer.layers[1]  # what was chosen before
    viewer.layers.remove(viewer.layers[1])
    assert choice.files.layer is viewer.layers[-1]


def test_cancelled_nothing_is_added(qtbot, filled) -> None:
    before = list(filled.viewer.layers)
    qtbot.mouseClick(filled.choice.compare, LEFT)
    qtbot.mouseClick(filled.choice.cancel, LEFT)
    qtbot.waitUntil(lambda: not filled.comparing.running)
    assert list(filled.viewer.layers) == before
    assert filled.choice.compare.isEnabled()


def test_how_a_codec_is_run_is_shown_before_and_after(qtbot, filled) -> None:
    setting = CODECS["jpeg2000"].setting
    assert setting in filled.choice.codecs["jpeg2000"].toolTip()
    compare(qtbot, filled)
    table = filled.result.table
    assert [table.item(row, 0).text() for row in range(table.rowCount())] == ["INR", "JPEG 2000"]
    assert setting in table.item(1, 0).toolTip()
    assert filled.choice.words.text() == ""


@pytest.mark.skipif(missing(CODECS["vvc"]) is not None, reason="needs the program of imageio-ffmpeg")
def test_cancel_kills_the_program_of_a_video_codec(qtbot, filled, monkeypatch) -> None:
    children, popen = [], subprocess.Popen

    class Noted(popen):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)
            children.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    filled.choice.codecs["jpeg2000"].setChecked(False)
    filled.choice.codecs["vvc"].setChecked(True)
    qtbot.mouseClick(filled.choice.compare, LEFT)
    qtbot.waitUntil(lambda: bool(children))
    qtbot.mouseClick(filled.choice.cancel, LEFT)
    qtbot.waitUntil(lambda: not filled.comparing.running)
    assert all(child.poll() is not None for child in children)
    assert len(filled.viewer.layers) == 2


def test_without_the_program_its_codecs_say_what_to_install(qtbot, settings, monkeypatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "imageio_ffmpeg" else find(name)
    )
    widget = CodecComparisonWidget(ViewerModel())
    qtbot.addWidget(widget)
    boxes = widget.choice.codecs
    for name in ("hevc", "av1", "vvc", "vvc-medium"):
        assert not boxes[name].isEnabled()
        assert "pip install 'napari-inr-volume[codecs]'" in boxes[name].toolTip()
    assert boxes["jpeg2000"].isEnabled()


def test_no_codec_checked_is_told(qtbot, filled) -> None:
    filled.choice.codecs["jpeg2000"].setChecked(False)
    qtbot.mouseClick(filled.choice.compare, LEFT)
    assert filled.choice.words.text() == "Check at least one codec."
    assert not filled.comparing.running


def test_removing_the_original_meanwhile_disturbs_nothing(qtbot, filled) -> None:
    qtbot.mouseClick(filled.choice.compare, LEFT)
    filled.viewer.layers.pop(0)
    qtbot.waitUntil(lambda: not filled.comparing.running)
    assert len(filled.viewer.layers) == 1


def test_legend_names_every_codec_and_covers_no_point(qtbot, filled) -> None:
    compare(qtbot, filled)
    plot = filled.result.plot
    text = plot.legend.text().replace("&nbsp;", " ")
    assert text.index("\u2605</span> INR") < text.index("\u25cf</span> JPEG 2000")
    qtbot.waitUntil(
        lambda: plot.legend.height() > 0 and plot.legend.y() >= plot.findChild(PlotWidget).geometry().bottom()
    )
    assert plot.findChild(PlotWidget).getPlotItem().legend is None


@pytest.fixture
def exact(filled: CodecComparisonWidget, inr: InrVolume, layer: ExactLayer) -> CodecComparisonWidget:
    """The widget with a second file, which has an exact layer, chosen."""
    exact = replace(inr, exact=layer)
    voxels = np.zeros(VOLUME.shape, np.int16)
    filled.viewer.layers.pop(1)
    add_layer(filled.viewer, hr_layer(voxels, "head [Lanczos]", exact, filled.viewer.layers[0]))
    return filled


def test_a_file_without_an_exact_layer_is_compared_at_the_same_bytes(filled) -> None:
    assert not filled.choice.same.isVisible()
    assert not filled.choice.at_bound
    assert filled.choice.codecs["jpeg2000"].isVisible()
    assert not any(box.isVisible() for box in filled.choice.bounded.values())


def test_an_exact_layer_is_compared_at_its_bound_by_bytes(qtbot, exact, layer: ExactLayer) -> None:
    assert "within ±2 HU" in exact.choice.same.currentText()
    assert exact.choice.bounded["jpegxl"].isVisible()
    assert not exact.choice.codecs["jpeg2000"].isVisible()
    before = list(exact.viewer.layers)
    compare(qtbot, exact)
    assert list(exact.viewer.layers) == before
    table = exact.result.table
    cells = [[table.item(row, column).text() for column in range(5)] for row in range(table.rowCount())]
    assert [row[0] for row in cells] == [
        "INR, exact layer",
        "JPEG-LS",
        "JPEG XL",
        "JPEG XL of z-differences",
    ]
    assert cells[0][2] == f"{8 * layer.nbytes / VOLUME.voxels.size:.3f}"
    assert {row[4] for row in cells} <= {"1", "2"}
    assert "At this bound (within ±2 HU)" in exact.result.words.text()
    assert not exact.result.plot.isVisible()


def test_the_preview_of_an_exact_file_can_be_compared_at_the_same_bytes(qtbot, exact) -> None:
    exact.choice.same.setCurrentIndex(1)
    assert not exact.choice.at_bound
    assert exact.choice.codecs["jpeg2000"].isVisible()
    exact.reset_choices()
    assert not exact.choice.at_bound  # what is chosen stays so


def test_a_comparison_at_a_bound_can_be_cancelled(qtbot, exact) -> None:
    qtbot.mouseClick(exact.choice.compare, LEFT)
    assert not exact.choice.same.isEnabled()
    qtbot.mouseClick(exact.choice.cancel, LEFT)
    qtbot.waitUntil(lambda: not exact.comparing.running)
    assert exact.result.words.text() == ""
    assert exact.choice.compare.isEnabled()


def test_another_original_than_that_of_the_exact_layer_is_told(qtbot, exact) -> None:
    exact.viewer.layers[0].data = exact.viewer.layers[0].data + np.int16(9)
    exact.viewer.layers[0].metadata.clear()
    qtbot.mouseClick(exact.choice.compare, LEFT)
    qtbot.waitUntil(lambda: not exact.comparing.running)
    assert "choose the original" in exact.choice.words.text()


@pytest.mark.parametrize("padding", [None, 7.0])
def test_a_volume_of_a_single_value_is_compared_too(qtbot, widget: CodecComparisonWidget, padding) -> None:
    flat = Volume.from_array(np.full((6, 48, 48), 7, np.int16), padding=padding)
    inr = compress(flat, None, max_error=2, device="cpu")
    add_layer(widget.viewer, original_layer(flat, "flat"))
    add_layer(widget.viewer, exact_layer(flat.voxels, "flat [exact]", inr, widget.viewer.layers[0]))
    compare(qtbot, widget)
    assert "At this bound" in widget.result.words.text()
    widget.choice.same.setCurrentIndex(1)
    compare(qtbot, widget)
    assert "At this size" in widget.result.words.text()
