"""What napari writes of an `.inr` with an exact layer: the voxels of that."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_inr_volume import load
from napari_inr_volume.io.inr_file import read_inr
from napari_inr_volume.plugin.commands import decode_and_write, decode_and_write_series
from napari_inr_volume.plugin.job import Control
from napari_inr_volume.reader import Reader

GOLDEN = Path(__file__).parents[1] / "golden" / "exact-1.1.inr"


def test_an_export_and_a_series_hold_the_exact_voxels(tmp_path: Path) -> None:
    inr = read_inr(GOLDEN)
    exact = Reader(inr, device="cpu").read(level="exact")
    (tmp_path / "series").mkdir()
    assert decode_and_write(Control(), tmp_path / "whole.npy", inr, GOLDEN, None, "cpu") == ()
    assert decode_and_write_series(Control(), tmp_path / "series", inr, GOLDEN, None, "cpu") == ()
    np.testing.assert_array_equal(np.load(tmp_path / "whole.npy"), exact)
    np.testing.assert_array_equal(load(tmp_path / "series").voxels, exact)


def test_an_export_says_which_slices_are_of_the_preview(tmp_path: Path) -> None:
    data = bytearray(GOLDEN.read_bytes())
    data[-1] ^= 1
    damaged = tmp_path / "damaged.inr"
    damaged.write_bytes(data)
    (note,) = decode_and_write(Control(), tmp_path / "whole.npy", read_inr(damaged), damaged, None, "cpu")
    assert "slices 16 to 17" in note.lower()
