"""Creating the topics, and telling when one is not as it should be."""

# confluent_kafka.admin re-exports its names without saying so.
# pyright: reportPrivateImportUsage=false

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs leave some out
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewTopic,
    ResourceType,
)

from steptrail.schemas.access.connection_check import settings_fault
from steptrail.schemas.access.denials import error_said, lacks
from steptrail.schemas.access.rights import Operation, Right
from steptrail.schemas.admin_client import admin_client
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import ConfigurationError, InfrastructureError
from steptrail.schemas.topic_specs import Difference, TopicChange, TopicSpec

_T = TypeVar("_T")

_REFUSALS: Final = frozenset(
    (
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.INVALID_CONFIG,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.POLICY_VIOLATION,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError._AUTHENTICATION,
    )
)
"""Answers that stay the same until someone changes a setting or a right."""

_ONE_ANSWER_S: Final = 0.5
"""What is left of the time at least when Kafka is asked once more."""

# librdkafka writes to stderr unless it has a logger; what matters reaches us as exceptions.
_log = logging.getLogger("steptrail.kafka.admin")


@dataclass(frozen=True)
class _Size:
    """How many partitions a topic has, and how many replicas these have."""

    partitions: int
    replicas: frozenset[int]


@dataclass(frozen=True)
class FoundTopic:
    """A topic as the brokers have it, with the properties that were set for it alone, and replicas of a partition."""

    spec: TopicSpec
    replicas: int


