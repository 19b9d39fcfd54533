"""What librdkafka's error codes mean for one event: certainly not delivered, or maybe."""

from __future__ import annotations

from confluent_kafka import KafkaError

from .accounting import DropReason, FailReason

_MAYBE = frozenset(
    {
        KafkaError._MSG_TIMED_OUT,
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    }
)
_REFUSED_LOCALLY = frozenset(
    {
        # librdkafka's own codes for what the broker's metadata said.
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._AUTHENTICATION,
    }
)


def drop_reason(code: int) -> DropReason:
    """Why `produce` did not take it."""
    if code == KafkaError._QUEUE_FULL:
        return DropReason.QUEUE_FULL
    if code == KafkaError.MSG_SIZE_TOO_LARGE:
        return DropReason.TOO_LARGE
    return DropReason.INFRASTRUCTURE


def fail_reason(code: int) -> FailReason:
    """What a delivery report with this error says."""
    if code in _MAYBE:
        return FailReason.TIMED_OUT
    if code == KafkaError._PURGE_INFLIGHT:
        return FailReason.CUT_OFF
    if code == KafkaError._PURGE_QUEUE:
        return FailReason.CLOSED
    if code > 0 or code in _REFUSED_LOCALLY:
        return FailReason.REFUSED_BY_BROKER
    return FailReason.INFRASTRUCTURE
