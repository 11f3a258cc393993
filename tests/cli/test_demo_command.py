"""`inr-volume demo`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def test_demo_goes_the_whole_way(run: Any, tmp_path: Path) -> None:
    code, out, _ = run("demo", tmp_path / "demo", "--steps", "3", "--device", "cpu", "--json")
    assert code == 0
    assert json.loads(out)["source_bytes"] == 2 * 48 * 256 * 256
    assert len(list((tmp_path / "demo" / "phantom-dicom").iterdir())) == 48
    assert (tmp_path / "demo" / "phantom-compare.png").is_file()
