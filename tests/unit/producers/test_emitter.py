"""The emitter on the real librdkafka: with the broker that librdkafka brings for tests, or with none at all."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import sys
import threading
import time
from datetime import datetime, timezone
from typing import Any

import pytest

from steptrail.producers import ProcessingStepManager, StepEmitter, emit_only
from steptrail.producers.storage import NotReadableError
from steptrail.schemas import ConfigurationError, ProcessingStatus, Settings
from support.waiting import PATIENCE_S, until

RUNNING, SUCCESS = ProcessingStatus.RUNNING, ProcessingStatus.SUCCESS


@pytest.fixture
def nowhere() -> str:
    """An address where nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


def mocked(**values: Any) -> StepEmitter:
    return StepEmitter(kafka_options={"test.mock.num.brokers": "1", **values.pop("options", {})}, **values)


def emit(emitter: StepEmitter, count: int, **values: Any) -> None:
    for number in range(count):
        emitter.emit(doc_id=f"doc {number}", step_name="ocr", status=RUNNING, **values)


def test_counts_deliveries() -> None:
    """Every event is accepted, then pending, then delivered, and offsets say up to where."""
    with mocked() as emitter:
        assert emitter.accounting().accepted == 0
        emit(emitter, 500)
        assert emitter.flush(PATIENCE_S) == 0
        accounting = emitter.accounting()
        assert (accounting.accepted, accounting.delivered, accounting.pending) == (500, 500, 0)
        assert accounting.balanced
        assert not accounting.failed
        assert not accounting.dropped
        assert sum(offset + 1 for offset in emitter.delivered_offsets().values()) == 500


def test_what_every_event_reads_is_read_fast() -> None:
    """CPython 3.11 reads attributes of an object that has 30 or more at half the speed."""
    with mocked() as emitter:
        emit(emitter, 1)
        assert len(vars(emitter._transport)) < 30
        assert len(vars(emitter)) < 30


def test_broker_down_for_ever(nowhere: str) -> None:
    """Without a broker nothing raises, events stay pending, and closing counts them as failed."""
    emitter = StepEmitter(kafka=nowhere)
    emit(emitter, 100)
    assert emitter.flush(0.2) == 100
    accounting = emitter.accounting()
    assert (accounting.accepted, accounting.pending, accounting.delivered) == (100, 100, 0)
    assert accounting.balanced
    emitter.close(0)
    accounting = emitter.accounting()
    assert dict(accounting.failed) == {"closed": 100}
    assert (accounting.pending, accounting.lost, accounting.maybe_delivered) == (0, 100, 0)
    assert accounting.balanced


def test_queue_full(nowhere: str) -> None:
    """What does not fit into the bounded queue is dropped and counted; the bound holds."""
    emitter = StepEmitter(kafka=nowhere, queue_max_messages=10)
    emit(emitter, 35)
    accounting = emitter.accounting()
    assert dict(accounting.dropped) == {"queue_full": 25}
    assert accounting.pending == 10
    assert accounting.balanced
    emitter.close(0)
    assert emitter.accounting().balanced


def test_too_large(nowhere: str) -> None:
    """What librdkafka takes for too large is dropped under that name."""
    emitter = StepEmitter(kafka=nowhere, kafka_options={"message.max.bytes": "2000"})
    emit(emitter, 1, details={"text": "x" * 3000})
    emit(emitter, 1)
    accounting = emitter.accounting()
    assert dict(accounting.dropped) == {"too_large": 1}
    assert accounting.pending == 1
    emitter.close(0)


def test_timed_out_is_maybe_delivered(nowhere: str) -> None:
    """An event without an answer in its time counts as timed out, which may mean delivered."""
    emitter = StepEmitter(kafka=nowhere, message_timeout_ms=100, linger_ms=5)
    emit(emitter, 20)
    assert emitter.flush(PATIENCE_S) == 0
    accounting = emitter.accounting()
    assert dict(accounting.failed) == {"timed_out": 20}
    assert (accounting.maybe_delivered, accounting.lost) == (20, 0)
    emitter.close()


