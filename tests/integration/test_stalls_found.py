"""Random histories through the real tables: exactly the stuck executions are found, whatever goes wrong meanwhile."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from steptrail.consumers.health.rules import Observation, Observed
from steptrail.consumers.health.stall_detector import MOST_AT_ONCE, Applied, StallWatch
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.reading.reader import Reader
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.event import StepEvent, datetime_from_us
from steptrail.schemas.fold import JOIN_WITHIN_US
from steptrail.schemas.status import ProcessingStatus as S
from support.effort import ONLY_IN_TEST_ALL, effort
from support.kept_line import KeptLine, KilledError
from support.projected import T0, Arrival, Tables, event

pytestmark = ONLY_IN_TEST_ALL

MINUTE = 60_000_000
HOURS = 3
DEADLINES = {("p", "ocr"): 600.0, ("p", "embed"): 1200.0}
TABLES_TOPIC, TABLES_TOPIC_ID = "made-up", "made-up-id"


@dataclass
class History:
    """Events by the broker's time, and the truth about the executions: by id, as bytes."""

    arrivals: list[Arrival] = field(default_factory=list)
    stuck: set[bytes] = field(default_factory=set)
    late: set[bytes] = field(default_factory=set)


def a_history(rng: random.Random, documents: int) -> History:
    """Runs that end in time, hang, end late, only wait, are queued, retried or ended by who does not know their id.

    Clocks are days off, starts overtake endings, anything comes twice.
    """
    history = History()
    for number in range(documents):
        step = rng.choice(["ocr", "embed"])
        begun = rng.randint(0, (HOURS - 2) * 60) * MINUTE
        first, second = 2 * number + 1, 2 * number + 2
        kind = rng.choice(
            ["ends"] * 5
            + [
                "hangs",
                "late",
                "waits",
                "queued",
                "retried",
                "stranger",
                "no rule",
                "queued elsewhere",
                "requeued",
            ]
        )
        clocks = [0, 0, 0, -3 * 1440 * MINUTE, -30 * MINUTE]
        # Of a clock ahead only the broker's time counts, by which a copy of the first run may be the latest event.
        clock = rng.choice(
            clocks
            if kind in ("retried", "stranger", "requeued", "queued elsewhere")
            else [*clocks, 1440 * MINUTE]
        )
        where = {"doc_id": f"doc-{number}", "step_name": "other" if kind == "no rule" else step}

        def said(
            status: S, at: int, execution: int, clock: int = clock, where: dict[str, str] = where
        ) -> None:
            one = event(status, at + clock, execution=execution, **where)
            history.arrivals.append((one, T0 + at))
            if rng.random() < 0.1:
                history.arrivals.append((one, T0 + at + rng.randint(0, 30) * 1_000_000))

        quick = rng.randint(1, 500) * 1_000_000
        if kind == "waits":
            said(S.PENDING, begun, first)
            continue
        if kind == "queued":  # for longer than any deadline; its run is short
            said(S.PENDING, begun, first)
            begun += 40 * MINUTE
            kind = "ends"
        if kind == "queued elsewhere":  # under an id of its own, by a clock that may be a little ahead
            said(S.PENDING, begun + rng.choice([-20 * MINUTE, 500_000]), second)
            kind = "hangs"
        overtaken = kind == "ends" and rng.random() < 0.2
        said(S.RUNNING, begun + (quick + 5_000_000 if overtaken else 0), first)
        if kind == "ends":
            said(S.SUCCESS, begun + quick, first)
        elif kind == "hangs":
            history.stuck.add(first.to_bytes(16, "big"))
        elif kind == "late":
            history.late.add(first.to_bytes(16, "big"))
            said(S.SUCCESS, begun + rng.randint(30, 60) * MINUTE, first)
        elif kind == "retried":  # without an ending: the second run supersedes the first
            said(S.RUNNING, begun + quick, second)
            said(S.ERROR, begun + quick + 60_000_000, second)
        elif kind == "requeued":  # the run died; another waits
            # Within that time the two are one execution, queued and run by processes whose clocks differ.
            said(S.PENDING, begun + max(quick, 2 * JOIN_WITHIN_US), second)
        elif kind == "stranger":
            said(S.SUCCESS, begun + quick, second)
    history.arrivals.sort(key=lambda arrival: arrival[1])
    return history


