"""What is queued and never begun, among much that waits for hours by right: is exactly that found, and when?"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

from bench.figure import Figure
from health_sim.simulation import FIRST_SLOT, Simulation
from steptrail.consumers.health.rules import (
    Judge,
    Observed,
    OpenExecution,
    Rules,
    Slot,
    StepCounts,
    observations,
)
from steptrail.consumers.health.rules.slots import SLOT_S

DAY = 86_400
MONDAY = FIRST_SLOT * SLOT_S // (7 * DAY) * 7 * DAY + 4 * DAY  # the epoch was a Thursday
LOOK_S = 15
GRACE_S = 60
QUEUES = {
    "steady": (0.05, 600),
    "elsewhere": (0.05, 600),
    "nightly": (0.02, 26 * 3600),
    "weekdays": (0.01, 80 * 3600),
}
"""Tasks a second, and the deadline that is declared. `elsewhere`: the work has an execution of its own."""
FORGOTTEN_SHARE = 0.002
LATE_SHARE = 0.002


@dataclass
class Queues:
    """What is queued and not begun, who was forgotten, and who is begun after the deadline."""

    open: dict[str, dict[bytes, OpenExecution]] = field(default_factory=lambda: {step: {} for step in QUEUES})
    forgotten: set[bytes] = field(default_factory=set)
    late: set[bytes] = field(default_factory=set)
    begins: list[tuple[float, bytes, str]] = field(default_factory=list)
    tasks: int = 0

    def feed(self, rng: random.Random, step: str, at: float) -> None:
        """Queue one task."""
        self.tasks += 1
        key = self.tasks.to_bytes(16, "big")
        self.open[step][key] = OpenExecution("p", step, f"doc-{self.tasks}", key, at, queued=True)
        deadline, draw = QUEUES[step][1], rng.random()
        if draw < FORGOTTEN_SHARE:
            self.forgotten.add(key)
            return
        begins = _begun(rng, step, at)
        if draw < FORGOTTEN_SHARE + LATE_SHARE:
            self.late.add(key)
            begins = at + 1.5 * deadline
        heapq.heappush(self.begins, (begins, key, step))

    def begin(self, until: float) -> None:
        """What is taken until then is not queued any more, whichever execution does the work."""
        while self.begins and self.begins[0][0] <= until:
            _, key, step = heapq.heappop(self.begins)
            del self.open[step][key]


def measure(simulation: Simulation) -> list[Figure]:
    """Weeks of four queues: taken in seconds, by another execution, once a night, and on working days only."""
    days = simulation.amount(7, 28)
    rng = random.Random(simulation.seed)
    rules = Rules.parse(
        "".join(f'[[rule]]\nstep = "{s}"\nstalled.queued_s = {d}\n' for s, (_, d) in QUEUES.items())
    )
    declared, undeclared = Judge(rules), Judge()
    for judge in (declared, undeclared):
        judge.fold(Slot(MONDAY // SLOT_S, {("p", step): StepCounts() for step in QUEUES}))
    queues, stalled = Queues(), dict[bytes, OpenExecution]()
    said, delays, unasked = set[bytes](), list[float](), 0
    deadlines = declared.queue_deadlines()
    feeding = [(MONDAY + rng.expovariate(rate), step) for step, (rate, _) in QUEUES.items()]
    heapq.heapify(feeding)
    # Nobody is queued in the last days, so that all that will be late is late at the end.
    for now in range(MONDAY, MONDAY + (days + 6) * DAY, LOOK_S):
        while feeding[0][0] <= now < MONDAY + days * DAY:
            at, step = heapq.heappop(feeding)
            queues.feed(rng, step, at)
            heapq.heappush(feeding, (at + rng.expovariate(QUEUES[step][0]), step))
        queues.begin(now)
        late = _maybe_late(queues, now)
        for each in observations(late, stalled, {}, now, None, deadlines):
            key = each.execution.execution_id
            if each.what is Observed.STALLED:
                stalled[key] = each.execution
                said.add(key)
                delays.append(now - each.execution.started_at - QUEUES[each.execution.step][1])
            else:
                del stalled[key]
        if now % 3600 == 0:
            waiting = [each for step in queues.open.values() for each in step.values()]
            unasked += len(observations(waiting, {}, {}, now, None, undeclared.queue_deadlines()))
    right = said & (queues.forgotten | queues.late)
    precision, recall = (
        len(right) / max(1, len(said)),
        len(said & queues.forgotten) / max(1, len(queues.forgotten)),
    )
    detail = {
        "tasks": queues.tasks,
        "forgotten": len(queues.forgotten),
        "late": len(queues.late),
        "retracted": len(said) - len(stalled),
    }
    exact = precision == 1 and stalled.keys() == queues.forgotten and said >= queues.late
    return [
        Figure("queued_precision", precision, "share", "== 1", exact, detail),
        Figure("queued_recall", recall, "share", "== 1", recall == 1, {"undeclared": unasked}),
        Figure(
            "queued_until_said_s",
            max(delays),
            "s",
            f"<= {GRACE_S + LOOK_S}",
            max(delays) <= GRACE_S + LOOK_S and not unasked,
            {"least": min(delays), "by_default": unasked},
        ),
    ]


def _maybe_late(queues: Queues, now: float) -> list[OpenExecution]:
    """As the store: of each step what was queued before its bound, in the order in which it was; what was said, too."""
    found = []
    for step, (_, deadline) in QUEUES.items():
        for execution in queues.open[step].values():
            if now - execution.started_at < deadline:
                break
            found.append(execution)
    return found


def _begun(rng: random.Random, step: str, at: float) -> float:
    """When workers take it: at once, in the night that comes, or on the next working day."""
    if step == "nightly":
        tonight = (at // DAY) * DAY + 2 * 3600
        return (tonight if at < tonight else tonight + DAY) + rng.uniform(0, 3600)
    if step == "weekdays" and (weekday := (at - MONDAY) // DAY % 7) >= 5:
        return (at // DAY + 7 - weekday) * DAY + 8 * 3600 + rng.uniform(0, 3600)
    return at + min(rng.expovariate(1 / 30), 590)
