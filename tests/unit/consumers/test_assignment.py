"""On a real consumer that nothing listens to: what it is assigned is its own matter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition

from steptrail.consumers.loop.assignment import Assignment


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    consumer = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "log_level": 0})
    yield consumer
    consumer.close()


def assigned(consumer: Consumer) -> list[int]:
    return sorted(entry.partition for entry in consumer.assignment())


def test_what_is_placed_is_assigned_once(consumer: Consumer) -> None:
    """A second place, as after a rewind, replaces the first."""
    assignment = Assignment(consumer, "t")
    assert assignment.place(0, 10)
    assert assignment.place(1, 20)
    assert assignment.place(0, 5)
    assert assigned(consumer) == [0, 1]


def test_what_was_never_placed_is_given_up_quietly(consumer: Consumer) -> None:
    """A rebalance revokes what the group assigned, whether it was read already or not."""
    assignment = Assignment(consumer, "t")
    assignment.place(0, 10)
    assignment.place(1, 20)
    assignment.give_up([1, 2])
    assert assigned(consumer) == [0]
    assignment.give_up([1])
    assert assignment.place(1, 20)
    assert assigned(consumer) == [0, 1]


def test_a_partition_that_cannot_be_placed_yet_is_logged(
    consumer: Consumer, caplog: pytest.LogCaptureFixture
) -> None:
    """With its topic, since several loops run in a process; and it can be tried again."""
    assignment = Assignment(consumer, "t")
    consumer.incremental_assign([TopicPartition("t", 0, 3)])
    assert not assignment.place(0, 10)
    (record,) = caplog.records
    assert record.getMessage().startswith("cannot read partition 0 from offset 10 yet: ")
    assert vars(record)["topic"] == "t"
    consumer.incremental_unassign([TopicPartition("t", 0)])
    assert assignment.place(0, 10)


def test_partitions_that_are_not_read_are_not_paused(
    consumer: Consumer, caplog: pytest.LogCaptureFixture
) -> None:
    """Pausing and resuming touch what was placed, and nothing else."""
    caplog.set_level("DEBUG")
    assignment = Assignment(consumer, "t")
    assignment.place(0, 10)
    assignment.pause([0, 7])
    assignment.resume([0, 7])
    assert caplog.records == []


def test_without_offsets_nothing_is_committed(consumer: Consumer) -> None:
    """Kafka is not even asked."""
    assert not Assignment(consumer, "t").commit({}, wait=True)