class TopicAdmin:
    """A talk with Kafka about topics that takes at most `timeout` seconds, all in all."""

    def __init__(self, settings: Settings, timeout: float) -> None:
        self.settings = settings
        self.config = settings.kafka_config()
        self.deadline = time.monotonic() + timeout
        try:
            self.client = admin_client(self.config, logger=_log)
        except (KafkaException, ValueError, TypeError) as error:
            raise ConfigurationError(str(settings_fault(error, self.config))) from None

    def ensure(self, specs: list[TopicSpec], *, alter: bool) -> list[TopicChange]:
        """Create what is missing and compare the rest; see `steptrail.schemas.topics.ensure_topics`."""
        known = self._sizes()
        missing = [spec for spec in specs if spec.name not in known]
        created = self._create(missing)
        if missing:
            known = self._await_topics([spec.name for spec in missing])
        found = self._configs([spec for spec in specs if spec.name not in created])
        changes = []
        for spec in specs:
            if spec.name in created:
                changes.append(TopicChange(spec.name, "created"))
                continue
            changes.append(self._compared(spec, known[spec.name], found[spec.name], alter=alter))
        return changes

    def found(self, names: list[str]) -> list[FoundTopic]:
        """Those of the topics that exist, in the order of `names`."""
        known = self._sizes()
        specs = [TopicSpec(name, known[name].partitions, {}) for name in names if name in known]
        entries = self._entries(specs)
        return [
            FoundTopic(
                TopicSpec(
                    spec.name,
                    spec.partitions,
                    {
                        name: str(entry.value)
                        for name, entry in sorted(entries[spec.name].items())
                        if ConfigSource(entry.source) is ConfigSource.DYNAMIC_TOPIC_CONFIG
                        and not entry.is_sensitive
                    },
                ),
                max(known[spec.name].replicas),
            )
            for spec in specs
        ]

    def _compared(self, spec: TopicSpec, size: _Size, config: dict[str, str], *, alter: bool) -> TopicChange:
        wrong = tuple(
            Difference(name, wanted, config.get(name))
            for name, wanted in spec.config.items()
            if config.get(name) != wanted
        )
        counted: tuple[Difference, ...] = ()
        if size.partitions != spec.partitions:
            counted = (Difference("partitions", str(spec.partitions), str(size.partitions)),)
        replicas = self.settings.replication_factor
        if replicas > 0 and size.replicas != {replicas}:
            is_now = " or ".join(str(count) for count in sorted(size.replicas))
            counted += (Difference("replicas", str(replicas), is_now),)
        if wrong and alter:
            self._alter(spec.name, wrong)
            return TopicChange(spec.name, "drifted" if counted else "altered", wrong + counted)
        return TopicChange(spec.name, "drifted" if wrong or counted else "unchanged", wrong + counted)

    def _sizes(self) -> dict[str, _Size]:
        """Every topic that the brokers know of."""
        metadata = self._asked(lambda left: self.client.list_topics(timeout=left), "list its topics")
        return {
            name: _Size(
                len(topic.partitions), frozenset(len(each.replicas) for each in topic.partitions.values())
            )
            for name, topic in metadata.topics.items()
            if topic.error is None and topic.partitions
        }

    def _create(self, specs: list[TopicSpec]) -> set[str]:
        if not specs:
            return set()
        wanted = [
            NewTopic(
                spec.name,
                num_partitions=spec.partitions,
                replication_factor=self.settings.replication_factor,
                config=dict(spec.config),
            )
            for spec in specs
        ]
        left = self._left()
        futures = self._asked(
            lambda _: self.client.create_topics(wanted, operation_timeout=left, request_timeout=left),
            "create topics",
        )
        return {
            name
            for name, future in futures.items()
            if self._asked(partial(_was_created, future), f"create topic {name}", "Create", name)
        }

    def _await_topics(self, names: list[str]) -> dict[str, _Size]:
        """The topics once all of these are known: a broker other than the controller learns of them later."""
        while True:
            known = self._sizes()
            unknown = [name for name in names if name not in known]
            if not unknown:
                return known
            if (
                time.monotonic() + _ONE_ANSWER_S >= self.deadline
            ):  # after it, asking again would only be too late
                right = Right("Describe", "topic", unknown[0])
                raise ConfigurationError(
                    f"Kafka at {self.settings.kafka} has the topics but does not show them: "
                    f"{lacks(self.config, right)}"
                )
            time.sleep(0.05)

    def _configs(self, specs: list[TopicSpec]) -> dict[str, dict[str, str]]:
        return {
            topic: {name: str(entry.value) for name, entry in entries.items()}
            for topic, entries in self._entries(specs).items()
        }

    def _entries(self, specs: list[TopicSpec]) -> dict[str, dict[str, ConfigEntry]]:
        if not specs:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, spec.name) for spec in specs]
        left = self._left()
        futures = self._asked(
            lambda _: self.client.describe_configs(resources, request_timeout=left), "describe topics"
        )
        found: dict[str, dict[str, ConfigEntry]] = {}
        for resource, future in futures.items():
            doing = f"describe topic {resource.name}"
            found[resource.name] = self._result(future, doing, "AlterConfigs", resource.name)
        return found

    def _alter(self, topic: str, differences: tuple[Difference, ...]) -> None:
        entries = [
            ConfigEntry(each.name, each.wanted, incremental_operation=AlterConfigOpType.SET)
            for each in differences
        ]
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
        left = self._left()
        futures = self._asked(
            lambda _: self.client.incremental_alter_configs([resource], request_timeout=left),
            f"alter topic {topic}",
        )
        for future in futures.values():
            self._result(future, f"alter topic {topic}", "AlterConfigs", topic)

    def _left(self) -> float:
        rest = self.deadline - time.monotonic()
        if rest <= 0:
            raise InfrastructureError(f"Kafka at {self.settings.kafka} did not answer in time")
        return max(rest, 0.1)

    def _result(self, future: Future[_T], doing: str, operation: Operation, topic: str) -> _T:
        return self._asked(future.result, doing, operation, topic)

    def _asked(
        self, ask: Callable[[float], _T], doing: str, operation: Operation = "Describe", topic: str = ""
    ) -> _T:
        """What Kafka answers within the time left; its errors become ours, without secrets.

        `operation` on `topic` is the right that is missing, where Kafka denies access.
        """
        try:
            return ask(self._left())
        except KafkaException as error:
            said = error_said(error, self.config, Right(operation, "topic", topic))
            told = f"Kafka at {self.settings.kafka} would not {doing}: {said}"
            if _code(error) in _REFUSALS:
                raise ConfigurationError(told) from None
            raise InfrastructureError(told) from None
        except FutureTimeoutError:
            raise InfrastructureError(
                f"Kafka at {self.settings.kafka} did not answer in time when asked to {doing}"
            ) from None


def _was_created(future: Future[None], timeout: float) -> bool:
    try:
        future.result(timeout)
    except KafkaException as error:
        if _code(error) == KafkaError.TOPIC_ALREADY_EXISTS:  # another process was faster
            return False
        raise
    return True


def _code(error: KafkaException) -> int | None:
    cause = error.args[0] if error.args else None
    return cause.code() if isinstance(cause, KafkaError) else None
