"""Saving the figures of an `.inr` as CSV, asked for and in the background."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtWidgets import QWidget

from ..figures_table import Compared, write_figures
from ..inr_volume import InrVolume
from . import dialogs
from .commands import in_background
from .job import Control
from .notices import file_name, show_info


def save_figures(
    name: str,
    inr: InrVolume,
    file_bytes: int,
    model_bytes: int,
    compared: Sequence[Compared],
    parent: QWidget | None = None,
) -> None:
    """Ask where to save the figures of a volume of this name, and save them, as `write_figures` does."""
    proposed = f"{file_name(name)}-figures.csv"
    path = dialogs.ask_where_to_save("Save the figures", proposed, ["Table (*.csv)"], parent)
    if path is not None:
        means = path, name, inr, file_bytes, model_bytes, tuple(compared)
        in_background(f"Saving {path.name}", lambda _: show_info(f"Saved {path.name}."), _write, *means)


def _write(
    control: Control,
    path: Path,
    name: str,
    inr: InrVolume,
    file_bytes: int,
    model_bytes: int,
    compared: Sequence[Compared],
) -> None:
    write_figures(path, name, inr, file_bytes, model_bytes, compared)
