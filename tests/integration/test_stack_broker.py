"""What steptrail asks of a broker, asked of the real one."""

from __future__ import annotations

import subprocess
import time
import uuid
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from steptrail.deploy.stack import broker
from steptrail.deploy.stack.jars import ensure_jars
from steptrail.deploy.stack.java import find_java
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics


def produce(settings: Settings, topic: str, value: bytes, **options: object) -> Message:
    """Send one message and return it as it was delivered; raises KafkaException when it was refused."""
    reports: list[tuple[KafkaError | None, Message]] = []
    producer = Producer({**settings.kafka_config(), "message.timeout.ms": 20_000, **options})
    producer.produce(
        topic, value, timestamp=1_000, callback=lambda error, message: reports.append((error, message))
    )
    assert producer.flush(30) == 0
    ((error, message),) = reports
    if error is not None:
        raise KafkaException(error)
    return message


def test_the_brokers_time_counts(topics_only: Settings) -> None:
    """A record of the steps topic carries the broker's time, whatever its producer claimed."""
    topic = Topics.from_settings(topics_only).steps.name
    before = time.time()
    delivered = produce(topics_only, topic, b"x", **{"enable.idempotence": True})
    consumer = Consumer({**topics_only.kafka_config(), "group.id": f"{topics_only.topic_prefix}-test"})
    try:
        partition = delivered.partition()
        assert partition is not None
        consumer.assign([TopicPartition(topic, partition, 0)])
        message = consumer.poll(30)
        assert message is not None
        assert message.error() is None
        kind, at_ms = message.timestamp()
    finally:
        consumer.close()
    assert kind == 2  # LogAppendTime
    assert before - 5 < at_ms / 1000 < time.time() + 5


def test_topics_do_not_appear_by_accident(topics_only: Settings) -> None:
    """Producing to a topic that nobody made fails, and makes none."""
    name = f"{topics_only.topic_prefix}.nobody-made-me"
    with pytest.raises(KafkaException) as refused:
        produce(
            topics_only,
            name,
            b"x",
            **{"topic.metadata.propagation.max.ms": 500, "allow.auto.create.topics": True},
        )
    assert refused.value.args[0].code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)
    assert name not in AdminClient(topics_only.kafka_config()).list_topics(timeout=30).topics


def test_sizes_are_the_topics_own(topics_only: Settings) -> None:
    """The dead-letter topic takes what the steps topic refuses as too large."""
    topics = Topics.from_settings(topics_only)
    large = bytes(1024 * 1024 + 500_000)
    options = {"message.max.bytes": 4 * 1024 * 1024, "compression.type": "none"}
    with pytest.raises(KafkaException) as refused:
        produce(topics_only, topics.steps.name, large, **options)
    assert refused.value.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE
    assert produce(topics_only, topics.dlq.name, large, **options).offset() == 0


def test_transactions_work(topics_only: Settings) -> None:
    """Several partitions are written in one transaction: the internal topics of one node suffice."""
    topic = Topics.from_settings(topics_only).steps.name
    producer = Producer({**topics_only.kafka_config(), "transactional.id": topics_only.topic_prefix})
    producer.init_transactions(30)
    producer.begin_transaction()
    for partition in (0, 1):
        producer.produce(topic, b"x", partition=partition)
    producer.commit_transaction(30)


def test_an_id_that_begins_with_a_hyphen_is_no_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One random cluster id in 64 begins so; the folder is formatted all the same."""
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(bytes=b"\xf8" + bytes(range(15)), version=4))
    files = broker.BrokerFiles(tmp_path)
    broker.write_config(files, port=1, controller_port=2)
    command = broker.format_command(find_java(), ensure_jars(say=print), files)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "cluster.id=-" in (files.data / "meta.properties").read_text("utf-8")
