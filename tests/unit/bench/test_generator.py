"""The benchmark's generator: what it makes is what the figures are measured on."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

from bench.generator import generate
from steptrail.producers import InMemoryStorage
from steptrail.schemas import ProcessingStatus, decode_event, encode_event

EVENTS = list(generate(5000))


def test_the_same_seed_gives_the_same_events() -> None:
    """Figures of two days are of the same work."""
    assert list(generate(1000)) == EVENTS[:1000]
    assert list(generate(1000, seed=8)) != EVENTS[:1000]


def test_every_event_passes_the_strict_decoder() -> None:
    """They are events as emitters send them, not only bytes of their size."""
    for event in EVENTS:
        assert decode_event(encode_event(event)) == event
        assert isinstance(json.loads(event.details), dict)


def test_events_come_in_order_of_time_and_ids_are_uuid7_of_it() -> None:
    """As on a topic: time ascends, and so do the first 48 bits of the ids."""
    times = [event.timestamp for event in EVENTS]
    assert times == sorted(times)
    for event in EVENTS:
        assert int.from_bytes(event.event_id[:6], "big") == event.timestamp // 1000
        assert event.event_id[6] >> 4 == 7
        assert event.event_id[8] >> 6 == 2
    assert len({event.event_id for event in EVENTS}) == len(EVENTS)


def test_ids_are_made_as_emitters_make_them() -> None:
    """The emitter's own bits, then its sequence; a run has the id of its first event. Room is measured on such."""
    storage = InMemoryStorage()
    for status in ("RUNNING", "SUCCESS", "SKIPPED"):
        storage.emit(doc_id="doc", step_name="ocr", status=ProcessingStatus(status))
    for events in (storage.events(), EVENTS):
        own: dict[bytes, set[int]] = defaultdict(set)
        begun = set()
        for event in events:
            own[event.emitter_id].add(
                (int.from_bytes(event.event_id, "big") & (1 << 80) - 1) - event.sequence
            )
            if event.execution_id not in begun:
                assert event.execution_id == event.event_id
                begun.add(event.execution_id)
        assert all(len(bits) == 1 for bits in own.values())


def test_the_mix_is_that_of_real_pipelines() -> None:
    """Mostly success; some retries, failures, warnings and skipped steps; several pipelines and workers."""
    statuses = Counter(event.status for event in EVENTS)
    assert statuses[ProcessingStatus.SUCCESS] > 0.9 * statuses[ProcessingStatus.RUNNING]
    for status in ("ERROR", "WARNING", "SKIPPED", "FAILED"):
        assert 0 < statuses[ProcessingStatus(status)] < len(EVENTS) / 20
    assert len({event.pipeline for event in EVENTS}) == 3
    assert len({event.worker for event in EVENTS}) == 16
    assert any(event.attempt > 1 for event in EVENTS)


def test_an_execution_has_one_beginning_and_one_ending_at_most() -> None:
    """RUNNING and its ending share an execution; emitters number their events without gaps."""
    executions: dict[bytes, list[ProcessingStatus]] = defaultdict(list)
    sequences: dict[bytes, list[int]] = defaultdict(list)
    for event in EVENTS:
        executions[event.execution_id].append(event.status)
        sequences[event.emitter_id].append(event.sequence)
    for statuses in executions.values():
        assert statuses[0] in (ProcessingStatus.RUNNING, ProcessingStatus.SKIPPED)
        assert len(statuses) <= 2
        assert not any(status is ProcessingStatus.RUNNING for status in statuses[1:])
    for numbers in sequences.values():
        assert numbers == list(range(len(numbers)))
