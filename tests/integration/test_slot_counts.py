"""Counts by slot, on the real engine, against a count in Python."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from steptrail.consumers.health.rules.sketch import bin_of
from steptrail.projections.aggregates.slot_counts import Bound, first_slot_with_events, slot_counts
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.delivery.batch import BatchBuilder
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.reading.health_losses import (
    LossCounts,
    loss_totals,
    losses_by_slot,
    record_losses,
    recorded_losses,
)
from steptrail.projections.stores.health_store import (
    RING,
    SightRow,
    Snapshot,
    VerdictRow,
    latest_sight,
    snapshots,
    write_sight,
    write_snapshot,
    write_verdicts,
)
from steptrail.projections.tables.health_events import HEALTH_EVENTS
from steptrail.schemas.status import ProcessingStatus as S
from steptrail.schemas.wire.codec import encode_event
from steptrail.schemas.wire.framing import frame_single_object
from support.projected import T0, event
from support.stack import Stack, new_workspace

FIRST = T0 // 1_000_000 // 5


@pytest.fixture
def store(stack: Stack) -> Iterator[ClickHouse]:
    with new_workspace(stack) as settings, connect(settings) as clickhouse:
        yield clickhouse


def test_counts_agree_with_a_count_in_python(store: ClickHouse) -> None:
    """Random histories: disorder, copies in later slots, executions that begin with an ending, several pipelines.

    What was queued counts where it runs, and nowhere when it runs under another execution's id.
    """
    rng = random.Random(5)
    projection = Projection(store, HEALTH_EVENTS, topic="t", topic_id="t")
    projection.open([0])
    log = []
    for execution in range(1, 400):
        pipeline, step = rng.choice(["a", "b"]), rng.choice(["ocr", "parse", "embed"])
        history = [S.PENDING, S.RUNNING, rng.choice([S.SUCCESS, S.WARNING, S.ERROR, S.FAILED, S.SKIPPED])]
        history = history[rng.randrange(3) :]
        if rng.random() < 0.2:
            rng.shuffle(history)
        start = rng.uniform(0, 90)
        for number, status in enumerate(history):
            what = event(
                status,
                pipeline=pipeline,
                step_name=step,
                execution=execution,
                duration_ms=rng.choice([None, 0.0, 0.1, rng.lognormvariate(3, 3)]),
                metrics=rng.choice(["{}", '{"pages": 3}', '{"pages": 30.5}', '{"pages": "many"}']),
            )
            log.append((start + 4 * number, what))
            if rng.random() < 0.1:
                log.append((start + 4 * number + rng.uniform(0, 30), what))
    log.sort(key=lambda entry: entry[0])
    at = 0
    while at < len(log):
        size = rng.randrange(1, 200)
        builder = BatchBuilder()
        for offset, (seconds, what) in enumerate(log[at : at + size], at):
            builder.add(0, offset, T0 // 1000 + int(seconds * 1000), frame_single_object(encode_event(what)))
        projection.write(builder.build())
        at += size

    expected: dict[tuple[int, str, str], dict[str, Any]] = {}
    seen, known = set(), set()
    bounds = [Bound("duration_ms", 50.0, False), Bound("pages", 10.0, True)]
    for seconds, what in log:
        if what.event_id in seen:
            continue
        seen.add(what.event_id)
        slot = (T0 // 1000 + int(seconds * 1000)) // 5000
        row = expected.setdefault(
            (slot, what.pipeline, what.step_name),
            {"counts": [0] * 6, "bins": {}, "measured": [[0, 0], [0, 0]]},
        )
        counts, bins, measured = row["counts"], row["bins"], row["measured"]
        counts[0] += 1
        if what.status is S.PENDING:
            continue
        if what.status is S.RUNNING:
            counts[1] += what.execution_id not in known
        else:
            place = {S.SUCCESS: 2, S.WARNING: 3, S.ERROR: 4, S.FAILED: 4, S.SKIPPED: 5}[what.status]
            counts[place] += 1
            if what.duration_ms is not None:
                measured[0][0] += 1
                measured[0][1] += what.duration_ms > 50
                if place in (2, 3):
                    number = int(bin_of(what.duration_ms))
                    bins[number] = bins.get(number, 0) + 1
            if what.metrics in ('{"pages": 3}', '{"pages": 30.5}'):
                measured[1][0] += 1
                measured[1][1] += what.metrics == '{"pages": 3}'
        known.add(what.execution_id)

    found: dict[tuple[int, str, str], dict[str, Any]] = {}
    for first in range(FIRST, FIRST + 40, 7):
        for each in slot_counts(store, first, first + 7, bounds):
            counts = [each.arrived, each.started, each.succeeded, each.warned, each.failed, each.skipped]
            found[each.slot, each.pipeline, each.step] = {
                "counts": counts,
                "bins": dict(each.durations),
                "measured": [list(pair) for pair in each.measured],
            }
    assert found == expected
    assert first_slot_with_events(store) == min(slot for slot, _, _ in expected)


def test_losses_are_counted_from_tables_and_kept_as_facts(store: ClickHouse) -> None:
    """Totals from reports, gaps and dead letters; recorded by slot, unless somebody else was faster."""
    assert recorded_losses(store) == (None, {})
    store.command(
        "INSERT INTO emitter_reports "
        "(emitter_id, pipeline, kind, accepted, failed, maybe_delivered, dropped, broker_time, kafka_offset) "
        "SELECT 'e1', 'p', 'RUNNING', 100, n, 1, 2 * n, fromUnixTimestamp64Milli(1700000000000 + n * 1000, 'UTC'), n "
        "FROM (SELECT arrayJoin([1, 5]) AS n)"
    )
    store.command(
        "INSERT INTO emitter_sequences SELECT 'e2', 0, 0b10011, 'w', 'p', at, at "
        "FROM (SELECT toDateTime64('2023-11-14 22:13:20.000', 3, 'UTC') AS at)"
    )
    store.command(
        "INSERT INTO dead_letters (topic, source_offset, pipeline, broker_time) "
        "SELECT 't', number % 3, 'q', toDateTime64('2023-11-14 22:13:20.000', 3, 'UTC') FROM numbers(6)"
    )
    now = datetime(2024, 1, 1, tzinfo=timezone.utc)
    assert loss_totals(store, now, now) == {"p": LossCounts(14, 2, 0), "q": LossCounts(0, 0, 3)}
    early = now - timedelta(days=365)
    assert loss_totals(store, early, early) == {}

    record_losses(store, 10, {"": LossCounts()}, after=None, counted=False)
    record_losses(store, 20, {"p": LossCounts(1, 2, 3), "q": LossCounts(0, 0, 1)}, after=10)
    record_losses(store, 21, {"p": LossCounts(9, 9, 9)}, after=10)  # by one that was too late
    latest, sums = recorded_losses(store)
    assert latest == 20
    assert sums == {"": LossCounts(), "p": LossCounts(1, 2, 3), "q": LossCounts(0, 0, 1)}
    assert losses_by_slot(store, 0, 30) == {20: {"p": LossCounts(1, 2, 3), "q": LossCounts(0, 0, 1)}}


def test_what_is_kept_comes_back(store: ClickHouse) -> None:
    """Snapshots in a ring, the newest first; verdicts once however often they are written; the latest sight."""
    assert latest_sight(store) is None
    assert list(snapshots(store)) == []
    for number in range(RING + 3):
        write_snapshot(
            store, Snapshot(number, 5.5 * number, {0: number, 12: 7}, bytes(range(256)), 1e9 + number, "me")
        )
    store.command("OPTIMIZE TABLE health_snapshots FINAL")
    kept = list(snapshots(store))
    assert [each.slot for each in kept] == list(range(RING + 2, 2, -1))
    assert kept[0] == Snapshot(
        RING + 2, 5.5 * (RING + 2), {0: RING + 2, 12: 7}, bytes(range(256)), 1e9 + RING + 2, "me"
    )

    row = VerdictRow("p", "s", 7, "CRITICAL", 35.0, 40.0, "it fails", "[]")
    gone = VerdictRow("p", "old", 9, "UNKNOWN", 45.0, 50.0, "", "[]", forgotten=True)
    for _ in range(2):
        write_verdicts(store, [row, gone])
    assert store.query("SELECT pipeline, step_name, slot, status, sentence FROM health_state") == [
        ("p", "s", 7, "CRITICAL", "it fails")
    ]
    sight = SightRow(float(int(time.time())), False, None, None, "the broker is away", 3, "me")
    write_sight(store, sight)
    assert latest_sight(store) == sight