def test_emitting_after_close() -> None:
    """A closed emitter refuses and counts; closing again changes nothing."""
    emitter = mocked()
    emit(emitter, 3)
    emitter.close(PATIENCE_S)
    emit(emitter, 2)
    emitter.close()
    accounting = emitter.accounting()
    assert (accounting.accepted, accounting.delivered) == (5, 3)
    assert dict(accounting.dropped) == {"closed": 2}
    assert accounting.balanced


def test_closing_before_the_first_event(nowhere: str) -> None:
    """An emitter that was never used opens nothing and closes at once."""
    emitter = StepEmitter(kafka=nowhere)
    emitter.close()
    emit(emitter, 1)
    assert dict(emitter.accounting().dropped) == {"closed": 1}


@pytest.mark.parametrize(
    "values",
    [
        {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_sasl_mechanism": "NO-SUCH-MECHANISM"},
        {"kafka_options": {"sasl.mechanism": "PLAIN", "no.such.property": "hunter2"}},
        {"kafka_security_protocol": "SSL", "kafka_ssl_ca_location": "/does/not/exist.pem"},
        {"kafka_options": {"ssl.key.pem": "hunter2", "security.protocol": "ssl"}},
    ],
)
def test_a_client_that_does_not_start(
    values: dict[str, Any], nowhere: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Settings that librdkafka refuses never raise at the step: events are dropped, the log says why, without
    a secret, and not for each event.
    """
    emitter = StepEmitter(kafka=nowhere, kafka_sasl_username="me", kafka_sasl_password="hunter2", **values)
    emit(emitter, 50)
    accounting = emitter.accounting()
    assert dict(accounting.dropped) == {"infrastructure": 50}
    assert accounting.balanced
    told = [record for record in caplog.records if "did not start" in record.getMessage()]
    assert len(told) == 1
    if "no.such.property" not in str(values):  # its name does not say that it holds a secret
        assert "hunter2" not in caplog.text
    emitter.close()


def test_a_setting_that_is_wrong_raises_at_once() -> None:
    """What steptrail itself knows to be wrong is said when the emitter is made, by name."""
    with pytest.raises(ConfigurationError, match="queue_max_messages"):
        StepEmitter(queue_max_messages=-1)
    with pytest.raises(ConfigurationError, match="no_such_setting"):
        StepEmitter(Settings(), no_such_setting=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("doc_id", {"doc_id": b"bytes"}),
        ("step_name", {"step_name": 5}),
        ("status", {"status": "running"}),
        ("execution_id", {"execution_id": "text"}),
        ("execution_id", {"execution_id": b"short"}),
        ("attempt", {"attempt": "2"}),
        ("attempt", {"attempt": True}),
        ("duration_ms", {"duration_ms": "5"}),
        ("depends_on", {"depends_on": "one"}),
        ("depends_on", {"depends_on": [1]}),
        ("trace_id", {"trace_id": 5}),
        ("error_type", {"error_type": ValueError}),
    ],
)
def test_wrong_types_raise_before_anything_is_counted(
    field: str, values: dict[str, Any], nowhere: str
) -> None:
    """A wrong type raises with the argument's name and takes no sequence number."""
    emitter = StepEmitter(kafka=nowhere)
    with pytest.raises((TypeError, ValueError), match=field):
        emitter.emit(**{"doc_id": "d", "step_name": "s", "status": RUNNING, **values})
    assert emitter.accounting().accepted == 0


def test_threads_are_counted_exactly() -> None:
    """While eight threads emit, every snapshot balances, and at the end all is delivered."""
    unbalanced = []
    with mocked(queue_max_messages=500) as emitter:  # small, so that drops and reports interleave
        done = threading.Event()

        def watch() -> None:
            while not done.is_set():
                accounting = emitter.accounting()
                if not accounting.balanced:
                    unbalanced.append(accounting)

        watcher = threading.Thread(target=watch)
        watcher.start()
        threads = [threading.Thread(target=emit, args=(emitter, 1000)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert emitter.flush(PATIENCE_S) == 0
        done.set()
        watcher.join()
        accounting = emitter.accounting()
    assert unbalanced == []
    assert accounting.accepted == 8000
    assert accounting.delivered + accounting.dropped.get("queue_full", 0) == 8000


def test_an_emitting_thread_serves_reports_when_the_poll_thread_cannot() -> None:
    """Past a quarter of the queue, emitting serves delivery reports too, a bounded number at a time."""
    with mocked(queue_max_messages=8000) as emitter:
        emit(emitter, 1)
        assert emitter.flush(PATIENCE_S) == 0
        transport = emitter._transport
        poller = transport._poller
        assert poller is not None
        assert poller._thread is not None
        assert poller._thread.ident is not None
        ident = poller._thread.ident
        with transport.counters.lock:  # whatever the poll thread counts next, it waits for this
            emit(emitter, 1)
            until(lambda: sys._current_frames()[ident].f_code.co_filename.endswith("accounting.py"))
            emit(emitter, 6000)
            deadline = time.monotonic() + PATIENCE_S
            while (before := transport.counters.pending) > 2000:
                assert time.monotonic() < deadline
                transport.relieve()
                assert 0 <= before - transport.counters.pending <= 512
            transport.relieve()
            assert transport.counters.pending == before
        assert emitter.flush(PATIENCE_S) == 0
        assert emitter.accounting().delivered == 6002


def test_under_asyncio() -> None:
    """Coroutines emit as they are; nothing has to be awaited."""
    emitter = emit_only(kafka_options={"test.mock.num.brokers": "1"})
    manager = ProcessingStepManager(emitter)

    async def work(number: int) -> None:
        manager.add_step(f"doc {number}", "ocr", RUNNING)
        await asyncio.sleep(0)
        manager.add_step(f"doc {number}", "ocr", SUCCESS)

    async def main() -> None:
        await asyncio.gather(*(work(number) for number in range(200)))
        assert await asyncio.to_thread(emitter.flush, PATIENCE_S) == 0

    asyncio.run(main())
    assert isinstance(emitter, StepEmitter)
    assert emitter.accounting().delivered == 400
    manager.close()


def test_an_emitter_that_is_forgotten_still_delivers(caplog: pytest.LogCaptureFixture) -> None:
    """An emitter that goes out of scope without close leaves its thread to finish, then both are gone."""
    before = threading.active_count()
    emitter = mocked()
    counters = emitter._transport.counters
    emit(emitter, 50)
    del emitter
    gc.collect()
    until(lambda: counters.snapshot().delivered == 50)
    until(lambda: threading.active_count() <= before)


def test_losses_are_told_in_the_log(nowhere: str, caplog: pytest.LogCaptureFixture) -> None:
    """A loss is said through logging, with its reason and number."""
    emitter = StepEmitter(kafka=nowhere, queue_max_messages=5)
    emit(emitter, 8)
    emitter.close(0)
    told = [record.getMessage() for record in caplog.records if "not delivered" in record.getMessage()]
    assert "3 dropped (queue_full)" in told[-1]
    assert "5 failed (closed)" in told[-1]


def test_librdkafka_speaks_through_logging(
    nowhere: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """librdkafka's lines come through `steptrail.kafka`, each kind once, and none goes to stderr."""
    caplog.set_level(logging.DEBUG)
    emitter = StepEmitter(kafka=nowhere)
    emit(emitter, 1)
    until(lambda: any(record.name == "steptrail.kafka" for record in caplog.records))
    emitter.close(0)
    assert "rdkafka" not in capfd.readouterr().err


def test_reads_of_an_emitting_storage_say_what_to_use(nowhere: str) -> None:
    """emit_only() raises on reads, naming what reads."""
    manager = ProcessingStepManager(emit_only(kafka=nowhere))
    with pytest.raises(NotReadableError, match="open_storage"):
        manager.get_steps("d")
    with pytest.raises(NotReadableError, match="get_recent_errors"):
        manager.get_recent_errors(datetime.now(timezone.utc))
    with pytest.raises(NotReadableError, match="wait_projected"):
        manager.wait_projected(1)
