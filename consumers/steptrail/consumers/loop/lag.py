"""The projector's lag behind the topic, measured from outside for `steptrail lag`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from urllib.request import urlopen

import orjson
from confluent_kafka import Consumer, KafkaException, TopicPartition

from steptrail.consumers.kafka.broker import BrokerQuestions, Group, Member
from steptrail.consumers.kafka.errors import AccessDenied, infrastructure_error
from steptrail.projections.clickhouse.errors import QueryError
from steptrail.projections.clickhouse.shards import connect_shards
from steptrail.projections.delivery.ledger import Ledger
from steptrail.projections.delivery.topic_gaps import TopicGap, TopicGaps
from steptrail.schemas.access.denials import is_denial, is_of_no_group
from steptrail.schemas.access.rights import Right
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import InfrastructureError
from steptrail.schemas.topics import Topics

PEEK_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class PartitionLag:
    """One partition. `end`: the offset after its last record; `projected`: the offset after the last projected one.

    `lag_seconds` is the age of the oldest record that is not projected, 0 if there is none. None means unknown, because
    Kafka or ClickHouse did not answer.
    """

    partition: int
    end: int | None = None
    committed: int | None = None
    projected: int | None = None
    lag_events: int | None = None
    lag_seconds: float | None = None
    member: str | None = None


@dataclass(frozen=True)
class LagReport:
    """The projector's lag. `problems` lists what did not answer; `waiting_for` is what the projector reports to wait
    for; `gaps` are offsets that will never be projected.

    `group_state` is the consumer group's state from its coordinator (STABLE, EMPTY, …), None if unknown.
    """

    topic: str
    group: str
    group_state: str | None = None
    members: tuple[Member, ...] = ()
    partitions: tuple[PartitionLag, ...] = ()
    waiting_for: str | None = None
    problems: tuple[str, ...] = ()
    gaps: tuple[TopicGap, ...] = ()
    asked_at: float | None = None

    @property
    def as_of(self) -> datetime | None:
        """Everything that Kafka accepted before then is in the tables; None if unknown."""
        lag = self.lag_seconds
        return (
            None
            if lag is None or self.asked_at is None
            else datetime.fromtimestamp(self.asked_at - lag, timezone.utc)
        )

    @property
    def lag_events(self) -> int | None:
        """The sum over all partitions; None if one is unknown."""
        lags = [partition.lag_events for partition in self.partitions]
        return None if not lags or None in lags else sum(lag for lag in lags if lag is not None)

    @property
    def lag_seconds(self) -> float | None:
        """The maximum over all partitions; None if one is unknown."""
        lags = [partition.lag_seconds for partition in self.partitions]
        return None if not lags or None in lags else max(lag for lag in lags if lag is not None)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; times stay datetimes."""
        return {
            "topic": self.topic,
            "group": self.group,
            "group_state": self.group_state,
            "as_of": self.as_of,
            "behind_seconds": self.lag_seconds,
            "behind_events": self.lag_events,
            "lag_events": self.lag_events,
            "lag_seconds": self.lag_seconds,
            "waiting_for": self.waiting_for,
            "problems": list(self.problems),
            "gaps": [vars(gap) for gap in self.gaps],
            "members": [vars(member) | {"partitions": list(member.partitions)} for member in self.members],
            "partitions": [vars(partition) for partition in self.partitions],
        }


@dataclass
class _Found:
    """The answers so far."""

    problems: list[str] = field(default_factory=list)
    topic_id: str | None = None
    numbers: list[int] = field(default_factory=list)
    ends: dict[int, int] = field(default_factory=dict)
    committed: dict[int, int | None] = field(default_factory=dict)
    group: Group | None = None
    projected: dict[int, int] = field(default_factory=dict)
    gaps: list[TopicGap] = field(default_factory=list)


