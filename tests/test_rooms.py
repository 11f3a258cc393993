"""The house stands: imports go one way, there are no circles, and no room is too large."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import napari_inr_volume

PACKAGE = Path(napari_inr_volume.__file__).parent
MOST_LINES, MOST_OF_A_FUNCTION, MOST_PARAMETERS = 400, 60, 12

# From the ground up: a room imports from those below it, and from none above. As docs/architecture.md says.
FLOORS = [
    {"core"},
    {"coding", "compute", "cluster"},
    {"fields", "exact"},
    {"inr_volume"},
    {"superres"},
    {"reader", "io", "classical"},
    {"measuring", "outputs", "figures_table"},
    {"codec", "target", "picture"},
    {"planning", "export", "records"},
    {"session", "training"},
    {"batch", "batch_task", "batch_report"},
    {"", "console", "zarr"},
    {"cli", "plugin"},
    {"widgets"},
]
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip("."): path
    for path in PACKAGE.rglob("*.py")
}


def imported(module: str) -> Iterator[str]:
    """Yield the modules of ours that a module imports, wherever in it, for types only too."""
    path = MODULES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [part for part in package if part][: len(package) - node.level + 1]
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{source}.{alias.name}".lstrip(".")
                yield whole if whole in MODULES else source


def floor(module: str) -> int:
    room = module.partition(".")[0]
    (found,) = (index for index, rooms in enumerate(FLOORS) if room in rooms)
    return found


@pytest.mark.parametrize("module", sorted(MODULES), ids=lambda module: module or "package")
def test_imports_go_downwards(module: str) -> None:
    above = [other for other in imported(module) if module and floor(other) > floor(module)]
    assert above == []


def test_there_are_no_circles() -> None:
    graph = {module: {other for other in imported(module) if other != module} for module in MODULES if module}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names it


def test_only_the_registry_names_a_kind_of_field() -> None:
    naming = {
        module
        for module in MODULES
        if not module.startswith("fields.siren")
        for other in imported(module)
        if other.startswith("fields.siren")
    }
    assert naming == {"fields.registry"}


@pytest.mark.parametrize("module", sorted(MODULES), ids=lambda module: module or "package")
def test_no_room_is_too_large(module: str) -> None:
    text = MODULES[module].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            assert (node.end_lineno or 0) - node.lineno < MOST_OF_A_FUNCTION, node.name
            assert len(arguments) <= MOST_PARAMETERS, node.name
