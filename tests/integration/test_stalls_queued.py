"""What is queued and never begun, through the real tables: exactly that is found, whatever takes the rest."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from steptrail.consumers.health.rules import Observed
from steptrail.consumers.health.stall_detector import MOST_AT_ONCE, Applied, StallWatch
from steptrail.projections.clickhouse.client import connect
from steptrail.projections.reading.alert_examples import alert_examples
from steptrail.projections.reading.reader import Reader
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.status import ProcessingStatus as S
from support.effort import ONLY_IN_TEST_ALL
from support.kept_line import KeptLine
from support.projected import T0, Arrival, Tables, event

pytestmark = ONLY_IN_TEST_ALL

MINUTE = 60_000_000
TOPIC, TOPIC_ID = "made-up", "made-up-id"
DEADLINES = {("p", "ocr"): 600.0}
QUEUE_DEADLINES = {("p", "ocr"): 1800.0, ("p", "embed"): 3600.0}
HOURS = 4


@dataclass
class History:
    """Events by the broker's time; the executions that nobody ever begins, and those that somebody begins late."""

    arrivals: list[Arrival] = field(default_factory=list)
    forgotten: set[bytes] = field(default_factory=set)
    late: set[bytes] = field(default_factory=set)


KINDS = (
    "here",
    "elsewhere",
    "ended elsewhere",
    "forgotten",
    "twice",
    "late here",
    "late elsewhere",
    "retry",
    "other",
)


def a_history(rng: random.Random, documents: int) -> History:
    """Queued here and begun here or in another process, in time, late or never; retried; by wrong clocks; twice."""
    history = History()
    for number in range(documents):
        kind = KINDS[number % len(KINDS)]
        step = "other" if kind == "other" else rng.choice(["ocr", "embed"])
        queued = rng.randint(0, (HOURS - 3) * 60) * MINUTE
        first, second, third = 3 * number + 1, 3 * number + 2, 3 * number + 3
        clock = rng.choice([0, 0, 0, -30 * MINUTE, -2 * 1440 * MINUTE])

        def said(
            status: S,
            at: int,
            execution: int,
            attempt: int = 1,
            *,
            clock: int = clock,
            where: tuple[str, str] = (f"d{number}", step),
        ) -> None:
            doc, name = where
            one = event(status, at + clock, execution=execution, doc_id=doc, step_name=name, attempt=attempt)
            history.arrivals.append((one, T0 + at))
            if rng.random() < 0.1:
                history.arrivals.append((one, T0 + at + rng.randint(0, 30) * 1_000_000))

        said(S.PENDING, queued, first)
        soon, late = queued + rng.randint(1, 25) * MINUTE, queued + 90 * MINUTE
        if kind == "here":
            said(S.RUNNING, soon, first)
            said(S.SUCCESS, soon + MINUTE, first)
        elif kind in ("elsewhere", "ended elsewhere"):
            if kind == "elsewhere":
                said(S.RUNNING, soon, second)
            said(S.SUCCESS, soon + MINUTE, second)
        elif kind == "late here":
            history.late.add(first.to_bytes(16, "big"))
            said(S.RUNNING, late, first)
            said(S.SUCCESS, late + MINUTE, first)
        elif kind == "late elsewhere":
            history.late.add(first.to_bytes(16, "big"))
            said(S.RUNNING, late, second)
            said(S.SUCCESS, late + MINUTE, second)
        elif kind == "retry":  # queued anew in the moment in which it failed, and forgotten then
            said(S.RUNNING, soon, second)
            said(S.ERROR, soon + MINUTE, second)
            said(S.PENDING, soon + MINUTE + 1000, third, 2)
            history.forgotten.add(third.to_bytes(16, "big"))
        elif kind in ("forgotten", "twice"):
            history.forgotten.add(first.to_bytes(16, "big"))
            if kind == "twice":
                said(S.PENDING, soon, second)
    history.arrivals.sort(key=lambda arrival: arrival[1])
    return history


