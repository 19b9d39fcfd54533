"""Topics on a real broker: made once, compared, set right, and partitioned as we say."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]

from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import ConfigurationError, InfrastructureError
from steptrail.schemas.event import MAX_EVENT_BYTES
from steptrail.schemas.topics import (
    PARTITIONER,
    Difference,
    TopicChange,
    Topics,
    ensure_topics,
    message_key,
    partition_for,
)
from support.stack import Stack
from support.waiting import until


@pytest.fixture
def settings(stack: Stack) -> Iterator[Settings]:
    """Settings of a prefix without topics; those made under it are deleted."""
    prefix = f"topics_{secrets.token_hex(4)}"
    yield stack.settings(topic_prefix=prefix, steps_partitions=4)
    admin = AdminClient({"bootstrap.servers": stack.kafka})
    names = [name for name in admin.list_topics(timeout=30).topics if name.startswith(prefix)]
    for future in admin.delete_topics(names, operation_timeout=30).values() if names else ():
        future.result(30)


def config_of(settings: Settings, topic: str) -> dict[str, str]:
    admin = AdminClient(settings.kafka_config())
    (future,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    return {name: entry.value for name, entry in future.result(30).items()}


def test_topics_are_made_once_as_specified(settings: Settings) -> None:
    """Missing topics are made with their partitions and configs; a second time nothing changes."""
    topics = Topics.from_settings(settings)
    made = ensure_topics(settings)
    assert made == [TopicChange(spec.name, "created") for spec in topics.all]
    for spec in topics.all:
        config = config_of(settings, spec.name)
        assert {name: config[name] for name in spec.config} == spec.config
    known = AdminClient(settings.kafka_config()).list_topics(timeout=30).topics
    assert {spec.name: len(known[spec.name].partitions) for spec in topics.all} == {
        spec.name: spec.partitions for spec in topics.all
    }
    assert ensure_topics(settings) == [TopicChange(spec.name, "unchanged") for spec in topics.all]


def test_a_topic_that_differs_is_told_and_set_right_when_asked(settings: Settings) -> None:
    """What differs is reported with both values; only `alter` changes it, and only that topic's configs."""
    ensure_topics(settings)
    wanted = settings.with_values(retention_ms=-1, dlq_retention_ms=settings.dlq_retention_ms)
    steps = Topics.from_settings(wanted).steps
    difference = Difference("retention.ms", wanted="-1", is_now=str(settings.retention_ms))
    told = ensure_topics(wanted, topics=[steps])
    assert told == [TopicChange(steps.name, "drifted", (difference,))]
    assert config_of(settings, steps.name)["retention.ms"] == str(settings.retention_ms)
    assert ensure_topics(wanted, topics=[steps], alter=True) == [
        TopicChange(steps.name, "altered", (difference,))
    ]
    # The controller has it; the broker that is asked learns of it a moment later.
    unchanged = [TopicChange(steps.name, "unchanged")]
    until(lambda: ensure_topics(wanted, topics=[steps]) == unchanged, "change that the broker knows of")
    assert config_of(settings, steps.name)["message.timestamp.type"] == "LogAppendTime"


def test_partitions_are_told_and_never_altered(settings: Settings) -> None:
    """A topic with another number of partitions stays so: its documents would change places."""
    ensure_topics(settings)
    wanted = Topics.from_settings(settings.with_values(steps_partitions=8)).steps
    (told,) = ensure_topics(settings, topics=[wanted], alter=True)
    assert told == TopicChange(wanted.name, "drifted", (Difference("partitions", "8", "4"),))


def test_several_may_make_the_topics_at_once(settings: Settings) -> None:
    """Of several that start together each topic is made by one, and none of them fails."""
    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(lambda _: ensure_topics(settings), range(3)))
    for changes in zip(*outcomes, strict=True):
        assert sorted(change.outcome for change in changes) == ["created", "unchanged", "unchanged"]


def test_the_longest_event_fits_and_gets_the_brokers_time_and_our_partition(settings: Settings) -> None:
    """An event of the greatest size is taken; librdkafka and `partition_for` agree on where it goes."""
    ensure_topics(settings)
    topic = Topics.from_settings(settings).steps.name
    keys = [message_key("default", f"dokument-{number}-ü") for number in range(40)]
    placed: dict[bytes, int] = {}
    producer = Producer(
        {**settings.kafka_config(), "partitioner": PARTITIONER, "message.max.bytes": 1024 * 1024}
    )

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is None:
            placed[message.key()] = message.partition()  # type: ignore[index,assignment]  # both are there

    for key in keys:
        value = bytes(MAX_EVENT_BYTES + 10 if key == keys[0] else 1)
        producer.produce(topic, value, key=key, timestamp=1, on_delivery=delivered)
    assert producer.flush(30) == 0
    assert placed == {key: partition_for(key, settings.steps_partitions) for key in keys}
    consumer = Consumer(
        {**settings.kafka_config(), "group.id": settings.topic_prefix, "auto.offset.reset": "earliest"}
    )
    try:
        consumer.subscribe([topic])
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None
        kind, at = message.timestamp()
        assert kind == TIMESTAMP_LOG_APPEND_TIME
        assert at > 1
    finally:
        consumer.close()


def test_what_kafka_refuses_is_a_matter_of_configuration(settings: Settings) -> None:
    """More replicas than brokers: an error that says so, and is not worth a retry."""
    with pytest.raises(ConfigurationError, match="replication"):
        ensure_topics(settings.with_values(replication_factor=99))


def test_a_broker_that_is_away_is_a_matter_of_time() -> None:
    """Without a broker the error names the address and asks for a retry, within the time given."""
    with pytest.raises(InfrastructureError, match=r"127\.0\.0\.1:1 "):
        ensure_topics(Settings(kafka="127.0.0.1:1", clickhouse="http://127.0.0.1:1"), timeout=2)
