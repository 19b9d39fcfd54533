"""Names, partitions and configs of the topics, and the consumer groups that read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from steptrail.schemas.configuration.settings import Settings

_MIB: Final = 1024 * 1024
_BATCH_OVERHEAD: Final = 12  # Kafka counts a record batch's offset and length too, as its own default does
_DAY_MS: Final = 24 * 60 * 60 * 1000


@dataclass(frozen=True)
class TopicSpec:
    """A topic as it should be; `config` holds the topic's properties as Kafka spells them."""

    name: str
    partitions: int
    config: Mapping[str, str]


class Topics:
    """The topics under one prefix, and the groups that read them.

    Retention is in milliseconds, -1: no end. Dead letters stay at least as long as the steps. Without
    `min_insync_replicas`, -1, the broker's default holds.
    """

    def __init__(
        self,
        prefix: str = "steptrail",
        *,
        steps_partitions: int = 6,
        retention_ms: int = 30 * _DAY_MS,
        dlq_retention_ms: int = 90 * _DAY_MS,
        min_insync_replicas: int = -1,
    ) -> None:
        self.prefix = prefix
        insync = {} if min_insync_replicas < 1 else {"min.insync.replicas": str(min_insync_replicas)}
        kept = {**_kept(retention_ms), **insync}
        compacted = {**_COMPACTED, **insync}
        self.steps = TopicSpec(
            f"{prefix}.steps.v1",
            steps_partitions,
            # The broker's time is fixed for each record: the fold and the ledger's guard count on it.
            {
                **kept,
                "message.timestamp.type": "LogAppendTime",
                "max.message.bytes": str(_MIB + _BATCH_OVERHEAD),
            },
        )
        self.dlq = TopicSpec(
            f"{prefix}.steps.v1.dlq",
            1,
            # A dead letter is the message and why it is dead; it may have been a message of any size.
            {
                **_kept(_longer(retention_ms, dlq_retention_ms)),
                **insync,
                "message.timestamp.type": "LogAppendTime",
                "max.message.bytes": str(2 * _MIB),
            },
        )
        self.emitters = TopicSpec(
            f"{prefix}.emitters.v1", 1, {**kept, "message.timestamp.type": "LogAppendTime"}
        )
        self.observations = TopicSpec(
            f"{prefix}.observations.v1", 1, {**kept, "message.timestamp.type": "LogAppendTime"}
        )
        self.health = TopicSpec(f"{prefix}.health.v1", 1, compacted)
        self.alerts = TopicSpec(f"{prefix}.alerts.v1", 1, compacted)
        self.notifications = TopicSpec(f"{prefix}.notifications.v1", 1, compacted)
        self.silences = TopicSpec(f"{prefix}.silences.v1", 1, compacted)
        self.schemas = TopicSpec(f"{prefix}.schemas.v1", 1, compacted)

    @classmethod
    def from_settings(cls, settings: Settings) -> Topics:
        """The topics that these settings ask for."""
        return cls(
            settings.topic_prefix,
            steps_partitions=settings.steps_partitions,
            retention_ms=settings.retention_ms,
            dlq_retention_ms=settings.dlq_retention_ms,
            min_insync_replicas=settings.min_insync_replicas,
        )

    @property
    def all(self) -> tuple[TopicSpec, ...]:
        """Every topic, the steps first."""
        return (
            *(self.steps, self.dlq, self.emitters, self.observations, self.health),
            *(self.alerts, self.notifications, self.silences, self.schemas),
        )

    @property
    def projector_group(self) -> str:
        """The consumer group that writes the steps to ClickHouse."""
        return f"{self.prefix}-projector"

    @property
    def dead_letters_group(self) -> str:
        """The consumer group that writes the dead letters to ClickHouse."""
        return f"{self.prefix}-dead-letters"

    @property
    def emitters_group(self) -> str:
        """The consumer group that writes the emitters' reports to ClickHouse."""
        return f"{self.prefix}-emitters"

    @property
    def observations_group(self) -> str:
        """The consumer group that writes the consumers' observations to ClickHouse."""
        return f"{self.prefix}-observations"

    @property
    def health_group(self) -> str:
        """The consumer group that computes health."""
        return f"{self.prefix}-health"

    @property
    def alerts_group(self) -> str:
        """The consumer group that acts on health."""
        return f"{self.prefix}-alerts"

    @property
    def groups(self) -> tuple[str, ...]:
        """Every consumer group, those of the projector first."""
        return (
            *(self.projector_group, self.dead_letters_group, self.emitters_group, self.observations_group),
            *(self.health_group, self.alerts_group),
        )


def _longer(one_ms: int, other_ms: int) -> int:
    return -1 if -1 in (one_ms, other_ms) else max(one_ms, other_ms)


def _kept(retention_ms: int) -> dict[str, str]:
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(retention_ms),
        "retention.bytes": "-1",
        "compression.type": "producer",  # as the emitter compressed it: the broker does not do it again
    }


_COMPACTED: Final[dict[str, str]] = {"cleanup.policy": "compact", "compression.type": "producer"}


@dataclass(frozen=True)
class Difference:
    """A property of a topic that is not as it should be; `is_now` is None where there is none."""

    name: str
    wanted: str
    is_now: str | None


@dataclass(frozen=True)
class TopicChange:
    """What was found, or done, about one topic.

    `drifted` topics differ and were left; `altered` ones differed and were set right. A number of partitions
    is never altered, since that moves documents between partitions and breaks their order; nor that of replicas,
    which is a matter of `kafka-reassign-partitions`.
    """

    topic: str
    outcome: Literal["created", "unchanged", "drifted", "altered"]
    differences: tuple[Difference, ...] = ()
