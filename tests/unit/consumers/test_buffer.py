from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, Message

from steptrail.consumers.loop.buffer import Buffer
from steptrail.schemas.errors import DecodeReason
from support.consumed import buffer_of, event_value, message


def test_a_batch_covers_what_was_taken_in() -> None:
    """Positions move on, spans are exact, messages are kept in order."""
    positions = {0: 5, 1: 0}
    buffer = buffer_of(positions)
    messages = [message(0, 5), message(0, 6), message(1, 0), message(0, 7)]
    assert buffer.extend(messages, now=1.0) == []
    batch = buffer.close()
    assert positions == {0: 8, 1: 1}
    assert batch.messages == messages
    assert batch.starts == {0: 5, 1: 0}
    assert {p: (s.first, s.last, s.rows) for p, s in batch.batch.spans.items()} == {
        0: (5, 7, 3),
        1: (0, 0, 1),
    }


def test_left_overs_of_a_rebalance_or_seek_are_passed_over() -> None:
    """Partitions that do not flow, and offsets that were read before."""
    positions = {0: 5}
    buffer = buffer_of(positions)
    buffer.extend([message(1, 3), message(0, 3), message(0, 4), message(0, 5), message(1, 4)], now=1.0)
    assert positions == {0: 6}
    assert buffer.events == 1


def test_holes_in_the_log_are_covered() -> None:
    """Transaction markers have offsets too: the ledger is to have no holes, and nothing assumes offset + 1."""
    positions = {0: 5}
    buffer = buffer_of(positions)
    buffer.extend([message(0, 8), message(0, 11)], now=1.0)
    span = buffer.close().batch.spans[0]
    assert (span.first, span.last, span.rows) == (5, 11, 2)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, DecodeReason.EMPTY),
        (b"", DecodeReason.EMPTY),
        (b"not avro", DecodeReason.BAD_FRAME),
        (b"\xc3\x01", DecodeReason.BAD_FRAME),
        (b"\xc3\x01" + b"12345678" + b"x", DecodeReason.UNKNOWN_SCHEMA),
        (b"\xc3\x01" + b"\0" * (901 * 1024), DecodeReason.TOO_LARGE),
    ],
)
def test_what_cannot_be_an_event_is_set_apart_at_once(value: bytes | None, reason: DecodeReason) -> None:
    """It never reaches the store, and its offset is covered."""
    positions = {0: 0}
    buffer = buffer_of(positions)
    buffer.extend([message(0, 0), message(0, 1, value), message(0, 2)], now=1.0)
    batch = buffer.close()
    assert [refused.error.reason for refused in batch.refused] == [reason]
    span = batch.batch.spans[0]
    assert (span.first, span.last, span.rows) == (0, 2, 2)
    assert positions == {0: 3}


def test_errors_are_handed_back_with_their_partition() -> None:
    """They are not records."""
    buffer = buffer_of({0: 0})
    error = KafkaError(KafkaError._AUTO_OFFSET_RESET)
    got = buffer.extend([Message(topic="t", partition=0, offset=-1, error=error), message(0, 0)], now=1.0)
    assert [(p, e.code()) for p, _, e in got] == [(0, KafkaError._AUTO_OFFSET_RESET)]
    assert buffer.events == 1


def test_age_counts_from_the_first_record() -> None:
    """An empty buffer has none."""
    buffer: Buffer = buffer_of({0: 0})
    buffer.extend([], now=1.0)
    assert buffer.opened_at is None
    buffer.extend([message(0, 0)], now=2.0)
    buffer.extend([message(0, 1)], now=3.0)
    assert buffer.opened_at == 2.0
    assert len(event_value()) > 50


def test_records_that_were_sent_again_are_marked() -> None:
    """By their header; other headers mean nothing."""
    buffer = buffer_of({0: 0})
    again = [("other", b"x"), ("steptrail.resent", b"1")]
    buffer.extend([message(0, 0), message(0, 1, headers=again), message(0, 2, headers=again[:1])], now=1.0)
    assert buffer.close().batch.resent == 1
