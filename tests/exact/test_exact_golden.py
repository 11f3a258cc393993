"""A file that was written once decodes to the same voxels for ever."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_inr_volume.io.inr_file import from_bytes, read_inr, to_bytes
from napari_inr_volume.reader import Reader

GOLDEN = Path(__file__).parents[1] / "golden" / "exact-1.1.inr"


def test_the_golden_file_decodes_to_what_it_always_did() -> None:
    inr = read_inr(GOLDEN)
    assert inr.exact is not None
    assert (inr.exact.max_error, inr.exact.features, len(inr.exact.slabs)) == (1, 16, 2)
    voxels = Reader(inr, device="cpu").read(level="exact")
    assert (voxels.shape, voxels.dtype) == ((18, 16, 16), np.int16)
    assert (voxels[:, :, :3] == -2000).all()
    assert f"{zlib.crc32(voxels.astype('<i2').tobytes()):08x}" == "775731f6"


def test_the_same_file_read_twice_is_the_same_volume() -> None:
    assert read_inr(GOLDEN) == read_inr(GOLDEN)
    assert read_inr(GOLDEN) == from_bytes(GOLDEN.read_bytes())
    assert read_inr(GOLDEN) != replace(read_inr(GOLDEN), exact=None)


def test_the_golden_file_is_written_again_byte_for_byte() -> None:
    assert to_bytes(read_inr(GOLDEN)) == GOLDEN.read_bytes()
