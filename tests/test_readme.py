"""What README and documentation show runs as it stands there, and what they name is there."""

from __future__ import annotations

import ast
import doctest
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import typer
import yaml

import napari_inr_volume
from napari_inr_volume.cli.app import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {str(path.relative_to(ROOT).as_posix()): path.read_text(encoding="utf-8") for path in DOCUMENTS}
COMMANDS = typer.main.get_command(app).commands


def blocks(language: str) -> list[tuple[str, str]]:
    """Return every block of code of a language, with the name of its document."""
    fenced = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [(name, block) for name, text in TEXTS.items() for block in fenced.findall(text)]


def test_a_stranger_reads_the_readme_to_its_end() -> None:
    assert len(TEXTS["README.md"].splitlines()) < 120


@pytest.mark.slow  # real fits
@pytest.mark.parametrize("name", [name for name, text in TEXTS.items() if ">>> " in text])
def test_python_does_what_it_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(ROOT / name), module_relative=False, encoding="utf-8")
    assert result.attempted == TEXTS[name].count(">>> ")
    assert result.failed == 0


def test_python_imports_what_there_is() -> None:
    found = [each for each in blocks("python") if ">>> " not in each[1]]
    assert found
    for name, block in found:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("napari_inr_volume"):
                module = import_module(str(node.module))
                missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                assert missing == [], name


def test_commands_have_the_options_that_are_shown() -> None:
    shown = 0
    for name, block in blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "inr-volume" not in words[:2]:
                continue
            command, *rest = words[words.index("inr-volume") + 1 :]
            assert command in COMMANDS, f"{name}: {line}"
            options = {option for parameter in COMMANDS[command].params for option in parameter.opts}
            given = {word.partition("=")[0] for word in rest if word.startswith("--")}
            assert given <= options, f"{name}: {line}"
            shown += 1
    assert shown > 20


def test_menus_have_the_entries_that_are_named() -> None:
    manifest = Path(napari_inr_volume.__file__).with_name("napari.yaml").read_text(encoding="utf-8")
    contributed = yaml.safe_load(manifest)["contributions"]
    widgets = {each["display_name"] for each in contributed["widgets"]}
    samples = {each["display_name"] for each in contributed["sample_data"]}
    named = [
        (name, menu, " ".join(entry.split()))
        for name, text in TEXTS.items()
        for menu, entry in re.findall(r"\*(Plugins|File > Open Sample) > INR Volume > ([^*]+)\*", text)
    ]
    assert len(named) > 5
    for name, menu, entry in named:
        assert entry in (widgets if menu == "Plugins" else samples), name


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(name: str) -> None:
    """Those of docs/ are checked when the site is built."""
    for target in re.findall(r"\]\(([^)#]+)", TEXTS[name]):
        assert target.startswith("https://") or (ROOT / target).exists(), target
