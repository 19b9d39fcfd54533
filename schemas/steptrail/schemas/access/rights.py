"""The rights in Kafka that each part needs, and none that it does not: the one definition of them.

Read, Write, AlterConfigs and Create are rights of their own; Read and Write include Describe, AlterConfigs includes
DescribeConfigs. An idempotent producer needs no right besides Write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from steptrail.schemas.topic_specs import Topics

Operation = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs", "AlterConfigs"]
Kind = Literal["topic", "group", "transactional-id"]


@dataclass(frozen=True)
class Right:
    """One ALLOW entry: `operation` on the resource `name`, or with `prefixed` on all whose names begin so."""

    operation: Operation
    kind: Kind
    name: str
    prefixed: bool = False
    why: str = ""


def rights(topics: Topics) -> dict[str, tuple[Right, ...]]:
    """The rights by role, in the order in which the roles come into play."""
    return {role: tuple(of(topics)) for role, of in _ROLES.items()}


def _admin(topics: Topics) -> list[Right]:
    every = f"{topics.prefix}."
    return [
        Right("Create", "topic", every, True, "creates the topics"),
        Right("Describe", "topic", every, True, "sees which topics exist, their partitions and replicas"),
        Right("AlterConfigs", "topic", every, True, "compares the topics' properties, and sets them right"),
        Right("Write", "topic", topics.schemas.name, why="publishes the schema of this version's events"),
        *(
            Right("Describe", "group", group, why="sees that none runs before it restores")
            for group in topics.groups
        ),
    ]


def _emitter(topics: Topics) -> list[Right]:
    return [
        Right("Write", "topic", topics.steps.name, why="emits step events"),
        Right("Write", "topic", topics.emitters.name, why="reports what became of its events"),
    ]


def _projector(topics: Topics) -> list[Right]:
    return [
        Right("Read", "topic", topics.steps.name, why="reads step events"),
        Right("Read", "group", topics.projector_group, why="shares them among projectors"),
        Right("Write", "topic", topics.dlq.name, why="sets aside what is no event"),
        Right("Read", "topic", topics.dlq.name, why="projects dead letters"),
        Right("Read", "group", topics.dead_letters_group, why="shares them among projectors"),
        Right("Read", "topic", topics.emitters.name, why="projects the emitters' reports"),
        Right("Read", "group", topics.emitters_group, why="shares them among projectors"),
        Right("Read", "topic", topics.observations.name, why="projects observations"),
        Right("Read", "group", topics.observations_group, why="shares them among projectors"),
        Right("Read", "topic", topics.schemas.name, why="looks up schemas of newer events"),
    ]


def _health(topics: Topics) -> list[Right]:
    return [
        Right("Read", "topic", topics.steps.name, why="reads step events"),
        Right(
            "DescribeConfigs", "topic", topics.steps.name, why="checks that records carry the broker's time"
        ),
        Right("Read", "group", topics.health_group, why="elects the member that judges"),
        Right("Read", "topic", topics.health.name, why="reads the verdicts that stand"),
        Right("Write", "topic", topics.health.name, why="publishes verdicts"),
        Right("Write", "transactional-id", topics.health_group, why="publishes each verdict once"),
        Right("Write", "topic", topics.observations.name, why="publishes stalled executions"),
        Right("Read", "topic", topics.schemas.name, why="looks up schemas of newer events"),
    ]


def _alerts(topics: Topics) -> list[Right]:
    return [
        Right("Read", "topic", topics.health.name, why="reads verdicts"),
        Right("Read", "group", topics.alerts_group, why="elects the member that alerts"),
        Right("Write", "transactional-id", topics.alerts_group, why="publishes each alert once"),
        Right("Read", "topic", topics.alerts.name, why="reads the alerts that fire"),
        Right("Write", "topic", topics.alerts.name, why="publishes alerts"),
        Right("Read", "topic", topics.notifications.name, why="reads who was notified"),
        Right("Write", "topic", topics.notifications.name, why="records who was notified"),
        Right("Read", "topic", topics.silences.name, why="reads silences"),
        Right("Write", "topic", topics.silences.name, why="removes silences that ended long ago"),
    ]


def _operator(topics: Topics) -> list[Right]:
    named = (topics.steps, topics.dlq, topics.observations, topics.alerts, topics.notifications)
    return [
        *_web(topics),
        *(
            Right("DescribeConfigs", "topic", topic.name, why="tells for how long Kafka has what is erased")
            for topic in named
        ),
    ]


def _web(topics: Topics) -> list[Right]:
    return [
        Right("Read", "topic", topics.steps.name, why="tells how far the tables are behind"),
        Right("Describe", "group", topics.projector_group, why="shows the projectors and their offsets"),
        Right("Read", "topic", topics.dlq.name, why="shows dead letters"),
        Right("Write", "topic", topics.steps.name, why="sends dead letters again"),
        Right("Read", "topic", topics.schemas.name, why="looks up schemas of newer events"),
        Right("Describe", "topic", topics.health.name, why="checks that Kafka answers"),
        Right("Read", "topic", topics.alerts.name, why="shows alerts"),
        Right("Read", "topic", topics.notifications.name, why="shows who was notified"),
        Right("Read", "topic", topics.silences.name, why="shows silences"),
        Right("Write", "topic", topics.silences.name, why="makes and ends silences"),
    ]


_ROLES: Final[Mapping[str, Callable[[Topics], list[Right]]]] = {
    "admin": _admin,
    "emitter": _emitter,
    "projector": _projector,
    "health": _health,
    "alerts": _alerts,
    "operator": _operator,
    "web": _web,
}

ROLES: Final = tuple(_ROLES)
