"""Detects stalled executions in the tables, and publishes changes on the topic of observations.

Nothing that a restart would lose is kept between two checks. Published observations are read back from the tables, once
these contain everything on the topic; so the next check, by any member, continues where the last one was interrupted.
An observation's id is computed from its content, so that even two members that publish the same at the same time
publish one observation.
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
    """The interface of the topic of observations."""

    def end(self) -> TopicEnd:
        """The topic's current end; raises InfrastructureError when Kafka does not answer."""
        ...

    def publish(self, observations: list[StepObservation]) -> list[StepObservation]:
        """Send, wait, and return the acknowledged ones; does not raise when Kafka is unavailable."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


@dataclass(frozen=True)
class Applied:
    """What the health consumer had read of the steps topic at its watermark: everything appended before it.

    `offsets` maps each partition to its last applied offset; a partition without any is absent.
    """

    topic_id: str
    offsets: Mapping[int, int]

    @classmethod
    def upto(cls, topic_id: str, written: Mapping[int, int]) -> Applied:
        """Everything before the offsets in `written`, by partition."""
        return cls(topic_id, {partition: offset - 1 for partition, offset in written.items() if offset})


@dataclass(frozen=True)
class StallStatus:
    """The result of the last check.

    `waiting_for` states why nothing was decided, None after a decision; `watermark` is that of the last decision
    (seconds since 1970, None before the first), `stalled` the number of stalled executions then.
    """

    waiting_for: str | None = "the first look"
    watermark: float | None = None
    stalled: int = 0


class StallWatch:
    """Finds started executions that are past their deadline, and those that no longer are.

    `decided_by` names the group and the member. One thread owns it, and one member at a time checks.
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
        """Create for the topics in the settings; does not connect yet."""
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
        """Publish the changes at `watermark` (seconds since 1970), and return them once they are on the topic.

        `deadlines` in seconds by (pipeline, step), from `Judge.deadlines`; `grace` where it is not 60 s;
        `queue_deadlines` from `Judge.queue_deadlines`. Returns [] without a decision when the tables do not yet
        contain what was applied or published, or when Kafka or ClickHouse is unavailable: `status.waiting_for`
        states it. One StallWatch returns each observation once; a new one begins with `standing`.
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
                _log.info("stalled executions are not checked: %s", waiting_for)
            self.status = StallStatus(waiting_for, self.status.watermark, self.status.stalled)
        return said

    def standing(self) -> list[Observation]:
        """Every published STALLED that was not retracted, ordered by execution id; for a member that has just started.

        Raises InfrastructureError when Kafka or ClickHouse is unavailable, or the tables do not yet contain what was
        published.
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
        """Close the connection to Kafka."""
        self._line.close()

    # --- preconditions ---------------------------------------------------------------------------

    def _not_yet(self, applied: Applied) -> str | None:
        """Why no decision is possible; None if it is."""
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
                # Odd: published as STALLED by now, although not when `standing` was read.
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
            _log.warning("%s: the next check decides", waiting_for)
        return settled + said

    def _overdue_queued(self, watermark: float, latest: Mapping[StepKey, int]) -> Iterator[list[Overdue]]:
        """Late queued executions, among all or among those that may have become late since the last check."""
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
        """The observations whose acknowledgement was lost but that are on the topic; drops the others."""
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
    """The grace in seconds of the steps for which the rules override GRACE_S."""
    graces = {step: float(rules.policy(*step).of(StalledPolicy).grace_s) for step in steps}
    return {step: grace for step, grace in graces.items() if grace != GRACE_S}


class StallsNotKnown(InfrastructureError):
    """The tables do not yet contain the published observations of stalls: wait and retry."""


def _bounds(
    watermark: float, deadlines: Mapping[StepKey, float], grace: Mapping[StepKey, float]
) -> dict[StepKey, int]:
    """Executions that started no later than this, in microseconds since 1970, are late."""
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
