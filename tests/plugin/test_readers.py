from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager

from napari_inr_volume import codec
from napari_inr_volume.core.errors import InrError, InrFileError, SourceError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.inr_volume import UpscalerRef
from napari_inr_volume.io.dicom import list_series
from napari_inr_volume.io.dicom_export import write_dicom_series
from napari_inr_volume.io.inr_file import read_inr, write_inr
from napari_inr_volume.io.volumes import write_volume
from napari_inr_volume.plugin import dialogs
from napari_inr_volume.plugin.layers import volume_of
from napari_inr_volume.plugin.readers import (
    PROBED,
    find_stacks,
    get_dicom_reader,
    get_inr_reader,
    get_volume_reader,
    read_dicom_layers,
    read_inr_layers,
)
from napari_inr_volume.plugin.settings import OWN_WEIGHTS, remember
from napari_inr_volume.superres.upscale import LanczosUpscaler

pytestmark = pytest.mark.slow  # real fits, windows or processes

PLUGIN = "napari-inr-volume"


@pytest.fixture(scope="module")
def volume() -> Volume:
    return head_phantom((8, 32, 40))


@pytest.fixture
def ct_folder(volume: Volume, tmp_path: Path) -> Path:
    folder = tmp_path / "head CT"
    write_dicom_series(volume, folder)
    return folder


@pytest.fixture
def two_series(volume: Volume, tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    write_dicom_series(volume, folder / "a", description="soft")
    write_dicom_series(head_phantom((9, 32, 40)), folder / "b", description="bone")
    return folder


# .inr


def test_inr_opens_by_the_plugins_name(viewer: ViewerModel, inr_path: Path) -> None:
    lr, hr = viewer.open(str(inr_path), plugin=PLUGIN)
    assert [lr.name, hr.name] == ["head [LR fit 41.2 dB]", "head [Lanczos 37.9 dB]"]
    assert hr.data.shape == (9, 30, 37)
    np.testing.assert_allclose(hr.scale, (2.5, 0.75, 0.5))
    np.testing.assert_allclose(hr.translate, (30.25, 20.5, -10))
    assert {str(unit) for layer in (lr, hr) for unit in layer.units} == {"millimeter"}
    np.testing.assert_allclose(lr.data_to_world((0, 0, 0)), hr.data_to_world((0, 1.5, 1.5)))


def test_inr_in_capitals_opens_too(viewer: ViewerModel, inr_path: Path) -> None:
    assert len(viewer.open(str(inr_path.rename(inr_path.with_suffix(".INR"))), plugin=PLUGIN)) == 2


@pytest.mark.parametrize("path", ["x.nii.gz", "x.inr.txt", ["a.inr", "b.inr"]], ids=str)
def test_other_files_are_not_for_the_inr_reader(path) -> None:
    assert get_inr_reader(path) is None


def test_folder_named_like_an_inr_is_not_for_the_inr_reader(tmp_path: Path) -> None:
    folder = tmp_path / "x.inr"
    folder.mkdir()
    assert get_inr_reader(str(folder)) is None


def test_inrimage_is_declined_politely(viewer: ViewerModel, tmp_path: Path) -> None:
    path = tmp_path / "old.inr"
    path.write_bytes(b"#INRIMAGE-4#{\nXDIM=4\n" + bytes(300))
    with pytest.raises(InrFileError, match="image of INRIMAGE, an older format with the same suffix"):
        viewer.open(str(path), plugin=PLUGIN)


def test_file_that_only_has_the_suffix_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "x.inr"
    path.write_text("hello, this is text")
    reader = get_inr_reader(str(path))
    assert reader is read_inr_layers
    with pytest.raises(InrFileError, match=r"x\.inr: it is not an \.inr file"):
        reader(str(path))


def test_damaged_inr_is_refused_before_anything_is_shown(viewer: ViewerModel, inr_path: Path) -> None:
    data = bytearray(inr_path.read_bytes())
    data[-1] ^= 1
    inr_path.write_bytes(data)
    with pytest.raises(InrFileError, match=r"head\.inr: the section WGHT does not match its checksum"):
        viewer.open(str(inr_path), plugin=PLUGIN)
    assert len(viewer.layers) == 0


def test_model_embedded_in_the_file_is_used(viewer: ViewerModel, sr_inr_path: Path) -> None:
    _, hr = viewer.open(str(sr_inr_path), plugin=PLUGIN)
    inr = read_inr(sr_inr_path)
    plain = codec.decompress(inr, upscaler=LanczosUpscaler(inr.factor[1:]), device="cpu")
    assert hr.name == "sr [SRDenseNet 37.9 dB]"
    assert not np.array_equal(np.asarray(hr.data[4]), plain.voxels[4])


def test_missing_super_resolution_model_is_told(viewer: ViewerModel, make_inr, tmp_path: Path) -> None:
    path = tmp_path / "x.inr"
    write_inr(make_inr(upscaler=UpscalerRef(name="srdensenet", sha256="ab" * 32)), path)
    notification_manager.records.clear()
    _, hr = viewer.open(str(path), plugin=PLUGIN)
    (told,) = notification_manager.records
    assert told.message.startswith("The reconstruction is restored by Lanczos, not by SRDenseNet")
    assert (hr.name, hr.visible) == ("x [Lanczos 36.5 dB]", True)


@pytest.fixture
def own_inr_path(make_inr, make_weights, tmp_path: Path) -> Path:
    """An `.inr` that names the weights in mine.safetensors; other.safetensors holds others."""
    info = make_weights(tmp_path / "mine.safetensors", "span", seed=1)
    make_weights(tmp_path / "other.safetensors", "span", seed=2)
    write_inr(make_inr(upscaler=UpscalerRef(name="span", sha256=info.sha256)), tmp_path / "own.inr")
    return tmp_path / "own.inr"


def test_own_weights_chosen_last_restore_a_file_that_names_them(
    viewer: ViewerModel, plugin_settings, own_inr_path: Path
) -> None:
    own = own_inr_path.with_name("mine.safetensors")
    remember({OWN_WEIGHTS: str(own)})
    notification_manager.records.clear()
    _, hr = viewer.open(str(own_inr_path), plugin=PLUGIN)
    assert notification_manager.records == []
    assert (hr.name, hr.visible) == ("own [SPAN 37.9 dB]", True)
    expected = codec.decompress(read_inr(own_inr_path), weights=[own], device="cpu")
    np.testing.assert_allclose(np.asarray(hr.data[4]), expected.voxels[4], atol=1)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ("", "give the weights file it was made with."),
        ("other.safetensors", "other.safetensors: SHA-256 "),
        ("gone.safetensors", "gone.safetensors: No such file"),
    ],
    ids=["none chosen", "another chosen", "chosen and gone"],
)
def test_file_whose_own_weights_are_not_at_hand_is_shown_by_lanczos_and_it_is_said(
    viewer: ViewerModel, plugin_settings, own_inr_path: Path, chosen: str, said: str
) -> None:
    remember({OWN_WEIGHTS: str(own_inr_path.with_name(chosen)) if chosen else ""})
    notification_manager.records.clear()
    _, hr = viewer.open(str(own_inr_path), plugin=PLUGIN)
    (told,) = notification_manager.records
    assert told.severity.name == "WARNING"
    assert told.message.startswith("The reconstruction is restored by Lanczos, not by SPAN")
    assert said in told.message
    assert hr.name == "own [Lanczos 36.5 dB]"


