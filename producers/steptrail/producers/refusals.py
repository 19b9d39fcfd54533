"""Classifies librdkafka's error codes for one event: certainly not delivered, or maybe delivered."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from steptrail.producers.accounting import DropReason, FailReason

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
_NO_TOPIC = frozenset(
    {
        # Reported after librdkafka has waited for the topic to exist, by its own code or the broker's. What an earlier
        # attempt stored is gone with the topic.
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)
_LEAST_JITTER = 0.8  # librdkafka pauses 80 to 120 % of retry.backoff.ms (RD_KAFKA_RETRY_JITTER_PERCENT)


class RefusedError(Exception):
    """Raised by the transport itself: the message is not sent, for this reason."""

    def __init__(self, reason: DropReason) -> None:
        self.reason = reason


def refuse_closed(*_message: Any) -> None:
    """Replaces `produce` after close."""
    raise RefusedError(DropReason.CLOSED)


def refuse_inherited(*_message: Any) -> None:
    """Replaces `produce` in a forked child."""
    raise RefusedError(DropReason.FORK_INHERITED)


def code_of(error: KafkaException) -> int:
    """librdkafka's error code; 0 if there is none."""
    first = error.args[0] if error.args else None
    return first.code() if isinstance(first, KafkaError) else 0


def drop_reason(code: int) -> DropReason:
    """Why `produce` did not accept the message."""
    if code == KafkaError._QUEUE_FULL:
        return DropReason.QUEUE_FULL
    if code == KafkaError.MSG_SIZE_TOO_LARGE:
        return DropReason.TOO_LARGE
    return DropReason.INFRASTRUCTURE


def refused(code: int) -> bool:
    """Whether the rejection is permanent: the broker or its metadata would reject the message again."""
    return code in _NO_TOPIC or code == KafkaError._AUTHENTICATION or (code > 0 and code not in _MAYBE)


def fail_reason(code: int, *, first_try: bool) -> FailReason:
    """Classify a delivery report's error. Unless it was the `first_try`, an earlier attempt may have been stored and
    its answer lost.
    """
    if code in _MAYBE:
        return FailReason.TIMED_OUT
    if code == KafkaError._PURGE_INFLIGHT:
        return FailReason.CUT_OFF
    if code == KafkaError._PURGE_QUEUE:
        return FailReason.CLOSED if first_try else FailReason.CUT_OFF
    if not (first_try or code in _NO_TOPIC):
        return FailReason.REFUSED_LATE
    return FailReason.REFUSED_BY_BROKER if refused(code) else FailReason.INFRASTRUCTURE


class Tries:
    """Tells whether an abandoned message was sent at most once.

    librdkafka does not expose how often it sent a message. But it pauses before a retry, so a message abandoned sooner
    than that after `produce` was not sent twice. And while it does not know the cluster it sends nothing.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """`config` is the producer's, with `retry.backoff.ms` and `retry.backoff.max.ms`."""
        least_ms = min(
            _LEAST_JITTER * float(config["retry.backoff.ms"]), float(config["retry.backoff.max.ms"])
        )
        self._least_s = least_ms / 1000
        self._nothing_sent_until = -math.inf
        self._knows_cluster = False

    def look(self, producer: Producer) -> None:
        """Called often: checks whether anything can have been sent. Never call it from a report: the client would
        crash.
        """
        if not self._knows_cluster:
            now = time.monotonic()
            try:
                self._knows_cluster = producer.cluster_id(0) is not None
            except KafkaException:  # it does not know the cluster, and did not wait
                self._nothing_sent_until = now
            except AttributeError:  # a client before 2.16: only the latency tells
                self._knows_cluster = True

    def first(self, message: Message) -> bool:
        """Whether the message of this report was sent at most once."""
        latency = message.latency()
        since = time.monotonic() - self._nothing_sent_until
        return since < self._least_s or (latency is not None and 0 <= latency < self._least_s)