@pytest.mark.parametrize("seed", range(2))
def test_exactly_what_nobody_begins_is_found(workspace: Settings, seed: int) -> None:
    """Each once, only when it is late; what is begun late is taken back; what has no deadline waits for ever."""
    rng = random.Random(seed)
    history = a_history(rng, 200)
    now = [T0]
    with connect(workspace) as clickhouse:
        tables, line = Tables(clickhouse), KeptLine(clickhouse, lambda: now[0] // 1000)
        watch = StallWatch(clickhouse, line, steps_topic=TOPIC, decided_by="test")
        position = 0
        for minute in range(0, HOURS * 60 + 1, 10):
            now[0] = T0 + minute * MINUTE
            batch = []
            while position < len(history.arrivals) and history.arrivals[position][1] <= now[0]:
                batch.append(history.arrivals[position])
                position += 1
            if batch:
                tables.write(batch)
            line.project()
            if rng.random() < 0.1:  # another member goes on: it knows nothing of former looks
                watch = StallWatch(clickhouse, line, steps_topic=TOPIC, decided_by="test")
            applied = Applied(TOPIC_ID, {0: position - 1} if position else {})
            for each in watch.look(now[0] / 1e6, DEADLINES, applied, None, QUEUE_DEADLINES):
                assert each.execution.queued
                if each.what is Observed.STALLED:
                    deadline = QUEUE_DEADLINES[each.execution.pipeline, each.execution.step]
                    assert each.watermark >= each.execution.started_at + deadline + 60
            if rng.random() < 0.1:
                clickhouse.command("OPTIMIZE TABLE step_executions FINAL")
        line.project()
        said = {each.execution_id for each in line.kept if each.what is Observed.STALLED}
        assert history.forgotten <= said <= history.forgotten | history.late
        assert said & history.late
        assert len([each for each in line.kept if each.what is Observed.STALLED]) == len(said), "each once"
        assert {each.status for each in line.kept if each.what is Observed.STALLED} == {S.PENDING}
        reader = Reader(clickhouse)
        standing = reader.stalls()
        assert {each.execution_id.bytes for each in standing} == history.forgotten
        assert all(each.queued and each.sentence.startswith("PENDING for ") for each in standing)
        assert [each.stands for each in reader.observations(None, standing[0].doc_id)] == [True]
        examples = alert_examples(clickhouse, "stalled", "p", "ocr")
        assert len(examples) == 3
        assert set(examples) <= {each.doc_id for each in standing}


def test_what_is_begun_at_last_and_hangs_is_told_twice(workspace: Settings) -> None:
    """PENDING for too long, taken back when it runs, and then late as what runs; in the order of one story."""
    now = [T0 + 60 * MINUTE]
    with connect(workspace) as clickhouse:
        tables, line = Tables(clickhouse), KeptLine(clickhouse, lambda: now[0] // 1000)
        watch = StallWatch(clickhouse, line, steps_topic=TOPIC, decided_by="test")

        def look(applied: int) -> list[tuple[str, str]]:
            found = watch.look(
                now[0] / 1e6, DEADLINES, Applied(TOPIC_ID, {0: applied - 1}), None, QUEUE_DEADLINES
            )
            line.project()
            return [(each.what.value, each.sentence) for each in found]

        where: dict[str, Any] = {"execution": 1, "doc_id": "d", "step_name": "ocr"}
        tables.write([(event(S.PENDING, 0, **where), T0)])
        assert look(1) == [("STALLED", "PENDING for 3600 s and nobody has begun it; deadline 1800 s")]
        assert look(1) == []
        tables.write([(event(S.RUNNING, 61 * MINUTE, **where), T0 + 61 * MINUTE)])
        now[0] = T0 + 62 * MINUTE
        assert look(2) == [("RETRACTED", "it was begun, or a later execution arrived after all")]
        now[0] = T0 + 90 * MINUTE
        assert look(2) == [("STALLED", "started 1740 s ago and has not ended; deadline 600 s")]
        reader = Reader(clickhouse)
        assert [(each.queued, each.stands) for each in reader.observations(None, "d")] == [
            (True, False),
            (False, False),  # it was RUNNING by then
            (False, True),
        ]


def test_a_dead_queue_of_any_length_is_found(workspace: Settings) -> None:
    """541 tasks and 5,200 more: none is left out though one look says only so many, and a later look is not slower."""
    now = [T0 + 60 * MINUTE]
    with connect(workspace) as clickhouse:
        tables, line = Tables(clickhouse), KeptLine(clickhouse, lambda: now[0] // 1000)
        watch = StallWatch(clickhouse, line, steps_topic=TOPIC, decided_by="test")
        many = MOST_AT_ONCE + 741
        tables.write(
            (event(S.PENDING, 0, execution=number + 1, doc_id=f"d{number}", step_name="ocr"), T0)
            for number in range(many)
        )
        applied = Applied(TOPIC_ID, {0: many - 1})
        found = 0
        while more := watch.look(now[0] / 1e6, {}, applied, None, QUEUE_DEADLINES):
            found += len(more)
            line.project()
        assert found == many
