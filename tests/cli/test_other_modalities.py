"""What is not CT goes from its file to an .inr and back without a word about HU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile
from commands import LONGER

from napari_inr_volume import load

SHAPE = (8, 40, 36)


def smooth(low: float, high: float) -> np.ndarray:
    z, y, x = np.meshgrid(*(np.linspace(0, 3, length) for length in SHAPE), indexing="ij")
    return low + (high - low) * (0.5 + 0.5 * np.sin(z + y) * np.cos(x))


def magnetic_resonance(folder: Path) -> Path:
    image = nibabel.Nifti1Image(smooth(0, 1200).astype(np.int16).T, np.diag([0.9, 0.9, 2.0, 1.0]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, folder / "mr.nii.gz")
    return folder / "mr.nii.gz"


def normalised(folder: Path) -> Path:
    nibabel.save(nibabel.Nifti1Image(smooth(0, 1).astype(np.float32).T, np.eye(4)), folder / "mr01.nii")
    return folder / "mr01.nii"


def micro_ct(folder: Path) -> Path:
    voxels = smooth(2_000, 65_000).astype(np.uint16)
    tifffile.imwrite(
        folder / "bone.tif",
        voxels,
        imagej=True,
        resolution=(100, 100),
        metadata={"spacing": 0.01, "unit": "mm"},
    )
    return folder / "bone.tif"


def light_sheet(folder: Path) -> Path:
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("XYZ", (0.4, 0.4, 2.0), strict=True)}
    units = {f"PhysicalSize{axis}Unit": "µm" for axis in "XYZ"}
    voxels = smooth(90, 4_000).astype(np.uint16)
    tifffile.imwrite(folder / "brain.ome.tif", voxels, metadata={"axes": "ZYX", **sizes, **units})
    return folder / "brain.ome.tif"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "suffix", "dtype"),
    [
        (magnetic_resonance, ".nii.gz", "int16"),
        (normalised, ".nii", "float32"),
        (micro_ct, ".tif", "uint16"),
        (light_sheet, ".tif", "uint16"),
    ],
    ids=["MR", "MR in 0 to 1", "micro-CT", "light sheet"],
)
def test_it_goes_the_whole_way_without_a_word_about_hu(
    run: Any, tmp_path: Path, make: Callable[[Path], Path], suffix: str, dtype: str
) -> None:
    source, inr, back = make(tmp_path), tmp_path / "x.inr", tmp_path / f"back{suffix}"
    said = ""
    for command in (
        ("compress", source, inr, *LONGER),
        ("info", inr),
        ("compare", source, inr, "--device", "cpu"),
        ("decompress", inr, back, "--device", "cpu"),
    ):
        code, out, err = run(*command)
        assert code == 0, err
        said += out + err
    assert "HU" not in said
    original, again = load(source), load(back)
    assert original.units == again.units == "raw"
    assert again.dtype == original.dtype == dtype
    np.testing.assert_allclose(again.geometry.spacing, original.geometry.spacing, rtol=1e-5)
    low, high = original.intensity_range
    error = np.sqrt(np.mean((again.voxels.astype(float) - original.voxels) ** 2))
    assert error < 0.2 * (high - low)
