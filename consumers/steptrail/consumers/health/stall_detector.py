"""Stalled executions: looks for them in the tables, and says on the topic of observations what changed.

Nothing is remembered between two looks that a restart would lose. What was said is read back from the tables, once
these hold all that stands on the topic; so whoever looks next goes on where the last one was cut off, wherever
that was. And an observation's id is computed from what it is about, so that even two members that say the same at
the same time say one thing.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Final, Protocol

import orjson

from steptrail.consumers.health.observation_producer import ObservationTopic, TopicEnd
from steptrail.consumers.health.rules.kinds.stalled import StalledPolicy
from steptrail.consumers.health.rules.overdue import Observation, OpenExecution, observations
from steptrail.consumers.health.rules.rules import Rules
from steptrail.consumers.health.rules.slots import StepKey
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.queries import Store
from steptrail.projections.reading.stalls import ObservedRecord, Overdue, StallStore
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import InfrastructureError
from steptrail.schemas.observation import Observed, StepObservation, observation_id, what_is
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.topics import Topics

_log = logging.getLogger("steptrail.consumers.stalls")

GRACE_S: Final = 60.0
MOST_AT_ONCE: Final = 5_000
"""The most that one look says: what is left is said by the next."""
QUEUED_LATELY_S: Final = 28 * 86_400.0
"""What was queued longer ago than this, and was not said to wait by then, is not looked for."""
LOOK_BACK_S: Final = 3_600.0
FULL_LOOK_EVERY_S: Final = 3_600.0
"""What was queued is looked for among what has become late since the last look, and what was heard of late; now and
then among everything. Where another process does the work, what was queued keeps its row for good."""


class Line(Protocol):
    """What is needed of the topic of observations."""

    def end(self) -> TopicEnd:
        """What is on the topic now; raises InfrastructureError when it does not answer."""
        ...

    def publish(self, observations: list[StepObservation]) -> list[StepObservation]:
        """Send, wait, and return those that are on the topic for sure; does not raise when Kafka is away."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


@dataclass(frozen=True)
class Applied:
    """What the health consumer had read of the steps topic at its watermark: everything appended before that.

    `offsets` has for each partition the last offset that was applied; a partition of which nothing was is absent.
    """

    topic_id: str
    offsets: Mapping[int, int]

    @classmethod
    def upto(cls, topic_id: str, written: Mapping[int, int]) -> Applied:
        """Everything before the offsets in `written`, by partition."""
        return cls(topic_id, {partition: offset - 1 for partition, offset in written.items() if offset})


@dataclass(frozen=True)
class StallStatus:
    """How the last look went.

    `waiting_for` says why nothing was decided, None when it was; `watermark` is that of the last decision (seconds
    since 1970, None before the first), `stalled` how many executions were stalled then.
    """

    waiting_for: str | None = "the first look"
    watermark: float | None = None
    stalled: int = 0


