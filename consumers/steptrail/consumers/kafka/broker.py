"""Questions to the brokers that are not reading: topic identity, offsets, group members."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs leave some out
    AdminClient,
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)
from confluent_kafka.admin._listoffsets import OffsetSpec

from steptrail.schemas.errors import InfrastructureError

K = TypeVar("K")
R = TypeVar("R")

# Every question shares this bound; a broker that takes longer counts as away.
ASK_TIMEOUT_S = 10.0


class BrokerUnavailable(InfrastructureError):
    """Kafka could not be reached, refused, or did not answer in time: wait, then ask again."""


class TopicMissing(InfrastructureError):
    """The topic does not exist (yet): `steptrail topics` creates it."""


@dataclass(frozen=True)
class TopicDescription:
    """Identity and size of a topic; `topic_id` changes when it is deleted and created again."""

    name: str
    topic_id: str
    partitions: int


@dataclass(frozen=True)
class Member:
    """A member of a consumer group and the partitions of the topic that it holds."""

    member_id: str
    client_id: str
    host: str
    instance_id: str | None
    partitions: tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """State of a consumer group, by the coordinator's word (STABLE, EMPTY, DEAD, …), and its members."""

    group_id: str
    state: str
    members: tuple[Member, ...]


class _Client:
    """An admin client and the answers that it owes."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._admin = AdminClient(dict(config))
        self._futures: list[Future[Any]] = []
        self._refused = False

    def ask(self, question: Callable[[AdminClient], dict[K, Future[R]]]) -> dict[K, Future[R]]:
        """Ask; KafkaException when the question cannot even be sent."""
        futures = question(self._admin)
        self._futures += futures.values()
        return futures

    def was_refused(self) -> bool:
        """Whether one of the answers so far was none."""
        self.owes()
        return self._refused

    def owes(self) -> bool:
        """Whether an answer is still to come."""
        done = [future for future in self._futures if future.done()]
        self._refused = self._refused or any(future.exception() is not None for future in done)
        self._futures = [future for future in self._futures if future not in done]
        return bool(self._futures)


class BrokerQuestions:
    """Asks about one topic; every method blocks for `timeout` seconds at most.

    Raises BrokerUnavailable and TopicMissing and nothing else. Safe to use from several threads.

    A client that was refused is not asked again: it keeps the epoch of each partition's leader, and after the
    leader has changed it may name the old one, and be refused, for a quarter of an hour.
    """

    def __init__(self, config: Mapping[str, Any], topic: str, *, timeout: float = ASK_TIMEOUT_S) -> None:
        self.topic = topic
        self._config = dict(config)
        self._lock = threading.Lock()
        self._client = _Client(self._config)
        self._retired: list[_Client] = []
        self._timeout = timeout
        self._where = str(config.get("bootstrap.servers", "?"))

    def describe(self) -> TopicDescription:
        """Identity and number of partitions of the topic."""
        futures = self._ask(
            lambda admin: admin.describe_topics(TopicCollection([self.topic]), request_timeout=self._timeout)
        )
        found = self._answer(futures[self.topic])
        return TopicDescription(found.name, str(found.topic_id), len(found.partitions))

    def config(self) -> dict[str, str]:
        """The topic's properties as Kafka spells them."""
        resource = ConfigResource(ResourceType.TOPIC, self.topic)
        futures = self._ask(lambda admin: admin.describe_configs([resource], request_timeout=self._timeout))
        entries = self._answer(futures[resource])
        return {name: entry.value for name, entry in entries.items()}

    def first_offsets(self, partitions: Collection[int]) -> dict[int, int]:
        """The first offset that each partition still has."""
        return self._offsets(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]  # no stubs

    def end_offsets(self, partitions: Collection[int]) -> dict[int, int]:
        """The offset after the last readable record of each partition (transactions that are open excluded)."""
        return self._offsets(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]  # no stubs

    def end_offsets_async(self, partitions: Collection[int]) -> dict[int, Future[Any]]:
        """As `end_offsets`, not waited for: each future's result has an `.offset`."""
        return self._offset_futures(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]  # no stubs

    def committed(self, group: str, partitions: Collection[int]) -> dict[int, int | None]:
        """What the group has committed for each partition; None where nothing."""
        request = ConsumerGroupTopicPartitions(group, [TopicPartition(self.topic, p) for p in partitions])
        futures = self._ask(
            lambda admin: admin.list_consumer_group_offsets([request], request_timeout=self._timeout)
        )
        answer = self._answer(futures[group])
        result: dict[int, int | None] = dict.fromkeys(partitions)
        for entry in answer.topic_partitions or []:
            if entry.error is not None:
                raise BrokerUnavailable(f"Kafka at {self._where}: {entry.error}")
            if entry.offset >= 0:
                result[entry.partition] = entry.offset
        return result

    def group(self, group: str) -> Group:
        """State and members of a consumer group; a group that nobody knows is DEAD and empty."""
        futures = self._ask(
            lambda admin: admin.describe_consumer_groups([group], request_timeout=self._timeout)
        )
        found = self._answer(futures[group])
        members = tuple(
            Member(
                member_id=member.member_id,
                client_id=member.client_id,
                host=member.host,
                instance_id=member.group_instance_id,
                partitions=tuple(
                    sorted(
                        entry.partition
                        for entry in (member.assignment.topic_partitions if member.assignment else [])
                        if entry.topic == self.topic
                    )
                ),
            )
            for member in found.members
        )
        return Group(group, found.state.name, members)

    def _offsets(self, partitions: Collection[int], spec: Any) -> dict[int, int]:
        futures = self._offset_futures(partitions, spec)
        return {partition: int(self._answer(future).offset) for partition, future in futures.items()}

    def _offset_futures(self, partitions: Collection[int], spec: Any) -> dict[int, Future[Any]]:
        if not partitions:
            return {}
        wanted = {TopicPartition(self.topic, partition): spec for partition in partitions}
        futures = self._ask(
            lambda admin: admin.list_offsets(
                wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=self._timeout
            )
        )
        return {entry.partition: future for entry, future in futures.items()}

    def _ask(self, question: Callable[[AdminClient], dict[K, Future[R]]]) -> dict[K, Future[R]]:
        with self._lock:
            if self._client.was_refused():
                self._retired.append(self._client)
                self._client = _Client(self._config)
            # With a client go the answers that it still owes.
            self._retired = [client for client in self._retired if client.owes()]
            try:
                return self._client.ask(question)
            except KafkaException as error:
                raise self._sorted(error) from error

    def _answer(self, future: Future[R]) -> R:
        try:
            # A little more than the request's own time-out, whose message says more.
            return future.result(self._timeout + 2.0)
        except FutureTimeout as error:
            raise BrokerUnavailable(
                f"Kafka at {self._where} did not answer within {self._timeout:g} s"
            ) from error
        except KafkaException as error:
            raise self._sorted(error) from error

    def _sorted(self, error: KafkaException) -> InfrastructureError:
        reason = error.args[0]
        if isinstance(reason, KafkaError):
            if reason.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
                return TopicMissing(
                    f"topic {self.topic} does not exist on Kafka at {self._where}: `steptrail topics` creates it"
                )
            return BrokerUnavailable(f"Kafka at {self._where}: {reason.str()}")
        return BrokerUnavailable(f"Kafka at {self._where}: {reason}")
