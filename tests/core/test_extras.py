"""What needs a package of an extra says in one line how to install it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_inr_volume.core.errors import SourceError
from napari_inr_volume.core.extras import extra

HIDDEN = ("SimpleITK", "imagecodecs", "matplotlib", "pysz", "skimage", "PIL", "openjpeg", "pylibjpeg")
BARE = f"""
import sys
sys.modules.update(dict.fromkeys({HIDDEN}))  # as if not installed
from napari_inr_volume.cli import main
code = 0
for line in {{lines}}:  # up to the first that fails
    if not code:
        sys.argv = ["inr-volume", *line]
        try:
            main()
        except SystemExit as end:
            code = end.code
sys.exit(code)
"""


def bare(*lines: tuple[str | Path | int, ...]) -> subprocess.CompletedProcess[str]:
    """Run commands one after another as if there were nothing but the base install."""
    code = BARE.format(lines=[[*map(str, line)] for line in lines])
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_a_missing_package_is_told_with_its_extra() -> None:
    told = pytest.raises(SourceError, match=r"a picture needs no_such: pip install .*inr-volume\[figures\]")
    with told, extra("figures", "a picture", SourceError):
        import no_such.module  # noqa: F401


@pytest.mark.slow
def test_the_base_install_compresses_and_decompresses_dicom(tmp_path: Path) -> None:
    from napari_inr_volume.core.phantom import head_phantom
    from napari_inr_volume.io.dicom_export import write_dicom_series

    write_dicom_series(head_phantom((8, 32, 32)), tmp_path / "series")
    tiny = ("--layers", 2, "--hidden", 16, "--steps", 5, "--batch", 256)
    done = bare(
        ("compress", tmp_path / "series", tmp_path / "x.inr", *tiny),
        ("decompress", tmp_path / "x.inr", tmp_path / "x.nii.gz"),
        ("compare", tmp_path / "series", tmp_path / "x.inr"),
    )
    assert (tmp_path / "x.nii.gz").exists(), done.stderr
    assert done.returncode == 2
    assert "pip install 'napari-inr-volume[figures]'" in " ".join(done.stderr.split())


@pytest.mark.slow
def test_slices_and_packed_tiff_name_the_extra_formats(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    imagecodecs = pytest.importorskip("imagecodecs")
    voxels = np.arange(3 * 16 * 16, dtype=np.uint16).reshape(3, 16, 16)
    tifffile.imwrite(tmp_path / "packed.tif", voxels, compression="lzw", photometric="minisblack")
    (tmp_path / "slices").mkdir()
    for z, plane in enumerate(voxels):
        (tmp_path / "slices" / f"{z}.png").write_bytes(imagecodecs.png_encode(plane))
    for source in ("packed.tif", "slices"):
        done = bare(("compress", tmp_path / source, tmp_path / "x.inr"))
        assert done.returncode == 2
        assert "pip install 'napari-inr-volume[formats]'" in " ".join(done.stderr.split())
