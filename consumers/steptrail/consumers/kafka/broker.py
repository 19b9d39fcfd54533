"""What is asked of the brokers besides reading: topic identity, offsets, group members."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from confluent_kafka import (
    Consumer,
    IsolationLevel,
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

from steptrail.consumers.kafka.errors import BrokerUnavailable, infrastructure_error
from steptrail.schemas.access.denials import is_denial
from steptrail.schemas.access.rights import Right
from steptrail.schemas.admin_client import admin_client
from steptrail.schemas.errors import InfrastructureError

K = TypeVar("K")
R = TypeVar("R")

# Every question shares this bound; a broker that takes longer counts as away.
ASK_TIMEOUT_S = 10.0


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


REPLACED_EVERY_S: Final = 5.0
"""So long a client is asked at least that took the place of one that was refused."""


class _Client:
    """An admin client and the answers that it owes."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._admin = admin_client(config)
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

    A client that was refused is replaced: it keeps the epoch of each partition's leader, and after the leader has
    changed it may name the old one, and be refused, for a quarter of an hour. But not every time: each new client logs
    in to every broker, which brokers that are short of processors then have no time to answer.
    """

    def __init__(self, config: Mapping[str, Any], topic: str, *, timeout: float = ASK_TIMEOUT_S) -> None:
        self.topic = topic
        self._config = dict(config)
        self._lock = threading.Lock()
        self._client = _Client(self._config)
        self._retired: list[_Client] = []
        self._replaced_at = float("-inf")
        self._timeout = timeout
        self._where = str(config.get("bootstrap.servers", "?"))
        self._describe = Right("Describe", "topic", topic)

    def fault(self, error: KafkaException) -> InfrastructureError:
        """What an answer of `end_offsets_async` says that is an error."""
        return infrastructure_error(error, self._config, self.topic, self._describe)

    def describe(self) -> TopicDescription:
        """Identity and number of partitions of the topic."""
        futures = self._ask(
            lambda admin: admin.describe_topics(TopicCollection([self.topic]), request_timeout=self._timeout)
        )
        found = self._answer(futures[self.topic], self._describe)
        return TopicDescription(found.name, str(found.topic_id), len(found.partitions))

    def config(self) -> dict[str, str]:
        """The topic's properties as Kafka spells them."""
        resource = ConfigResource(ResourceType.TOPIC, self.topic)
        futures = self._ask(lambda admin: admin.describe_configs([resource], request_timeout=self._timeout))
        entries = self._answer(futures[resource], Right("DescribeConfigs", "topic", self.topic))
        return {name: entry.value for name, entry in entries.items()}

    def first_offsets(self, partitions: Collection[int]) -> dict[int, int]:
        """The first offset that each partition still has."""
        return self._offsets(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]  # no stubs

    def end_offsets(self, partitions: Collection[int]) -> dict[int, int]:
        """The offset after the last readable record of each partition (transactions that are open excluded)."""
        return self._offsets(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]  # no stubs

    def offsets_at(self, partitions: Collection[int], ms: int) -> dict[int, int]:
        """The first offset of each partition whose record has that time or a later one; its end where none has.

        `ms` is in milliseconds since 1970.
        """
        found = self._offsets(partitions, OffsetSpec.for_timestamp(ms))
        ends = self.end_offsets([partition for partition, offset in found.items() if offset < 0])
        return {**found, **ends}

    def latest_stamps(self, partitions: Collection[int]) -> dict[int, int]:
        """The greatest time of a record of each partition that has any, in milliseconds since 1970."""
        futures = self._offset_futures(partitions, OffsetSpec.max_timestamp())  # type: ignore[no-untyped-call]  # no stubs
        found = {
            partition: int(self._answer(future, self._describe).timestamp)
            for partition, future in futures.items()
        }
        return {partition: stamp for partition, stamp in found.items() if stamp >= 0}

    def end_offsets_async(
        self, partitions: Collection[int], *, uncommitted: bool = False
    ) -> dict[int, Future[Any]]:
        """As `end_offsets`, not waited for: each future's result has an `.offset`.

        With `uncommitted`, the offset after the last record of open transactions too.
        """
        return self._offset_futures(partitions, OffsetSpec.latest(), uncommitted)  # type: ignore[no-untyped-call]  # no stubs

    def ends_by_level(self, partitions: Collection[int]) -> tuple[dict[int, int], dict[int, int]]:
        """The ends without and with the records of open transactions, both asked for at once.

        A partition for which no answer comes is left out.
        """
        asked = [self.end_offsets_async(partitions, uncommitted=level) for level in (False, True)]
        committed, every = (self._known(futures) for futures in asked)
        return committed, every

    def committed(self, group: str, partitions: Collection[int]) -> dict[int, int | None]:
        """What the group has committed for each partition; None where nothing.

        Asked by a consumer that does not join. An admin client that waits for a group's coordinator aborts the whole
        process when that broker goes away (librdkafka 2.16, issue 4605): twice within 7 kills, where ListOffsets,
        DescribeTopics and consumers outlived all of them.
        """
        entries = [TopicPartition(self.topic, partition) for partition in partitions]
        try:
            consumer = Consumer({**self._config, "group.id": group, "enable.auto.commit": False})
            try:
                try:
                    answer = consumer.committed(entries, timeout=self._timeout)
                except KafkaException:
                    # That the group was denied it tells apart, and waits for an answer all the same.
                    message = consumer.poll(0)
                    if message is not None and is_denial(message.error()):
                        raise KafkaException(message.error()) from None
                    raise
            finally:
                consumer.close()
            for entry in answer:
                if entry.error is not None:
                    raise KafkaException(entry.error)
        except KafkaException as error:
            needed = Right("Describe", "group", group)
            raise infrastructure_error(error, self._config, self.topic, self._describe, needed) from error
        return {entry.partition: entry.offset if entry.offset >= 0 else None for entry in answer}

    def group(self, group: str) -> Group:
        """State and members of a consumer group; an unknown group is DEAD and empty.

        For commands: what is said of `committed` holds, and no other request names a member's `instance_id`.
        """
        futures = self._ask(
            lambda admin: admin.describe_consumer_groups([group], request_timeout=self._timeout)
        )
        found = self._answer(futures[group], Right("Describe", "group", group))
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

    def _known(self, futures: Mapping[int, Future[Any]]) -> dict[int, int]:
        found = {}
        for partition, future in futures.items():
            with contextlib.suppress(InfrastructureError):
                found[partition] = int(self._answer(future, self._describe).offset)
        return found

    def _offsets(self, partitions: Collection[int], spec: Any) -> dict[int, int]:
        futures = self._offset_futures(partitions, spec)
        return {
            partition: int(self._answer(future, self._describe).offset)
            for partition, future in futures.items()
        }

    def _offset_futures(
        self, partitions: Collection[int], spec: Any, uncommitted: bool = False
    ) -> dict[int, Future[Any]]:
        if not partitions:
            return {}
        level = IsolationLevel.READ_UNCOMMITTED if uncommitted else IsolationLevel.READ_COMMITTED
        wanted = {TopicPartition(self.topic, partition): spec for partition in partitions}
        futures = self._ask(
            lambda admin: admin.list_offsets(wanted, isolation_level=level, request_timeout=self._timeout)
        )
        return {entry.partition: future for entry, future in futures.items()}

    def _ask(self, question: Callable[[AdminClient], dict[K, Future[R]]]) -> dict[K, Future[R]]:
        with self._lock:
            now = time.monotonic()
            if self._client.was_refused() and now >= self._replaced_at + REPLACED_EVERY_S:
                self._replaced_at = now
                self._retired.append(self._client)
                self._client = _Client(self._config)
            # With a client go the answers that it still owes.
            self._retired = [client for client in self._retired if client.owes()]
            try:
                return self._client.ask(question)
            except KafkaException as error:
                raise infrastructure_error(error, self._config, self.topic) from error

    def _answer(self, future: Future[R], needed: Right) -> R:
        try:
            # A little more than the request's own time-out, whose message says more.
            return future.result(self._timeout + 2.0)
        except FutureTimeout as error:
            raise BrokerUnavailable(
                f"Kafka at {self._where} did not answer within {self._timeout:g} s"
            ) from error
        except KafkaException as error:
            raise infrastructure_error(error, self._config, self.topic, needed) from error
