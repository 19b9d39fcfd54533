"""Kafka's errors: their text, and the errors of ours that they become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from steptrail.schemas.access.denials import denial, error_said
from steptrail.schemas.access.rights import Right
from steptrail.schemas.errors import InfrastructureError

_MISSING = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)


class BrokerUnavailable(InfrastructureError):
    """Kafka could not be reached, refused, or did not answer in time: wait, then ask again."""


class AccessDenied(BrokerUnavailable):
    """A right is missing in Kafka, and the message names it: once it is granted, everything goes on."""


class TopicMissing(InfrastructureError):
    """The topic does not exist (yet): `steptrail topics` creates it."""


def error_text(error: object) -> str:
    """What a KafkaError says, the KafkaException around one, or any other exception."""
    reason = reason_of(error)
    return reason.str() if isinstance(reason, KafkaError) else str(reason)


def reason_of(error: object) -> object:
    """The KafkaError inside a KafkaException; anything else as it is."""
    return error.args[0] if isinstance(error, KafkaException) and error.args else error


def is_missing_topic(error: object) -> bool:
    """Whether the broker says that there is no such topic or partition."""
    reason = reason_of(error)
    return isinstance(reason, KafkaError) and reason.code() in _MISSING


def is_fatal(error: object) -> bool:
    """Whether the client that reports this does nothing any more.

    Consumed as a message, such an error has only the code: its `fatal()` is False.
    """
    reason = reason_of(error)
    return isinstance(reason, KafkaError) and (reason.fatal() or reason.code() == KafkaError._FATAL)


def infrastructure_error(
    error: KafkaError | KafkaException, config: Mapping[str, Any], topic: str, *attempted: Right
) -> BrokerUnavailable | TopicMissing:
    """Kafka's error about `topic` as ours; `config` is the client's, `attempted` names the rights that it used."""
    where = config.get("bootstrap.servers", "?")
    if (denied := denial(error, config, *attempted)) is not None:
        return AccessDenied(f"Kafka at {where}: {denied}")
    if is_missing_topic(error):
        return TopicMissing(
            f"topic {topic} does not exist on Kafka at {where}: `steptrail topics` creates it"
        )
    return BrokerUnavailable(f"Kafka at {where}: {error_said(error, config)}")
