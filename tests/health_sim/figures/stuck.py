"""Executions that never end, among many that do: are exactly those found, and only once they are late?

On the real path but for Kafka: events go into the tables of a real engine by the projections, slots are fetched from
there and judged, and the stall detector looks for what is late by the judge's deadlines.
"""

from __future__ import annotations

import math
import random
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.figure import Figure
from health_sim.simulation import FIRST_SLOT, Simulation
from steptrail.consumers.health.rules import Judge, Observed, OpenExecution, Rules, Watermark, observations
from steptrail.consumers.health.rules.slots import SLOT_S
from steptrail.consumers.health.slot_loader import fetch_slots
from steptrail.consumers.health.stall_detector import Applied, StallWatch
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.projections.delivery.batch import BatchBuilder
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.tables.health_events import HEALTH_EVENTS
from steptrail.projections.tables.step_events import STEP_EVENTS
from steptrail.schemas import ProcessingStatus, Settings
from steptrail.schemas.wire.codec import encode_event
from steptrail.schemas.wire.framing import frame_single_object
from support.engine import running_engine
from support.kept_line import KeptLine
from support.projected import event

PARTITIONS = 4
STEPS = {"ocr": (20_000.0, 0.6, 0.5), "embed": (400.0, 1.0, 1.0), "review": (240_000.0, 0.4, 0.05)}
"""Median ms, sigma, executions a second."""
STUCK_SHARE = 0.002
LATE_SHARE = 0.001
LATE_MS = (3.6e6, 4.8e6)
"""Some end an hour late: that they are stalled is true until then, and has to be taken back."""
LOOK_S = 300
READ_AT_ONCE = (300, 1200, 6000)
"""So many events of a partition are read between two looks: one of these, at random."""
TOPIC = "made-up"

START = FIRST_SLOT * SLOT_S // LOOK_S * LOOK_S + LOOK_S


@dataclass(order=True)
class Event:
    """One event of one execution, at its broker time; `duration_ms` says that it is an ending."""

    at: float
    execution: int
    step: str = field(compare=False)
    duration_ms: float | None = field(compare=False, default=None)
    sent_at: float = field(compare=False, default=0.0)

    def framed(self) -> bytes:
        """Its message's value; a copy has the same."""
        ends = self.duration_ms is not None
        status = ProcessingStatus.SUCCESS if ends else ProcessingStatus.RUNNING
        made = event(
            status,
            execution=self.execution,
            event_id=(7 << 76 | 2 * self.execution + ends).to_bytes(16, "big"),
            doc_id=f"doc-{self.execution}",
            step_name=self.step,
            timestamp=round(self.sent_at * 1e6),
            duration_ms=self.duration_ms,
        )
        return frame_single_object(encode_event(made))


