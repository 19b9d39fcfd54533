"""What a store that is restored from a backup reads again from Kafka, what is gone from there, and who still runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from steptrail.consumers.kafka.broker import BrokerQuestions
from steptrail.consumers.kafka.errors import TopicMissing
from steptrail.projections.tables.dead_letters import DEAD_LETTERS
from steptrail.projections.tables.emitter_reports import EMITTER_REPORTS
from steptrail.projections.tables.health_events import HEALTH_EVENTS
from steptrail.projections.tables.observations import OBSERVATIONS
from steptrail.projections.tables.step_events import STEP_EVENTS
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics

MISSED_AFTER_S: Final = 20.0
"""A group keeps a member that was killed for its session time-out, 10 seconds."""


@dataclass(frozen=True, slots=True)
class CatchUp:
    """What a projection reads again of a partition: from offset `next` on, of which the topic has `first` to `end`.

    `gone` offsets after the backup are not in the topic any more, `left` are still to be read. With `other_topic` the
    topic was deleted and created again since: its offsets are others.
    """

    projection: str
    topic: str
    partition: int
    next: int
    first: int
    end: int
    gone: int
    left: int
    other_topic: bool


def catch_up(settings: Settings, positions: Mapping[str, int]) -> tuple[list[CatchUp], dict[str, int]]:
    """What is read again after a restore, and the last offset that each partition has now, by key of a backup.

    A topic that does not exist is left out. Raises BrokerUnavailable.
    """
    found: list[CatchUp] = []
    ends: dict[str, int] = {}
    for topic, projections in _projections(settings):
        questions = BrokerQuestions(settings.kafka_config(), topic)
        try:
            now = questions.describe()
            numbers = list(range(now.partitions))
            first, end = questions.first_offsets(numbers), questions.end_offsets(numbers)
        except TopicMissing:
            continue
        for name in projections:
            known = [key for key in positions if key.startswith(f"{name}/")]
            other = bool(known) and not any(key.startswith(f"{name}/{now.topic_id}/") for key in known)
            for number in numbers:
                key = f"{name}/{now.topic_id}/{number}"
                ends[key] = end[number] - 1
                following = positions.get(key, -1) + 1
                found.append(
                    CatchUp(
                        name,
                        topic,
                        number,
                        following,
                        first[number],
                        end[number],
                        max(0, first[number] - following),
                        max(0, end[number] - max(following, first[number])),
                        other or end[number] < following,
                    )
                )
    return found, ends


def running(settings: Settings) -> list[str]:
    """The consumer groups of which a member runs. Raises BrokerUnavailable."""
    topics = Topics.from_settings(settings)
    questions = BrokerQuestions(settings.kafka_config(), topics.steps.name)
    return [group for group in topics.groups if questions.group(group).members]


def still_running(settings: Settings, tell: Callable[[list[str]], None]) -> list[str]:
    """As `running`, once members that were killed have had the time to be missed; `tell` is told whom it waits for."""
    deadline = time.monotonic() + MISSED_AFTER_S
    found = running(settings)
    if found:
        tell(found)
    while found and time.monotonic() < deadline:
        time.sleep(0.5)
        found = running(settings)
    return found


def _projections(settings: Settings) -> Iterable[tuple[str, tuple[str, ...]]]:
    topics = Topics.from_settings(settings)
    return (
        (topics.steps.name, (STEP_EVENTS.name, HEALTH_EVENTS.name)),
        (topics.dlq.name, (DEAD_LETTERS.name,)),
        (topics.emitters.name, (EMITTER_REPORTS.name,)),
        (topics.observations.name, (OBSERVATIONS.name,)),
    )
