"""A volume of 512 x 512 x 512 or more from OME-Zarr to an `.inr` and back, in less memory than it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_inr_volume.core.volume import Geometry
from napari_inr_volume.io.sources import read_source
from napari_inr_volume.io.volumes import write_volume

pytest.importorskip("zarr", reason="the extra zarr is not installed")
STATUS = Path("/proc/self/status")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(not STATUS.exists(), reason="the peak of a process's memory is read as on Linux"),
]

SIDE = 512
MICRO_CT = (2048, 1024, 1024)  # 4 GB
MOST_IN_ALL = 1_500_000_000  # bytes of a process
MOST = 400_000_000  # bytes beside what the libraries take; the volume and what is decoded of it take 537 MB
COMMON = ["--device", "cpu", "--force"]
FIT = ["--preset", "fast", "--steps", "20", "--upscaler", "lanczos", *COMMON]

# Commands in one process: the first for what libraries and compiled functions take, those after measured.
# On two cores, as memory follows the number of slabs that are coded side by side.
CHILD = """
import json, os, re, sys
os.cpu_count = lambda: 2
from pathlib import Path
from napari_inr_volume import cli

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

def run(arguments):
    sys.argv = ["inr-volume", *arguments]
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code, arguments

warm, *measured = json.loads(sys.argv[1])
for arguments in warm:
    run(arguments)
Path("/proc/self/clear_refs").write_text("5")
before = peak()
for arguments in measured:
    run(arguments)
print("MEMORY", before, peak())
"""


class Cylinder:
    """A source of air with a noisy cylinder along z, of which there is one slice at a time."""

    dtype, units, padding, intensity_range = np.dtype(np.int16), "HU", None, (-1024.0, 200.0)

    def __init__(self, depth: int, side: int) -> None:
        self.depth, self.side = depth, side
        self.geometry = Geometry(shape=(depth, side, side), spacing=(0.5, 0.5, 0.5))

    def read(self, region: Any) -> NDArray[Any]:
        raise AssertionError(f"{region} is asked for, not slices")

    def slices(self) -> Iterator[NDArray[Any]]:
        for z in range(self.depth):
            yield self.plane(z)

    def plane(self, z: int) -> NDArray[Any]:
        """Return slice z, the same each time."""
        plane = np.full((self.side, self.side), -1024, np.int16)
        middle, radius = self.side // 2, self.side // 16  # as noise takes most of the time
        part = slice(middle - radius, middle + radius)
        y, x = np.ogrid[-radius:radius, -radius:radius]
        noise = np.random.default_rng(z).integers(0, 30, (2 * radius, 2 * radius))
        plane[part, part] = np.where(y**2 + x**2 < radius**2, z % 100 + noise, -1024)
        return plane


def memory(*commands: list[Any], warm: list[list[Any]]) -> tuple[int, int]:
    """Return the bytes that a process takes after `warm`, and at most while it then runs the commands."""
    words = json.dumps([warm, *commands], default=str)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MALLOC_ARENA_MAX": "2"},
    )
    assert done.returncode == 0, done.stderr
    before, most = map(int, done.stdout.rpartition("MEMORY")[2].split())
    print(f"{before / 1e6:.0f} MB, then at most {most / 1e6:.0f} MB")  # for `pytest -s`
    return before, most


@pytest.fixture(scope="module")
def cubes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small image, and one of 512 x 512 x 512."""
    folder = tmp_path_factory.mktemp("cubes")
    for name, side in (("small.ome.zarr", 48), ("large.ome.zarr", SIDE)):
        write_volume(Cylinder(side, side), folder / name)
    return folder / "small.ome.zarr", folder / "large.ome.zarr"


def test_lossless_and_back(cubes: tuple[Path, Path], tmp_path: Path) -> None:
    small, large = cubes
    exact = ["--exact-only", "--lossless", *COMMON]
    inr, out = tmp_path / "a.inr", tmp_path / "back.ome.zarr"
    warm = [["compress", small, inr, *exact], ["decompress", inr, tmp_path / "small.ome.zarr", *COMMON]]
    before, most = memory(["compress", large, inr, *exact], ["decompress", inr, out, *COMMON], warm=warm)
    back = read_source(out)
    cylinder = Cylinder(SIDE, SIDE)
    assert all(np.array_equal(back.plane(z), cylinder.plane(z)) for z in range(SIDE))
    assert most - before < MOST


@pytest.mark.long
def test_by_a_network_and_back(cubes: tuple[Path, Path], tmp_path: Path) -> None:
    small, large = cubes
    inr, out = tmp_path / "a.inr", tmp_path / "back.tif"
    warm = [["compress", small, inr, *FIT], ["decompress", inr, tmp_path / "small.npy", *COMMON]]
    before, most = memory(["compress", large, inr, *FIT], ["decompress", inr, out, *COMMON], warm=warm)
    assert read_source(out).shape == (SIDE, SIDE, SIDE)
    assert most - before < MOST


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("way", ["lossless", "network"])
def test_a_micro_ct_of_four_gigabytes(way: str, tmp_path: Path) -> None:
    options = FIT if way == "network" else ["--exact-only", "--lossless", *COMMON]
    source, inr, out = tmp_path / "micro.ome.zarr", tmp_path / "micro.inr", tmp_path / "back.ome.zarr"
    cylinder = Cylinder(MICRO_CT[0], MICRO_CT[1])
    write_volume(cylinder, source)
    _, most = memory(["compress", source, inr, *options], ["decompress", inr, out, *COMMON], warm=[])
    assert most < MOST_IN_ALL
    back = read_source(out)
    assert back.shape == MICRO_CT
    if way == "lossless":
        assert all(np.array_equal(back.plane(z), cylinder.plane(z)) for z in range(0, MICRO_CT[0], 7))
