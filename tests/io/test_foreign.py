"""What libraries raise, warn of and log: one line of ours, and nothing left open or printed."""

from __future__ import annotations

import logging
import threading
import warnings
import weakref
from pathlib import Path

import pytest

from napari_inr_volume.core.errors import SourceError
from napari_inr_volume.io.foreign import errors_of_ours

PATH = Path("v.tif")


def endless(depth: int = 0) -> int:
    return endless(depth + 1) + 1


@pytest.mark.parametrize(
    "error",
    [
        ValueError("of two\nlines"),
        MemoryError(),
        OverflowError("too large"),
        RecursionError("too deep"),
        StopIteration(),
        OSError(5, "Input/output error"),
        UnicodeDecodeError("utf8", b"\xff", 0, 1, "bad"),
        ValueError("\x1b[2J"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_is_raised_becomes_one_printable_line_that_names_the_file(error: Exception) -> None:
    with (
        pytest.raises(SourceError, match=r"^'v\.tif' cannot be read: ") as caught,
        errors_of_ours(PATH, "read"),
    ):
        raise error
    assert str(caught.value).isprintable()


def test_recursion_without_end_becomes_ours() -> None:
    with pytest.raises(SourceError, match="recursion"), errors_of_ours(PATH, "read"):
        endless()


@pytest.mark.parametrize("category", [UserWarning, RuntimeWarning])
def test_a_warning_of_a_library_is_a_refusal(category: type[Warning]) -> None:
    with pytest.raises(SourceError, match="bytes are missing"), errors_of_ours(PATH, "read"):
        warnings.warn("bytes are missing", category, stacklevel=1)


@pytest.mark.parametrize("category", [DeprecationWarning, FutureWarning])
def test_a_warning_about_later_versions_is_none(category: type[Warning]) -> None:
    done = False
    with errors_of_ours(PATH, "read"):
        warnings.warn("will change", category, stacklevel=1)
        done = True
    assert done


def log(message: str, name: str = "tifffile") -> None:
    logging.getLogger(name).warning(message)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("<tifffile.TiffPages @8> invalid page offset 55520", "cut off"),
        ("OME series failed to read 's 1.tif', raised FileNotFoundError(2, '')", "file 's 1.tif' is missing"),
        (
            "<tifffile.TiffFile 'a'> OME series is missing 4 frames. Missing data are zeroed",
            "4 of its slices",
        ),
        ("<tifffile.TiffFile 'a'> something \x1b new", r"damaged: something \\x1b new"),
    ],
)
def test_what_tifffile_logs_is_a_refusal_in_our_words(
    message: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SourceError, match=words), errors_of_ours(PATH, "read"):
        log(message)
    assert capfd.readouterr() == ("", "")


def test_what_was_logged_is_a_better_reason_than_what_came_of_it() -> None:
    def fail(error: Exception) -> None:
        log("invalid page offset 3")
        raise error

    for error in (SourceError("three axes"), ValueError("shape")):
        with pytest.raises(SourceError, match="cut off"), errors_of_ours(PATH, "read"):
            fail(error)


def test_what_is_no_loss_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    with errors_of_ours(PATH, "read"):
        log("parsing GDAL_NODATA tag raised ValueError")
        log("pixdim[0] (qfac) should be 1", "nibabel.global")
    assert capfd.readouterr() == ("", "")


def test_other_threads_may_log_what_they_like(caplog: pytest.LogCaptureFixture) -> None:
    with errors_of_ours(PATH, "read"):
        thread = threading.Thread(target=log, args=("invalid page offset 3",))
        thread.start()
        thread.join()
    assert "invalid page offset 3" in caplog.text


def test_what_a_failed_call_held_is_let_go() -> None:
    class Held:
        """Stands for an open file."""

    references = []

    def fail() -> None:
        held = Held()
        references.append(weakref.ref(held))
        raise ValueError("damaged")

    with pytest.raises(SourceError), errors_of_ours(PATH, "read"):
        fail()
    assert references[0]() is None
