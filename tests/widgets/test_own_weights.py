"""Weights of a person's own in the panel: chosen, checked, used, remembered, and gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from napari import Viewer
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt

from napari_inr_volume import codec, compress
from napari_inr_volume.core.words import in_ratio
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.io.inr_file import to_bytes, write_inr
from napari_inr_volume.plugin import dialogs
from napari_inr_volume.plugin.settings import load_last_used, own_weights
from napari_inr_volume.superres.model_file import NETWORKS, ModelInfo
from napari_inr_volume.widgets.compress import CompressWidget

pytestmark = [pytest.mark.gui, pytest.mark.slow]

LEFT = Qt.MouseButton.LeftButton
LONG = 30_000  # ms
PLUGIN = "napari-inr-volume"
SMALL = Settings(
    field=SirenConfig(layers=2, hidden_features=16),
    fit=FitConfig(steps=30, batch=256, learning_rate=1e-3),
)


@pytest.fixture(autouse=True)
def installed(shipped: Path, make_weights) -> None:
    """Weights of all networks, as a whole installation has them."""
    for name in NETWORKS:
        make_weights(shipped / f"{name}-x4.safetensors", name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.safetensors"


@pytest.fixture
def info(make_weights, path: Path) -> ModelInfo:
    return make_weights(path, "span", seed=1)


def choose(qtbot, panel: CompressWidget, path: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose "Own weights..." and answer the dialog; wait until the file is checked."""
    monkeypatch.setattr(dialogs, "ask_file", lambda *_: path)
    upscalers = panel.reconstruct.upscalers
    index = upscalers.findText("Own weights...")
    upscalers.setCurrentIndex(index)
    upscalers.activated.emit(index)
    settle(qtbot, panel)


def settle(qtbot, panel: CompressWidget) -> None:
    qtbot.waitUntil(lambda: not panel.reconstruct_controller.checking.running, timeout=LONG)


def fit_and_apply(qtbot, panel: CompressWidget) -> None:
    panel.settings.show_settings(SMALL)
    qtbot.mouseClick(panel.fit.fit, LEFT)
    qtbot.waitUntil(lambda: not (panel.state.fitting.running or panel.state.measuring.running), timeout=LONG)
    qtbot.mouseClick(panel.reconstruct.apply, LEFT)
    qtbot.waitUntil(lambda: not (panel.state.applying.running or panel.state.measuring.running), timeout=LONG)


@pytest.fixture
def reopened(qtbot, panel: CompressWidget) -> Iterator[list[CompressWidget]]:
    """Panels that are opened later in a test."""
    panels: list[CompressWidget] = []
    yield panels
    for each in panels:
        settle(qtbot, each)


def reopen(qtbot, panel: CompressWidget, reopened: list[CompressWidget]) -> CompressWidget:
    again = CompressWidget(panel.viewer)
    qtbot.addWidget(again)
    reopened.append(again)
    return again


def test_chosen_weights_are_checked_and_stand_in_the_list(qtbot, panel, path, info, monkeypatch) -> None:
    choose(qtbot, panel, path, monkeypatch)
    assert panel.reconstruct.upscaler == str(path)
    assert panel.reconstruct.upscalers.currentText() == "mine.safetensors"
    tooltip = panel.reconstruct.upscalers.toolTip()
    assert f"SPAN, trained on: {info.training}" in tooltip
    assert f"SHA-256 {info.sha256}" in tooltip


def test_cancelled_dialog_changes_nothing(qtbot, panel, monkeypatch) -> None:
    panel.reconstruct.show_upscaler("lanczos")
    choose(qtbot, panel, None, monkeypatch)
    assert (panel.reconstruct.upscaler, panel.reconstruct.own) == ("lanczos", None)


@pytest.mark.parametrize("earlier", ["lanczos", "mine.safetensors"])
def test_bad_file_gets_a_clear_word_and_the_earlier_choice_stays(
    qtbot, panel, path, info, tmp_path, monkeypatch, earlier: str
) -> None:
    if earlier == path.name:
        choose(qtbot, panel, path, monkeypatch)
    else:
        panel.reconstruct.show_upscaler(earlier)
    before = panel.reconstruct.upscaler
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"hello")
    choose(qtbot, panel, bad, monkeypatch)
    words = "bad.safetensors is damaged or not a weights file of this software."
    assert panel.reconstruct.words.text() == words
    assert notification_manager.records[-1].message == words
    assert panel.reconstruct.upscaler == before
    assert panel.reconstruct.upscalers.currentText().lower() == earlier
    choose(qtbot, panel, path, monkeypatch)  # a good one, and the word goes
    assert not panel.reconstruct.words.isVisible()


