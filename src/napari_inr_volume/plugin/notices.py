"""What napari is given to show, with text from files in it: as it is written, never as markup.

Qt takes text for HTML in tooltips, bars and notifications if its first `<` begins a tag. `plain` prevents
that wherever no format can be set; labels of our own are `widgets.section.TextLine`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..core.errors import InrError
from ..core.text import printable

if TYPE_CHECKING:
    from ..core.volume import Volume

JOINER = "\u2060"  # has no width
OUT_OF_MEMORY = "the computer ran out of memory; close other layers or choose a smaller volume"


def plain(text: str) -> str:
    """Return a line of text, what does not print in it escaped, that Qt does not take for markup."""
    return printable(text.replace(JOINER, "")).replace("<", f"<{JOINER}").replace("&lt;", f"&{JOINER}lt;")


def sentence(phrase: str) -> str:
    """Return a phrase, such as a note of a volume, as a sentence of its own."""
    return f"{phrase[:1].upper()}{phrase[1:]}."


def file_name(layer: str) -> str:
    """Return a name for the file of what a layer of this name shows."""
    name = layer.split(" [")[0].replace(JOINER, "")
    return "".join("_" if letter in '/\\<>:"|?*' else letter for letter in name)


def show_info(text: str) -> None:
    """Show a message."""
    from napari.utils import notifications

    notifications.show_info(plain(text))


def show_warning(text: str) -> None:
    """Show a warning about how far a result can be relied on."""
    from napari.utils import notifications

    notifications.show_warning(plain(text))


def show_error(text: str) -> None:
    """Tell what went wrong."""
    from napari.utils import notifications

    notifications.show_error(plain(text))


def show_notes(volume: Volume, name: str) -> None:
    """Warn of what was assumed, left out or ignored in reading a volume, if anything was."""
    if notes := (*volume.geometry.caveats, *volume.notes):
        show_warning(f"{name}: {'; '.join(notes)}.")


@contextmanager
def plain_errors() -> Iterator[None]:
    """Let only an InrError out of functions that napari calls, with text that napari can show."""
    try:
        yield
    except InrError as error:
        error.args = (plain(str(error)),)
        raise
    except MemoryError as error:
        raise InrError(OUT_OF_MEMORY) from error
