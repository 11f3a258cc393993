"""Qt's own dialogs, answered as a person would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QDialog,
    QFileDialog,
    QInputDialog,
    QLineEdit,
    QMessageBox,
)

from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.io.dicom import Broken, Series, list_series
from napari_inr_volume.io.dicom_export import write_dicom_series
from napari_inr_volume.plugin.dialogs import (
    NAMED,
    ask_even,
    ask_file,
    ask_folder,
    ask_series,
    ask_source,
    ask_to_skip,
    ask_where_to_save,
)
from napari_inr_volume.plugin.notices import JOINER

pytestmark = pytest.mark.gui

FILTERS = ["NIfTI (*.nii.gz *.nii)", "TIFF (*.tif *.tiff)"]


@pytest.fixture(autouse=True)
def in_folder(qtbot, tmp_path: Path, monkeypatch) -> Iterator[None]:
    """Qt's dialogs, not the desktop's, and a history of folders that is this test's own."""
    monkeypatch.setattr("napari.utils.history.get_open_history", lambda: [str(tmp_path)])
    monkeypatch.setattr("napari.utils.history.update_open_history", lambda path: None)
    QApplication.setAttribute(Qt.ApplicationAttribute.AA_DontUseNativeDialogs)
    yield
    QApplication.setAttribute(Qt.ApplicationAttribute.AA_DontUseNativeDialogs, False)


def answer(act: Callable[[QDialog], None]) -> None:
    """Do `act` with the next dialog, as soon as it is there."""

    def look() -> None:
        dialog = QApplication.activeModalWidget()
        if dialog is None:
            QTimer.singleShot(50, look)
            return
        try:
            act(dialog)
        finally:
            if dialog.isVisible():  # a test must not wait for ever
                dialog.reject()

    QTimer.singleShot(50, look)


def typed(name: str, name_filter: str | None = None) -> Callable[[QDialog], None]:
    def act(dialog: QDialog) -> None:
        assert isinstance(dialog, QFileDialog)
        if name_filter is not None:
            dialog.selectNameFilter(name_filter)
            dialog.filterSelected.emit(name_filter)
        field = dialog.findChild(QLineEdit)
        field.setText(name)
        dialog.accept()

    return act


@pytest.mark.parametrize(
    ("name", "chosen", "saved"),
    [
        ("head", None, "head.nii.gz"),
        ("head", FILTERS[1], "head.tif"),
        ("head.tiff", None, "head.tiff"),
    ],
)
def test_name_without_suffix_gets_the_chosen_format_s(tmp_path: Path, name, chosen, saved) -> None:
    answer(typed(name, chosen))
    assert ask_where_to_save("Export", "proposed", FILTERS) == tmp_path / saved


def test_cancelled_save_gives_no_path() -> None:
    answer(lambda dialog: dialog.reject())
    assert ask_where_to_save("Export", "proposed", FILTERS) is None


def test_folder_is_chosen(tmp_path: Path) -> None:
    (tmp_path / "head CT").mkdir()
    answer(typed(str(tmp_path / "head CT")))
    assert ask_folder("Open") == tmp_path / "head CT"


def test_cancelled_folder_gives_no_path() -> None:
    answer(lambda dialog: dialog.reject())
    assert ask_folder("Open") is None


def test_file_to_open_is_chosen(tmp_path: Path) -> None:
    (tmp_path / "head.inr").touch()
    answer(typed("head.inr"))
    assert ask_file("Open", ["Fitted network (*.inr)"]) == tmp_path / "head.inr"


def test_series_is_chosen_from_a_list_that_describes_them(tmp_path: Path) -> None:
    for slices, name in ((8, "soft"), (9, "bone")):
        write_dicom_series(head_phantom((slices, 32, 40)), tmp_path / name, description=name)
    series = list_series(tmp_path).series
    shown: list[str] = []

    def choose_last(dialog: QDialog) -> None:
        assert isinstance(dialog, QInputDialog)
        box = dialog.findChild(QComboBox)
        shown.extend(box.itemText(index) for index in range(box.count()))
        box.setCurrentIndex(1)
        dialog.accept()

    answer(choose_last)
    assert ask_series(series, "study") is series[1]
    assert [line.partition(" of 32x40")[0] for line in shown] == [
        f"{number}: {line.description} {line.slices}" for number, line in enumerate(series, start=1)
    ]
    answer(lambda dialog: dialog.reject())
    assert ask_series(series, "study") is None


