"""The thread that serves delivery reports: whatever becomes of it, the accounts go on."""

from __future__ import annotations

import ctypes
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from steptrail.producers import StepEmitter
from steptrail.producers.delivery.emitter_reports import SelfReport
from steptrail.producers.delivery.loss_logging import LossReporter, PollLog
from steptrail.producers.delivery.poller import Poller
from steptrail.producers.refusals import Tries
from steptrail.schemas import ProcessingStatus
from support.waiting import PATIENCE_S, until


@pytest.fixture(autouse=True)
def _alone() -> None:
    """No thread of another test meets what is changed here."""
    for thread in threading.enumerate():
        if thread.name == "steptrail-poll":
            thread.join(PATIENCE_S)


def mocked(**values: Any) -> StepEmitter:
    return StepEmitter(kafka_options={"test.mock.num.brokers": "1"}, **values)


def emit(emitter: StepEmitter, count: int) -> None:
    for number in range(count):
        emitter.emit(doc_id=f"doc {number}", step_name="ocr", status=ProcessingStatus.SUCCESS)


def fault(*_: object, **__: object) -> Any:
    raise AttributeError("'Producer' object has no attribute 'cluster_id'")


@pytest.mark.parametrize(
    ("owner", "method"),
    [(Tries, "look"), (PollLog, "drain"), (LossReporter, "tell"), (SelfReport, "tick"), (Poller, "_done")],
)
def test_a_fault_in_one_of_its_chores(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, owner: type, method: str
) -> None:
    """The others go on, it is said once and counted."""
    monkeypatch.setattr(owner, method, fault)
    emitter = mocked()
    with caplog.at_level(logging.ERROR, "steptrail.emitter"):
        emit(emitter, 50)
        assert emitter.flush(PATIENCE_S) == 0
        until(lambda: emitter.thread_faults >= 3, "third fault")
    monkeypatch.undo()
    emitter.close(PATIENCE_S)
    assert emitter.accounting().delivered == 50
    assert len([record for record in caplog.records if "which goes on" in record.message]) == 1


def killed_by_another_thread(emitter: StepEmitter) -> None:
    poller = emitter._transport._poller
    assert poller is not None
    thread = poller._thread
    assert thread is not None
    until(thread.is_alive, "thread")
    ident = thread.ident
    assert ident is not None

    def is_dead() -> bool:
        # Again, where Python has ignored it: in a destructor, for instance.
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(SystemExit))
        thread.join(1.0)
        return not thread.is_alive()

    until(is_dead, "end of the thread")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_it_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    """Flush serves the reports, says so once, and starts another one that works; a report that was being served is
    counted, as *maybe delivered* where the client forgot which it was."""
    emitter = mocked()
    emit(emitter, 10)
    killed_by_another_thread(emitter)
    emit(emitter, 300)
    with caplog.at_level(logging.ERROR, "steptrail.emitter"):
        assert emitter.flush(PATIENCE_S) == 0
    assert len([record for record in caplog.records if "whoever flushes" in record.message]) == 1
    assert emitter.thread_faults >= 1
    emit(emitter, 10)
    until(lambda: not emitter.accounting().pending, "delivery by the new thread: nobody flushes")
    emitter.close(PATIENCE_S)
    accounting = emitter.accounting()
    unreported = accounting.failed.get("unreported", 0)
    assert (accounting.accepted, accounting.delivered + unreported, accounting.dropped) == (320, 320, {})
    assert unreported < emitter.thread_faults


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the client keeps the exception")
def test_a_report_that_the_client_forgot_is_maybe_delivered() -> None:
    """An exception of another thread comes at a report's first instruction and is lost: flush does not wait for it."""
    emitter = mocked()
    emit(emitter, 10)
    assert emitter.flush(PATIENCE_S) == 0

    def cut(*_: object) -> None:
        ident = ctypes.c_ulong(threading.get_ident())
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))

    transport = emitter._transport
    report, transport.on_report = transport.on_report, cut
    emit(emitter, 1)
    transport.on_report = report
    emit(emitter, 10)
    assert emitter.flush(PATIENCE_S) == 0
    emitter.close(PATIENCE_S)
    accounting = emitter.accounting()
    assert (accounting.delivered, accounting.failed, accounting.dropped) == (20, {"unreported": 1}, {})


@pytest.mark.parametrize("run", [lambda _self: None, fault], ids=["ends at once", "raises"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_it_never_works(monkeypatch: pytest.MonkeyPatch, run: Callable[..., None]) -> None:
    """However often it is started and ends: flush and close do its work, and every event is delivered."""
    monkeypatch.setattr(Poller, "_run", run)
    emitter = mocked()
    emit(emitter, 300)
    assert emitter.flush(PATIENCE_S) == 0
    emit(emitter, 300)
    emitter.close(PATIENCE_S)
    accounting = emitter.accounting()
    assert (accounting.accepted, accounting.delivered, accounting.pending) == (600, 600, 0)


def test_it_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it waits for something, such as a log's file, flush serves the reports."""
    go_on = threading.Event()
    monkeypatch.setattr(PollLog, "drain", lambda _self: go_on.wait(PATIENCE_S) and None)
    emitter = mocked()
    try:
        emit(emitter, 300)
        assert emitter.flush(PATIENCE_S) == 0
        emit(emitter, 300)
        assert emitter.flush(PATIENCE_S) == 0
    finally:
        go_on.set()
    emitter.close(PATIENCE_S)
    assert emitter.accounting().delivered == 600


def test_there_can_be_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are dropped as for any other fault at the start of librdkafka, and the accounts balance."""
    from steptrail.producers.delivery import threads

    def none_left(*_: object) -> threading.Thread:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "start", none_left)
    emitter = mocked()
    emit(emitter, 5)
    accounting = emitter.accounting()
    assert dict(accounting.dropped) == {"infrastructure": 5}
    assert accounting.balanced
    emitter.close(0)


def test_what_heals_by_itself_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A broker that has only just started makes librdkafka ask once more; its other lines keep their level."""
    log = PollLog(str, {}, "steps")
    log.log(
        logging.WARNING,
        "%s [%s] %s",
        "GETPID",
        "steptrail#producer-1",
        "Coordinator load in progress: retrying",
    )
    log.log(logging.WARNING, "%s [%s] %s", "FAIL", "steptrail#producer-1", "Connection refused")
    with caplog.at_level(logging.DEBUG, "steptrail.kafka"):
        log.drain()
    assert [record.levelno for record in caplog.records] == [logging.INFO, logging.WARNING]
