"""What a stranger downloads: one version, one address, types, and an import that changes nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import napari_inr_volume

ROOT = Path(__file__).parents[1]
PACKAGE = Path(napari_inr_volume.__file__).parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
SOURCE = PROJECT["urls"]["Source"]


def test_the_citation_names_the_version_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert citation["repository-code"] == SOURCE


def test_types_are_for_those_who_import_it_too() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_importing_it_changes_no_environment() -> None:
    script = (
        "import os\n"
        "before = dict(os.environ)\n"
        "import napari_inr_volume, napari_inr_volume.cli, napari_inr_volume.session\n"
        "assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=120)


def test_the_command_has_threads_wait_without_spinning(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_inr_volume import cli

    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr(sys, "argv", ["inr-volume", "--version"])
    with pytest.raises(SystemExit):
        cli.main()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_python_versions_are_those_that_are_tested() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    tested = {*matrix["python"], *(job["python"] for job in matrix["include"])}
    declared = {line.split(" :: ")[-1] for line in PROJECT["classifiers"] if "Python :: 3." in line}
    assert tested == declared
    assert PROJECT["requires-python"] == f">={min(declared, key=lambda version: int(version[2:]))}"


@pytest.mark.parametrize(
    "file",
    ["README.md", "CONTRIBUTING.md", "SECURITY.md", "mkdocs.yml", ".github/ISSUE_TEMPLATE/config.yml"],
)
def test_the_address_is_the_same_everywhere(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    owner = SOURCE.rsplit("/", 2)[-2]
    hosts = r"https://(?:raw\.githubusercontent|github)\.com"
    ours = set(re.findall(rf"{hosts}/[\w-]+/{PROJECT['name']}\b", text))
    assert ours <= {SOURCE, f"https://raw.githubusercontent.com/{owner}/{PROJECT['name']}"}
    assert file in ("README.md", "CONTRIBUTING.md") or ours


def test_what_is_shown_with_the_package_has_absolute_links() -> None:
    """As hatch-fancy-pypi-readme rewrites the README: PyPI and the napari hub know none of our files."""
    hook = PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for each in hook["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert len(targets) > 10
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    images = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    base = SOURCE.replace("https://github.com", "https://raw.githubusercontent.com")
    assert images
    for image in images:
        assert image.startswith(f"{base}/v$HFPR_VERSION/")
        assert (ROOT / image.removeprefix(f"{base}/v$HFPR_VERSION/")).is_file()