class StallWatch:
    """Finds started executions that are past their deadline, and those that are not any more.

    `decided_by` names the group and the member. One thread owns it, and one member at a time looks.
    """

    def __init__(self, store: Store, line: Line, *, steps_topic: str, decided_by: str) -> None:
        self._stalls = StallStore(store)
        self._line = line
        self._steps_topic = steps_topic
        self._decided_by = decided_by
        self._in_doubt: dict[uuid.UUID, Observation] = {}
        self._full_look_at = float("-inf")
        self._looked_until: dict[StepKey, int] = {}
        self.status = StallStatus()

    @classmethod
    def open(cls, settings: Settings, clickhouse: ClickHouse, member: str) -> StallWatch:
        """On the topics that the settings name; nothing is connected yet."""
        topics = Topics(settings.topic_prefix)
        decided_by = f"{topics.health_group}/{member}"
        return cls(
            clickhouse, ObservationTopic(settings), steps_topic=topics.steps.name, decided_by=decided_by
        )

    def look(
        self,
        watermark: float,
        deadlines: Mapping[StepKey, float],
        applied: Applied,
        grace: Mapping[StepKey, float] | None = None,
        queue_deadlines: Mapping[StepKey, float] | None = None,
    ) -> list[Observation]:
        """Say what is to be said at `watermark` (seconds since 1970), and return it once it is on the topic.

        `deadlines` in seconds by (pipeline, step), as `Judge.deadlines` gives them, `grace` where it is not 60 s,
        `queue_deadlines` as `Judge.queue_deadlines`.
        [] without a decision when the tables do not hold yet what was applied or said, or when Kafka or the store is
        away: `status.waiting_for` tells. Each observation is returned once by one StallWatch; one that comes after
        another begins with `standing`.
        """
        try:
            waiting_for = self._not_yet(applied)
            said = (
                []
                if waiting_for
                else self._decide(watermark, deadlines, applied, grace or {}, queue_deadlines or {})
            )
        except InfrastructureError as error:
            waiting_for, said = str(error), []
        if waiting_for is not None:
            if self.status.waiting_for != waiting_for:
                _log.info("nothing is said about stalls: %s", waiting_for)
            self.status = StallStatus(waiting_for, self.status.watermark, self.status.stalled)
        return said

    def standing(self) -> list[Observation]:
        """Every STALLED that was said and not taken back, in the order of execution ids; for who has just begun.

        Raises InfrastructureError when Kafka or the store is away, or the tables do not hold yet what was said.
        """
        behind = self._observations_behind()
        if behind is not None:
            raise StallsNotKnown(behind)
        return [_as_observation(each) for each in self._stalls.said()]

    def begin(self) -> list[Observation] | None:
        """As `standing`; None instead of an error."""
        try:
            return self.standing()
        except InfrastructureError:
            return None

    def close(self) -> None:
        """Let go of the connection to Kafka."""
        self._line.close()

    # --- what must be known first ----------------------------------------------------------------

    def _not_yet(self, applied: Applied) -> str | None:
        """Why nothing can be decided; None when it can."""
        behind = self._observations_behind()
        if behind is not None:
            return behind
        projected = self._stalls.projected("steps", self._steps_topic, applied.topic_id)
        for partition, offset in sorted(applied.offsets.items()):
            if projected.get(partition, -1) < offset:
                return (
                    f"the projector has not come as far as the health consumer in partition {partition} of "
                    f"{self._steps_topic}"
                )
        return None

    def _observations_behind(self) -> str | None:
        end = self._line.end()
        projected = self._stalls.projected("observations", end.topic, end.topic_id)
        if any(projected.get(partition, -1) < last for partition, last in end.last.items()):
            return f"what was said on {end.topic} is not in its table yet: is the projector running?"
        return None

    # --- deciding --------------------------------------------------------------------------------

    def _decide(
        self,
        watermark: float,
        deadlines: Mapping[StepKey, float],
        applied: Applied,
        grace: Mapping[StepKey, float],
        queue_deadlines: Mapping[StepKey, float],
    ) -> list[Observation]:
        standing = self._stalls.said()
        known = {each.execution_id.bytes: each for each in standing}
        numbers = {execution_id: each.number for execution_id, each in known.items()}
        opened = [_as_open(each) for each in standing if each.stands]
        latest = _bounds(watermark, deadlines, grace)
        queued_latest = _bounds(watermark, queue_deadlines, grace)
        late = chain(
            ((latest, found) for found in self._stalls.overdue(latest)),
            ((queued_latest, found) for found in self._overdue_queued(watermark, queued_latest)),
        )
        for bounds, found in late:
            for each in found:
                # Odd: it is said to be stalled by now, which was not so when `standing` was read.
                if each.started_us <= bounds[each.pipeline, each.step_name] and each.number % 2 == 0:
                    execution_id = each.execution_id.bytes
                    numbers[execution_id] = each.number
                    opened.append(_as_open(each))
            if len(opened) >= len(standing) + MOST_AT_ONCE:
                self._full_look_at = float("-inf")  # there is more
                break
        stalled = {execution_id: _as_open(each) for execution_id, each in known.items()}
        decided = observations(opened, stalled, deadlines, watermark, grace, queue_deadlines)
        decided = decided[:MOST_AT_ONCE]
        records = [
            self._record(each, numbers[each.execution.execution_id] + 1, known, applied, grace)
            for each in decided
        ]
        settled = self._settled(known)
        published = {record.observation_id for record in self._line.publish(records)}
        said = []
        for observation, record in zip(decided, records, strict=True):
            if record.observation_id in published:
                said.append(observation)
            else:
                self._in_doubt[uuid.UUID(bytes=record.observation_id)] = observation
        changed = sum(1 if each.what is Observed.STALLED else -1 for each in said)
        missing = len(decided) - len(said)
        waiting_for = f"{missing} of {len(decided)} observations were not acknowledged" if missing else None
        self.status = StallStatus(waiting_for, watermark, len(standing) + changed)
        if missing:
            self._full_look_at = float("-inf")
            _log.warning("%s: the next look finds out", waiting_for)
        return settled + said

    def _overdue_queued(self, watermark: float, latest: Mapping[StepKey, int]) -> Iterator[list[Overdue]]:
        """What is queued and late, of all or of what may have become so since the last look."""
        full = watermark >= self._full_look_at + FULL_LOOK_EVERY_S
        if full:
            self._full_look_at = watermark
        alike: dict[int, dict[StepKey, int]] = {}
        for step, bound in latest.items():
            alike.setdefault(bound, {})[step] = bound
        for steps in alike.values():
            since = _micros(watermark - QUEUED_LATELY_S)
            if not full and steps.keys() <= self._looked_until.keys():
                since = min(self._looked_until[step] for step in steps) - _micros(LOOK_BACK_S)
            yield from self._stalls.overdue_queued(steps, since)
        self._looked_until = dict(latest)

    def _settled(self, known: Mapping[bytes, ObservedRecord]) -> list[Observation]:
        """Those whose acknowledgement was lost and that are on the topic all the same; the others are forgotten."""
        doubted, self._in_doubt = self._in_doubt, {}
        found = []
        for identity, observation in doubted.items():
            record = known.get(observation.execution.execution_id)
            if observation.what is Observed.STALLED:
                arrived = record is not None and record.observation_id == identity
            else:
                arrived = record is None
            if arrived:
                found.append(observation)
        return found

    def _record(
        self,
        observation: Observation,
        number: int,
        known: Mapping[bytes, ObservedRecord],
        applied: Applied,
        grace: Mapping[StepKey, float],
    ) -> StepObservation:
        execution = observation.execution
        evidence: dict[str, object] = {
            "topic_id": applied.topic_id,
            "applied": {str(partition): offset for partition, offset in sorted(applied.offsets.items())},
        }
        if what_is(number) is Observed.STALLED:
            status = ProcessingStatus.PENDING if execution.queued else ProcessingStatus.RUNNING
            evidence["waited_s"] = round(observation.watermark - execution.started_at, 3)
            evidence["grace_s"] = grace.get((execution.pipeline, execution.step), GRACE_S)
            retracts = None
        else:
            status = known[execution.execution_id].status
            evidence["stalled_since"] = known[execution.execution_id].watermark.isoformat()
            retracts = observation_id(execution.execution_id, number - 1)
        return StepObservation(
            observation_id=observation_id(execution.execution_id, number),
            what=observation.what,
            pipeline=execution.pipeline,
            doc_id=execution.doc_id,
            step_name=execution.step,
            execution_id=execution.execution_id,
            number=number,
            retracts=retracts,
            status=status,
            started_at=_micros(execution.started_at),
            deadline_s=observation.deadline_s,
            watermark=_micros(observation.watermark),
            decided_by=self._decided_by,
            sentence=observation.sentence,
            evidence=orjson.dumps(evidence).decode(),
        )