def projector_lag(settings: Settings, *, timeout: float = 10.0, status_url: str | None = None) -> LagReport:
    """Query Kafka and ClickHouse for the projector's lag; takes a few seconds at most.

    Never raises for an unavailable service: the report's `problems` state it, and unknown values are None.
    `status_url` is the running projector's `/status`, by default that of `settings.metrics_port` on this machine;
    only it knows what the projector waits for.
    """
    topics = Topics(settings.topic_prefix)
    topic, group = topics.steps.name, topics.projector_group
    config = {**settings.kafka_config(), "log_level": 0}
    found, asked = _Found(), time.time()
    try:
        _ask_kafka(found, BrokerQuestions(config, topic, timeout=timeout), group)
    except InfrastructureError as error:
        found.problems.append(str(error))
    if found.topic_id is not None:
        try:
            _ask_store(found, settings, topic, timeout)
        except (InfrastructureError, QueryError) as error:
            found.problems.append(str(error))
    behind = {p: n for p, n in found.projected.items() if n < found.ends.get(p, 0)}
    times: dict[int, float] = {}
    if behind:
        try:
            times = peek_times(config, topic, behind, timeout=PEEK_TIMEOUT_S)
        except AccessDenied as error:
            found.problems.append(str(error))
    members = found.group.members if found.group is not None else ()
    holders = {p: m.client_id for m in members for p in m.partitions}
    now = time.time()
    return LagReport(
        topic,
        group,
        found.group.state if found.group is not None else None,
        members,
        tuple(_partition(found, number, times, holders.get(number), now) for number in found.numbers),
        _waiting_for(status_url or _status_url(settings)),
        tuple(found.problems),
        tuple(found.gaps),
        now if behind else asked,
    )


def peek_times(
    config: Mapping[str, Any], topic: str, offsets: Mapping[int, int], *, timeout: float
) -> dict[int, float]:
    """The append time (seconds since the epoch) of the first record at or after each partition's offset.

    Reads one record of each, without a consumer group. Omits partitions that do not answer in time. Raises
    AccessDenied.
    """
    consumer = Consumer(
        {
            **config,
            "group.id": "steptrail-peek",  # never joined
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "queued.max.messages.kbytes": 1024,
        }
    )
    times: dict[int, float] = {}
    until = time.monotonic() + timeout
    try:
        consumer.assign([TopicPartition(topic, p, offset) for p, offset in offsets.items()])
        while len(times) < len(offsets) and time.monotonic() < until:
            for message in consumer.consume(100, 0.1):
                partition, error = message.partition(), message.error()
                if error is not None and is_denial(error) and not is_of_no_group(error):
                    raise infrastructure_error(error, config, topic, Right("Read", "topic", topic))
                if error is None and partition is not None and partition not in times:
                    times[partition] = message.timestamp()[1] / 1000
                    consumer.incremental_unassign([TopicPartition(topic, partition)])
    except KafkaException:
        return times
    finally:
        consumer.close()
    return times


def _ask_kafka(found: _Found, questions: BrokerQuestions, group: str) -> None:
    description = questions.describe()
    found.topic_id = description.topic_id
    found.numbers = list(range(description.partitions))
    found.ends = questions.end_offsets(found.numbers)
    found.committed = questions.committed(group, found.numbers)
    found.group = questions.group(group)


def _ask_store(found: _Found, settings: Settings, topic: str, timeout: float) -> None:
    assert found.topic_id is not None
    name, topic_id = "steps", found.topic_id
    with connect_shards(settings, timeout=timeout) as shards:
        for number, mine in shards.divide(found.numbers).items():
            ledger = Ledger(shards.stores[number], projection=name, topic=topic, topic_id=topic_id)
            found.projected.update({p: last + 1 for p, last in ledger.high_water(mine).items()})
        gaps = [
            gap
            for store in shards.stores
            for gap in TopicGaps(store, projection=name, topic=topic, topic_id=topic_id).known()
        ]
        found.gaps = sorted(gaps, key=lambda gap: (gap.partition, gap.first_offset))


def _partition(
    found: _Found, number: int, times: Mapping[int, float], member: str | None, now: float
) -> PartitionLag:
    end, projected = found.ends.get(number), found.projected.get(number)
    events = seconds = None
    if end is not None and projected is not None:
        events = max(0, end - projected)
        if not events:
            seconds = 0.0
        elif number in times:
            seconds = round(max(0.0, now - times[number]), 3)
    return PartitionLag(number, end, found.committed.get(number), projected, events, seconds, member)


def _status_url(settings: Settings) -> str | None:
    return f"http://{settings.metrics_host}:{settings.metrics_port}/status" if settings.metrics_port else None


def _waiting_for(url: str | None) -> str | None:
    if url is None:
        return None
    try:
        with urlopen(url, timeout=2.0) as answer:  # noqa: S310  an address from the settings
            told = orjson.loads(answer.read())
    except (OSError, ValueError):
        return None  # no projector there; the report has the rest
    reason = told.get("waiting_for") if isinstance(told, dict) else None
    return reason if isinstance(reason, str) else None
