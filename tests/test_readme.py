"""What the README shows in Python runs as it stands there."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest


def test_python_in_the_readme_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    readme = Path(__file__).parents[1] / "README.md"
    result = doctest.testfile(str(readme), module_relative=False)
    assert result.attempted >= 9
    assert result.failed == 0
