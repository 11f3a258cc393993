"""What a header says must not steer a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from napari_inr_volume.core.text import printable


def test_escape_sequences_are_shown_as_letters() -> None:
    assert printable("\x1b]0;pwned\x07 \x1b[31mX\n\u202e") == r"\x1b]0;pwned\x07 \x1b[31mX\n\u202e"


@given(st.text())
def test_what_comes_out_always_prints_and_prints_as_it_is(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    assert not text.isprintable() or shown == text