class Consumer:
    """A health consumer and a projector on the tables of one database, and what they found."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self._writers = [
            Projection(clickhouse, spec, topic=TOPIC, topic_id=TOPIC) for spec in (HEALTH_EVENTS, STEP_EVENTS)
        ]
        for writer in self._writers:
            writer.open(range(PARTITIONS))
        self.now = 0.0
        self.line = KeptLine(clickhouse, lambda: int(self.now * 1000))
        self._watch = StallWatch(clickhouse, self.line, steps_topic=TOPIC, decided_by="simulated")
        self.watermark, self.rules = Watermark(), Rules()
        self.judge = Judge(self.rules)
        self.positions = [0] * PARTITIONS
        self.open: dict[int, OpenExecution] = {}
        self.ended: set[int] = set()
        self.seen: set[int] = set()

    def read(self, rng: random.Random, logs: list[list[Event]]) -> None:
        """Read on in every partition, write what was read, and move the watermark on."""
        self.watermark.listed(self.now, range(PARTITIONS))
        builder, read = BatchBuilder(), list[Event]()
        for partition, log in enumerate(logs):
            first = position = self.positions[partition]
            end = position + rng.choice(READ_AT_ONCE)
            while position < min(end, len(log)) and log[position].at <= self.now:
                one = log[position]
                builder.add(partition, position, math.ceil(one.at * 1000), one.framed())
                read.append(one)
                position += 1
            self.positions[partition] = position
            if position > first:
                self.watermark.applied(partition, log[position - 1].at)
            if position == len(log) or log[position].at > self.now:
                self.watermark.probed(
                    partition, self.now, committed_end=position, end=position, consumed=position
                )
        if read:
            batch = builder.build()
            for writer in self._writers:
                writer.write(batch)
        for one in sorted(read):
            self._follow(one)

    def _follow(self, one: Event) -> None:
        """What is open, for the comparison with a wall clock."""
        self.seen.add(one.execution)
        if one.duration_ms is not None:
            self.ended.add(one.execution)
            self.open.pop(one.execution, None)
        elif one.execution not in self.ended and one.execution not in self.open:
            key = one.execution.to_bytes(16, "big")
            self.open[one.execution] = OpenExecution("p", one.step, f"doc-{one.execution}", key, one.at)

    def decide(self) -> None:
        """Judge the slots that are closed, then say which executions are stalled and which are not after all."""
        watermark = self.watermark.value
        if watermark is None:
            return
        first, end = self.judge.state.next_slot or START // SLOT_S, int(watermark // SLOT_S)
        if first < end:
            for slot in fetch_slots(self._clickhouse, self.rules, first, end):
                self.judge.fold(slot)
        self.line.project()
        offsets = {number: position - 1 for number, position in enumerate(self.positions) if position}
        found = self._watch.look(watermark, self.judge.deadlines(), Applied(TOPIC, offsets))
        if self._watch.status.waiting_for is not None:
            raise RuntimeError(f"nothing was decided: {self._watch.status.waiting_for}")
        self.judge.observe(found)
        self.line.project()


def measure(simulation: Simulation) -> list[Figure]:
    """Three steps for a day (the quick form: three hours); events out of order and twice; a pause of 20 minutes."""
    rng = random.Random(simulation.seed)
    seconds = simulation.amount(3, 24) * 3600
    logs, stuck, late = _history(rng, seconds)
    with (
        tempfile.TemporaryDirectory(prefix="steptrail-stuck-") as folder,
        running_engine(Path(folder)) as engine,
    ):
        url = f"http://default:{engine.password}@127.0.0.1:{engine.port}/stuck"
        with connect(Settings(clickhouse=url)) as clickhouse:
            migrate(clickhouse)
            consumer = Consumer(clickhouse)
            wall_clock = _consume(rng, consumer, logs, seconds)
    kept = consumer.line.kept
    said = {int.from_bytes(each.execution_id, "big") for each in kept if each.what is Observed.STALLED}
    back = {int.from_bytes(each.execution_id, "big") for each in kept if each.what is Observed.RETRACTED}
    standing = said - back
    precision, recall = len(said & (stuck | late)) / max(1, len(said)), len(said & stuck) / max(1, len(stuck))
    wall = len(wall_clock & (stuck | late)) / max(1, len(wall_clock))
    detail = {
        "executions": len(consumer.seen),
        "stuck": len(stuck),
        "said": len(said),
        "late": len(late),
        "retracted": len(back),
        "standing_wrongly": len(standing - stuck),
        "precision_by_the_wall_clock": wall,
        "step_verdicts": {key[1]: consumer.judge.step(key).status.value for key in consumer.judge.state.keys},
    }
    found = {"stuck": len(stuck), "found": len(said & stuck)}
    exact = precision == 1.0 and standing <= stuck
    return [
        Figure("stuck_precision", precision, "share", "== 1", exact, detail),
        Figure("stuck_recall", recall, "share", "== 1", recall == 1.0, found),
    ]


def _history(rng: random.Random, seconds: int) -> tuple[list[list[Event]], set[int], set[int]]:
    """Each partition's log by broker time, the executions that never end, and those that end an hour late.

    Those begin late enough for a deadline to be learned, and early enough for it to pass.
    """
    logs: list[list[Event]] = [[] for _ in range(PARTITIONS)]
    stuck: set[int] = set()
    late: set[int] = set()
    number = 0
    for step, (median, sigma, rate) in STEPS.items():
        at = START + rng.expovariate(rate)
        while at < START + seconds:
            number += 1
            log = logs[number % PARTITIONS]
            duration = min(rng.lognormvariate(0, sigma) * median, 2.8 * median * 2.72 ** (2.326 * sigma))
            amid = 3600 < at - START < seconds - 3600
            hangs = amid and rng.random() < STUCK_SHARE
            if amid and not hangs and at - START < seconds - 6000 and rng.random() < LATE_SHARE:
                late.add(number)
                duration = rng.uniform(*LATE_MS)
            # A producer's queue may deliver the start after the ending, seconds late, and anything twice.
            begin = at + (rng.uniform(0, 8) if rng.random() < 0.05 else 0)
            events = [Event(begin, number, step, sent_at=at)]
            if hangs:
                stuck.add(number)
            else:
                ended = at + duration / 1000
                events.append(Event(ended, number, step, duration, ended))
            for one in events:
                log.append(one)
                if rng.random() < 0.05:
                    log.append(replace(one, at=one.at + rng.uniform(0, 60)))
            at += rng.expovariate(rate)
    for log in logs:
        log.sort()
    return logs, stuck, late


def _consume(rng: random.Random, consumer: Consumer, logs: list[list[Event]], seconds: int) -> set[int]:
    """Read it all, five minutes at a time; return what a wall clock would have found."""
    wall_clock: set[int] = set()
    stands = (START + seconds / 2, START + seconds / 2 + 1200)
    for now in range(START + LOOK_S, START + seconds + LOOK_S, LOOK_S):
        consumer.now = now
        if not stands[0] <= now < stands[1]:
            consumer.read(rng, logs)
        consumer.decide()
        late = observations(consumer.open.values(), {}, consumer.judge.deadlines(), now)
        wall_clock |= {int.from_bytes(each.execution.execution_id, "big") for each in late}
    return wall_clock
