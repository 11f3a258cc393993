"""A kind of field that is registered in one place does all that a SIREN does: nothing else knows of kinds."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Event

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from lattice import LATTICE, LatticeConfig, LatticeFit

from napari_inr_volume import InrVolume, Volume, compress, decompress, load, save
from napari_inr_volume.core.errors import FitError, InrFileError
from napari_inr_volume.core.generators import drain
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.fields.base import FieldKind, FitProgress
from napari_inr_volume.fields.registry import KINDS, settings_from_dict, settings_to_dict
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.state_file import load_state, save_state
from napari_inr_volume.io.inr_file import describe, from_bytes, to_bytes
from napari_inr_volume.io.inr_size import predicted_bytes
from napari_inr_volume.reader import Reader
from napari_inr_volume.session import Request, run

SETTINGS = Settings(factor=(1.0, 4.0, 4.0), field=LatticeConfig(nodes=6), fit=LatticeFit(steps=6))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    kind: FieldKind = LATTICE
    monkeypatch.setitem(KINDS, LATTICE.name, kind)


@pytest.fixture(scope="module")
def volume() -> Volume:
    return head_phantom((10, 24, 20))


@pytest.fixture
def inr(volume: Volume) -> InrVolume:
    return compress(volume, SETTINGS, device="cpu", upscaler="lanczos")


def test_it_is_compressed_saved_and_read_again(volume: Volume, inr: InrVolume, tmp_path: Path) -> None:
    save(inr, tmp_path / "x.inr")
    again = load(tmp_path / "x.inr")
    assert again == inr
    assert describe(tmp_path / "x.inr")["lattice"] == {"nodes": 6, "parameters": 216}
    voxels = decompress(again, device="cpu").voxels
    assert voxels.shape == volume.shape
    assert np.array_equal(
        voxels[3:5], Reader(again, device="cpu").read((slice(3, 5), slice(None), slice(None)))
    )
    assert inr.quality is not None
    assert inr.quality.hr_psnr > 10


def test_its_size_is_predicted(volume: Volume, inr: InrVolume) -> None:
    assert 0 <= predicted_bytes(volume, SETTINGS, "lanczos") - len(to_bytes(inr)) < 100


def test_it_is_stopped_kept_and_resumed_to_the_same_bytes(
    volume: Volume, inr: InrVolume, tmp_path: Path
) -> None:
    stop = Event()

    def stop_halfway(record: object) -> None:
        if isinstance(record, FitProgress) and record.step == 3:
            stop.set()

    request = Request(settings=SETTINGS, device="cpu", upscaler="lanczos")
    path = tmp_path / "x.fit"
    part = drain(run(volume, request, stop=stop, keep=lambda state: save_state(state, path)), stop_halfway)
    assert part.fitted.stopped
    whole = drain(run(volume, request, resume=load_state(path)))
    assert to_bytes(whole.inr) == to_bytes(inr)


def test_its_settings_are_remembered() -> None:
    assert settings_from_dict(settings_to_dict(SETTINGS)) == SETTINGS


def test_it_cannot_be_planned_for_and_says_so(volume: Volume) -> None:
    with pytest.raises(FitError, match="a lattice cannot be chosen by size"):
        compress(volume, SETTINGS, ratio=100, device="cpu", upscaler="lanczos")


def test_a_damaged_file_of_it_is_refused(inr: InrVolume) -> None:
    data = to_bytes(inr)
    with pytest.raises(InrFileError):
        from_bytes(data[:-4])


def test_without_it_its_files_are_of_an_unknown_kind(inr: InrVolume, monkeypatch: pytest.MonkeyPatch) -> None:
    data = to_bytes(inr)
    monkeypatch.delitem(KINDS, LATTICE.name)
    with pytest.raises(InrFileError, match=r"META\.kind is 'lattice', which this version does not know"):
        from_bytes(data)
