"""A fit that was stopped goes on after napari was closed, to the weights of a fit in one go."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt

from napari_inr_volume import codec
from napari_inr_volume.core.errors import FitError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.registry import settings_to_dict
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren import fit as fit_module
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.fields.siren.fit_state import FitState
from napari_inr_volume.io.inr_file import read_inr
from napari_inr_volume.plugin import dialogs, kept_fits, unsaved
from napari_inr_volume.plugin.layers import add_layer, original_layer
from napari_inr_volume.plugin.work import source
from napari_inr_volume.reader import Reader
from napari_inr_volume.widgets.compress import CompressWidget

pytestmark = [pytest.mark.gui, pytest.mark.slow]

LEFT = Qt.MouseButton.LeftButton
SETTINGS = Settings(
    field=SirenConfig(layers=2, hidden_features=16),
    fit=FitConfig(steps=800, tuning_steps=80, batch=256, learning_rate=1e-3, weight_bits=6.0),
)
ENDLESS = replace(SETTINGS, fit=replace(SETTINGS.fit, steps=10_000_000))  # they end where they are stopped


def open_panel(qtbot, volume: Volume) -> CompressWidget:
    """As after a start of napari."""
    panel = CompressWidget(ViewerModel())
    qtbot.addWidget(panel)
    panel.show()
    add_layer(panel.viewer, original_layer(volume, "head"))
    qtbot.waitUntil(lambda: panel.state.volume is not None and not panel.fit_controller.recalling.running)
    return panel


def wait_for_the_end(qtbot, panel: CompressWidget) -> None:
    qtbot.waitUntil(lambda: not (panel.state.fitting.running or panel.state.measuring.running))


def stop_midway(qtbot, panel: CompressWidget, settings: Settings = ENDLESS) -> None:
    panel.settings.show_settings(settings)
    qtbot.mouseClick(panel.fit.fit, LEFT)
    qtbot.waitUntil(lambda: len(panel.fit.plot.steps) > 1)
    qtbot.mouseClick(panel.fit.fit, LEFT)
    wait_for_the_end(qtbot, panel)


@pytest.mark.slow
def test_a_fit_goes_on_in_a_new_panel_to_the_weights_of_one_go(
    qtbot, settings, volume: Volume, monkeypatch
) -> None:
    monkeypatch.setattr(fit_module, "SECONDS_PER_RECORD", 0.0)
    first = open_panel(qtbot, volume)
    assert not first.fit.go_on.isVisible()
    stop_midway(qtbot, first, SETTINGS)
    step = first.state.fitted.state.step
    assert step < SETTINGS.fit.all_steps

    second = open_panel(qtbot, volume)
    qtbot.waitUntil(lambda: second.fit.go_on.isVisible())
    assert f"stopped at step {step:,} of {SETTINGS.fit.all_steps:,}" in second.fit.words.text()
    qtbot.mouseClick(second.fit.go_on, LEFT)
    assert second.settings.settings.fit == SETTINGS.fit
    wait_for_the_end(qtbot, second)

    third = open_panel(qtbot, volume)
    assert not list(kept_fits.FOLDER.glob("*.fit"))  # a fit that ended leaves its network alone
    third.settings.show_settings(SETTINGS)
    qtbot.mouseClick(third.fit.fit, LEFT)
    wait_for_the_end(qtbot, third)
    assert second.state.fitted.inr.payload == third.state.fitted.inr.payload


def finish(qtbot, panel: CompressWidget) -> None:
    panel.settings.show_settings(replace(SETTINGS, fit=replace(SETTINGS.fit, steps=30, tuning_steps=0)))
    qtbot.mouseClick(panel.fit.fit, LEFT)
    wait_for_the_end(qtbot, panel)


def test_a_finished_fit_that_was_not_saved_is_offered_by_a_new_panel(qtbot, settings, volume: Volume) -> None:
    first = open_panel(qtbot, volume)
    finish(qtbot, first)
    second = open_panel(qtbot, volume)
    assert "not saved" in second.fit.words.text()
    qtbot.mouseClick(second.fit.go_on, LEFT)
    wait_for_the_end(qtbot, second)
    assert second.state.fitted.inr == first.state.fitted.inr
    assert [layer.name for layer in second.viewer.layers] == [layer.name for layer in first.viewer.layers]


def test_a_fit_that_ends_before_earlier_ones_were_looked_for_is_kept(
    qtbot, settings, volume: Volume, monkeypatch
) -> None:
    finish(qtbot, open_panel(qtbot, volume))
    fitted, recall = Event(), source.recall
    monkeypatch.setattr(source, "recall", lambda *found: recall(*found) if fitted.wait() else None)
    panel = CompressWidget(ViewerModel())
    qtbot.addWidget(panel)
    panel.show()
    add_layer(panel.viewer, original_layer(volume, "head"))
    qtbot.waitUntil(lambda: panel.state.volume is not None)
    panel.reconstruct.show_upscaler("lanczos")
    finish(qtbot, panel)
    fitted.set()
    qtbot.waitUntil(lambda: not panel.fit_controller.recalling.running)
    assert unsaved.find(kept_fits.identity(volume)) == replace(panel.state.fitted.inr, quality=None)
    assert not panel.fit.go_on.isVisible()  # what it would show is shown


def test_a_saved_fit_is_not_kept(qtbot, settings, volume: Volume, tmp_path: Path, monkeypatch) -> None:
    panel = open_panel(qtbot, volume)
    finish(qtbot, panel)
    assert len(list(kept_fits.FOLDER.iterdir())) == 1
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *_: tmp_path / "head.inr")
    qtbot.mouseClick(panel.save.button, LEFT)
    assert not list(kept_fits.FOLDER.iterdir())


def test_a_fit_whose_save_failed_stays_kept(qtbot, settings, volume: Volume, tmp_path, monkeypatch) -> None:
    panel = open_panel(qtbot, volume)
    finish(qtbot, panel)
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *_: tmp_path / "nowhere" / "head.inr")
    qtbot.mouseClick(panel.save.button, LEFT)
    assert len(list(kept_fits.FOLDER.iterdir())) == 1
    assert panel.state.fitted.inr is not None


def test_a_finished_fit_can_be_saved_whatever_went_wrong_after_it(
    qtbot, settings, volume: Volume, tmp_path: Path, monkeypatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    panel = open_panel(qtbot, volume)
    with monkeypatch.context() as patch:
        patch.setattr(Reader, "planes", fail)
        finish(qtbot, panel)
    assert "ran out of memory" in notification_manager.records[-1].message
    assert panel.compare.figures.measure.isVisible()
    monkeypatch.setattr(dialogs, "ask_where_to_save", lambda *_: tmp_path / "head.inr")
    assert panel.save.button.isEnabled()
    qtbot.mouseClick(panel.save.button, LEFT)
    assert codec.decompress(read_inr(tmp_path / "head.inr"), device="cpu").shape == volume.shape


def test_closing_napari_while_measuring_keeps_the_fit(qtbot, settings, volume: Volume, monkeypatch) -> None:
    panel = open_panel(qtbot, volume)
    panel.settings.show_settings(replace(SETTINGS, fit=replace(SETTINGS.fit, steps=30, tuning_steps=0)))
    with monkeypatch.context() as patch:
        patch.setattr(Reader, "planes", lambda *_, **__: panel.state.measuring.control.drop.wait())
        qtbot.mouseClick(panel.fit.fit, LEFT)
        qtbot.waitUntil(lambda: panel.state.measuring.running and not panel.state.fitting.running)
        panel.state.measuring.drop()
        wait_for_the_end(qtbot, panel)
    assert unsaved.find(kept_fits.identity(volume)) is not None


def test_a_fit_of_another_volume_is_not_offered(qtbot, settings, volume: Volume) -> None:
    stop_midway(qtbot, open_panel(qtbot, volume))
    other = open_panel(qtbot, head_phantom((8, 32, 32)))
    assert not other.fit.go_on.isVisible()


def test_a_damaged_fit_is_told_and_removed(qtbot, settings, volume: Volume) -> None:
    first = open_panel(qtbot, volume)
    stop_midway(qtbot, first)
    (path,) = kept_fits.FOLDER.glob("*.fit")
    path.write_bytes(path.read_bytes()[:-50])
    second = open_panel(qtbot, volume)
    qtbot.waitUntil(lambda: second.fit.go_on.isVisible())
    qtbot.mouseClick(second.fit.go_on, LEFT)
    wait_for_the_end(qtbot, second)
    assert "damaged and was removed; press Fit to start over" in second.fit.words.text()
    assert not list(kept_fits.FOLDER.iterdir())


def test_nothing_of_the_source_is_kept(qtbot, settings, volume: Volume) -> None:
    stop_midway(qtbot, open_panel(qtbot, volume))
    for path in kept_fits.FOLDER.iterdir():
        assert "head" not in path.name
        assert b"head" not in path.read_bytes()
    (words,) = kept_fits.FOLDER.glob("*.json")
    assert set(json.loads(words.read_text())) == {"settings", "step", "psnr"}


def make_state(step: int) -> FitState:
    return FitState(
        field=SETTINGS.field,
        fit=SETTINGS.fit,
        factor=SETTINGS.factor,
        device="cpu",
        samples="0" * 64,
        step=step,
        seconds=1.0,
        weights={},
        optimisers={},
        tuning_from=None,
        rounding=None,
        curve=[],
        random=torch.zeros(1),
        best_step=step,
        best_psnr=30.0,
        best_weights={},
    )


def test_the_oldest_go_when_there_are_many(no_fits_of_others: None) -> None:
    for number in range(kept_fits.MOST + 2):
        kept_fits.keep(f"{number:032x}", SETTINGS, make_state(number))
        os.utime(kept_fits.FOLDER / f"{number:032x}.json", (number, number))
    names = sorted(path.stem for path in kept_fits.FOLDER.glob("*.fit"))
    assert len(names) == kept_fits.MOST
    assert f"{kept_fits.MOST + 1:032x}" in names
    assert f"{0:032x}" not in names


WORDS = json.dumps({"settings": settings_to_dict(SETTINGS), "step": 3, "psnr": 1})


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[1]", "[" * 60_000, "9" * 60_000, '{"settings": {}, "step": 3, "psnr": 1}'),
        WORDS.replace('"step": 3', '"step": 1e999'),
        WORDS.replace('"step": 3', '"step": -1'),
        WORDS.replace('"psnr": 1', '"psnr": NaN'),
        WORDS.replace('"preset": "custom"', '"preset": "\\u001b[2J"'),
        WORDS.replace('"factor": [1.0, ', '"factor": ['),
        WORDS.replace('"hidden_features": 16', '"hidden_features": 1e9'),
        " " * kept_fits.MAX_WORDS + WORDS,
    ],
    ids=lambda text: text[-20:],
)
def test_words_that_cannot_be_read_are_forgotten(no_fits_of_others: None, text: str) -> None:
    path: Path = kept_fits.FOLDER / "0.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.with_suffix(".fit").touch()
    assert kept_fits.find("0") is None
    assert not path.exists()


def test_words_that_are_sound_are_found(no_fits_of_others: None) -> None:
    kept_fits.FOLDER.mkdir(parents=True)
    (kept_fits.FOLDER / "0.json").write_text(WORDS)
    (kept_fits.FOLDER / "0.fit").touch()
    kept = kept_fits.find("0")
    assert kept is not None
    assert (kept.settings, kept.step, kept.psnr) == (SETTINGS, 3, 1)


def test_volumes_are_told_apart_by_voxels_shape_and_padding() -> None:
    voxels = np.arange(64, dtype=np.int16).reshape(4, 4, 4)
    names = {
        kept_fits.identity(Volume.from_array(voxels)),
        kept_fits.identity(Volume.from_array(voxels.reshape(2, 8, 4))),
        kept_fits.identity(Volume.from_array(voxels.astype(np.int32))),
        kept_fits.identity(Volume.from_array(voxels, padding=0)),
        kept_fits.identity(Volume.from_array(voxels + 1)),
    }
    assert len(names) == 5
    assert kept_fits.identity(Volume.from_array(voxels.copy())) in names


def test_a_state_that_is_gone_is_told(no_fits_of_others: None, tmp_path: Path) -> None:
    kept = kept_fits.Kept(path=tmp_path / "gone.fit", settings=SETTINGS, step=1, psnr=1.0)
    with pytest.raises(FitError, match="press Fit to start over"):
        kept_fits.load(kept)
