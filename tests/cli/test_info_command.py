"""`inr-volume info`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def test_info_prints_everything_the_file_declares(run: Any, compressed: Path) -> None:
    code, out, _ = run("info", compressed, "--json")
    declared = json.loads(out)
    assert code == 0
    assert declared["hr"]["shape"] == [8, 48, 48]
    assert declared["siren"]["hidden_features"] == 16
    code, out, _ = run("info", compressed)
    assert code == 0
    assert "siren.hidden_features" in out
