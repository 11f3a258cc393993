"""What is shown of text from files is that text, whatever Qt or a terminal would make of it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt

from napari_inr_volume.core.errors import InrError, SourceError
from napari_inr_volume.core.phantom import head_phantom
from napari_inr_volume.core.volume import Geometry, Volume
from napari_inr_volume.plugin.notices import (
    JOINER,
    file_name,
    plain,
    plain_errors,
    sentence,
    show_error,
    show_notes,
)

pieces = st.sampled_from(
    [*"<>&;/ !?ab", "<b>", "</b>", "&lt;", "<!doctype html>", "<?xml", "\n", "\x1b[2J", JOINER]
)


@given(st.lists(pieces).map("".join) | st.text())
@example("<b>x</b>")
@example("a &lt; <b>x</b>")
@example("<img src='file:///x.png'>")
def test_nothing_is_taken_for_markup(text: str) -> None:
    assert not Qt.mightBeRichText(plain(text))


@given(st.lists(pieces).map("".join) | st.text())
def test_it_reads_as_it_is_written_but_for_what_does_not_print(text: str) -> None:
    shown = plain(text).replace(JOINER, "")
    assert shown.isprintable()
    if text.isprintable():
        assert shown == text
    assert plain(plain(text)) == plain(text)


@pytest.mark.parametrize("name", ["<b>x</b>", "a/b", "..\\c", 'x:"y"|?*'])
def test_layer_s_name_becomes_a_name_for_a_file(name: str) -> None:
    proposed = file_name(f"{plain(name)} [SPAN 37.9 dB]")
    assert not set(proposed) & set('/\\<>:"|?*' + JOINER)
    assert "SPAN" not in proposed


def test_name_without_what_files_may_not_have_stays() -> None:
    assert file_name("head CT [LR fit]") == "head CT"


def test_notification_is_plain() -> None:
    notification_manager.records.clear()
    show_error("'<b>x</b>\x1b[31m' is broken")
    (told,) = notification_manager.records
    assert not Qt.mightBeRichText(told.message)
    assert told.message.replace(JOINER, "") == "'<b>x</b>\\x1b[31m' is broken"


def test_error_keeps_its_kind_and_becomes_plain() -> None:
    with pytest.raises(SourceError) as raised, plain_errors():
        raise SourceError("<b>x</b>")
    assert not Qt.mightBeRichText(str(raised.value))


def test_memory_running_out_becomes_a_sentence() -> None:
    with pytest.raises(InrError, match="ran out of memory; close other layers"), plain_errors():
        raise MemoryError


def test_notes_of_a_volume_are_a_warning_and_none_are_none() -> None:
    notification_manager.records.clear()
    show_notes(head_phantom((8, 16, 16)), "head")
    assert not notification_manager.records
    uneven = Geometry(shape=(3, 8, 8), slice_positions=(0, 1, 3))
    volume = Volume(voxels=head_phantom((8, 8, 8)).voxels[:3], geometry=uneven, notes=("1 mm assumed",))
    show_notes(volume, "head")
    (told,) = notification_manager.records
    assert told.severity.name == "WARNING"
    assert all(part in told.message for part in ("head: ", "1 to 2 mm", "1 mm assumed"))


def test_phrase_becomes_a_sentence() -> None:
    assert sentence("slices are uneven") == "Slices are uneven."
