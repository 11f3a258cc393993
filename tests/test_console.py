"""What reaches the terminal: text as it stands, whatever it holds, and nothing that ends the work."""

from __future__ import annotations

import io
import json
import signal
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_inr_volume import console
from napari_inr_volume.core.errors import FitError

HOSTILE = "[/b] [lung] [red]x[/red] :smile: \x1b[31m\x9b2J\r\nnext \u202eover"
SHOWN = "[/b] [lung] [red]x[/red] :smile: \\x1b[31m\\x9b2J\\r\\nnext \\u202eover"


def test_one_line_shows_every_mark_of_hostile_text(capsys: pytest.CaptureFixture[str]) -> None:
    console.say(HOSTILE)
    console.tell(HOSTILE)
    console.print_rows([("name", HOSTILE)])
    captured = capsys.readouterr()
    assert captured.err == SHOWN + "\n"
    assert captured.out == f"{SHOWN}\nname  {SHOWN}\n"


@given(st.text(max_size=50))
def test_any_text_is_one_line_without_control_characters(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stream = io.StringIO()
        patch.setattr(sys, "stderr", stream)
        console.say(text)
    shown = stream.getvalue()
    assert shown.endswith("\n")
    assert shown[:-1].isprintable()


def test_a_progress_bar_shows_names_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("TTY_COMPATIBLE", "1"), ("TERM", "xterm"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(console.err, "is_interactive", True)
    monkeypatch.setattr(console.err, "width", 400)
    with console.progress_bar("more") as progress:
        progress.add_task(HOSTILE, more=HOSTILE)
        progress.refresh()
    shown = capsys.readouterr().err
    assert shown.count(SHOWN) >= 2
    assert "\x1b[31m" not in shown


class _Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")

    def flush(self) -> None:
        raise OSError(5, "Input/output error")


def test_a_closed_terminal_takes_nothing_and_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", _Gone())
    console.say("the fit goes on")
    with console.slices_bar("measuring") as on_slices:
        on_slices(1, 2)


@pytest.mark.parametrize("number", console.SIGNALS, ids=lambda number: number.name)
def test_the_first_signal_asks_to_stop_and_no_more(number: int) -> None:
    with console.interruptible() as stop:
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set()
        assert stop.signal == number


def test_a_second_ctrl_c_interrupts_and_a_second_hangup_does_not() -> None:
    with console.interruptible() as stop:
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
    assert stop.signal == signal.SIGTERM
    with console.interruptible():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(console.Interrupted) as interrupted:
            signal.raise_signal(signal.SIGINT)
    assert interrupted.value.exit_code == 130


@pytest.mark.parametrize("number", console.SIGNALS, ids=lambda number: number.name)
def test_a_signal_elsewhere_ends_the_command_with_the_code_of_a_shell(number: int) -> None:
    with pytest.raises(console.Interrupted) as interrupted, console.ended_by_signals():
        signal.raise_signal(number)
    assert interrupted.value.exit_code == 128 + number


def test_an_error_of_work_that_was_stopped_is_an_interruption() -> None:
    def work(*, stopped: bool) -> None:
        with console.interruptible():
            if stopped:
                signal.raise_signal(signal.SIGINT)
            raise FitError("no end was reached")

    with pytest.raises(FitError):
        work(stopped=False)
    with pytest.raises(console.Interrupted) as interrupted:
        work(stopped=True)
    assert interrupted.value.__notes__ == ["no end was reached"]


def test_json_has_null_for_what_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"psnr": float("inf"), "scores": [{"psnr": float("nan")}], "text": HOSTILE})
    out = capsys.readouterr().out
    assert json.loads(out) == {"psnr": None, "scores": [{"psnr": None}], "text": HOSTILE}
    assert "\x1b" not in out
