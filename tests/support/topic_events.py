"""What stands on the steps topic, decoded."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, TopicPartition

from steptrail.schemas import Settings, StepEvent, Topics, decode_event, split_frame
from support.waiting import PATIENCE_S


@dataclass(frozen=True)
class Stored:
    """One record of the topic."""

    partition: int
    offset: int
    key: bytes
    event: StepEvent


def stored_events(settings: Settings) -> list[Stored]:
    """Every record of the steps topic, up to what is there when it is called; decoded strictly."""
    topic = Topics.from_settings(settings).steps.name
    consumer = Consumer(
        {**settings.kafka_config(), "group.id": "nobody", "enable.auto.commit": False, "log_level": 0}
    )
    try:
        partitions = consumer.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
        ends = {
            p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=PATIENCE_S)[1]
            for p in partitions
        }
        consumer.assign([TopicPartition(topic, p, 0) for p, end in ends.items() if end])
        wanted = sum(ends.values())
        found: list[Stored] = []
        while len(found) < wanted:
            messages = consumer.consume(min(1000, wanted - len(found)), timeout=PATIENCE_S)
            assert messages, f"{len(found)} of {wanted} records came"
            for message in messages:
                if message.error():
                    raise KafkaException(message.error())
                value, key = message.value(), message.key()
                assert isinstance(value, bytes)
                assert isinstance(key, bytes)
                event = decode_event(value[split_frame(value).length :])
                found.append(Stored(message.partition() or 0, message.offset() or 0, key, event))
        return found
    finally:
        consumer.close()


def sequences(stored: list[Stored]) -> dict[str, list[int]]:
    """The sequence numbers of each emitter, in order, by its id in hex."""
    found: dict[str, list[int]] = {}
    for record in stored:
        found.setdefault(record.event.emitter_id.hex(), []).append(record.event.sequence)
    return {emitter: sorted(numbers) for emitter, numbers in found.items()}
