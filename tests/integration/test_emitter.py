"""The emitter against a real Kafka: what was accepted is there, and what was not is known by reason."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from steptrail.producers import ProcessingStepManager, StepEmitter, emit_only
from steptrail.schemas import ProcessingStatus, Settings, Topics, message_key, partition_for
from support.topic_config import configure_topic
from support.topic_events import sequences, stored_events
from support.waiting import PATIENCE_S
from support.workflows import basic, parallel, retry

RUNNING, SUCCESS = ProcessingStatus.RUNNING, ProcessingStatus.SUCCESS


@pytest.fixture
def emitter(topics_only: Settings) -> Iterator[StepEmitter]:
    with StepEmitter(topics_only) as opened:
        yield opened


def emit(emitter: StepEmitter, count: int, **values: Any) -> None:
    for number in range(count):
        emitter.emit(doc_id=f"doc {number}", step_name="ocr", status=RUNNING, **values)


def test_everything_accepted_is_on_the_topic(topics_only: Settings, emitter: StepEmitter) -> None:
    """Each event is stored once, on its document's partition, with sequence numbers without a gap; the offsets
    that were reported are those of the last events.
    """
    emit(emitter, 3000)
    assert emitter.flush(PATIENCE_S) == 0
    stored = stored_events(topics_only)
    assert sequences(stored) == {emitter.emitter_id.hex(): list(range(3000))}
    for record in stored:
        assert record.key == message_key("default", record.event.doc_id)
        assert record.partition == partition_for(record.key, topics_only.steps_partitions)
    last: dict[int, int] = {}
    for record in stored:
        last[record.partition] = max(last.get(record.partition, -1), record.offset)
    assert emitter.delivered_offsets() == last
    accounting = emitter.accounting()
    assert (accounting.accepted, accounting.delivered, accounting.pending) == (3000, 3000, 0)
    assert accounting.balanced


def test_events_of_a_document_keep_their_order(topics_only: Settings, emitter: StepEmitter) -> None:
    """One document's events stand on the topic in the order of their recording."""
    for number in range(500):
        emitter.emit(doc_id="one", step_name=f"step {number}", status=SUCCESS)
    assert emitter.flush(PATIENCE_S) == 0
    stored = sorted(stored_events(topics_only), key=lambda record: record.offset)
    assert [record.event.step_name for record in stored] == [f"step {number}" for number in range(500)]