def part(number: int, uid: str) -> Series:
    return Series(
        key=f"{uid}#{number}",
        uid=uid,
        part=f"phase {number} %",
        number=1,
        description="<b>heart\x1b",
        modality="CT",
        vendor="",
        slices=8,
        duplicates=0,
        rows=32,
        columns=40,
        kernel="",
        paths=(),
    )


@pytest.mark.parametrize(
    ("series", "words"),
    [
        ([part(1, "1.2"), part(2, "1.2")], "a CT series of 2 parts"),
        ([part(1, "1.2"), part(2, "1.3")], "2 CT series"),
    ],
    ids=["parts", "series"],
)
def test_parts_of_a_series_are_told_from_series(series: list[Series], words: str) -> None:
    shown: list[str] = []

    def look(dialog: QDialog) -> None:
        assert isinstance(dialog, QInputDialog)
        assert not Qt.mightBeRichText(dialog.labelText())
        shown.extend((dialog.labelText().replace(JOINER, ""), dialog.findChild(QComboBox).itemText(1)))

    answer(look)
    assert ask_series(series, "<b>study\x1b") is None
    assert shown[0] == f"<b>study\\x1b holds {words}. Which one?"
    assert shown[1].startswith("2: <b>heart\\x1b phase 2 % 8 of 32x40")


def clicked(button: str, shown: list[str]) -> Callable[[QDialog], None]:
    """Click a button of a message box, and note what it says as a person reads it."""

    def act(dialog: QDialog) -> None:
        assert isinstance(dialog, QMessageBox)
        assert dialog.textFormat() == Qt.TextFormat.PlainText
        assert not Qt.mightBeRichText(dialog.informativeText())  # whose format Qt guesses
        shown.append(f"{dialog.text()}\n{dialog.informativeText()}".replace(JOINER, ""))
        (found,) = (each for each in dialog.buttons() if each.text().replace("&", "") == button)
        found.click()

    return act


def broken(count: int) -> list[Broken]:
    return [Broken(path=Path(f"study/<b>{number}.dcm"), reason="it is empty") for number in range(count)]


@pytest.mark.parametrize(("button", "skipped"), [("Read Without It", True), ("Cancel", False)])
def test_broken_file_is_named_and_left_out_if_the_person_says_so(button: str, skipped: bool) -> None:
    shown: list[str] = []
    answer(clicked(button, shown))
    assert ask_to_skip(broken(1), "<b>study</b>\x1b[31m") is skipped
    assert shown == [
        "A file of <b>study</b>\\x1b[31m cannot be read. Without it the volume may lack slices.\n"
        "<b>0.dcm: it is empty"
    ]


def test_of_many_broken_files_some_are_named() -> None:
    shown: list[str] = []
    answer(clicked("Read Without Them", shown))
    assert ask_to_skip(broken(NAMED + 2), "study")
    assert shown[0].startswith(f"{NAMED + 2} files of study cannot be read.")
    assert shown[0].count("it is empty") == NAMED
    assert shown[0].endswith("and 2 more")


def test_question_that_is_closed_reads_nothing() -> None:
    answer(lambda dialog: dialog.reject())
    assert not ask_to_skip(broken(1), "study")


@pytest.mark.parametrize(
    ("button", "even"), [("Evenly Spaced", True), ("As Scanned", False), ("Cancel", None)]
)
def test_even_spacing_is_asked_for(button: str, even: bool | None) -> None:
    shown: list[str] = []
    answer(clicked(button, shown))
    assert ask_even(["the stack is sheared by 18 degrees"]) is even
    assert shown[0].endswith("The stack is sheared by 18 degrees.")


@pytest.mark.parametrize("name", ["head CT", "head.nii.gz", "IM0001"])
def test_ct_is_a_folder_or_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "head CT").mkdir()
    for file in ("head.nii.gz", "IM0001"):
        (tmp_path / file).touch()

    def choose(dialog: QDialog) -> None:
        assert isinstance(dialog, QFileDialog)
        dialog.findChild(QLineEdit).setText(name)
        dialog.accept()

    answer(choose)
    assert ask_source("Open") == tmp_path / name
