"""Whatever a file holds, it is read rightly or refused with an error of ours, in bounded time and memory.

Every file is made from a small sound one by changes drawn from a seed, and read in a process of its own that
has 500 MB (child.py). A failure names the command that reads the very file again, and where it was kept.
`pytest tests/fuzz --fuzz 10000 --fuzz-seed 1 --fuzz-seconds 2` looks for more; without options a file has
time enough on a busy machine, and only what never ends is a failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("platformdirs", reason="settings are kept by the plugin, which needs the extra gui")
pytest.importorskip("pydicom")
pytest.importorskip("zarr")

CHILD = Path(__file__).with_name("child.py")
FORMATS = {  # kinds that are read by one process, which takes seconds to start
    "ours": (
        *("inr", "inr-quantised", "inr-shifted", "inr-blocks", "inr-shifted-blocks", "inr-model"),
        *("exact", "exact-plain", "state", "weights", "settings"),
    ),
    "DICOM": (
        *("dicom", "dicom-deflated", "dicom-enhanced", "dicom-multi-frame", "dicom-zip"),
        *("dicom-rle", "dicom-jpeg", "dicom-jpegls", "dicom-jpeg2000"),
    ),
    "others": (
        *("tiff", "tiff-imagej", "tiff-ome", "png", "nifti", "nifti-gz", "nrrd", "nrrd-gz"),
        *("metaimage", "npy", "npz", "ome-zarr-0.4", "ome-zarr-0.5"),
    ),
}


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limits of a process are those of Linux")
@pytest.mark.parametrize("kinds", FORMATS.values(), ids=FORMATS)
@pytest.mark.timeout(0)  # a file that hangs is a failure, not the end
def test_changed_files_are_read_rightly_or_refused(
    kinds: tuple[str, ...], pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    count, seed, seconds = (
        pytestconfig.getoption(name) for name in ("--fuzz", "--fuzz-seed", "--fuzz-seconds")
    )
    options = ("--count", count, "--seed", seed, "--cpu-seconds", seconds, "--keep", tmp_path)
    child = subprocess.run(
        [sys.executable, CHILD, *kinds, *map(str, options)], capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr
    for report in map(json.loads, child.stdout.splitlines()):
        print(report)  # for `pytest -s`, or with a failure
        assert report["checked"] + report["ours"] + len(report["failures"]) == count
        assert not report["failures"], "\n".join(report["failures"])
