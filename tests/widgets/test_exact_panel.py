"""What the panel keeps of the voxels: predicted, made after the fit, stopped, added later, saved."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_inr_volume.core.generators import drain
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.exact import encode, growing
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.io.inr_file import read_inr
from napari_inr_volume.plugin import kept_fits, unsaved
from napari_inr_volume.plugin.layers import carried
from napari_inr_volume.plugin.settings import load_last_used
from napari_inr_volume.plugin.work import exact
from napari_inr_volume.plugin.work.threads import leave_a_core
from napari_inr_volume.plugin.writers import save_inr
from napari_inr_volume.reader import Reader
from napari_inr_volume.widgets.compress import CompressWidget
from napari_inr_volume.widgets.kept_row import KeptRow, max_error_from

pytestmark = [pytest.mark.gui, pytest.mark.slow]

LONG = 120_000  # ms
LEFT = Qt.MouseButton.LeftButton
SMALL = Settings(
    field=SirenConfig(layers=2, hidden_features=16),
    fit=FitConfig(steps=30, batch=256, learning_rate=1e-3),
)
ENDLESS = replace(SMALL, fit=replace(SMALL.fit, steps=10_000_000))


@pytest.fixture
def volume() -> Volume:
    """A smaller one than the panel's other tests have, since its exact layer is made again and again."""
    return head_phantom((16, 32, 32))


def choose(row: KeptRow, kept: str, bound: int | None = None) -> None:
    """As a person does: from the list, then the number."""
    row.kept.setCurrentText(kept)
    row.kept.activated.emit(row.kept.currentIndex())
    if bound is not None:
        row.bound.setValue(bound)


def start(qtbot, panel: CompressWidget, settings: Settings = SMALL) -> None:
    panel.settings.show_settings(settings)
    qtbot.mouseClick(panel.fit.fit, LEFT)


def ended(qtbot, panel: CompressWidget) -> None:
    qtbot.waitUntil(lambda: not (panel.state.fitting.running or panel.state.measuring.running), timeout=LONG)


def stop_the_layer(qtbot, panel: CompressWidget) -> None:
    """Stop as soon as the exact layer is reported."""

    def stop(record: object) -> None:
        if isinstance(record, exact.ExactReport) and panel.fit.fit.isEnabled():
            qtbot.mouseClick(panel.fit.fit, LEFT)

    panel.state.fitting.reported.connect(stop)
    ended(qtbot, panel)
    panel.state.fitting.reported.disconnect(stop)


def furthest(path: Path, voxels: np.ndarray) -> int:
    """The largest error of what a file gives back."""
    back = Reader(read_inr(path), device="cpu").read(level="exact")
    return int(np.abs(back.astype(int) - voxels).max())


@pytest.mark.parametrize(
    ("kept", "bound", "expected"),
    [("preview", None, None), ("within", 5, 5.0), ("within", None, 2.0), ("lossless", None, 0.0)],
)
def test_the_row_says_how_far_voxels_may_be_off(qtbot, kept: str, bound: int | None, expected) -> None:
    row = KeptRow()
    qtbot.addWidget(row)
    row.show()
    choose(row, kept, bound)
    assert row.max_error == expected
    assert row.bound.isVisible() == (kept == "within")
    row.show_max_error(None)
    row.show_max_error(expected)
    assert row.max_error == expected


@pytest.mark.parametrize("value", [None, "2", -1, 2.5, float("nan"), float("inf"), [2], 10**6])
def test_a_bound_that_was_remembered_unsoundly_is_forgotten(value: object) -> None:
    assert max_error_from(value) is None


def test_the_bound_is_in_the_units_of_the_volume_and_remembered(qtbot, panel: CompressWidget, head) -> None:
    choose(panel.settings.kept, "within", 7)
    assert panel.settings.kept.bound.text() == "±7 HU"
    qtbot.waitUntil(lambda: load_last_used().get("max_error") == 7.0)


