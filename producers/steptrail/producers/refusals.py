"""What librdkafka's error codes mean for one event: certainly not delivered, or maybe."""

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
        # Said once librdkafka has waited for the topic to be there, by its own codes or the broker's. What an earlier
        # try may have stored is gone with the topic.
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)
_LEAST_JITTER = 0.8  # librdkafka pauses 80 to 120 % of retry.backoff.ms (RD_KAFKA_RETRY_JITTER_PERCENT)


class RefusedError(Exception):
    """The transport's own: the message goes nowhere, for this reason."""

    def __init__(self, reason: DropReason) -> None:
        self.reason = reason


def refuse_closed(*_message: Any) -> None:
    """In the place of `produce` after close."""
    raise RefusedError(DropReason.CLOSED)


def refuse_inherited(*_message: Any) -> None:
    """In the place of `produce` in a forked child."""
    raise RefusedError(DropReason.FORK_INHERITED)


def code_of(error: KafkaException) -> int:
    """librdkafka's code; 0 where there is none."""
    first = error.args[0] if error.args else None
    return first.code() if isinstance(first, KafkaError) else 0


def drop_reason(code: int) -> DropReason:
    """Why `produce` did not take it."""
    if code == KafkaError._QUEUE_FULL:
        return DropReason.QUEUE_FULL
    if code == KafkaError.MSG_SIZE_TOO_LARGE:
        return DropReason.TOO_LARGE
    return DropReason.INFRASTRUCTURE


def refused(code: int) -> bool:
    """Whether the broker, or what it says of the cluster, is against the message: it will be the next time too."""
    return code in _NO_TOPIC or code == KafkaError._AUTHENTICATION or (code > 0 and code not in _MAYBE)


def fail_reason(code: int, *, first_try: bool) -> FailReason:
    """What a delivery report with this error says. Unless it was the `first_try`, an earlier one may have been stored,
    and its answer lost.
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
    """Whether a message that was given up was sent once at most.

    librdkafka keeps to itself how often it sent a message. But it pauses before it sends one again: what is given up
    sooner than that after `produce` was not sent twice. And while it does not know the cluster it sends nothing.
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
        """Called often: see whether anything can have been sent. Never from a report: the client would crash."""
        if not self._knows_cluster:
            now = time.monotonic()
            try:
                self._knows_cluster = producer.cluster_id(0) is not None
            except KafkaException:  # it does not, and did not wait
                self._nothing_sent_until = now
            except AttributeError:  # a client before 2.16: then only the latency tells
                self._knows_cluster = True

    def first(self, message: Message) -> bool:
        """Whether the message of this report had been sent once at most."""
        latency = message.latency()
        since = time.monotonic() - self._nothing_sent_until
        return since < self._least_s or (latency is not None and 0 <= latency < self._least_s)
