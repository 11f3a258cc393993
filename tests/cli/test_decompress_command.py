"""`inr-volume decompress`: what is written, and what restores it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from commands import LONGER, decompressed, in_this_process, voxels_by
from numpy.typing import NDArray

from napari_inr_volume import compress, load
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.fields.settings import Settings
from napari_inr_volume.fields.siren.config import FitConfig, SirenConfig
from napari_inr_volume.io.dicom_export import write_dicom_series
from napari_inr_volume.io.inr_file import read_inr, write_inr
from napari_inr_volume.superres.upscale import LanczosUpscaler, find_upscaler


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".tif", ".npy"])
def test_decompress_writes_what_decodes(run: Any, compressed: Path, tmp_path: Path, suffix: str) -> None:
    from napari_inr_volume import decompress

    output = tmp_path / f"again{suffix}"
    assert run("decompress", compressed, output, "--device", "cpu")[0] == 0
    np.testing.assert_array_equal(load(output).voxels, decompress(read_inr(compressed), device="cpu").voxels)


@pytest.fixture
def voxels_by_own(own: Path, by_own: Path) -> NDArray[Any]:
    return voxels_by(find_upscaler(own, (4, 4), device="cpu"), by_own)


@pytest.fixture
def voxels_by_lanczos(by_own: Path) -> NDArray[Any]:
    return voxels_by(LanczosUpscaler((4, 4)), by_own)


def test_own_weights_given_again_restore_what_was_saved(
    run: Any, own: Path, by_own: Path, voxels_by_own: NDArray[Any], tmp_path: Path
) -> None:
    report, err, voxels = decompressed(run, by_own, "--upscaler", own, to=tmp_path / "x.npy")
    assert (report["upscaler"], report["upscaler_sha256"]) == ("span", read_inr(by_own).upscaler.sha256)
    assert err == ""
    np.testing.assert_array_equal(voxels, voxels_by_own)


@pytest.mark.parametrize("given", ["nothing", "other weights"])
def test_missing_or_other_weights_are_told_and_lanczos_takes_their_place(
    run: Any, other: Path, by_own: Path, voxels_by_lanczos: NDArray[Any], tmp_path: Path, given: str
) -> None:
    options = ["--upscaler", other] if given == "other weights" else []
    report, err, voxels = decompressed(run, by_own, *options, to=tmp_path / "x.npy")
    assert (report["upscaler"], report["upscaler_sha256"]) == ("lanczos", None)
    assert "restored by Lanczos, not by SPAN as the file asks for" in err
    assert read_inr(by_own).upscaler.sha256[:12] in err
    assert ("other.safetensors: SHA-256" in err) == bool(options)
    assert len(err.splitlines()) == 1
    np.testing.assert_array_equal(voxels, voxels_by_lanczos)


def test_decompress_says_in_words_what_restored(run: Any, own: Path, by_own: Path, tmp_path: Path) -> None:
    _, out, _ = run("decompress", by_own, tmp_path / "x.npy", "--upscaler", own, "--device", "cpu")
    assert "restored by span" in out
    code, out, err = run("decompress", by_own, tmp_path / "y.npy", "--device", "cpu")
    assert code == 0
    assert "restored by lanczos" in out
    assert "give the weights file" in err


def test_another_upscaler_by_name_needs_no_weights_of_the_file(
    run: Any, by_own: Path, voxels_by_lanczos: NDArray[Any], tmp_path: Path
) -> None:
    _, err, voxels = decompressed(run, by_own, "--upscaler", "lanczos", to=tmp_path / "x.npy")
    assert err == ""
    np.testing.assert_array_equal(voxels, voxels_by_lanczos)


def test_weights_of_ones_own_restore_an_inr_that_names_none(
    run: Any, compressed: Path, own: Path, tmp_path: Path
) -> None:
    report, err, voxels = decompressed(run, compressed, "--upscaler", own, to=tmp_path / "x.npy")
    assert (report["upscaler"], err) == ("span", "")
    np.testing.assert_array_equal(voxels, voxels_by(find_upscaler(own, (4, 4), device="cpu"), compressed))


UNEVEN = replace(
    head_phantom((8, 48, 48)).geometry, slice_positions=tuple(np.cumsum([0, 24, 24, 24, 24, 24, 24, 30.0]))
)


@pytest.fixture(scope="session")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .inr of a volume whose last slice lies further away."""
    path = tmp_path_factory.mktemp("uneven") / "uneven.inr"
    volume = replace(head_phantom((8, 48, 48)), geometry=UNEVEN)
    settings = Settings(field=SirenConfig(layers=2, hidden_features=16), fit=FitConfig(steps=3, batch=512))
    write_inr(compress(volume, settings, device="cpu", upscaler="lanczos"), path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd"])
def test_an_uneven_volume_is_exported_with_a_warning_unless_it_is_made_even(
    run: Any, uneven: Path, tmp_path: Path, suffix: str
) -> None:
    code, _, err = run("decompress", uneven, tmp_path / f"as it is{suffix}", "--device", "cpu")
    assert code == 0
    (line,) = err.splitlines()
    assert "slice distances are uneven, 24 to 30 mm; --even exports an evenly spaced, orthogonal" in line
    code, _, err = run("decompress", uneven, tmp_path / f"even{suffix}", "--even", "--device", "cpu")
    assert (code, err) == (0, "")
    assert load(tmp_path / f"even{suffix}").geometry.caveats == ()


def test_a_tiff_says_uneven_distances_itself(run: Any, uneven: Path, tmp_path: Path) -> None:
    assert run("decompress", uneven, tmp_path / "x.tif", "--device", "cpu")[2] == ""


def test_an_even_volume_is_the_same_with_even(run: Any, compressed: Path, tmp_path: Path) -> None:
    run("decompress", compressed, tmp_path / "a.npy", "--device", "cpu")
    run("decompress", compressed, tmp_path / "b.npy", "--even", "--device", "cpu")
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


# ---- a DICOM series ---------------------------------------------------------------------------------


def test_a_name_that_ends_in_a_slash_is_the_folder_of_a_dicom_series(
    run: Any, compressed: Path, tmp_path: Path
) -> None:
    from napari_inr_volume import decompress

    code, out, err = run("decompress", compressed, f"{tmp_path / 'series'}/", "--device", "cpu", "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert (report["files"], report["shape"], report["rounded_to"]) == (8, [8, 48, 48], None)
    back, inr = load(tmp_path / "series"), read_inr(compressed)
    np.testing.assert_array_equal(back.voxels, decompress(inr, device="cpu").voxels)
    np.testing.assert_allclose(back.geometry.affine, inr.geometry.affine, atol=1e-6)
    for image in map(pydicom.dcmread, (tmp_path / "series").iterdir()):
        assert (image.LossyImageCompression, image.PatientName, image.PatientID) == ("01", "", "")
        ratio = inr.source_bytes / compressed.stat().st_size
        assert image.LossyImageCompressionRatio == pytest.approx(ratio, abs=0.006)
        assert f"{inr.quality.max_error:,.0f} HU" in image.DerivationDescription


def test_the_same_inr_gives_the_same_series_and_another_upscaler_another_of_its_study(
    run: Any, by_own: Path, own: Path, tmp_path: Path
) -> None:
    for name, restored_by in (("a", own), ("b", own), ("c", "lanczos")):
        command = "decompress", by_own, f"{tmp_path / name}/", "--upscaler", restored_by, "--device", "cpu"
        assert run(*command)[0] == 0
    first, again, other = (sorted((tmp_path / name).iterdir()) for name in "abc")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    one, two = pydicom.dcmread(first[0]), pydicom.dcmread(other[0])
    assert one.StudyInstanceUID == two.StudyInstanceUID
    assert one.SeriesInstanceUID != two.SeriesInstanceUID


def test_an_uneven_volume_comes_back_uneven_from_a_series_and_even_if_asked_for(
    run: Any, uneven: Path, tmp_path: Path
) -> None:
    (tmp_path / "as it is").mkdir()
    assert run("decompress", uneven, tmp_path / "as it is", "--device", "cpu")[::2] == (0, "")
    images = [pydicom.dcmread(path) for path in sorted((tmp_path / "as it is").iterdir())]
    heights = [image.ImagePositionPatient[2] - UNEVEN.origin[2] for image in images]
    assert heights == pytest.approx(UNEVEN.slice_positions)
    assert run("decompress", uneven, f"{tmp_path / 'even'}/", "--even", "--device", "cpu")[0] == 0
    assert load(tmp_path / "even").geometry.caveats == ()
    assert "evenly" in pydicom.dcmread(tmp_path / "even" / "slice-0001.dcm").DerivationDescription


def test_a_series_is_replaced_by_force_and_nothing_else_is(
    run: Any, compressed: Path, tmp_path: Path
) -> None:
    command = "decompress", compressed, f"{tmp_path / 'series'}/", "--device", "cpu"
    assert run(*command)[0] == 0
    code, _, err = run(*command)
    assert (code, "holds a series already; choose another name, or replace it with --force" in err) == (
        2,
        True,
    )
    assert run(*command, "--force")[0] == 0
    (tmp_path / "series" / "notes.txt").write_text("kept")
    code, _, err = run(*command, "--force")
    assert (code, "1 other files or folders, such as notes.txt" in err) == (2, True)
    assert (tmp_path / "series" / "notes.txt").read_text() == "kept"


def test_a_series_does_not_take_the_place_of_what_is_in_use(
    run: Any, compressed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    inr = tmp_path / "with it" / "a.inr"
    inr.parent.mkdir()
    inr.write_bytes(compressed.read_bytes())
    for source, output, words in (
        (compressed, "./", "is the folder you are in"),
        (compressed, f"{tmp_path / 'nowhere' / 'series'}/", "create it first"),
        (compressed, f"{compressed}/", "is a file"),
        (inr, inr.parent, "is the source itself, or holds it"),
        (compressed, "series", "or in / for the folder of a DICOM series"),
    ):
        code, _, err = run("decompress", source, output, "--device", "cpu")
        assert (code, words in err, len(err.splitlines())) == (2, True, 1), err
    assert list((tmp_path / "here").iterdir()) == []


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A DICOM series of a named patient, and the .inr made from it."""
    folder = tmp_path_factory.mktemp("study")
    for path in write_dicom_series(head_phantom((8, 48, 48)), folder / "original"):
        image = pydicom.dcmread(path)
        image.PatientName, image.PatientID = "Some^Body", "17"
        image.save_as(path)
    assert in_this_process("compress", folder / "original", folder / "a.inr", *LONGER) == 0
    return folder / "original", folder / "a.inr"


def test_a_series_like_the_original_has_its_patient_and_study(
    run: Any, study: tuple[Path, Path], tmp_path: Path
) -> None:
    original, inr = study
    command = "decompress", inr, f"{tmp_path / 'new'}/", "--like", original, "--device", "cpu"
    code, _, err = run(*command)
    assert (code, err) == (0, "")
    for path in original.iterdir():
        image, source = pydicom.dcmread(tmp_path / "new" / path.name), pydicom.dcmread(path)
        for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
            assert image[keyword].value == source[keyword].value
        assert image.SeriesInstanceUID != source.SeriesInstanceUID
        assert image.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert load(tmp_path / "new").geometry == load(original).geometry


def test_a_series_of_another_patient_lends_no_headers(
    run: Any, study: tuple[Path, Path], tmp_path: Path
) -> None:
    head = head_phantom((8, 48, 48))
    write_dicom_series(replace(head, voxels=1000 - head.voxels), tmp_path / "other")
    code, _, err = run(
        "decompress", study[1], f"{tmp_path / 'new'}/", "--like", tmp_path / "other", "--device", "cpu"
    )
    assert (code, len(err.splitlines())) == (2, 1)
    assert "they lie in the same place, but differ" in err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["new.nii", "--like", "original"], "--like is for a DICOM series"),
        (["new/", "--like", "original", "--even"], "leave out one of the two"),
        (["new/", "--series", "1"], "give that too"),
        (["original/", "--like", "original", "--force"], "is the source itself, or holds it"),
        (["new/", "--like", "nowhere"], "there is no file or folder 'nowhere'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    run: Any, study: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
) -> None:
    original, inr = study
    monkeypatch.chdir(original.parent)
    code, _, err = run("decompress", inr, *options, "--device", "cpu")
    assert (code, len(err.splitlines()), words in err) == (2, 1, True), err
    assert not Path("new").exists()
