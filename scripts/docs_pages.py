"""Pages of the documentation that are made from something else; a hook of mkdocs (mkdocs.yml).

reference/commands.md from the commands themselves, changelog.md from CHANGELOG.md, and a page of each
notebook in docs/notebooks, run for it: what it shows is what this version does.
"""

from __future__ import annotations

import base64
import inspect
import os
from pathlib import Path
from typing import Any

import nbformat
import typer
from jupyter_client.manager import AsyncKernelManager
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient

from napari_inr_volume.cli.app import app

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "docs" / "notebooks"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, and the pictures that the notebooks draw."""
    made: dict[str, str | bytes] = {
        "reference/commands.md": commands_page(),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").replace("docs/", ""),
    }
    for notebook in sorted(NOTEBOOKS.glob("*.ipynb")):
        made |= notebook_pages(notebook)
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def commands_page() -> str:
    """Return every command with its arguments and options, as `--help` gives them."""
    group = typer.main.get_command(app)
    lines = [
        "# Commands",
        "",
        "As `inr-volume COMMAND --help` shows them. Results go to standard output, what was",
    ]
    lines += ["read and what is under way to standard error. Exit codes: 0 done, 2 bad input or usage, 130"]
    lines += ["interrupted, 143 and 129 ended by SIGTERM and SIGHUP.", ""]
    for name, command in group.commands.items():
        arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
        usage = " ".join(each.metavar or each.name.upper() for each in arguments)
        lines += [f"## {name}", "", "```sh", f"inr-volume {name} {usage} [OPTIONS]", "```", ""]
        lines += [inspect.cleandoc(command.help or ""), "", "| | |", "| --- | --- |"]
        lines += [row(parameter) for parameter in command.params if not parameter.hidden]
        lines.append("")
    return "\n".join(lines)


def row(parameter: Any) -> str:
    """Return an argument or option as a row of a table, with its default where it has one."""
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    else:
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    words = " ".join((parameter.help or "").split())
    default = parameter.default
    if isinstance(default, str | int | float) and not isinstance(default, bool) and default != "":
        words += f" Default: `{default}`."
    return f"| {names} | {words} |".replace("<", "&lt;")


def notebook_pages(path: Path) -> dict[str, str | bytes]:
    """Run a notebook, and return it as a page with what it printed and drew."""
    notebook = nbformat.read(path, as_version=4)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # the kernel's process is ours too
    kernel = AsyncKernelManager(kernel_name="python3", transport="ipc")  # no port that others may listen to
    NotebookClient(notebook, km=kernel, timeout=600).execute()
    name = f"notebooks/{path.stem}"
    made: dict[str, str | bytes] = {}
    lines: list[str] = []
    for cell in notebook.cells:
        lines += [cell.source, ""] if cell.cell_type == "markdown" else ["```python", cell.source, "```", ""]
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "image/png" in data:
                picture = f"{name}-{len(made)}.png"
                made[picture] = base64.b64decode(data["image/png"])
                lines += [f"![{data.get('text/plain', 'A picture')}]({Path(picture).name})", ""]
            else:
                text = output.get("text") or data.get("text/plain", "")
                lines += ["```text", text.rstrip(), "```", ""]
    return {f"{name}.md": "\n".join(lines), **made}