def test_threads(topics_only: Settings, emitter: StepEmitter) -> None:
    """Eight threads: all delivered, every sequence number once."""
    threads = [threading.Thread(target=emit, args=(emitter, 500)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert emitter.flush(PATIENCE_S) == 0
    assert emitter.accounting().delivered == 4000
    assert sequences(stored_events(topics_only)) == {emitter.emitter_id.hex(): list(range(4000))}


def test_a_dropped_event_leaves_a_gap(topics_only: Settings) -> None:
    """What could not be sent took a sequence number: the gap on the topic is the loss."""
    with StepEmitter(topics_only, kafka_options={"message.max.bytes": "2000"}) as emitter:
        for number in range(10):
            emit(emitter, 1, details={"text": "x" * 3000 if number in (3, 7) else "x"})
        assert emitter.flush(PATIENCE_S) == 0
        assert dict(emitter.accounting().dropped) == {"too_large": 2}
    assert sequences(stored_events(topics_only)) == {emitter.emitter_id.hex(): [0, 1, 2, 4, 5, 6, 8, 9]}


def limit_batches(topics_only: Settings) -> None:
    configure_topic(topics_only, Topics.from_settings(topics_only).steps.name, "max.message.bytes", "2000")


def too_large() -> dict[str, Any]:
    return {"text": os.urandom(20_000).hex()}  # which compression does not make small


def test_the_broker_refuses_what_is_too_large_for_it(topics_only: Settings, emitter: StepEmitter) -> None:
    """What the broker refuses counts as failed under that reason; the others are delivered."""
    limit_batches(topics_only)
    small = {"text": "x"}
    emit(emitter, 1, details=small)
    assert emitter.flush(PATIENCE_S) == 0
    emitter.emit(doc_id="large", step_name="ocr", status=RUNNING, details=too_large())
    assert emitter.flush(PATIENCE_S) == 0
    emit(emitter, 1, details=small)
    assert emitter.flush(PATIENCE_S) == 0
    accounting = emitter.accounting()
    assert dict(accounting.failed) == {"refused_by_broker": 1}
    assert (accounting.delivered, accounting.lost, accounting.maybe_delivered) == (2, 1, 0)
    assert accounting.balanced


def test_a_late_refusal_is_maybe_delivered(topics_only: Settings) -> None:
    """What is refused later than a first try takes may have been stored by one before, whose answer was lost."""
    limit_batches(topics_only)
    with StepEmitter(topics_only, linger_ms=1_500) as emitter:
        emit(emitter, 1, details=too_large())
        assert emitter.flush(PATIENCE_S) == 0
        accounting = emitter.accounting()
        assert dict(accounting.failed) == {"refused_late": 1}
        assert (accounting.lost, accounting.maybe_delivered) == (0, 1)


def test_a_topic_that_is_missing(topics_only: Settings) -> None:
    """Without its topic events fail as refused, and nothing raises."""
    with StepEmitter(
        topics_only,
        topic_prefix=f"{topics_only.topic_prefix}_missing",
        kafka_options={"topic.metadata.propagation.max.ms": "200"},
    ) as emitter:
        emit(emitter, 20)
        assert emitter.flush(PATIENCE_S) == 0
        assert dict(emitter.accounting().failed) == {"refused_by_broker": 20}


def test_under_asyncio(topics_only: Settings) -> None:
    """Coroutines record steps as they are; none is lost."""
    manager = ProcessingStepManager(emit_only(topics_only))

    async def work(number: int) -> None:
        async with manager.step(f"doc {number}", "work"):
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(work(number) for number in range(300)))
        assert await asyncio.to_thread(manager.flush, PATIENCE_S) == 0

    asyncio.run(main())
    manager.close()
    statuses = Counter(record.event.status for record in stored_events(topics_only))
    assert statuses == {RUNNING: 300, SUCCESS: 300}


def test_the_three_workflows(topics_only: Settings) -> None:
    """Basic, retry and parallel, as people write them, end on the topic as they should."""
    manager = ProcessingStepManager(emit_only(topics_only))
    basic(manager, "basic", lambda: {"pages": 3})
    failures = [OSError("busy"), OSError("busy")]

    def flaky() -> dict[str, Any]:
        if failures:
            raise failures.pop()
        return {"rows": 5}

    retry(manager, "retry", flaky, max_retries=3)

    async def section(name: str) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"section": name}

    asyncio.run(parallel(manager, "parallel", ["a", "b"], section))
    assert manager.flush(PATIENCE_S) == 0
    manager.close()
    told: dict[str, list[tuple[str, str, int]]] = {}
    for record in sorted(stored_events(topics_only), key=lambda record: record.event.sequence):
        event = record.event
        told.setdefault(event.doc_id, []).append((event.step_name, event.status.value, event.attempt))
    assert told["basic"] == [("process", "RUNNING", 1), ("process", "SUCCESS", 1)]
    assert told["retry"] == [
        ("process", "RUNNING", 1),
        ("process", "ERROR", 1),
        ("process", "RUNNING", 2),
        ("process", "ERROR", 2),
        ("process", "RUNNING", 3),
        ("process", "SUCCESS", 3),
    ]
    assert told["parallel"] == [
        ("process_section_a", "RUNNING", 1),
        ("process_section_b", "RUNNING", 1),
        ("process_section_a", "SUCCESS", 1),
        ("process_section_b", "SUCCESS", 1),
    ]