def graces_of(rules: Rules, steps: Iterable[StepKey]) -> dict[StepKey, float]:
    """The grace of the steps for which the rules set another than GRACE_S, in seconds."""
    graces = {step: float(rules.policy(*step).of(StalledPolicy).grace_s) for step in steps}
    return {step: grace for step, grace in graces.items() if grace != GRACE_S}


class StallsNotKnown(InfrastructureError):
    """The tables do not hold yet what was said about stalls: wait, then ask again."""


def _bounds(
    watermark: float, deadlines: Mapping[StepKey, float], grace: Mapping[StepKey, float]
) -> dict[StepKey, int]:
    """What began no later than this, in microseconds since 1970, is late."""
    return {
        step: _micros(watermark - deadline - grace.get(step, GRACE_S)) for step, deadline in deadlines.items()
    }


def _as_open(record: ObservedRecord | Overdue) -> OpenExecution:
    return OpenExecution(
        record.pipeline,
        record.step_name,
        record.doc_id,
        record.execution_id.bytes,
        record.started_us / 1e6,
        record.queued,
    )


def _as_observation(record: ObservedRecord) -> Observation:
    watermark = record.watermark.timestamp()
    return Observation(Observed.STALLED, _as_open(record), record.deadline_s, watermark)


def _micros(seconds: float) -> int:
    return round(seconds * 1_000_000)