# DICOM


def test_ct_folder_opens_as_one_layer_in_hu_and_mm(
    viewer: ViewerModel, ct_folder: Path, volume: Volume
) -> None:
    (layer,) = viewer.open(str(ct_folder), plugin=PLUGIN)
    assert layer.name == "head CT"
    np.testing.assert_array_equal(layer.data, volume.voxels)
    np.testing.assert_allclose(layer.scale, volume.geometry.spacing)
    assert tuple(layer.contrast_limits) == (0, 80)  # of a brain
    assert (volume_of(layer).units, volume_of(layer).padding) == ("HU", volume.padding)


def test_ct_folder_of_files_without_suffix_opens(
    viewer: ViewerModel, ct_folder: Path, volume: Volume
) -> None:
    for number, file in enumerate(sorted(ct_folder.iterdir())):
        file.rename(ct_folder / f"IM{number:04}")
    (layer,) = viewer.open(str(ct_folder), plugin=PLUGIN)
    np.testing.assert_array_equal(layer.data, volume.voxels)


def test_ct_folder_with_other_files_in_it_opens(viewer: ViewerModel, ct_folder: Path) -> None:
    (ct_folder / "AAA readme.txt").write_text("not DICOM")
    assert len(viewer.open(str(ct_folder), plugin=PLUGIN)) == 1


def test_dicom_files_opened_as_a_stack_make_one_volume(
    viewer: ViewerModel, ct_folder: Path, volume: Volume
) -> None:
    files = sorted(str(file) for file in ct_folder.iterdir())
    (layer,) = viewer.open(files[::-1], stack=True, plugin=PLUGIN)  # in any order
    np.testing.assert_array_equal(layer.data, volume.voxels)


def test_single_dicom_file_opens_as_one_slice(viewer: ViewerModel, ct_folder: Path) -> None:
    (layer,) = viewer.open(str(min(ct_folder.iterdir())), plugin=PLUGIN)
    assert layer.data.shape == (1, 32, 40)


def test_real_ct_folder_opens(viewer: ViewerModel, shared_data: Path) -> None:
    (layer,) = viewer.open(str(shared_data / "dicom" / "edge" / "series_3slice_qiicr"), plugin=PLUGIN)
    assert (layer.ndim, layer.data.shape[0]) == (3, 3)


@pytest.mark.gui
def test_person_chooses_among_several_series(
    viewer: ViewerModel, two_series: Path, qtbot, monkeypatch
) -> None:
    asked = []

    def choose_second(series, where, *_):
        asked.append((len(series), where))
        return series[1]

    monkeypatch.setattr(dialogs, "ask_series", choose_second)
    (layer,) = viewer.open(str(two_series), plugin=PLUGIN)
    chosen = find_stacks(list_series(two_series))[1]
    assert asked == [(2, "study")]
    assert layer.name == f"study {chosen.description}"
    assert layer.data.shape[0] == chosen.slices


