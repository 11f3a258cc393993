"""The documentation site is built without a warning, and a release finds its notes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

sys.path.append(str(Path(__file__).parents[1] / "scripts"))

import release_notes

ROOT = Path(__file__).parents[1]
CHANGELOG = (
    "# Changelog\n\n## Unreleased\n\n- Next.\n\n## 1.2.0 (2026-01-01)\n\n### Added\n- This.\n\n## 1.1.0\n"
)


@pytest.mark.slow  # runs the notebook
@pytest.mark.timeout(900)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the site is built on Linux")
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the site needs the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    notebook = (tmp_path / "site" / "notebooks" / "whole-way" / "index.html").read_text(encoding="utf-8")
    assert "worst voxel" in notebook
    assert len(list((tmp_path / "site" / "notebooks").glob("*.png"))) == 2
    commands = (tmp_path / "site" / "reference" / "commands" / "index.html").read_text(encoding="utf-8")
    assert "--max-error" in commands


def test_notebooks_are_kept_without_what_they_printed() -> None:
    for path in (ROOT / "docs" / "notebooks").glob("*.ipynb"):
        cells = yaml.safe_load(path.read_text(encoding="utf-8"))["cells"]
        assert [cell["outputs"] for cell in cells if cell.get("outputs")] == []


def test_the_notes_of_a_release_are_its_section() -> None:
    assert release_notes.notes("1.2.0", CHANGELOG) == "### Added\n- This."


@pytest.mark.parametrize("version", ["1.3.0", "1.1.0", "1.2"], ids=["none", "empty", "part of a number"])
def test_a_version_without_notes_is_not_released(version: str) -> None:
    with pytest.raises(SystemExit, match=rf"says nothing of {version}"):
        release_notes.notes(version, CHANGELOG)


def test_a_tag_of_another_version_is_not_released() -> None:
    with pytest.raises(SystemExit, match=r"the tag is for 9\.9\.9, but pyproject\.toml says"):
        release_notes.main("9.9.9")
