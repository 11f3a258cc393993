"""Three ways to open CT, dropped on napari, by its menu and by the panel, ask and tell the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from napari.utils.notifications import notification_manager
from PIL import Image as Picture
from pydicom.uid import generate_uid
from qtpy.QtCore import Qt

from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.io.dicom_export import write_dicom_series
from napari_inr_volume.io.volumes import write_volume
from napari_inr_volume.plugin import commands, dialogs, kept_fits
from napari_inr_volume.plugin.job import Job
from napari_inr_volume.plugin.layers import carried
from napari_inr_volume.plugin.notices import sentence
from napari_inr_volume.widgets.compress import CompressWidget

pytestmark = [pytest.mark.gui, pytest.mark.slow]

PLUGIN = "napari-inr-volume"
WAYS = ["dropped", "menu", "panel"]
Open = Callable[[Path], list[Image]]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def panel(
    qtbot, viewer: ViewerModel, plugin_settings, monkeypatch, tmp_path_factory
) -> Iterator[CompressWidget]:
    monkeypatch.setattr(kept_fits, "FOLDER", tmp_path_factory.mktemp("fits"))
    panel = CompressWidget(viewer)
    qtbot.addWidget(panel)
    yield panel
    jobs = [value for value in vars(panel).values() if isinstance(value, Job)]
    for job in jobs:
        job.drop()
    qtbot.waitUntil(lambda: not any(job.at_work for job in jobs))


@pytest.fixture
def open_ct(qtbot, viewer: ViewerModel, panel: CompressWidget, way: str, monkeypatch) -> Open:
    """Open a folder; returns the layers that are there then."""
    notification_manager.records.clear()

    def open_it(path: Path) -> list[Image]:
        monkeypatch.setattr(dialogs, "ask_source", lambda *_: path)
        if way == "dropped":
            viewer.open(str(path), plugin=PLUGIN)
        elif way == "menu":
            commands.open_ct(viewer)
            qtbot.waitUntil(lambda: not commands.running)
        else:
            panel.source.load.click()
            qtbot.waitUntil(lambda: not panel.source_controller.loading.running)
            qtbot.waitUntil(lambda: not panel.source_controller.describing.running)
        return list(viewer.layers)

    return open_it


@pytest.fixture
def told(panel: CompressWidget, way: str) -> Callable[[], str]:
    """What the person is told of a volume: in notifications, and in the panel in the panel itself."""

    def words() -> str:
        if way == "panel":
            return panel.source.notes.text()
        return " ".join(record.message for record in notification_manager.records)

    return words


def answer(monkeypatch: pytest.MonkeyPatch, name: str, choose: Callable) -> list[tuple]:
    """Answer a question; returns with what it was asked."""
    asked: list[tuple] = []

    def ask(*arguments: object) -> object:
        asked.append(arguments)
        return choose(*arguments)

    monkeypatch.setattr(dialogs, name, ask)
    return asked


def unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ask_series", "ask_to_skip"):
        monkeypatch.setattr(dialogs, name, lambda *asked: pytest.fail(f"it was asked: {asked}"))


def head(seed: int = 0) -> Volume:
    return head_phantom((8, 16, 16), seed=seed)


@pytest.fixture
def phases(tmp_path: Path) -> Path:
    """Two phases of a heart, so to say, in one series: their images lie at the same positions."""
    for percent in (10, 40):
        for path in write_dicom_series(head(percent), tmp_path / "heart" / f"{percent}"):
            dataset = pydicom.dcmread(path)
            dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = "1.2.3", "1.2.4"
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            dataset.NominalPercentageOfCardiacPhase = percent
            dataset.save_as(path)
    return tmp_path / "heart"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A series whose third file is empty, and whose fifth is cut off within its pixels."""
    paths = write_dicom_series(head(), tmp_path / "head CT")
    paths[2].write_bytes(b"")
    paths[4].write_bytes(paths[4].read_bytes()[:-100])
    return tmp_path / "head CT"


def test_phases_of_one_series_are_told_apart_and_one_is_chosen(open_ct, phases: Path, monkeypatch) -> None:
    asked = answer(monkeypatch, "ask_series", lambda series, *_: series[1])
    (layer,) = open_ct(phases)
    ((series, where, *_),) = asked
    assert [line.part for line in series] == ["phase 10 %", "phase 40 %"]
    assert where == "heart"
    assert layer.name == "heart Phantom phase 40 %"
    np.testing.assert_array_equal(layer.data, head(40).voxels)


def test_who_chooses_no_phase_gets_no_layer(open_ct, phases: Path, monkeypatch) -> None:
    answer(monkeypatch, "ask_series", lambda *_: None)
    assert open_ct(phases) == []


