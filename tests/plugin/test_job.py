"""Jobs off the UI thread: how they end, and that they answer the latest question."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from threading import Event

import pytest
import torch
from napari.qt.threading import WorkerBase
from qtpy.QtCore import QThread
from qtpy.QtWidgets import QApplication

from napari_inr_volume.core.errors import FitError, InrError
from napari_inr_volume.plugin.job import Control, Job, LatestJob

# Ends


def test_result_and_reports_come_on_the_ui_thread_and_ended_last(qtbot, job: Job) -> None:
    heard: list[object] = []
    threads = set()

    def hear(what: object) -> None:
        heard.append(what)
        threads.add(QThread.currentThread())

    def count(control: Control, to: int) -> str:
        assert QThread.currentThread() is not QApplication.instance().thread()
        for number in range(to):
            control.report(number)
        return "counted"

    job.reported.connect(hear)
    job.finished.connect(hear)
    job.ended.connect(lambda: hear("ended"))
    with qtbot.waitSignal(job.ended):
        assert job.start(count, 3)
    assert heard == [0, 1, 2, "counted", "ended"]
    assert threads == {QApplication.instance().thread()}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "ran out of memory; choose the CPU"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "ran out of memory"),
        (MemoryError(), "ran out of memory; close other layers"),
        (FitError("choose a smaller batch"), "choose a smaller batch"),
    ],
    ids=["torch", "torch on the CPU", "numpy", "ours"],
)
def test_error_reaches_the_ui_in_words_and_the_job_ends(qtbot, job: Job, error, words: str) -> None:
    def work(control: Control) -> None:
        raise error

    failed: list[str] = []
    job.failed.connect(failed.append)
    with qtbot.waitSignal(job.ended):
        job.start(work)
    assert words in failed[0]
    assert not job.running


def test_unforeseen_error_is_told_and_printed_for_whoever_looks_for_it(qtbot, job: Job, capfd) -> None:
    def work(control: Control) -> None:
        raise ZeroDivisionError("by nothing")

    with qtbot.waitSignal(job.failed) as failed, qtbot.waitSignal(job.ended):
        job.start(work)
    assert "please report it: ZeroDivisionError: by nothing" in failed.args[0]
    assert "Traceback" in capfd.readouterr().err


def test_busy_job_takes_no_other_work(qtbot, job: Job) -> None:
    go_on = Event()
    with qtbot.waitSignal(job.ended):
        assert job.start(lambda control: go_on.wait(10))
        assert not job.start(lambda control: None)
        go_on.set()
    with qtbot.waitSignal(job.finished) as finished:
        assert job.start(lambda control: "the next one")
    assert finished.args == ["the next one"]


def test_dropped_work_ends_without_result_or_error(qtbot, job: Job) -> None:
    heard: list[object] = []

    def work(control: Control) -> None:
        while True:
            control.on_progress(1, 2)

    job.finished.connect(heard.append)
    job.failed.connect(heard.append)
    with qtbot.waitSignal(job.ended):
        job.start(work)
        job.drop()
    assert heard == []


def test_worker_told_to_quit_drops_the_work_and_ends(qtbot, job: Job) -> None:
    job.start(lambda control: [control.check() for _ in iter(int, 1)])
    with qtbot.waitSignal(job.ended):
        WorkerBase.await_workers()  # as napari does when the window closes


def test_work_ends_with_the_panel_that_started_it(qtbot) -> None:
    job = Job()
    job.start(lambda control: [control.check() for _ in iter(int, 1)])
    job.deleteLater()
    qtbot.waitUntil(lambda: job.control.drop.is_set())
    qtbot.waitUntil(lambda: not job.at_work)


# The latest question


@pytest.fixture
def latest(qtbot) -> Iterator[LatestJob]:
    job = LatestJob()
    yield job
    job.drop()
    qtbot.waitUntil(lambda: not job.running)


def wait(control: Control, go_on: Event, answer: str) -> str:
    """Answer once `go_on` is set, whether anybody still wants to know or not."""
    assert go_on.wait(10)
    return answer


def test_only_the_latest_question_is_answered(qtbot, latest: LatestJob) -> None:
    heard: list[str] = []
    ends: list[None] = []
    latest.finished.connect(heard.append)
    latest.ended.connect(lambda: ends.append(None))
    go_on = Event()
    for question in ("first", "second", "third"):
        latest.ask(question, wait, go_on, question)
    assert latest.running
    go_on.set()
    with qtbot.waitSignal(latest.ended):
        pass
    assert heard == ["third"]
    assert len(ends) == 1
    assert latest.answer_to("third") == "third"
    assert latest.answer_to("first") is None


def test_the_same_question_is_not_looked_into_twice(qtbot, latest: LatestJob) -> None:
    begun: list[str] = []
    with qtbot.waitSignal(latest.ended):
        latest.ask("it", lambda control: begun.append("once"))
        latest.ask("it", lambda control: begun.append("twice"))
    latest.ask("it", lambda control: begun.append("again"))
    assert not latest.running
    assert begun == ["once"]


def test_a_question_that_failed_can_be_asked_again(qtbot, latest: LatestJob) -> None:
    def fail(control: Control) -> None:
        raise InrError("not now")

    with qtbot.waitSignal(latest.failed), qtbot.waitSignal(latest.ended):
        latest.ask("it", fail)
    with qtbot.waitSignal(latest.ended):
        latest.ask("it", lambda control: "now")
    assert latest.answer_to("it") == "now"


def test_dropping_forgets_the_question_but_not_an_answer(qtbot, latest: LatestJob) -> None:
    heard: list[str] = []
    latest.finished.connect(heard.append)
    with qtbot.waitSignal(latest.ended):
        latest.ask("known", lambda control: "it")
    latest.drop()
    assert latest.answer_to("known") == "it"
    latest.forget()
    assert latest.answer_to("known") is None
    go_on = Event()
    latest.ask("first", wait, go_on, "first")
    latest.ask("second", wait, go_on, "second")
    latest.drop()
    go_on.set()
    qtbot.waitUntil(lambda: not latest.running)
    assert heard == ["it"]


def test_an_answer_that_asks_the_next_question_gets_that_answered(qtbot, latest: LatestJob) -> None:
    heard: list[int] = []

    def go_on(number: int) -> None:
        heard.append(number)
        if number < 3:
            latest.ask(number + 1, lambda control: number + 1)

    latest.finished.connect(go_on)
    with qtbot.waitSignal(latest.ended):
        latest.ask(1, lambda control: 1)
    assert heard == [1, 2, 3]


# Oddities


def test_job_ends_while_another_thread_is_still_importing_torch(
    qtbot, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then `torch` is there and `torch.cuda` is not; the error would leave the job running for ever."""
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    with qtbot.waitSignal(job.finished) as finished, qtbot.waitSignal(job.ended):
        job.start(lambda control: "done")
    assert finished.args == ["done"]
