"""Which module may import what, each looked at in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import napari_inr_volume

PACKAGE = Path(napari_inr_volume.__file__).parent
GUI = {"napari", "qtpy", "magicgui", "superqt", "pyqtgraph", "npe2", "PyQt6", "PySide6"}
HEADLESS = sorted(
    ".".join(("napari_inr_volume", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    )
    for path in PACKAGE.rglob("*.py")
    if path.relative_to(PACKAGE).parts[0] not in ("plugin", "widgets")
)
MANIFEST_MODULES = sorted(
    {
        command["python_name"].partition(":")[0]
        for command in yaml.safe_load((PACKAGE / "napari.yaml").read_text())["contributions"]["commands"]
    }
)


def imported_by(*modules: str) -> list[set[str]]:
    """Return the top-level packages that a fresh interpreter has loaded after each of these imports."""
    script = (
        "import importlib, sys\n"
        "for module in sys.argv[1:]:\n"
        "    importlib.import_module(module)\n"
        "    print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    command = [sys.executable, "-c", script, *modules]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [set(line.split()) for line in done.stdout.splitlines()]


def test_package_and_command_line_load_neither_torch_nor_napari() -> None:
    package, command_line = imported_by("napari_inr_volume", "napari_inr_volume.cli")
    assert package & (GUI | {"torch"}) == set()
    assert command_line & (GUI | {"torch"}) == set()


@pytest.mark.slow
def test_nothing_below_the_plugin_imports_napari_or_qt() -> None:
    assert {"napari_inr_volume.cli", "napari_inr_volume.core.volume"} <= set(HEADLESS)
    assert imported_by(*HEADLESS)[-1] & GUI == set()


@pytest.mark.slow
def test_napari_starts_without_torch() -> None:
    assert "torch" not in imported_by(*MANIFEST_MODULES)[-1]


@pytest.mark.slow
@pytest.mark.gui
def test_napari_starts_without_loading_any_of_us() -> None:
    script = (
        "import sys\n"
        "import napari\n"
        "viewer = napari.Viewer(show=False)\n"
        "menu = [action.text() for action in viewer.window.plugins_menu.actions()]\n"
        "assert 'INR Volume' in menu, 'not installed'\n"
        "print(*(name for name in sys.modules if name.startswith(('torch.', 'napari_inr_volume'))))\n"
        "viewer.close()\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
