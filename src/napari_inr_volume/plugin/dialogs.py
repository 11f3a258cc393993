"""The few questions that the plugin asks in dialogs, one function each, so that tests can answer them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QApplication, QFileDialog, QInputDialog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..io.dicom import Series


def ask_folder(title: str) -> Path | None:
    """Return the folder that the person chooses, or None."""
    chosen = QFileDialog.getExistingDirectory(QApplication.activeWindow(), title, _last_folder())
    return _remembered(Path(chosen)) if chosen else None


def ask_where_to_save(title: str, name: str, filters: Sequence[str], suffix: str) -> Path | None:
    """Return the file that the person chooses, with `suffix` appended to a name without one, or None.

    `filters` are in Qt's form, such as `TIFF (*.tif)`. An existing file was confirmed to be replaced.
    """
    dialog = QFileDialog(QApplication.activeWindow(), title, _last_folder())
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setNameFilters(list(filters))
    dialog.setDefaultSuffix(suffix)  # before the question whether to replace, not after it
    dialog.selectFile(name)
    accepted = dialog.exec()
    dialog.deleteLater()
    return _remembered(Path(dialog.selectedFiles()[0])) if accepted else None


def ask_series(series: Sequence[Series], where: str) -> Series | None:
    """Return which of several CT series the person wants, or None."""
    lines = [f"{number}: {line}" for number, line in enumerate(series, start=1)]
    question = f"{where} holds {len(series)} CT series. Which one?"
    line, accepted = QInputDialog.getItem(
        QApplication.activeWindow(), "Choose a CT series", question, lines, 0, False
    )
    return series[lines.index(line)] if accepted else None


def _last_folder() -> str:
    from napari.utils.history import get_open_history

    return str(get_open_history()[0])


def _remembered(path: Path) -> Path:
    from napari.utils.history import update_open_history

    update_open_history(str(path))
    return path