@pytest.mark.gui
def test_person_who_chooses_no_series_gets_no_layer_and_no_error(
    viewer: ViewerModel, two_series: Path, qtbot, monkeypatch
) -> None:
    monkeypatch.setattr(dialogs, "ask_series", lambda *_: None)
    assert viewer.open(str(two_series), plugin=PLUGIN) == []


@pytest.mark.slow
def test_several_series_without_a_window_to_ask_in_are_an_error_in_words(two_series: Path) -> None:
    script = (
        "import sys\n"
        "from napari_inr_volume.core.errors import InrError, SourceError\n"
        "from napari_inr_volume.plugin.readers import read_dicom_layers\n"
        "try:\n"
        "    read_dicom_layers(sys.argv[1])\n"
        "except SourceError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(two_series)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "'study' holds 2 CT series; read one of them with napari_inr_volume.load(" in done.stdout


def test_folder_of_dicom_without_ct_is_an_error_in_words(ct_folder: Path) -> None:
    for file in ct_folder.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        dataset.save_as(file)
    with pytest.raises(SourceError, match=r"there is no CT image in .* localizer"):
        read_dicom_layers(str(ct_folder))


def test_folder_without_dicom_is_not_for_us(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no DICOM here")
    assert get_dicom_reader(str(tmp_path)) is None
    assert get_dicom_reader(str(tmp_path / "notes.txt")) is None
    assert get_dicom_reader(str(tmp_path / "missing.dcm")) is None
    assert get_dicom_reader([]) is None


# Other files


@pytest.mark.parametrize("name", ["my head.nii.gz", "head.nii", "head.nrrd"])
def test_volume_in_a_file_opens_in_hu_and_mm(viewer, volume: Volume, tmp_path: Path, name: str) -> None:
    write_volume(volume, tmp_path / name)
    (layer,) = viewer.open(str(tmp_path / name), plugin=PLUGIN)
    assert layer.name == name.split(".")[0]
    np.testing.assert_array_equal(volume_of(layer).voxels, volume.voxels)
    np.testing.assert_allclose(layer.scale, volume.geometry.spacing, rtol=1e-6)
    assert volume_of(layer).units == "HU"


def test_metaimage_opens(viewer: ViewerModel, volume: Volume, tmp_path: Path) -> None:
    path, (depth, rows, columns) = tmp_path / "head.mha", volume.shape
    head = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"ElementSpacing = 0.5 0.75 2.5\nDimSize = {columns} {rows} {depth}\n"
        "ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    path.write_bytes(head.encode() + volume.voxels.astype("<i2").tobytes())
    (layer,) = viewer.open(str(path), plugin=PLUGIN)
    np.testing.assert_array_equal(layer.data, volume.voxels)
    np.testing.assert_allclose(layer.scale, (2.5, 0.75, 0.5))


def test_dicom_file_without_a_suffix_opens(viewer: ViewerModel, ct_folder: Path) -> None:
    file = min(ct_folder.iterdir()).rename(ct_folder / "IM0001")
    (layer,) = viewer.open(str(file), plugin=PLUGIN)
    assert layer.data.shape == (1, 32, 40)


def test_damaged_nifti_is_refused_in_words(viewer: ViewerModel, tmp_path: Path) -> None:
    (tmp_path / "x.nii").write_bytes(b"no NIfTI")
    with pytest.raises(SourceError, match=r"x\.nii"):
        viewer.open(str(tmp_path / "x.nii"), plugin=PLUGIN)


@pytest.mark.parametrize("path", ["x.tif", "x.nii", ["a.nii", "b.nii"]], ids=str)
def test_other_files_are_not_for_the_reader_of_volumes(path) -> None:
    assert get_volume_reader(path) is None


def test_large_folder_of_others_is_not_searched_to_its_end(ct_folder: Path) -> None:
    for number in range(PROBED):
        (ct_folder / f"{number}.txt").touch()
    for file in ct_folder.glob("*.dcm"):
        below = ct_folder / "below"
        below.mkdir(exist_ok=True)
        file.rename(below / file.name)
    assert get_dicom_reader(str(ct_folder)) is None


def test_inr_whose_slices_no_memory_holds_is_refused_before_one_is_decoded(tmp_path: Path) -> None:
    from dataclasses import replace
    from importlib.resources import files

    from napari_inr_volume.io.inr_file import read_inr, write_inr
    from napari_inr_volume.plugin.readers import open_inr

    inr = read_inr(Path(str(files("napari_inr_volume") / "samples" / "phantom.inr")))
    huge = replace(inr.geometry, shape=(2, 65_535, 65_535), slice_positions=None)
    write_inr(replace(inr, geometry=huge), tmp_path / "huge.inr")
    with pytest.raises(InrError, match="restoring 1 x 65535 x 65535 voxels needs"):
        open_inr(tmp_path / "huge.inr", "huge")
