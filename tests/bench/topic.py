"""Fill a steps topic with generated events, as emitters would have: keyed, framed, in order of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from confluent_kafka import Consumer, Producer, TopicPartition

from steptrail.schemas import Settings, message_key
from steptrail.schemas.topics import Topics

Message = tuple[bytes, bytes]
"""Key and value."""


@lru_cache(maxsize=1)
def encoded(count: int) -> Sequence[Message]:
    """The generator's first `count` events as Kafka messages; kept, since several figures project the same ones."""
    from bench.generator import generate
    from steptrail.schemas.wire.codec import encode_event
    from steptrail.schemas.wire.framing import frame_single_object

    return [
        (message_key(event.pipeline, event.doc_id), frame_single_object(encode_event(event)))
        for event in generate(count)
    ]


def fill(settings: Settings, messages: Iterable[Message]) -> None:
    """Send `messages` to the steps topic and wait until the broker has them all."""
    topic = Topics(settings.topic_prefix).steps.name
    producer = Producer(
        {
            **settings.kafka_config(),
            "partitioner": "murmur2",
            "linger.ms": 50,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 200_000,
        }
    )
    for key, value in messages:
        while True:
            try:
                producer.produce(topic, value, key)
                break
            except BufferError:
                producer.poll(0.1)
    left = producer.flush(60)
    if left:
        raise RuntimeError(f"{left} messages were not taken by the broker")


def count(settings: Settings, topic: str) -> int:
    """How many messages a topic holds, all of them being retained."""
    consumer = Consumer({**settings.kafka_config(), "group.id": "bench-counting"})
    try:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        return sum(consumer.get_watermark_offsets(TopicPartition(topic, each))[1] for each in partitions)
    finally:
        consumer.close()
