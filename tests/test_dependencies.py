"""What is imported is declared in pyproject.toml, and what the base install declares is imported."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BASE: list[str] = PROJECT["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
USERS = [line for extra, lines in EXTRAS.items() if extra not in ("dev", "docs") for line in lines]
OTHER_NAMES = {"PIL": "pillow", "nrrd": "pynrrd", "skimage": "scikit-image", "yaml": "pyyaml"}


def names(requirements: Iterable[str]) -> set[str]:
    """Return the packages that requirements name, as registries spell them."""
    return {normal(re.split(r"[\[<>=!~; ]", line)[0]) for line in requirements}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imports(*folders: str) -> dict[str, str]:
    """Return a file for each package that the Python files of folders import; not ours nor Python's."""
    found: dict[str, str] = {}
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    scripts = {path.stem for path in paths if "src" not in path.parts}  # which import one another
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [str(node.module)]
            found |= {module.partition(".")[0]: str(path.relative_to(ROOT)) for module in modules}
    ours = {"napari_inr_volume", "no_such", *scripts}
    theirs = found.keys() - ours - sys.stdlib_module_names
    return {normal(OTHER_NAMES.get(module, module)): found[module] for module in theirs}


@pytest.mark.parametrize(
    ("folders", "declared"),
    [
        (("src",), names([*BASE, *USERS])),
        (("tests", "benchmarks", "scripts"), names([*BASE, *USERS, *EXTRAS["dev"], *EXTRAS["docs"]])),
    ],
    ids=["src", "tests and scripts"],
)
def test_what_is_imported_is_declared(folders: tuple[str, ...], declared: set[str]) -> None:
    undeclared = {package: file for package, file in imports(*folders).items() if package not in declared}
    assert undeclared == {}


def test_what_the_base_install_brings_is_imported() -> None:
    assert names(BASE) - imports("src").keys() == set()
