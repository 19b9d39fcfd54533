"""What is said of an event that was given up: certainly not delivered only where nothing else can be."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, Message, Producer

from steptrail.producers.accounting import FailReason
from steptrail.producers.refusals import Tries, fail_reason, refused

PAUSES = {"retry.backoff.ms": 1000, "retry.backoff.max.ms": "1000"}


def tries(**pauses: object) -> Tries:
    return Tries({**PAUSES, **pauses})


def given_up(*, after_s: float) -> Message:
    return Message(topic="steps", latency=after_s)


@pytest.mark.parametrize("code", [KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_a_refusal_at_the_first_try_is_certain(code: int) -> None:
    """What the broker refused and was sent once is not on the topic; later, an answer may have been lost."""
    assert fail_reason(code, first_try=True) is FailReason.REFUSED_BY_BROKER
    late = fail_reason(code, first_try=False)
    assert late is FailReason.REFUSED_LATE
    assert late.maybe_delivered


def test_purged_from_the_queue() -> None:
    """What waited for its first try when the emitter closed is lost; what may have waited for another, maybe not."""
    assert fail_reason(KafkaError._PURGE_QUEUE, first_try=True) is FailReason.CLOSED
    assert fail_reason(KafkaError._PURGE_QUEUE, first_try=False) is FailReason.CUT_OFF


@pytest.mark.parametrize("code", [KafkaError._FAIL, KafkaError._FATAL])
def test_other_faults(code: int) -> None:
    """A fault of the client is no better news than a refusal when it comes late."""
    assert fail_reason(code, first_try=True) is FailReason.INFRASTRUCTURE
    assert fail_reason(code, first_try=False) is FailReason.REFUSED_LATE


@pytest.mark.parametrize("code", [KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART])
def test_without_a_topic_it_is_certain(code: int) -> None:
    """Whatever was stored on a topic that is gone is gone with it."""
    assert fail_reason(code, first_try=False) is FailReason.REFUSED_BY_BROKER


@pytest.mark.parametrize("first_try", [True, False])
@pytest.mark.parametrize("code", [KafkaError._MSG_TIMED_OUT, KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND])
def test_no_answer_is_no_refusal(code: int, first_try: bool) -> None:
    """A time-out says nothing, at whichever try, and is worth sending again."""
    assert fail_reason(code, first_try=first_try) is FailReason.TIMED_OUT
    assert not refused(code)


def test_the_first_try_is_told_by_its_time() -> None:
    """librdkafka pauses at least 80 % of retry.backoff.ms before it sends again: sooner was the first try."""
    assert tries().first(given_up(after_s=0.799))
    assert not tries().first(given_up(after_s=0.8))


def test_an_unknown_time_is_no_first_try() -> None:
    """What has no time may be anything."""
    assert not tries().first(Message(topic="steps"))
    assert not tries().first(given_up(after_s=-1.0))


def test_pauses_of_the_users_own() -> None:
    """The settings of the client that is used say what a first try is, as numbers or as text."""
    assert not tries(**{"retry.backoff.ms": "100"}).first(given_up(after_s=0.08))
    assert tries(**{"retry.backoff.ms": "100"}).first(given_up(after_s=0.079))
    assert not tries(**{"retry.backoff.max.ms": 300}).first(given_up(after_s=0.3))


def test_nothing_is_sent_to_an_unknown_cluster() -> None:
    """As long as no broker ever answered, nothing was sent at all, however long it takes."""
    seen = Tries(PAUSES)
    assert not seen.first(given_up(after_s=60.0))
    seen.look(Producer({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}))
    assert seen.first(given_up(after_s=60.0))


def test_once_it_is_known_it_counts() -> None:
    """From then on what is given up late may have been sent, also while the broker is away."""
    mocked = Producer({"test.mock.num.brokers": 1})
    mocked.list_topics(timeout=30)
    seen = Tries(PAUSES)
    seen.look(mocked)
    assert not seen.first(given_up(after_s=60.0))
