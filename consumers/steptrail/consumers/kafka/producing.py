"""Produces a message when the producer's queue may be full."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Producer

from steptrail.consumers.runtime.deadline import Deadline

POLL_S = 0.1


def produce(producer: Producer, topic: str, deadline: Deadline, **message: Any) -> None:
    """Queue a message; while the queue is full, wait for room until `deadline`.

    `message` holds the other arguments of `Producer.produce`: value, key, headers, partition, on_delivery.
    Raises BufferError when no room becomes free in time, and KafkaException when the message is rejected at once.
    """
    while True:
        try:
            producer.produce(topic, **message)
        except BufferError:
            if deadline.remaining() <= 0:
                raise
            producer.poll(POLL_S)
        else:
            return
