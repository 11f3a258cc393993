"""The few questions that the plugin asks in dialogs, one function each, so that tests can answer them.

A dialog stands over the window of its `parent`, or of whatever is active where that is not known.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog, QInputDialog, QMessageBox, QWidget

from ..core.text import printable
from .notices import plain, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..io.dicom import Broken, Series

NAMED = 5  # broken files that a question names


def ask_folder(title: str, parent: QWidget | None = None) -> Path | None:
    """Return the folder that the person chooses, or None."""
    dialog = QFileDialog(parent or QApplication.activeWindow(), title, _last_folder())
    dialog.setFileMode(QFileDialog.FileMode.Directory)
    dialog.setOption(QFileDialog.Option.ShowDirsOnly)
    return _answer(dialog)


def ask_source(title: str, parent: QWidget | None = None) -> Path | None:
    """Return the folder or the file of CT that the person chooses, or None."""
    dialog = _FileOrFolder(parent or QApplication.activeWindow(), title, _last_folder())
    dialog.setFileMode(QFileDialog.FileMode.Directory)
    dialog.setOption(QFileDialog.Option.ShowDirsOnly, False)
    dialog.setOption(QFileDialog.Option.DontUseNativeDialog)  # the desktop's take the one or the other
    dialog.setLabelText(QFileDialog.DialogLabel.FileName, "Folder or file:")
    return _answer(dialog)


class _FileOrFolder(QFileDialog):
    """Takes a file where Qt would ask for a folder."""

    def accept(self) -> None:
        chosen = self.selectedFiles()
        if chosen and Path(chosen[0]).is_file():
            self.done(QFileDialog.DialogCode.Accepted)
        else:
            super().accept()


def ask_file(title: str, filters: Sequence[str], parent: QWidget | None = None) -> Path | None:
    """Return the file that the person chooses to open, or None. `filters` are in Qt's form."""
    dialog = QFileDialog(parent or QApplication.activeWindow(), title, _last_folder())
    dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
    dialog.setNameFilters(list(filters))
    return _answer(dialog)


def ask_where_to_save(
    title: str, name: str, filters: Sequence[str], parent: QWidget | None = None
) -> Path | None:
    """Return the file that the person chooses, or None; an existing one was confirmed to be replaced.

    `filters` are in Qt's form, such as `TIFF (*.tif *.tiff)`. A name without suffix gets the first one of
    the filter that is chosen.
    """
    dialog = QFileDialog(parent or QApplication.activeWindow(), title, _last_folder())
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setNameFilters(list(filters))
    # By Qt, not by us: it must know the whole name before it asks whether to replace the file.
    dialog.setDefaultSuffix(_first_suffix(filters[0]))
    dialog.filterSelected.connect(lambda chosen: dialog.setDefaultSuffix(_first_suffix(chosen)))
    dialog.selectFile(name)
    return _answer(dialog)


def ask_series(series: Sequence[Series], where: str, parent: QWidget | None = None) -> Series | None:
    """Return which of several CT series, or parts of one such as phases, the person wants, or None."""
    lines = [f"{number}: {printable(str(line))}" for number, line in enumerate(series, start=1)]
    whole = len({line.uid for line in series}) > 1
    what = f"{len(series)} CT series" if whole else f"a CT series of {len(series)} parts"
    question = plain(f"{where} holds {what}. Which one?")
    line, accepted = QInputDialog.getItem(
        parent or QApplication.activeWindow(), "Choose a CT series", question, lines, 0, False
    )
    return series[lines.index(line)] if accepted else None


def ask_to_skip(broken: Sequence[Broken], where: str, parent: QWidget | None = None) -> bool:
    """Return whether to read a CT series without the files of it that are broken."""
    files, them = ("A file", "it") if len(broken) == 1 else (f"{len(broken)} files", "them")
    more = [f"and {len(broken) - NAMED} more"] if len(broken) > NAMED else []
    names = [f"{one.path.name}: {one.reason}" for one in broken[:NAMED]]
    question = f"{files} of {where} cannot be read. Without {them} the volume may lack slices."
    answers = [f"Read Without {them.title()}"]
    return _ask("Broken files", question, [*names, *more], answers, parent) == 0


def ask_even(caveats: Sequence[str]) -> bool | None:
    """Return whether to export an evenly spaced volume instead of the grid as scanned; None to cancel."""
    question = (
        "Most programs assume that a volume is evenly spaced, with right angles, and this one is not. It can"
        " be exported as scanned, or resampled to an evenly spaced grid."
    )
    facts = [sentence(phrase) for phrase in caveats]
    answer = _ask("Export the reconstruction", question, facts, ["Evenly Spaced", "As Scanned"])
    return None if answer is None else answer == 0


def ask_grid(own: Sequence[int], other: Sequence[int]) -> bool | None:
    """Return whether to export labels on the other grid than that they were drawn on; None to cancel."""
    sizes = [" x ".join(map(str, shape)) for shape in (own, other)]
    finer = math.prod(other) > math.prod(own)
    question = f"The labels were drawn on a grid of {sizes[0]} voxels. On which grid are they to be saved?"
    facts = ["Between grids, each voxel takes the label of the nearest one."]
    names = [f"{'Full' if finer else 'LR'} Grid, {sizes[1]}", f"As Drawn, {sizes[0]}"]
    answer = _ask("Export labels", question, facts, names)
    return None if answer is None else answer == 0


def _ask(
    title: str,
    question: str,
    facts: Sequence[str],
    answers: Sequence[str],
    parent: QWidget | None = None,
) -> int | None:
    """Return which of the answers was chosen, or None for Cancel."""
    box = QMessageBox(parent or QApplication.activeWindow())
    box.setIcon(QMessageBox.Icon.Warning)
    box.setWindowTitle(title)
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setText(printable(question))
    box.setInformativeText("\n".join(plain(fact) for fact in facts))
    buttons = [box.addButton(answer, QMessageBox.ButtonRole.AcceptRole) for answer in answers]
    box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
    box.exec()
    clicked = box.clickedButton()
    return buttons.index(clicked) if clicked in buttons else None


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
