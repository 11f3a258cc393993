"""The panel: fits, what happens to layers meanwhile, closing the window, and what is left behind."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from napari import Viewer
from napari.utils import progress
from napari.utils.notifications import notification_manager
from pyqtgraph import PlotWidget
from qtpy.QtCore import Qt, QTimer

from napari_inr_volume import codec
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren import fit as fit_module
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.fields.siren.network import Siren
from napari_inr_volume.io.dicom_export import write_dicom_series
from napari_inr_volume.io.inr_file import read_inr, to_bytes
from napari_inr_volume.plugin import dialogs
from napari_inr_volume.plugin.layers import add_layer, carried, original_layer
from napari_inr_volume.plugin.settings import load_last_used
from napari_inr_volume.superres.catalogue import title_of
from napari_inr_volume.widgets.compress import CompressWidget

pytestmark = [pytest.mark.gui, pytest.mark.slow]

LEFT = Qt.MouseButton.LeftButton
LONG = 30_000  # ms
SMALL = Settings(
    field=SirenConfig(layers=2, hidden_features=16),
    fit=FitConfig(steps=30, batch=256, learning_rate=1e-3),
)
ENDLESS = Settings(
    field=SirenConfig(layers=2, hidden_features=16),
    fit=FitConfig(steps=10_000_000, batch=256, learning_rate=1e-3),
)


def start(qtbot, panel: CompressWidget, settings=SMALL) -> None:
    panel.settings.show_settings(settings)
    qtbot.mouseClick(panel.fit.fit, LEFT)
    assert panel.state.fitting.running


def start_endless(qtbot, panel: CompressWidget) -> None:
    """Fit until there is a preview."""
    start(qtbot, panel, ENDLESS)
    qtbot.waitUntil(lambda: panel.state.fitted.lr is not None, timeout=LONG)


def stop(qtbot, panel: CompressWidget) -> None:
    qtbot.mouseClick(panel.fit.fit, LEFT)
    wait_for_all(qtbot, panel)


def fit_it(qtbot, panel: CompressWidget) -> None:
    start(qtbot, panel)
    wait_for_all(qtbot, panel)


def apply_it(qtbot, panel: CompressWidget) -> None:
    qtbot.mouseClick(panel.reconstruct.apply, LEFT)
    wait_for_all(qtbot, panel)


def wait_for_all(qtbot, panel: CompressWidget) -> None:
    """Wait until nothing is fitted, restored or measured any more."""
    jobs = panel.state.fitting, panel.state.applying, panel.state.measuring
    qtbot.waitUntil(lambda: not any(job.running for job in jobs), timeout=LONG)


def messages() -> list[str]:
    return [record.message for record in notification_manager.records]


# Source


def test_empty_panel_says_what_to_do(panel: CompressWidget) -> None:
    for way in ("Open CT...", "Open the sample", "drop an .inr"):
        assert way in panel.source.info.text()
    assert not any(part.isVisible() for part in (panel.settings, panel.fit, panel.compare, panel.save))
    panel.fit_controller.start()
    assert "Choose a volume first" in messages()[-1]


@pytest.mark.parametrize(
    ("data", "options", "word"),
    [
        (np.zeros((8, 8)), {}, "single image"),
        (np.zeros((4, 8, 8, 3), np.uint8), {"rgb": True}, "in colour"),
        ([np.zeros((4, 8, 8)), np.zeros((2, 4, 4))], {"multiscale": True}, "multiscale"),
        (np.zeros((4, 8, 8)), {}, "single value"),
    ],
    ids=["2D", "RGB", "multiscale", "constant"],
)
def test_layer_that_is_no_volume_gets_a_clear_word(qtbot, panel, data, options, word: str) -> None:
    panel.viewer.add_image(data, contrast_limits=(0, 1), **options)
    qtbot.waitUntil(lambda: word in panel.source.info.text())
    assert panel.source.info.text().startswith("This cannot be compressed:")
    assert not panel.fit.fit.isEnabled()


def test_prediction_follows_the_settings_while_they_are_edited(qtbot, panel, head) -> None:
    qtbot.waitUntil(lambda: "about" in panel.settings.prediction.text(), timeout=LONG)
    before = panel.settings.prediction.text()
    panel.settings.form.options["hidden_features"].value = 64
    assert panel.settings.prediction.text() != before
    qtbot.waitUntil(lambda: "about" in panel.settings.prediction.text(), timeout=LONG)


def test_window_sets_the_contrast_and_measures_the_fit_anew(qtbot, panel, head) -> None:
    fit_it(qtbot, panel)
    before = panel.state.fitted.comparisons["lanczos"].of_volume()
    panel.source.windows.setCurrentIndex(panel.source.windows.findData("lung"))
    panel.source.windows.textActivated.emit("lung")
    assert list(head.contrast_limits) == [-1350, 150]
    assert list(panel.state.fitted.lr.contrast_limits) == [-1350, 150]
    wait_for_all(qtbot, panel)
    after = panel.state.fitted.comparisons["lanczos"]
    assert after.window.name == "lung"
    assert after.of_volume().window is not None
    assert after.of_volume().whole == before.whole


def test_window_box_and_contrast_slider_agree(qtbot, panel, head) -> None:
    windows = panel.source.windows
    assert windows.currentData() == "brain"  # of a head
    head.contrast_limits = (-160, 240)
    assert windows.currentData() == "soft tissue"
    with qtbot.waitSignal(panel.source_controller.window_chosen):  # once the slider rests
        head.contrast_limits = (-100, 300)
    assert windows.currentText() == "custom (100 / 400)"
    assert panel.state.find_window(panel.state.volume).limits == (-100, 300)
    windows.setCurrentIndex(windows.findData("bone"))
    windows.textActivated.emit(windows.currentText())
    assert list(head.contrast_limits) == [-770, 1730]
    assert windows.findData("custom") == -1


def test_folder_of_several_series_asks_which_and_loads_that(qtbot, panel, tmp_path, monkeypatch) -> None:
    for number, shape in enumerate([(8, 16, 16), (10, 24, 24)]):
        (tmp_path / f"{number}").mkdir()
        write_dicom_series(head_phantom(shape), tmp_path / f"{number}", description=f"series {number}")
    monkeypatch.setattr(dialogs, "ask_source", lambda *_: tmp_path)
    monkeypatch.setattr(
        dialogs, "ask_series", lambda stacks, *_: max(stacks, key=lambda series: series.slices)
    )
    qtbot.mouseClick(panel.source.load, LEFT)
    qtbot.waitUntil(lambda: panel.state.volume is not None, timeout=LONG)
    assert panel.state.volume.shape == (10, 24, 24)
    assert "series 1" in panel.source.layer.name
    assert not panel.source.loading.isVisible()


def test_loading_can_be_cancelled_and_a_bad_folder_gets_a_word(qtbot, panel, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(dialogs, "ask_source", lambda *_: tmp_path)
    qtbot.mouseClick(panel.source.load, LEFT)
    assert panel.source.loading.isVisible()
    panel.source.loading.cancel.click()
    qtbot.waitUntil(lambda: not panel.source_controller.loading.running)
    assert not panel.source.loading.isVisible()
    assert messages() == []
    qtbot.mouseClick(panel.source.load, LEFT)
    qtbot.waitUntil(lambda: not panel.source_controller.loading.running)
    assert "holds neither DICOM files nor" in messages()[-1]
    assert len(panel.viewer.layers) == 0


# A fit


def test_live_layer_lies_over_the_original_and_sharpens(qtbot, panel, head) -> None:
    start_endless(qtbot, panel)
    layer = panel.state.fitted.lr
    assert layer.name == "head [LR fit]"
    # Outer faces coincide: the LR's first centre is (factor - 1) / 2 voxels further in.
    np.testing.assert_allclose(layer.data_to_world((0, 0, 0)), head.data_to_world((0, 1.5, 1.5)))
    assert list(layer.contrast_limits) == list(head.contrast_limits)
    before = layer.data.copy()
    qtbot.waitUntil(lambda: not np.array_equal(layer.data, before), timeout=LONG)
    assert len(panel.fit.plot.steps) > 0
    assert any("head" in str(bar) for bar in progress._all_instances)
    stop(qtbot, panel)
    assert not progress._all_instances


def test_stopping_keeps_a_usable_model(qtbot, panel, head) -> None:
    start_endless(qtbot, panel)
    stop(qtbot, panel)
    session = panel.state.fitted
    assert 0 < session.inr.fit.steps < ENDLESS.fit.steps
    assert codec.decompress(session.inr, device="cpu").shape == (16, 64, 64)
    assert f"{session.inr.quality.lr_psnr:.1f} dB" in session.lr.name
    assert carried(session.lr).inr is session.inr
    assert panel.reconstruct.apply.isEnabled()
    assert panel.save.button.isEnabled()


def test_stopped_fit_is_continued_as_it_was_begun(qtbot, panel, head) -> None:
    start_endless(qtbot, panel)
    stop(qtbot, panel)
    first = panel.state.fitted
    panel.settings.show_settings(SMALL)
    other = add_layer(panel.viewer, original_layer(head_phantom((8, 32, 32)), "other"))
    panel.source.choose(other)
    assert not panel.fit.go_on.isVisible()  # this volume was not fitted
    panel.source.choose(head)
    qtbot.mouseClick(panel.fit.go_on, LEFT)
    assert panel.state.fitting.running
    assert panel.settings.settings.fit == ENDLESS.fit
    seen = len(panel.fit.plot.steps)
    qtbot.waitUntil(lambda: len(panel.fit.plot.steps) > seen + 1, timeout=LONG)
    assert panel.fit.plot.steps == sorted(panel.fit.plot.steps)
    stop(qtbot, panel)
    assert panel.state.fitted.source is head
    assert panel.state.fitted.state.step > first.state.step
    assert carried(first.lr).inr is first.inr  # what it had by then is still there
    assert panel.fit.go_on.isVisible()


def test_a_fit_that_was_not_stopped_has_nothing_to_continue(qtbot, panel, head) -> None:
    fit_it(qtbot, panel)
    assert not panel.fit.go_on.isVisible()
    panel.fit_controller.resume()
    assert not panel.state.fitting.running


def test_several_fits_follow_each_other_and_a_second_at_a_time_is_refused(qtbot, panel, head) -> None:
    fit_it(qtbot, panel)
    first = panel.state.fitted
    start_endless(qtbot, panel)
    panel.fit_controller.start()
    assert "A fit is running" in messages()[-1]
    stop(qtbot, panel)
    assert panel.state.fitted is not first
    assert [layer.name.split(" [")[0] for layer in panel.viewer.layers] == ["head"] * 3


def test_paused_fit_says_so_and_goes_on(qtbot, panel, head) -> None:
    start_endless(qtbot, panel)
    qtbot.mouseClick(panel.fit.pause, LEFT)
    assert panel.state.fitting.control.paused.is_set()
    assert "Resume" in panel.fit.pause.text().replace("&", "")
    qtbot.mouseClick(panel.fit.pause, LEFT)
    assert not panel.state.fitting.control.paused.is_set()
    qtbot.mouseClick(panel.fit.pause, LEFT)
    stop(qtbot, panel)  # a paused fit too
    assert panel.state.fitted.inr is not None
    assert not panel.fit.pause.isChecked()


def test_memory_running_out_is_a_notification_that_says_what_to_do(qtbot, panel, head, monkeypatch) -> None:
    def allocate(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(fit_module.Engine, "step", allocate)
        fit_it(qtbot, panel)
    assert "ran out of memory at batch 256; choose a smaller batch or the CPU" in messages()[-1]
    assert "ran out of memory" in panel.fit.words.text()
    assert panel.fit.fit.isEnabled()
    assert panel.state.fitted is None
    assert [layer.name for layer in panel.viewer.layers] == ["head"]
    fit_it(qtbot, panel)
    assert panel.state.fitted.inr is not None


def test_result_belongs_to_the_layer_that_was_chosen_at_the_start(qtbot, panel, head, volume) -> None:
    start_endless(qtbot, panel)
    other = add_layer(panel.viewer, original_layer(head_phantom((8, 32, 32)), "other"))
    panel.source.choose(other)
    head.name = "renamed"
    stop(qtbot, panel)
    assert panel.state.fitted.source is head
    assert panel.state.fitted.inr.geometry.shape == volume.shape
    assert panel.state.fitted.lr.name.startswith("head [LR fit ")
    qtbot.waitUntil(lambda: panel.state.volume is not None and panel.state.volume.shape == (8, 32, 32))


def test_source_removed_while_fitting_leaves_a_fit_that_can_be_reconstructed(qtbot, panel, head) -> None:
    start_endless(qtbot, panel)
    panel.viewer.layers.remove(head)
    stop(qtbot, panel)
    apply_it(qtbot, panel)
    assert len(panel.viewer.layers) == 2
    assert panel.state.fitted.hr.data.shape == (16, 64, 64)
    panel.compare.button("side by side").click()
    assert panel.viewer.canvas.grid.enabled


def test_source_with_new_data_leaves_the_fit_of_the_old(qtbot, panel, head, volume) -> None:
    start_endless(qtbot, panel)
    head.data = np.flip(volume.voxels, axis=0).copy()
    stop(qtbot, panel)
    qtbot.waitUntil(lambda: panel.state.volume is not None)
    assert panel.state.fitted.volume.voxels is volume.voxels
    assert panel.state.volume.voxels is head.data


def test_live_layer_removed_while_fitting_comes_back_at_the_end(qtbot, panel, head) -> None:
    start_endless(qtbot, panel)
    panel.viewer.layers.remove(panel.state.fitted.lr)
    stop(qtbot, panel)
    assert panel.state.fitted.lr in panel.viewer.layers
    assert carried(panel.state.fitted.lr).inr is panel.state.fitted.inr


def test_window_goes_on_answering_while_fitting(qtbot, docked) -> None:
    """How long it is still in between is measured by benchmarks/ui_gap.py."""
    start_endless(qtbot, docked)
    ticks = []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(docked.state.fitting.running))
    timer.start(10)
    qtbot.waitUntil(lambda: len(ticks) > 60, timeout=LONG)
    timer.stop()
    assert all(ticks)
    stop(qtbot, docked)


# Reconstruct, compare, save


def test_reconstruction_is_the_one_that_the_file_decodes_to(qtbot, panel, head) -> None:
    fit_it(qtbot, panel)
    apply_it(qtbot, panel)
    session = panel.state.fitted
    np.testing.assert_array_equal(session.hr.data, codec.decompress(session.inr, device="cpu").voxels)
    np.testing.assert_allclose(session.hr.data_to_world((1, 2, 3)), head.data_to_world((1, 2, 3)))
    title = title_of(session.inr.upscaler.name)
    assert session.hr.name == f"head [{title} {session.inr.quality.hr_psnr:.1f} dB]"
    assert carried(session.hr).inr is carried(session.lr).inr
    apply_it(qtbot, panel)
    assert len(panel.viewer.layers) == 3


def test_auto_is_lanczos_where_the_network_is_worse_and_the_panel_says_so(
    qtbot, panel, head, shipped, make_weights
) -> None:
    make_weights(shipped / "span-x4.safetensors")  # random ones, which are worse
    fit_it(qtbot, panel)
    session = panel.state.fitted
    said = "Lanczos restores this volume better than SPAN, "
    assert session.inr.upscaler.name == "lanczos"
    assert panel.fit.words.text().count(said) == 1
    apply_it(qtbot, panel)
    assert session.hr.name.startswith("head [Lanczos ")
    assert panel.reconstruct.words.text().startswith(said)
    assert "with the model" not in panel.save.sizes.text()
    panel.reconstruct.show_upscaler("span")
    apply_it(qtbot, panel)
    assert (session.inr.upscaler.name, panel.reconstruct.words.text()) == ("span", "")


def test_cancelled_reconstruction_takes_its_layer_away(qtbot, panel, head) -> None:
    fit_it(qtbot, panel)
    qtbot.mouseClick(panel.reconstruct.apply, LEFT)
    panel.reconstruct.progress.cancel.click()
    qtbot.waitUntil(lambda: not panel.state.applying.running, timeout=LONG)
    assert panel.state.fitted.hr is None
    assert len(panel.viewer.layers) == 2
    assert panel.reconstruct.apply.isEnabled()


def test_figures_follow_the_slice_in_view(qtbot, panel, head) -> None:
    fit_it(qtbot, panel)
    table = panel.compare.figures.table

    def psnr_of_slice() -> str:
        return table.item(1, 1).text().splitlines()[0]

    for z in (4, 9):
        panel.viewer.dims.set_current_step(0, z)
        expected = f"{panel.state.fitted.comparisons['LR fit'].slices.psnr[z]:.1f} dB"
        qtbot.waitUntil(lambda z=z: table.item(0, 0).text() == f"Slice {z}")
        assert psnr_of_slice() == expected


def test_saved_file_is_what_the_layers_carry(qtbot, panel, head, tmp_path, monkeypatch) -> None:
    fit_it(qtbot, panel)
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *_: tmp_path / "head.inr")
    qtbot.mouseClick(panel.save.button, LEFT)
    assert read_inr(tmp_path / "head.inr") == panel.state.fitted.inr
    assert f"{len(to_bytes(panel.state.fitted.inr)) / 1000:.1f} kB" in panel.save.sizes.text()
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *_: tmp_path / "nowhere" / "head.inr")
    qtbot.mouseClick(panel.save.button, LEFT)
    assert notification_manager.records[-1].severity.name == "ERROR"


# What stays


def test_last_used_settings_are_remembered(qtbot, panel, head) -> None:
    panel.settings.form.options["seed"].value = 77
    qtbot.waitUntil(lambda: load_last_used().get("settings", {}).get("fit", {}).get("seed") == 77)
    again = CompressWidget(panel.viewer)
    qtbot.addWidget(again)
    assert again.settings.settings.fit.seed == 77


def test_nothing_of_a_fit_is_kept_once_its_layers_are_gone(qtbot, panel, monkeypatch) -> None:
    networks: list[weakref.ref[Siren]] = []
    make = Siren.__init__

    def init(self: Siren, *args: object, **kwargs: object) -> None:
        make(self, *args, **kwargs)
        networks.append(weakref.ref(self))

    monkeypatch.setattr(Siren, "__init__", init)
    volume: Volume | None = head_phantom((16, 64, 64))
    kept = weakref.ref(volume)
    add_layer(panel.viewer, original_layer(volume, "head"))
    qtbot.waitUntil(lambda: panel.state.volume is not None)
    start_endless(qtbot, panel)
    stop(qtbot, panel)
    assert networks
    volume = None
    panel.viewer.layers.clear()
    panel.viewer.add_points()  # napari itself holds the layer that was active last
    assert panel.state.fitted is None

    def gone() -> bool:
        gc.collect()
        return all(one() is None for one in [kept, *networks])

    qtbot.waitUntil(gone)


def test_closing_the_viewer_while_fitting_returns_and_leaves_nothing_running(
    qtbot, window: Viewer, docked: CompressWidget
) -> None:
    start_endless(qtbot, docked)
    fitting = docked.state.fitting
    window.close()  # the fit has no end of its own: pytest's timeout ends a wait for it
    qtbot.waitUntil(lambda: not fitting.at_work, timeout=LONG)
    assert not fitting.at_work


def test_theme_of_the_plot_follows_the_viewer(panel: CompressWidget) -> None:
    panel.viewer.theme = "light"
    assert panel.fit.plot.findChild(PlotWidget).backgroundBrush().color().lightness() > 150
    panel.viewer.theme = "dark"
    assert panel.fit.plot.findChild(PlotWidget).backgroundBrush().color().lightness() < 100