class Members:
    """One member after the other that looks, killed now and then; and what it told the judge."""

    def __init__(self, clickhouse: ClickHouse, line: KeptLine) -> None:
        self._clickhouse, self._line = clickhouse, line
        self.told: dict[bytes, int] = {}
        self.kills = 0
        self._watch: StallWatch | None = None

    def look(self, watermark_us: int, applied: int) -> StallWatch | None:
        """A look at a watermark, with so many events applied; None when the member was killed in it."""
        if self._watch is None:
            self._watch = StallWatch(
                self._clickhouse, self._line, steps_topic=TABLES_TOPIC, decided_by=f"test:{self.kills}"
            )
            self._line.project()
            self.told = {each.execution.execution_id: 1 for each in self._watch.standing()}
        try:
            offsets = {0: applied - 1} if applied else {}
            found = self._watch.look(watermark_us / 1e6, DEADLINES, Applied(TABLES_TOPIC_ID, offsets))
        except KilledError:
            self._watch = None
            self.kills += 1
            return None
        self._hear(found)
        return self._watch

    def _hear(self, found: Sequence[Observation]) -> None:
        for each in found:
            change = 1 if each.what is Observed.STALLED else -1
            self.told[each.execution.execution_id] = self.told.get(each.execution.execution_id, 0) + change
            assert self.told[each.execution.execution_id] in (0, 1), "told twice"


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(effort(1, 5)))
def test_precision_and_recall_are_one(workspace: Settings, seed: int) -> None:
    """Reordering, duplicates, wrong clocks, a projector and a consumer that stand still, kills, lost answers."""
    rng = random.Random(seed)
    history = a_history(rng, 400)
    now = [T0]
    with connect(workspace) as clickhouse:
        tables, line = Tables(clickhouse), KeptLine(clickhouse, lambda: now[0] // 1000)
        line.rng = rng
        members = Members(clickhouse, line)
        position, projected, watermark = 0, 0, T0
        backlog: list[Arrival] = []
        for minute in range(0, HOURS * 60 + 1, 2):
            now[0] = T0 + minute * MINUTE
            consumer_stands, projector_stands = 60 <= minute < 80, 90 <= minute < 110
            if not consumer_stands:
                while position < len(history.arrivals) and history.arrivals[position][1] <= now[0]:
                    backlog.append(history.arrivals[position])
                    position += 1
                watermark = now[0]
            if not projector_stands and backlog:
                tables.write(backlog)
                projected += len(backlog)
                backlog = []
            if rng.random() < 0.9:
                line.project()
            watch = members.look(watermark, position)
            if watch is not None and projected < position:
                assert watch.status.waiting_for is not None
            if rng.random() < 0.05:
                clickhouse.command("OPTIMIZE TABLE steps FINAL")
                clickhouse.command("OPTIMIZE TABLE step_executions FINAL")
        line.rng = None
        for _ in range(3):
            line.project()
            members.look(now[0], position)

        said = {each.execution_id for each in line.kept if each.what is Observed.STALLED}
        assert history.stuck
        assert history.late
        assert history.stuck <= said <= history.stuck | history.late  # recall; precision
        assert members.kills > 0
        ids = [each.observation_id for each in line.kept]
        assert len(ids) == len(set(ids))
        standing = {each.execution_id.bytes for each in Reader(clickhouse).stalls()}
        assert standing == history.stuck
        assert {key for key, count in members.told.items() if count} == history.stuck


def late_run(number: int, doc_id: str, **more: object) -> tuple[StepEvent, int]:
    started = event(S.RUNNING, 0, execution=number, doc_id=doc_id, step_name="ocr", **more)
    return started, T0


def test_a_run_that_is_current_again_stalls_anew(workspace: Settings) -> None:
    """STALLED, RETRACTED, STALLED: each is said once, and the last one holds."""
    now = [T0 + 60 * MINUTE]
    with connect(workspace) as clickhouse:
        tables, line = Tables(clickhouse), KeptLine(clickhouse, lambda: now[0] // 1000)
        members, reader = Members(clickhouse, line), Reader(clickhouse)

        def look(applied: int) -> None:
            members.look(now[0], applied)
            line.project()
            members.look(now[0], applied)

        first, _ = late_run(1, "d")
        tables.write([(first, T0)])
        look(1)
        tables.write([event(S.SUCCESS, MINUTE, execution=2, doc_id="d", step_name="ocr")])
        look(2)
        assert reader.stalls() == []
        tables.write([(replace(first, event_id=bytes([1] * 16), timestamp=T0 + 2 * MINUTE), T0 + 2 * MINUTE)])
        look(3)
        assert [(each.number, each.what.value) for each in line.kept] == [
            (1, "STALLED"),
            (2, "RETRACTED"),
            (3, "STALLED"),
        ]
        (stall,) = reader.stalls()
        assert (stall.number, stall.started_at) == (3, datetime_from_us(T0))
        found = reader.observations(None, "d")
        assert [(each.what.value, each.stands) for each in found] == [
            ("STALLED", False),
            ("RETRACTED", False),
            ("STALLED", True),
        ]
        assert found[1].status is S.RUNNING  # superseded, not ended


def test_many_at_once_and_strange_names(workspace: Settings) -> None:
    """More than one look says, more steps than one request names, documents of any length: all are found."""
    now = [T0 + 60 * MINUTE]
    steps = {("p", f"étape {number} " + "x" * 300): 600.0 for number in range(150)}
    with connect(workspace) as clickhouse:
        tables, line = Tables(clickhouse), KeptLine(clickhouse, lambda: now[0] // 1000)
        names = [name for _, name in steps]
        written = MOST_AT_ONCE + 500
        tables.write(
            (
                event(
                    S.RUNNING,
                    execution=number + 1,
                    doc_id=f"{number} ' \\ {'ü' * (2000 if number % 500 == 0 else 1)}",
                    step_name=names[number % len(names)],
                ),
                T0,
            )
            for number in range(written)
        )
        watch = StallWatch(clickhouse, line, steps_topic=TABLES_TOPIC, decided_by="test")
        applied = Applied(TABLES_TOPIC_ID, {0: written - 1})
        assert len(watch.look(now[0] / 1e6, steps, applied)) == MOST_AT_ONCE
        line.project()
        assert len(watch.look(now[0] / 1e6, steps, applied)) == 500
        line.project()
        assert watch.look(now[0] / 1e6, steps, applied) == []
        assert watch.status.stalled == written
        assert len(Reader(clickhouse).stalls()) == written
