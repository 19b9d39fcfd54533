"""What emitters say of themselves on a real topic."""

from __future__ import annotations

import gc
import json
import os
import socket
from typing import Any

from steptrail.producers import StepEmitter
from steptrail.producers.accounting import Accounting
from steptrail.schemas import ProcessingStatus, Settings
from steptrail.schemas.emitter_report import EmitterReport, ReportKind
from support.emitter_reports import reports_of
from support.topic_events import sequences, stored_events
from support.waiting import PATIENCE_S, until

RUNNING = ProcessingStatus.RUNNING
LIMITED = {"message.max.bytes": "2000"}


def emit(emitter: StepEmitter, count: int, **values: Any) -> None:
    for number in range(count):
        emitter.emit(doc_id=f"doc {number}", step_name="ocr", status=RUNNING, **values)


def says(report: EmitterReport, accounting: Accounting) -> bool:
    return (report.accepted, report.delivered, report.failed, report.dropped, report.pending) == (
        accounting.accepted,
        accounting.delivered,
        sum(accounting.failed.values()),
        sum(accounting.dropped.values()),
        accounting.pending,
    )


def kinds(reports: list[EmitterReport]) -> list[str]:
    return [report.kind.value for report in reports]


def test_starts_and_closes(topics_only: Settings) -> None:
    """STARTED once events get through, CLOSED with the final numbers; none of it counts as an event."""
    emitter = StepEmitter(topics_only, pipeline="invoices")
    emit(emitter, 10)
    assert emitter.flush(PATIENCE_S) == 0
    until(lambda: reports_of(topics_only), "first report")
    emit(emitter, 5)
    emitter.close(PATIENCE_S)
    accounting = emitter.accounting()
    assert (accounting.accepted, accounting.delivered) == (15, 15)
    [reports] = reports_of(topics_only).values()
    assert kinds(reports) == ["STARTED", "CLOSED"]
    assert reports[0].accepted >= 10
    assert says(reports[-1], accounting)
    assert reports[-1].pipeline == "invoices"
    assert reports[-1].worker.endswith(f":{os.getpid()}")
    assert sequences(stored_events(topics_only)) == {emitter.emitter_id.hex(): list(range(15))}


def test_losses_are_told_while_they_happen(topics_only: Settings) -> None:
    """A report of what was lost comes without waiting for the end, and the last one has all of it, by reason."""
    emitter = StepEmitter(topics_only, kafka_options=LIMITED)
    emit(emitter, 5)
    assert emitter.flush(PATIENCE_S) == 0
    until(lambda: reports_of(topics_only), "first report")
    emit(emitter, 3, details={"text": "x" * 3000})

    def told() -> list[EmitterReport]:
        [reports] = reports_of(topics_only).values()
        return [report for report in reports if report.kind is ReportKind.RUNNING]

    [report] = until(told, "report of the loss")
    assert (report.accepted, report.dropped) == (8, 3)
    assert json.loads(report.reasons).items() >= {"failed": {}, "dropped": {"too_large": 3}}.items()
    emit(emitter, 1, details={"text": "x" * 3000})
    emitter.close(PATIENCE_S)
    [reports] = reports_of(topics_only).values()
    assert reports[-1].kind is ReportKind.CLOSED
    assert reports[-1].dropped == 4
    assert says(reports[-1], emitter.accounting())


def test_close_without_time_still_says_what_was_left(topics_only: Settings) -> None:
    """Cut off in the middle, the last word counts what was not delivered, and what maybe was."""
    emitter = StepEmitter(topics_only, linger_ms=1000)
    emit(emitter, 1)
    assert emitter.flush(PATIENCE_S) == 0
    until(lambda: reports_of(topics_only), "first report")
    emit(emitter, 500)
    emitter.close(0)
    accounting = emitter.accounting()
    assert accounting.balanced
    assert accounting.delivered < 501
    [reports] = reports_of(topics_only).values()
    # It had 0.3 s for the last word, less than its linger: that it is there cannot be promised.
    if reports[-1].kind is ReportKind.CLOSED:
        assert says(reports[-1], accounting)


def test_an_emitter_that_is_let_go_of_closes(topics_only: Settings) -> None:
    """Without close, the last word comes once everything is delivered and nobody holds the emitter."""
    emitter = StepEmitter(topics_only)
    emit(emitter, 20)
    name = emitter.emitter_id.hex()
    del emitter
    gc.collect()

    def closed() -> list[EmitterReport]:
        return [r for r in reports_of(topics_only).get(name, []) if r.kind is ReportKind.CLOSED]

    [report] = until(closed, "last word")
    assert (report.accepted, report.delivered, report.pending) == (20, 20, 0)


def test_a_forked_child_reports_for_itself(topics_only: Settings) -> None:
    """Parent and child are two emitters, each with its own numbers."""
    emitter = StepEmitter(topics_only)
    emit(emitter, 7)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            emit(emitter, 4)
            emitter.close(PATIENCE_S)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    emitter.close(PATIENCE_S)
    found = reports_of(topics_only)
    mine = found.pop(emitter.emitter_id.hex())
    [childs] = found.values()
    assert (mine[-1].kind, mine[-1].accepted) == (ReportKind.CLOSED, 7)
    assert (childs[-1].kind, childs[-1].accepted) == (ReportKind.CLOSED, 4)
    assert childs[-1].worker.endswith(f":{pid}")


def test_without_a_topic_for_reports(topics_only: Settings) -> None:
    """Where nobody takes reports, the events go on, and closing keeps to its time."""
    other = topics_only.with_values(kafka_options={"topic.metadata.propagation.max.ms": "100"})
    emitter = StepEmitter(other)
    emitter._transport.self_report._topic = f"{topics_only.topic_prefix}.nothing"
    emit(emitter, 50)
    assert emitter.flush(PATIENCE_S) == 0
    emitter.close(2.0)
    assert (emitter.accounting().delivered, emitter.accounting().pending) == (50, 0)
    assert reports_of(topics_only) == {}


def test_a_broker_that_is_away_has_no_reports_in_its_queue(topics_only: Settings) -> None:
    """The bounded queue is for events alone as long as none was answered."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{taken.getsockname()[1]}"
    emitter = StepEmitter(topics_only, kafka=nowhere, queue_max_messages=10)
    emit(emitter, 11)
    poller = emitter._transport._poller
    assert poller is not None
    for _ in range(3):
        poller._report()
    # librdkafka also counts errors that wait to be told; the poll thread takes them out, reports would stay.
    until(lambda: poller._held() == 10, "queue with nothing but events")
    emitter.close(0)
    assert dict(emitter.accounting().dropped) == {"queue_full": 1}