def test_broken_files_are_named_and_left_out_if_the_person_wants_it(
    open_ct, told, broken: Path, monkeypatch
) -> None:
    asked = answer(monkeypatch, "ask_to_skip", lambda *_: True)
    (layer,) = open_ct(broken)
    ((files, where, *_),) = asked
    assert [one.path.name for one in files] == ["slice-0003.dcm"]
    assert where == "head CT"
    assert layer.data.shape == (6, 16, 16)
    assert "slice-0003.dcm" in told()
    assert "slice-0005.dcm" in told()


def test_file_cut_off_within_its_pixels_is_named_too(open_ct, broken: Path, monkeypatch) -> None:
    (broken / "slice-0003.dcm").unlink()
    (broken / "slice-0004.dcm").unlink()
    for number in (1, 2):  # a stack without a gap
        (broken / f"slice-000{number}.dcm").unlink()
    asked = answer(monkeypatch, "ask_to_skip", lambda *_: True)
    (layer,) = open_ct(broken)
    assert [one.path.name for one in asked[0][0]] == ["slice-0005.dcm"]
    assert layer.data.shape == (3, 16, 16)


def test_broken_files_are_not_left_out_unless_the_person_wants_it(open_ct, broken: Path, monkeypatch) -> None:
    answer(monkeypatch, "ask_to_skip", lambda *_: False)
    assert open_ct(broken) == []


def test_what_is_special_about_a_volume_is_told(open_ct, told, tmp_path: Path, monkeypatch) -> None:
    unasked(monkeypatch)
    volume = head()
    paths = write_dicom_series(volume, tmp_path / "uneven")
    for number in (3, 6):  # small steps to one side
        dataset = pydicom.dcmread(paths[number])
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, float(z) + 5]
        dataset.save_as(paths[number])
    (layer,) = open_ct(tmp_path / "uneven")
    (caveat,) = carried(layer).volume.geometry.caveats
    assert "uneven" in caveat
    assert caveat in told() or sentence(caveat) in told()


def test_of_a_plain_volume_nothing_is_told(open_ct, told, tmp_path: Path, monkeypatch) -> None:
    unasked(monkeypatch)
    write_dicom_series(head(), tmp_path / "plain")
    open_ct(tmp_path / "plain")
    assert told() == ""


def test_single_slice_beside_a_stack_is_no_choice(open_ct, tmp_path: Path, monkeypatch) -> None:
    unasked(monkeypatch)
    write_dicom_series(head(), tmp_path / "study" / "head")
    _, *others = write_dicom_series(head(1), tmp_path / "study" / "scout", description="scout")
    for other in others:
        other.unlink()
    (layer,) = open_ct(tmp_path / "study")
    assert layer.data.shape == (8, 16, 16)
    assert layer.name == "study"


@pytest.mark.parametrize("name", ["head.nii.gz", "head.nrrd", "head.tif", "head.npy", "IM0001"])
@pytest.mark.parametrize("way", ["menu", "panel"], indirect=True)
def test_a_file_opens_as_a_folder_does(open_ct, tmp_path: Path, name: str) -> None:
    if name == "IM0001":
        first, *_ = write_dicom_series(head(), tmp_path / "series")
        first.rename(tmp_path / name)
    else:
        write_volume(head(), tmp_path / name)
    (layer,) = open_ct(tmp_path / name)
    assert layer.name == name.split(".")[0]
    np.testing.assert_array_equal(layer.data, head().voxels[: len(layer.data)])


@pytest.mark.parametrize("way", ["menu", "panel"], indirect=True)
def test_pictures_with_a_stray_dicom_file_are_refused_in_words(open_ct, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    first, *_ = write_dicom_series(head(), tmp_path / "head")
    folder.mkdir()
    shutil.copy(first, folder / "key image.dcm")
    for number in range(3):
        Picture.fromarray(np.full((8, 8), number, np.uint8)).save(folder / f"{number}.png")
    assert open_ct(folder) == []
    assert "holds 3 pictures and 1 DICOM file," in notification_manager.records[-1].message


def test_zip_of_dicom_opens_when_it_is_dropped(viewer: ViewerModel, phases: Path, qtbot, monkeypatch) -> None:
    answer(monkeypatch, "ask_series", lambda series, *_: series[0])
    path = shutil.make_archive(str(phases), "zip", phases)
    (layer,) = viewer.open(path, plugin=PLUGIN)
    np.testing.assert_array_equal(layer.data, head(10).voxels)


def test_panel_says_in_its_tooltip_all_that_was_read(
    panel: CompressWidget, phases, qtbot, monkeypatch
) -> None:
    answer(monkeypatch, "ask_series", lambda series, *_: series[0])
    monkeypatch.setattr(dialogs, "ask_source", lambda *_: phases)
    panel.source.load.click()
    qtbot.waitUntil(lambda: panel.state.volume is not None)
    assert panel.state.volume.summary in panel.source.info.toolTip()
    assert "8 files of 16" in panel.source.info.text()
    assert not Qt.mightBeRichText(panel.source.info.toolTip())
