"""What needs a package of an extra says in one line how to install it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_inr_volume.core.errors import SourceError
from napari_inr_volume.core.extras import extra

HIDDEN = ("SimpleITK", "imagecodecs", "matplotlib", "pysz", "skimage", "PIL", "openjpeg", "pylibjpeg")
BARE = f"""
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
sys.modules.update(dict.fromkeys({HIDDEN}))  # as if not installed
from napari_inr_volume.cli import main
ends = []
for line in json.load(sys.stdin):
    sys.argv = ["inr-volume", *line]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as err:
        try:
            main()
        except SystemExit as end:
            ends.append([end.code, " ".join(err.getvalue().split())])
print(json.dumps(ends))
"""


def bare(*lines: tuple[str | Path | int, ...]) -> list[tuple[int, str]]:
    """Run commands one after another with nothing but the base install; returns exit codes and messages."""
    done = subprocess.run(
        [sys.executable, "-c", BARE],
        input=json.dumps([[*map(str, line)] for line in lines]),
        capture_output=True,
        text=True,
        check=True,
    )
    return [(code, err) for code, err in json.loads(done.stdout)]


def test_a_missing_package_is_told_with_its_extra() -> None:
    told = pytest.raises(SourceError, match=r"a picture needs no_such: pip install .*inr-volume\[figures\]")
    with told, extra("figures", "a picture", SourceError):
        import no_such.module  # noqa: F401


@pytest.fixture
def slices(tmp_path: Path) -> Path:
    """A folder of PNG slices, and a packed TIFF of the same beside it."""
    tifffile = pytest.importorskip("tifffile")
    imagecodecs = pytest.importorskip("imagecodecs")
    voxels = np.arange(3 * 16 * 16, dtype=np.uint16).reshape(3, 16, 16)
    tifffile.imwrite(tmp_path / "packed.tif", voxels, compression="lzw", photometric="minisblack")
    folder = tmp_path / "slices"
    folder.mkdir()
    for z, plane in enumerate(voxels):
        (folder / f"{z}.png").write_bytes(imagecodecs.png_encode(plane))
    return folder


@pytest.mark.slow
def test_the_base_install_does_the_main_job_and_names_the_extra_of_the_rest(
    slices: Path, tmp_path: Path
) -> None:
    from napari_inr_volume.core.phantom import head_phantom
    from napari_inr_volume.io.dicom_export import write_dicom_series

    write_dicom_series(head_phantom((8, 32, 32)), tmp_path / "series")
    tiny = ("--layers", 2, "--hidden", 16, "--steps", 5, "--batch", 256)
    compressed, decompressed, *refused = bare(
        ("compress", tmp_path / "series", tmp_path / "x.inr", *tiny),
        ("decompress", tmp_path / "x.inr", tmp_path / "x.nii.gz"),
        ("compare", tmp_path / "series", tmp_path / "x.inr"),
        ("compress", tmp_path / "packed.tif", tmp_path / "y.inr"),
        ("compress", slices, tmp_path / "y.inr"),
    )
    assert compressed[0] == 0, compressed[1]
    assert decompressed[0] == 0, decompressed[1]
    assert (tmp_path / "x.nii.gz").exists()
    for (code, err), needed in zip(refused, ("figures", "formats", "formats"), strict=True):
        assert code == 2
        assert f"pip install 'napari-inr-volume[{needed}]'" in err
