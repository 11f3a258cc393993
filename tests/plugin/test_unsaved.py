"""Networks that were not saved yet are found again, and go when they are saved."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from napari_inr_volume.core.errors import FitError
from napari_inr_volume.inr_volume import UpscalerRef
from napari_inr_volume.plugin import kept_fits, unsaved
from napari_inr_volume.plugin.writers import save_inr


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(kept_fits, "FOLDER", tmp_path / "of the plugin" / "fits")
    return kept_fits.FOLDER


def test_network_is_found_by_its_volume(make_inr) -> None:
    unsaved.keep("a", make_inr(seed=1))
    unsaved.keep("b", make_inr(seed=2))
    assert unsaved.find("a") == make_inr(seed=1)
    assert unsaved.find("c") is None


def test_later_network_of_a_volume_takes_the_place_of_the_earlier(make_inr) -> None:
    unsaved.keep("a", make_inr(seed=1))
    unsaved.keep("a", make_inr(seed=2))
    assert unsaved.find("a") == make_inr(seed=2)


def test_saving_forgets_that_network_alone_whatever_upscaler_it_has_now(make_inr, tmp_path: Path) -> None:
    unsaved.keep("a", make_inr(seed=1))
    unsaved.keep("b", make_inr(seed=2))
    other = UpscalerRef(name="span", sha256="ab" * 32)
    save_inr(replace(make_inr(seed=1), quality=None, upscaler=other), tmp_path / "saved.inr")
    assert unsaved.find("a") is None
    assert unsaved.find("b") is not None


def test_network_that_could_not_be_saved_is_still_there(make_inr, tmp_path: Path) -> None:
    unsaved.keep("a", make_inr())
    with pytest.raises(Exception, match="nowhere"):
        save_inr(make_inr(), tmp_path / "nowhere" / "saved.inr")
    assert unsaved.find("a") == make_inr()


def test_damaged_network_is_removed(make_inr, folder: Path) -> None:
    unsaved.keep("a", make_inr())
    (folder / "a.inr").write_bytes(b"INR")
    assert unsaved.find("a") is None
    assert not list(folder.iterdir())


def test_oldest_go_when_there_are_many(make_inr, folder: Path) -> None:
    for number in range(kept_fits.MOST + 2):
        unsaved.keep(f"{number:02}", make_inr())
        os.utime(folder / f"{number:02}.inr", (number, number))
    unsaved.keep("last", make_inr())
    assert len(list(folder.iterdir())) == kept_fits.MOST
    assert unsaved.find("00") is None


def test_folder_that_cannot_be_made_is_told(make_inr, folder: Path) -> None:
    folder.parent.touch()
    with pytest.raises(FitError, match="the fit cannot be kept in"):
        unsaved.keep("a", make_inr())