def test_the_exact_layer_is_predicted_once_for_each_bound(qtbot, panel: CompressWidget, head) -> None:
    section, controller = panel.settings, panel.settings_controller
    choose(section.kept, "within")
    qtbot.waitUntil(lambda: "The file: about" in section.exact_prediction.text(), timeout=LONG)
    at_two = section.exact_prediction.text()
    choose(section.kept, "lossless")
    qtbot.waitUntil(lambda: "The file: about" in section.exact_prediction.text(), timeout=LONG)
    assert section.exact_prediction.text() != at_two
    qtbot.waitUntil(lambda: not controller.coding.running)
    choose(section.kept, "within")
    assert section.exact_prediction.text() == at_two
    assert not controller.coding.running
    choose(section.kept, "preview")
    assert not section.exact_prediction.isVisible()


def test_a_fit_with_a_bound_is_saved_with_its_exact_layer(
    qtbot, panel: CompressWidget, head, volume, tmp_path
) -> None:
    choose(panel.settings.kept, "within", 3)
    start(qtbot, panel)
    ended(qtbot, panel)
    fitted = panel.state.fitted
    assert carried(fitted.lr).inr is fitted.inr
    path = save_inr(fitted.inr, tmp_path / "head.inr")
    assert path.stat().st_size == fitted.file_bytes
    assert 0 < furthest(path, volume.voxels) <= 3
    assert "±3 HU" in panel.fit.words.text()
    assert "exact layer" in panel.save.sizes.text()


def test_a_layer_that_is_stopped_leaves_the_fit_and_is_added_later(
    qtbot, panel: CompressWidget, head, volume, tmp_path
) -> None:
    choose(panel.settings.kept, "lossless")
    start(qtbot, panel)
    stop_the_layer(qtbot, panel)
    fitted = panel.state.fitted
    quality, layers = fitted.inr.quality, list(panel.viewer.layers)
    assert quality is not None
    assert fitted.inr.exact is None
    assert "Continue" in panel.fit.words.text()
    choose(panel.settings.kept, "preview")  # it is what was asked for then that counts
    qtbot.mouseClick(panel.fit.go_on, LEFT)
    ended(qtbot, panel)
    assert panel.state.fitted is fitted
    assert list(panel.viewer.layers) == layers
    assert fitted.inr.quality == quality
    assert not panel.fit.go_on.isVisible()
    assert furthest(save_inr(fitted.inr, tmp_path / "head.inr"), volume.voxels) == 0


def test_a_fit_that_is_stopped_gets_its_exact_layer_too(qtbot, panel: CompressWidget, head, volume) -> None:
    choose(panel.settings.kept, "lossless")
    start(qtbot, panel, ENDLESS)
    qtbot.waitUntil(lambda: panel.state.fitted.lr is not None, timeout=LONG)
    qtbot.mouseClick(panel.fit.fit, LEFT)
    ended(qtbot, panel)
    fitted = panel.state.fitted
    assert fitted.state is not None  # and the fit can be resumed
    assert fitted.inr.fit.steps < ENDLESS.fit.steps
    np.testing.assert_array_equal(Reader(fitted.inr, device="cpu").read(level="exact"), volume.voxels)


def test_a_layer_that_was_not_saved_is_found_again_and_outlives_its_file(
    qtbot, panel: CompressWidget, head, volume, tmp_path
) -> None:
    choose(panel.settings.kept, "within", 2)
    start(qtbot, panel)
    ended(qtbot, panel)
    (kept,) = unsaved.kept_fits.FOLDER.glob("*.inr")
    inr = unsaved.find(kept.stem)
    assert inr.exact is not None
    path = save_inr(inr, tmp_path / "first.inr")
    assert not kept.exists()
    again = save_inr(inr, tmp_path / "second.inr")
    assert again.read_bytes() == path.read_bytes()


