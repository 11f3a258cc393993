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
    dialog = QFileDialog(QApplication.activeWindow(), title, _last_folder())
    dialog.setFileMode(QFileDialog.FileMode.Directory)
    dialog.setOption(QFileDialog.Option.ShowDirsOnly)
    return _answer(dialog)


def ask_file(title: str, filters: Sequence[str]) -> Path | None:
    """Return the file that the person chooses to open, or None. `filters` are in Qt's form."""
    dialog = QFileDialog(QApplication.activeWindow(), title, _last_folder())
    dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
    dialog.setNameFilters(list(filters))
    return _answer(dialog)


def ask_where_to_save(title: str, name: str, filters: Sequence[str]) -> Path | None:
    """Return the file that the person chooses, or None; an existing one was confirmed to be replaced.

    `filters` are in Qt's form, such as `TIFF (*.tif *.tiff)`. A name without suffix gets the first one of
    the filter that is chosen.
    """
    dialog = QFileDialog(QApplication.activeWindow(), title, _last_folder())
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setNameFilters(list(filters))
    # By Qt, not by us: it must know the whole name before it asks whether to replace the file.
    dialog.setDefaultSuffix(_first_suffix(filters[0]))
    dialog.filterSelected.connect(lambda chosen: dialog.setDefaultSuffix(_first_suffix(chosen)))
    dialog.selectFile(name)
    return _answer(dialog)


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


def _answer(dialog: QFileDialog) -> Path | None:
    """Return the path that the person chooses, and start there the next time."""
    from napari.utils.history import update_open_history

    accepted = dialog.exec()
    dialog.deleteLater()
    if not accepted:
        return None
    path = Path(dialog.selectedFiles()[0])
    update_open_history(str(path))
    return path


def _first_suffix(name_filter: str) -> str:
    return name_filter.partition("(*")[2].rstrip(")").split()[0]
