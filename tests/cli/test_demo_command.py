"""`inr-volume demo`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from napari_inr_volume.core import phantom
from napari_inr_volume.io.inr_file import read_inr

pytestmark = pytest.mark.slow  # real fits


def test_demo_goes_the_whole_way(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom, "head_phantom", partial(phantom.head_phantom, (8, 64, 64)))
    code, out, _ = run("demo", tmp_path / "demo", "--steps", "3", "--device", "cpu", "--json")
    assert code == 0
    report = json.loads(out)
    assert report["source_bytes"] == 2 * 8 * 64 * 64
    assert report["steps"] == 3
    assert len(list((tmp_path / "demo" / "phantom-dicom").iterdir())) == 8
    assert read_inr(tmp_path / "demo" / "phantom.inr").quality is not None
    assert (tmp_path / "demo" / "phantom-compare.png").is_file()
