from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_inr_volume.core.errors import InrError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.windows import find_window
from napari_inr_volume.fields.registry import PRESETS
from napari_inr_volume.superres.model_file import available_models

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from paper_tables import (  # the benchmarks are scripts, not a package
    PAPER,
    Fitted,
    Part,
    Restored,
    ceilings,
    fit_alone,
    main,
    margins,
    part_text,
    signed,
    slice_and_volume,
    ways,
)

FIT = replace(PRESETS["paper-2"].fit, steps=3, tuning_steps=2, batch=64)


def restored(hr_psnr: float, file_bytes: int = 1_000, model_bytes: int = 0) -> Restored:
    return Restored(
        lr_psnr=40.0, hr_psnr=hr_psnr, hr_psnr_8bit=hr_psnr, file_bytes=file_bytes, model_bytes=model_bytes
    )


@pytest.fixture
def part() -> Part:
    """Two sizes both ways, with SPAN's weights and without SRDenseNet's."""
    fits = []
    for layers, gain in ((2, 0.0), (3, 1.0)):
        networks = {
            "srdensenet": None,
            "span": restored(36.0 + gain, model_bytes=1_000),
            "lanczos": restored(34.0 + gain),
        }
        same = {"layers": layers, "parameters": 250, "seconds": 2.0, "megabytes": 30.0}
        fits.append(Fitted(way="architecture", restored=networks, **same))
        fits.append(Fitted(way="direct SIREN", restored={"lanczos": restored(30.0)}, **same))
    return Part(
        name="head, slice 3",
        shape=(1, 64, 64),
        source_bytes=8_192,
        peak=4095.0,
        units="HU",
        window="full (1024 / 4095)",
        ceilings={"span": 40.0, "lanczos": 38.0},
        fits=fits,
    )


def test_published_margins_follow_from_the_published_figures():
    assert signed([paper.margin for paper in PAPER.values()]) == "+9.4 / +6.1 / +4.5"


def test_the_selected_slice_is_the_middle_one_and_counts_its_share_of_the_source():
    volume = replace(head_phantom((9, 32, 32)), source_bytes=900)
    (title, chosen), (_, whole) = slice_and_volume("head", volume, None)
    assert title == "head, slice 4"
    np.testing.assert_array_equal(chosen.voxels, volume.voxels[4:5])
    assert (chosen.source_bytes, chosen.padding) == (100, volume.padding)
    assert whole is volume


def test_a_slice_can_be_chosen_of_a_series_with_irregular_distances():
    volume = head_phantom((8, 32, 32))
    irregular = replace(volume.geometry, slice_positions=(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 9.0, 15.0))
    (_, chosen), _ = slice_and_volume("head", replace(volume, geometry=irregular), 6)
    np.testing.assert_array_equal(chosen.voxels, volume.voxels[6:7])


@pytest.mark.parametrize("z", [-1, 8])
def test_a_slice_that_is_not_there_is_refused_with_those_that_are(z):
    with pytest.raises(InrError, match=f"head has no slice {z}; choose one from 0 to 7"):
        slice_and_volume("head", head_phantom((8, 32, 32)), z)


def test_a_lone_slice_keeps_its_z_and_direct_siren_keeps_every_voxel():
    assert ways(1) == {"architecture": (1, 4, 4), "direct SIREN": (1, 1, 1)}
    assert ways(98) == {
        "architecture": PRESETS["paper-2"].factor,
        "architecture, all slices": (1, 4, 4),
        "direct SIREN": (1, 1, 1),
    }


def test_margins_are_over_direct_siren_of_the_same_size_for_each_upscaler_that_ships(part):
    assert margins(part) == {"architecture, SPAN": [6.0, 7.0], "architecture, Lanczos": [4.0, 5.0]}


def test_a_table_says_what_does_not_ship_and_counts_a_networks_bytes_in(part):
    rows = [line for line in part_text(part).splitlines() if line.startswith("| 2 |")]
    srdensenet, span, lanczos, direct = rows
    assert "weights do not ship" in srdensenet
    assert "8.2 (4.10)" in span
    assert lanczos.endswith("| 1.0 kB | 8.2 | 4.10 |")  # 4,096 voxels to 250 weights of four bytes
    assert direct.startswith("| 2 | direct SIREN |  | 30.00 dB |")


@pytest.mark.slow
def test_the_ceiling_is_what_the_lr_keeps(part):
    assert "SPAN 40.00; Lanczos 38.00 dB (8 bit)" in part_text(part)
    volume = head_phantom((8, 64, 64))
    found = ceilings(volume, find_window("full", volume))
    assert set(found) == {*available_models(4), "lanczos"}
    smooth = replace(volume, voxels=np.broadcast_to(np.arange(64, dtype=np.int16), (8, 64, 64)), padding=None)
    assert ceilings(smooth, find_window("full", smooth))["lanczos"] > found["lanczos"] + 10


@pytest.mark.slow
@pytest.mark.parametrize("way", ways(8))
def test_a_fit_is_measured_in_every_way_that_can_restore_it(tmp_path, way):
    volume = head_phantom((8, 32, 32))
    np.save(tmp_path / "voxels.npy", volume.voxels)
    about = {key: getattr(volume, key) for key in ("geometry", "units", "padding", "source_bytes")}
    settings = replace(PRESETS["paper-2"], factor=ways(8)[way], fit=FIT)
    window = find_window("full", volume)
    fitted = fit_alone(tmp_path / "voxels.npy", about, way, settings, window)
    there = {name for name, found in fitted.restored.items() if found is not None}
    assert there == {"lanczos", *([] if way == "direct SIREN" else available_models(4))}
    plain = fitted.restored["lanczos"]
    assert 0 < plain.file_bytes < 4 * fitted.parameters  # smaller than its weights in float32
    assert fitted.seconds > 0


def test_a_missing_source_ends_in_words_before_anything_is_fitted(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["paper_tables.py", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert "there is no file or folder" in err.splitlines()[-1]
    assert "fitting" not in err
