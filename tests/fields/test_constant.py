"""The field of files that hold an exact layer alone."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_inr_volume.codec import decompress
from napari_inr_volume.core.errors import FitError, InrFileError
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.fields.constant import CODING, CONSTANT, NO_NETWORK, ConstantConfig
from napari_inr_volume.io.inr_file import read_inr, write_inr
from napari_inr_volume.session import compress

CPU = torch.device("cpu")


@pytest.mark.parametrize("dtype", ["int16", "uint8", "float32"])
@pytest.mark.parametrize("max_error", [0, 2])
def test_a_file_without_a_network_holds_the_voxels(tmp_path: Path, dtype: str, max_error: int) -> None:
    voxels = np.random.default_rng(0).integers(0, 200, (5, 7, 9)).astype(dtype)
    volume = Volume.from_array(voxels)
    write_inr(compress(volume, None, max_error=max_error), tmp_path / "x.inr")
    back = decompress(read_inr(tmp_path / "x.inr"))
    assert back.dtype == voxels.dtype
    assert np.abs(back.voxels.astype(float) - voxels).max() <= max_error


def test_its_preview_is_the_mean_of_what_counts() -> None:
    voxels = np.full((3, 32, 32), 100, np.int16)
    voxels[:, :16] = 300
    voxels[:, :, :8] = -2000
    inr = compress(Volume.from_array(voxels, padding=-2000), None, max_error=0)
    preview = decompress(inr, level="hr").voxels
    assert np.ptp(preview) == 0
    assert preview[0, 0, 0] == pytest.approx(200, abs=5)


def test_without_a_network_and_without_a_bound_nothing_is_made() -> None:
    with pytest.raises(FitError, match="max_error"):
        compress(Volume.from_array(np.arange(60.0).reshape(3, 4, 5)), None)


@pytest.mark.parametrize(
    ("payload", "coding"),
    [
        (b"", CODING),
        (struct.pack("<f", 1.5), CODING),
        (struct.pack("<f", float("nan")), CODING),
        (struct.pack("<ff", 0, 0), CODING),
        (struct.pack("<f", 0), "fp16"),
    ],
)
def test_what_is_no_value_is_refused(payload: bytes, coding: str) -> None:
    with pytest.raises(InrFileError, match="damaged"):
        CONSTANT.load(ConstantConfig(), payload, coding, CPU)


def test_it_is_the_same_everywhere() -> None:
    field = CONSTANT.load(ConstantConfig(), struct.pack("<f", 0.25), CODING, CPU)
    assert field.at(torch.rand(4, 3)).tolist() == [0.25] * 4
    grid = field.on_grid(torch.rand(2), torch.rand(3), torch.rand(4))
    assert grid.shape == (2, 3, 4)
    assert grid.unique().tolist() == [0.25]


def test_it_has_nothing_to_set_and_nothing_to_resume() -> None:
    with pytest.raises(FitError, match="no fit to resume"):
        CONSTANT.state_from_bytes(b"")
    with pytest.raises(FitError, match="no option"):
        CONSTANT.with_option(NO_NETWORK, "layers", 3)
