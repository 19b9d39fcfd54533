"""The retained log, read by a plain consumer: what is on a topic is what there is to be lost."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from steptrail.schemas.configuration.settings import Settings

PATIENCE_S = 60.0
CHUNK = 20_000


def read(
    settings: Settings, topic: str, partitions: Collection[int] | None = None
) -> Iterator[tuple[int, list[Message]]]:
    """Partition by partition, in order and in pieces, up to what is there now; of these `partitions`, or all.

    Partitions of nothing are left out.
    """
    consumer = Consumer(
        {
            **settings.kafka_config(),
            "group.id": "faults-oracle",  # never joined
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 10,  # a new assignment waits for the old one's last fetch
            "log_level": 0,
        }
    )
    try:
        there = consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
        for number in sorted(there if partitions is None else partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=PATIENCE_S)
            if high > low:
                consumer.assign([TopicPartition(topic, number, low)])
                for piece in _pieces(consumer, high):
                    yield number, piece
    finally:
        consumer.close()


def _pieces(consumer: Consumer, end: int) -> Iterator[list[Message]]:
    position = 0
    while position < end:
        piece: list[Message] = []
        quiet_since = time.monotonic()
        while len(piece) < CHUNK and position < end:
            # It waits until there are as many as it was asked for, so it must not be asked to wait for long.
            messages = consumer.consume(CHUNK - len(piece), 0.1)
            if not messages:
                if time.monotonic() - quiet_since > PATIENCE_S:
                    raise TimeoutError(f"the topic ends at {end}, but nothing came after {position}")
                continue
            for message in messages:
                if message.error() is not None:
                    raise KafkaException(message.error())
            quiet_since = time.monotonic()
            position = (messages[-1].offset() or 0) + 1
            piece += [message for message in messages if (message.offset() or 0) < end]
        yield piece
