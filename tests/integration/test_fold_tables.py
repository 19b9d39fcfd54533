"""The tables fold as the pure fold does, whatever the order, repetition and cut of what arrives."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from steptrail.projections.clickhouse.client import connect
from steptrail.projections.reading.whole_document import whole_document
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.event import us_from_datetime
from steptrail.schemas.fold import Fold
from steptrail.schemas.status import ProcessingStatus as S
from support.effort import effort
from support.projected import T0, Arrival, Tables, event

DOCUMENTS = 120
VARIANTS = 4
LOOKED_AT_ALONE = effort(20, DOCUMENTS)

EMITTERS = [bytes([number] * 8) for number in range(4)]
EARLY = {EMITTERS[1]: (5, 3_000), EMITTERS[2]: (100, 900_000), EMITTERS[3]: (7, -500_000)}
"""Of so many of an emitter's first events, measured times lack so many microseconds."""

REPORT = """
INSERT INTO emitter_reports (emitter_id, pipeline, worker, kind, reasons)
VALUES ({emitter:String}, 'p', 'w', 'STARTED', {reasons:String})
"""
STATE = """
SELECT doc_id, step_name, toString(status), attempt, toString(execution_id), queued_at, started_at, updated_at,
       duration_ms, error_type, error_message, details, metrics, depends_on, executions, events
FROM step_state WHERE pipeline = {pipeline:String} ORDER BY doc_id, step_name
"""
EXECUTIONS = """
SELECT doc_id, step_name, toString(execution_id), toString(winner.4), winner.1, winner.2, winner.3, attempt,
       first_run, first_any, last_any
FROM step_executions FINAL WHERE pipeline = {pipeline:String} ORDER BY doc_id, step_name, execution_id
"""


def history(chance: random.Random, doc_id: str) -> list[Arrival]:
    """Few steps, executions and times, so that everything collides; clocks ahead and behind; some sent twice."""
    arrivals: list[Arrival] = []
    unit = chance.choice([1_000, 400_000])  # of times: also around what clocks may differ by
    for _ in range(chance.randint(1, 12)):
        time = chance.randint(0, 4) * unit
        one = event(
            chance.choice([*S, S.PENDING, S.PENDING]),
            time,
            execution=chance.choice([1, 2, 3, 4, 1 << 127, 1 << 63]),
            doc_id=doc_id,
            step_name=chance.choice("xy"),
            attempt=chance.randint(1, 3),
            duration_ms=chance.choice([None, 0.0, 1.5]),
            error_type=chance.choice([None, "", "ValueError"]),
            error_message=chance.choice([None, "", "bad"]),
            details=chance.choice(["{}", '{"a":1}']),
            metrics=chance.choice(["{}", '{"b":2}']),
            depends_on=chance.choice(["[]", '["a"]', '["b"]']),
            # Any order of ids, in either half of them; or made in the millisecond that the event tells.
            event_id=chance.choice([chance.randbytes(6), (T0 // 1000 + time // 1000).to_bytes(6, "big")])
            + chance.randbytes(10),
            emitter_id=chance.choice(EMITTERS),
            sequence=chance.randrange(10),
        )
        seen_at = [T0 + chance.randint(-2, 6) * unit for _ in range(chance.choice([1, 1, 2]))]
        arrivals += [(one, time) for time in seen_at]
    return arrivals


def variant(arrivals: Sequence[Arrival], number: int, chance: random.Random) -> list[list[Arrival]]:
    """The same arrivals in another pipeline: shuffled, some repeated, cut into batches anywhere."""
    moved = [(replace(one, pipeline=f"v{number}"), time) for one, time in arrivals]
    moved += chance.sample(moved, len(moved) // 3)
    chance.shuffle(moved)
    cuts = sorted(chance.sample(range(1, len(moved)), chance.randint(0, 4)))
    return [moved[start:end] for start, end in zip([0, *cuts], [*cuts, len(moved)], strict=True)]


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(1, effort(1, 3) + 1))
def test_tables_agree_with_the_pure_fold(workspace: Settings, seed: int) -> None:
    """step_state and step_executions say of every variant of a history what the pure fold says, merged or not."""
    chance = random.Random(seed)
    arrivals = [arrival for n in range(DOCUMENTS) for arrival in history(chance, f"doc-{n}")]
    fold = Fold()
    told = Fold()
    for one, broker_time in arrivals:
        fold.add(one, broker_time)
        told.add(one, broker_time)
    for emitter, (events, offset_us) in EARLY.items():
        fold.early_clock(emitter, events, offset_us)
    # What step_executions cannot know: which arrivals are copies of one event, and how far clocks were off.
    firsts: dict[tuple[str, str, bytes], list[tuple[int, bool]]] = {}
    for one, broker_time in arrivals:
        key = (one.doc_id, one.step_name, one.execution_id)
        firsts.setdefault(key, []).append((min(one.timestamp, broker_time), one.status is S.RUNNING))

    states = [
        (
            doc_id,
            step_name,
            now.current.status.value,
            now.current.attempt,
            _uuid(now.current.execution_id),
            now.current.queued_at,
            now.current.started_at,
            now.current.winner_time,
            now.current.winner.duration_ms,
            now.current.winner.error_type,
            now.current.winner.error_message,
            now.current.winner.details,
            now.current.winner.metrics,
            now.current.depends_on,
            now.executions,
            now.events,
        )
        for (_, doc_id, step_name), now in fold.steps().items()
    ]
    executions = [
        (
            one.doc_id,
            one.step_name,
            _uuid(one.execution_id),
            one.status.value,
            one.status.rank,
            one.winner_time,
            int.from_bytes(one.winner.event_id, "big"),
            one.attempt,
            min((time for time, running in firsts[key] if running), default=None),
            min(time for time, _ in firsts[key]),
            one.last_any,
        )
        for one in told.executions()
        for key in [(one.doc_id, one.step_name, one.execution_id)]
    ]

    with connect(workspace) as clickhouse:
        tables = Tables(clickhouse)
        for emitter, (events, offset_us) in EARLY.items():
            clock = {"offset_ms": 1.0, "early_events": events, "early_offset_ms": offset_us / 1000}
            reasons = json.dumps({"failed": {}, "dropped": {}, "clock": clock})
            clickhouse.command(REPORT, {"emitter": emitter.hex(), "reasons": reasons})
        for number in range(VARIANTS):
            for batch in variant(arrivals, number, chance):
                tables.write(batch)
        for merged in (False, True):
            if merged:
                tables.merge()
            for number in range(VARIANTS):
                asked = {"pipeline": f"v{number}"}
                assert _plain(clickhouse.query(STATE, asked)) == sorted(states), (seed, number, merged)
                found = _plain(clickhouse.query(EXECUTIONS, asked))
                assert sorted(found) == sorted(executions), (seed, number, merged)
            for doc_id in chance.sample(sorted({one.doc_id for one, _ in arrivals}), LOOKED_AT_ALONE):
                whole = whole_document(clickhouse, "v0", doc_id, 1000)
                assert whole is not None
                assert list(whole.states) == tables.reader.document_state("v0", doc_id), (
                    seed,
                    doc_id,
                    merged,
                )


def _plain(rows: Sequence[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return [
        tuple(us_from_datetime(value) if isinstance(value, datetime) else value for value in row)
        for row in rows
    ]


def _uuid(value: bytes) -> str:
    text = value.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