def test_continue_resumes_the_layer_where_it_was_stopped(
    qtbot, panel: CompressWidget, head, volume, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(encode, "DEPTH", 2)
    done: list[int] = []  # slabs
    add = growing.Growing.add

    def stop_after_two(self: growing.Growing, *slab: object) -> None:
        add(self, *slab)
        done.append(len(self.layer.slabs))
        if done == [1, 2]:
            panel.state.fitting.stop()

    monkeypatch.setattr(growing.Growing, "add", stop_after_two)
    choose(panel.settings.kept, "lossless")
    start(qtbot, panel)
    ended(qtbot, panel)
    assert panel.state.fitted.inr.exact is None
    assert done == [1, 2]
    (begun,) = kept_fits.FOLDER.glob("*.exact")
    qtbot.mouseClick(panel.fit.go_on, LEFT)
    ended(qtbot, panel)
    assert done == [*range(1, 9)]
    assert not begun.exists()
    inr = panel.state.fitted.inr
    assert furthest(save_inr(inr, tmp_path / "head.inr"), volume.voxels) == 0
    with ThreadPoolExecutor(1, initializer=leave_a_core) as worker:  # with as many threads as the panel's
        whole = worker.submit(lambda: drain(encode.encode_exact(volume))).result()
    assert (inr.exact, b"".join(inr.exact.data.chunks())) == (whole, b"".join(whole.data.chunks()))


def test_a_layer_that_was_begun_otherwise_is_started_over(
    qtbot, panel: CompressWidget, head, volume, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(encode, "DEPTH", 2)
    path = kept_fits.FOLDER / f"{kept_fits.identity(volume)}-0.exact"
    path.parent.mkdir(parents=True)
    path.with_name(path.name.replace("-0.", "-2.")).write_bytes(b"with another largest error")
    path.write_bytes(b"of another program")
    choose(panel.settings.kept, "lossless")
    start(qtbot, panel)
    ended(qtbot, panel)
    assert furthest(save_inr(panel.state.fitted.inr, tmp_path / "head.inr"), volume.voxels) == 0
    assert not list(kept_fits.FOLDER.glob("*.exact"))


def test_dropping_a_fit_ends_its_exact_layer(qtbot, panel: CompressWidget, head) -> None:
    choose(panel.settings.kept, "lossless")
    start(qtbot, panel)
    with qtbot.waitSignal(
        panel.state.fitting.reported, check_params_cb=lambda record: isinstance(record, exact.ExactReport)
    ):
        pass
    panel.state.fitting.drop()
    ended(qtbot, panel)
    assert panel.state.fitted.inr.exact is None


def test_exact_voxels_are_shown_and_measured_beside_the_original(
    qtbot, panel: CompressWidget, head, volume
) -> None:
    assert not panel.reconstruct.exact.isVisible()
    choose(panel.settings.kept, "within", 4)
    start(qtbot, panel)
    ended(qtbot, panel)
    qtbot.mouseClick(panel.reconstruct.exact, LEFT)
    qtbot.waitUntil(lambda: not (panel.state.applying.running or panel.state.measuring.running), timeout=LONG)
    fitted = panel.state.fitted
    assert "within ±4 HU" in fitted.hr.name
    assert carried(fitted.hr).kind == "exact"
    assert np.abs(fitted.hr.data.astype(int) - volume.voxels).max() <= 4
    assert fitted.comparisons[fitted.upscaler].max_error <= 4
    assert fitted.upscaler in [line.name for line in fitted.lines()]
    assert fitted.shown == [fitted.source, fitted.lr, fitted.hr]
    qtbot.mouseClick(panel.reconstruct.apply, LEFT)  # and the preview's reconstruction in its place
    qtbot.waitUntil(lambda: not (panel.state.applying.running or panel.state.measuring.running), timeout=LONG)
    assert carried(fitted.hr).kind == "hr"
    assert fitted.inr.exact is not None
