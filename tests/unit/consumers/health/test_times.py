from __future__ import annotations

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Message

from steptrail.consumers.health.sink import have_producers_times

BROKER, PRODUCER = TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_CREATE_TIME


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [([], False), ([BROKER, BROKER], False), ([PRODUCER, BROKER], True), ([BROKER, PRODUCER, BROKER], True)],
)
def test_one_record_with_its_producers_time_is_seen(kinds: list[int], expected: bool) -> None:
    """Wherever it is: a batch holds several partitions, and only some may have such records yet."""
    messages = [Message(timestamp=(kind, 1_000), offset=number) for number, kind in enumerate(kinds)]
    assert have_producers_times(messages) is expected
