"""A file that is open stays readable when another one is saved in its place, or when it is removed."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from napari_inr_volume import compress, save
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Volume
from napari_inr_volume.exact import encode, layer
from napari_inr_volume.io.inr_file import read_inr, to_bytes
from napari_inr_volume.reader import Reader

VOLUME = head_phantom((8, 20, 24))
OTHER = Volume.from_array(VOLUME.voxels[::-1].copy(), units="HU")


@pytest.mark.parametrize("files_stay", [True, False], ids=["kept open", "loaded, as on Windows"])
def test_slabs_that_were_not_read_yet_are_those_of_the_file_that_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files_stay: bool
) -> None:
    monkeypatch.setattr(encode, "DEPTH", 2)
    monkeypatch.setattr(layer, "FILES_STAY", files_stay)
    path = tmp_path / "x.inr"
    for volume in (VOLUME, OTHER):
        save(compress(volume, None, max_error=0, device="cpu"), path.with_stem(f"{volume is OTHER}"))
    path.write_bytes((tmp_path / "False.inr").read_bytes())
    inr = read_inr(path)
    reader = Reader(inr, device="cpu")
    np.testing.assert_array_equal(reader.plane(0, "exact"), VOLUME.voxels[0])
    save(read_inr(tmp_path / "True.inr"), path)
    np.testing.assert_array_equal(reader.read(level="exact"), VOLUME.voxels)
    np.testing.assert_array_equal(Reader(read_inr(path), device="cpu").read(level="exact"), OTHER.voxels)
    save(inr, path)  # and it can take the place of what took its own
    assert path.read_bytes() == (tmp_path / "False.inr").read_bytes()
    path.unlink()
    assert to_bytes(inr) == (tmp_path / "False.inr").read_bytes()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="nothing lists the open files here")
def test_a_file_is_closed_with_the_last_that_reads_it(tmp_path: Path) -> None:
    def opened() -> int:
        gc.collect()
        links = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        return links.count(str(tmp_path / "x.inr"))

    save(compress(VOLUME, None, max_error=0, device="cpu"), tmp_path / "x.inr")
    inr = read_inr(tmp_path / "x.inr")
    reader = Reader(inr, device="cpu")
    del inr
    assert opened() == 1
    assert reader.plane(3, "exact").shape == VOLUME.shape[1:]
    del reader
    assert opened() == 0