def test_fit_and_reconstruction_use_own_weights_and_the_file_names_them(
    qtbot, panel, head, path, info, monkeypatch
) -> None:
    choose(qtbot, panel, path, monkeypatch)
    fit_and_apply(qtbot, panel)
    session = panel.state.fitted
    assert (session.inr.upscaler.name, session.inr.upscaler.sha256) == ("span", info.sha256)
    again = codec.decompress(session.inr, weights=[path], device="cpu")
    np.testing.assert_allclose(session.hr.data, again.voxels, atol=1)
    assert session.hr.name == f"head [SPAN {session.inr.quality.hr_psnr:.1f} dB]"
    size = len(to_bytes(session.inr))
    with_model = in_ratio(session.inr.source_bytes / (size + path.stat().st_size))
    assert panel.save.sizes.text().endswith(f"(with the model {with_model})")


def test_another_upscaler_applied_later_counts_its_own_bytes(
    qtbot, panel, head, path, info, monkeypatch
) -> None:
    choose(qtbot, panel, path, monkeypatch)
    fit_and_apply(qtbot, panel)
    panel.reconstruct.show_upscaler("lanczos")
    qtbot.mouseClick(panel.reconstruct.apply, LEFT)
    qtbot.waitUntil(lambda: not (panel.state.applying.running or panel.state.measuring.running), timeout=LONG)
    assert panel.state.fitted.hr.name.startswith("head [Lanczos")
    assert "with the model" not in panel.save.sizes.text()


def test_weights_that_went_before_the_fit_end_in_a_word(qtbot, panel, head, path, info, monkeypatch) -> None:
    choose(qtbot, panel, path, monkeypatch)
    path.unlink()
    panel.settings.show_settings(SMALL)
    qtbot.mouseClick(panel.fit.fit, LEFT)
    qtbot.waitUntil(lambda: not (panel.state.fitting.running or panel.state.measuring.running), timeout=LONG)
    assert "cannot read the weights file" in panel.fit.words.text()
    assert panel.state.fitted is None


def test_own_weights_are_remembered(qtbot, panel, path, info, monkeypatch, reopened) -> None:
    choose(qtbot, panel, path, monkeypatch)
    assert own_weights() == path
    again = reopen(qtbot, panel, reopened)
    assert again.reconstruct.upscaler == str(path)  # at once, so that a quick fit takes no other
    settle(qtbot, again)
    assert again.reconstruct.upscaler == str(path)
    assert info.sha256 in again.reconstruct.upscalers.toolTip()


def test_own_weights_not_chosen_any_more_are_still_offered(
    qtbot, panel, path, info, monkeypatch, reopened
) -> None:
    choose(qtbot, panel, path, monkeypatch)
    panel.reconstruct.show_upscaler("lanczos")
    panel.reconstruct.upscaler_chosen.emit()
    qtbot.waitUntil(lambda: load_last_used()["upscaler"] == "lanczos")
    again = reopen(qtbot, panel, reopened)
    settle(qtbot, again)
    assert (again.reconstruct.upscaler, again.reconstruct.own) == ("lanczos", path)


def test_remembered_weights_that_are_gone_fall_back_to_auto_in_words(
    qtbot, panel, path, info, monkeypatch, reopened
) -> None:
    choose(qtbot, panel, path, monkeypatch)
    path.unlink()
    again = reopen(qtbot, panel, reopened)
    settle(qtbot, again)
    assert (again.reconstruct.upscaler, again.reconstruct.own) == ("auto", None)
    for words in (again.reconstruct.words.text(), notification_manager.records[-1].message):
        assert "cannot read the weights file" in words
        assert words.endswith("; the upscaler is auto instead.")


def test_file_trained_anew_under_the_same_name_is_taken_when_chosen_again(
    qtbot, panel, path, info, make_weights, monkeypatch
) -> None:
    choose(qtbot, panel, path, monkeypatch)
    panel.reconstruct.show_upscaler("lanczos")
    anew = make_weights(path, "srdensenet", seed=5)
    choose(qtbot, panel, path, monkeypatch)
    assert panel.reconstruct.upscaler == str(path)
    assert f"SHA-256 {anew.sha256}" in panel.reconstruct.upscalers.toolTip()


def test_opened_in_a_window_the_file_tries_the_weights_chosen_last(
    qtbot, docked: CompressWidget, window: Viewer, path, info, tmp_path, monkeypatch
) -> None:
    choose(qtbot, docked, path, monkeypatch)
    inr = compress(docked.state.volume, SMALL, device="cpu", upscaler=path)
    write_inr(inr, tmp_path / "own.inr")
    _, hr = window.open(str(tmp_path / "own.inr"), plugin=PLUGIN)
    assert hr.name == f"own [SPAN {inr.quality.hr_psnr:.1f} dB]"
    path.unlink()
    _, hr = window.open(str(tmp_path / "own.inr"), plugin=PLUGIN)
    qtbot.waitUntil(lambda: hr.name.startswith(f"own [Lanczos {inr.quality.lanczos_psnr:.1f} dB]"))
    assert notification_manager.records[-1].severity.name == "WARNING"
    assert "restored by Lanczos, not by SPAN" in notification_manager.records[-1].message
