"""Executions that never end, among many that do: are exactly those found, and only once they are late?"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from bench.figure import Figure
from health_sim.simulation import FIRST_SLOT, Simulation
from steptrail.consumers.health.rules import (
    Judge,
    Observation,
    Observed,
    OpenExecution,
    StepCounts,
    Watermark,
    observations,
    slot_of,
)
from steptrail.consumers.health.rules.sketch import bin_of
from steptrail.consumers.health.rules.slots import SLOT_S, SlotBuffer

PARTITIONS = 4
STEPS = {"ocr": (20_000.0, 0.6, 0.5), "embed": (400.0, 1.0, 1.0), "review": (240_000.0, 0.4, 0.05)}
"""Median ms, sigma, executions a second."""
STUCK_SHARE = 0.002
LATE_SHARE = 0.001
LATE_MS = (3.6e6, 4.8e6)
"""Some end an hour late: that they are stalled is true until then, and has to be taken back."""

START = FIRST_SLOT * SLOT_S


@dataclass(order=True)
class Event:
    """One event of one execution, at its broker time; `duration_ms` says that it is an ending."""

    at: float
    execution: int
    step: str = field(compare=False)
    duration_ms: float | None = field(compare=False, default=None)


class Consumer:
    """Folds what it has read: endings win over starts whatever their order, an execution counts once."""

    def __init__(self) -> None:
        self.watermark, self.buffer, self.judge = Watermark(), SlotBuffer(FIRST_SLOT), Judge()
        self.open: dict[bytes, OpenExecution] = {}
        self.started: set[int] = set()
        self.ended: set[int] = set()
        self.stalled: dict[bytes, OpenExecution] = {}
        self.said: list[Observation] = []

    def apply(self, partition: int, event: Event) -> None:
        """One event, in the order of its partition."""
        key, name = event.execution.to_bytes(16, "big"), ("p", event.step)
        counts = StepCounts()
        if event.duration_ms is None:
            if event.execution not in self.started:
                counts.started = 1
                if event.execution not in self.ended:
                    self.open[key] = OpenExecution(*name, f"doc-{event.execution}", key, event.at)
            self.started.add(event.execution)
        elif event.execution not in self.ended:
            self.ended.add(event.execution)
            self.open.pop(key, None)
            counts = StepCounts(succeeded=1, durations={int(bin_of(event.duration_ms)): 1})
        self.buffer.add(slot_of(event.at), {name: counts})
        self.watermark.record(partition, event.at)

    def decide(self) -> None:
        """Close slots, then say which executions are stalled and which are not after all."""
        for slot in self.buffer.closed(self.watermark.value):
            self.judge.fold(slot)
        if self.watermark.value is None:
            return
        for each in observations(
            self.open.values(), self.stalled, self.judge.deadlines(), self.watermark.value
        ):
            self.said.append(each)
            self.judge.observe([each])
            if each.what is Observed.STALLED:
                self.stalled[each.execution.execution_id] = each.execution
            else:
                del self.stalled[each.execution.execution_id]


def measure(simulation: Simulation) -> list[Figure]:
    """Six hours (the quick form: three) of three steps; events out of order and twice; a pause of 20 minutes."""
    rng = random.Random(simulation.seed)
    hours = simulation.amount(3, 24)
    logs, stuck, late = _history(rng, hours * 3600)
    consumer, wall_clock = _consume(rng, logs, hours * 3600)
    said = {
        int.from_bytes(o.execution.execution_id, "big") for o in consumer.said if o.what is Observed.STALLED
    }
    standing = {int.from_bytes(key, "big") for key in consumer.stalled}
    right = len(said & (stuck | late))
    precision, recall = right / max(1, len(said)), len(said & stuck) / max(1, len(stuck))
    wall = len(wall_clock & (stuck | late)) / max(1, len(wall_clock))
    detail = {
        "executions": len(consumer.started | consumer.ended),
        "stuck": len(stuck),
        "said": len(said),
        "late": len(late),
        "retracted": len(said) - len(standing),
        "standing_wrongly": len(standing - stuck),
        "precision_by_the_wall_clock": wall,
        "step_verdicts": {key[1]: consumer.judge.step(key).status.value for key in consumer.judge.state.keys},
    }
    return [
        Figure("stuck_precision", precision, "share", "== 1", precision == 1.0 and standing <= stuck, detail),
        Figure(
            "stuck_recall",
            recall,
            "share",
            "== 1",
            recall == 1.0,
            {"stuck": len(stuck), "found": len(said & stuck)},
        ),
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
            events = [Event(begin, number, step)]
            if hangs:
                stuck.add(number)
            else:
                events.append(Event(at + duration / 1000, number, step, duration))
            for event in events:
                log.append(event)
                if rng.random() < 0.05:
                    log.append(Event(event.at + rng.uniform(0, 60), number, step, event.duration_ms))
            at += rng.expovariate(rate)
    for log in logs:
        log.sort()
    return logs, stuck, late


def _consume(rng: random.Random, logs: list[list[Event]], seconds: int) -> tuple[Consumer, set[int]]:
    """Read it all in steps of 5 s; return the consumer, and what a wall clock would have said."""
    consumer = Consumer()
    positions = [0] * PARTITIONS
    wall_clock: set[int] = set()
    stands = (START + seconds / 2, START + seconds / 2 + 1200)
    for tick in range(seconds // SLOT_S):
        now = START + (tick + 1) * SLOT_S
        if not stands[0] <= now < stands[1]:
            consumer.watermark.listed(now, range(PARTITIONS))
            for partition, log in enumerate(logs):
                budget = rng.choice([20, 60, 200])
                while positions[partition] < len(log) and log[positions[partition]].at <= now and budget:
                    consumer.apply(partition, log[positions[partition]])
                    positions[partition] += 1
                    budget -= 1
                behind = positions[partition] < len(log) and log[positions[partition]].at <= now
                if not behind:
                    end = positions[partition]
                    consumer.watermark.probed(partition, now, committed_end=end, end=end, consumed=end)
        consumer.decide()
        if tick % 12 == 0:
            wall_clock |= _late_by(consumer, now)
    return consumer, wall_clock


def _late_by(consumer: Consumer, now: float) -> set[int]:
    late = observations(consumer.open.values(), {}, consumer.judge.deadlines(), now)
    return {int.from_bytes(each.execution.execution_id, "big") for each in late}
