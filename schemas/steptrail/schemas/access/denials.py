"""What is said when Kafka denies access: who lacks which right on what, and where that right is found.

Kafka's answer only says that a topic, a group, a transactional id or the cluster was denied. Which one it was, and
which operation, the caller knows: it names what it was about to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException

from steptrail.schemas.access.remedy import REMEDY
from steptrail.schemas.access.rights import Kind, Right
from steptrail.schemas.redact import redact_message

_KINDS: Final[Mapping[int, Kind]] = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "group",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "transactional-id",
    # A producer whose principal may write to no topic at all is not even given an id.
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "topic",
}
_INCLUDED: Final = {
    "Describe": " (Read and Write include it)",
    "DescribeConfigs": " (AlterConfigs includes it)",
}


def is_denial(error: object) -> bool:
    """Whether Kafka denied access: a KafkaError, or a KafkaException around one."""
    reason = _reason(error)
    return isinstance(reason, KafkaError) and reason.code() in _KINDS


def is_of_no_group(error: KafkaError) -> bool:
    """Whether the error is only that a consumer has no right on its group: librdkafka looks for the coordinator of
    every group.id, also for a consumer that never joins, which reads all the same.
    """
    return bool(error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED)


def denial(error: object, config: Mapping[str, Any], *attempted: Right) -> str | None:
    """The sentence about a denial, None for any other error. `config` holds the client's librdkafka properties.

    Of what was `attempted`, the first that the error can be about is the right that is missing.
    """
    reason = _reason(error)
    if not isinstance(reason, KafkaError) or (kind := _KINDS.get(reason.code())) is None:
        return None
    right = next((each for each in attempted if each.kind == kind), None)
    if right is None:
        return f"{principal(config)} lacks a right: {reason.str()}. {REMEDY}"
    return lacks(config, right)


def lacks(config: Mapping[str, Any], right: Right) -> str:
    """The sentence about a right that is missing: who, which operation, on what, and the remedy."""
    included = _INCLUDED.get(right.operation, "")
    what = f"{right.operation}{included} on the {right.kind} {right.name}"
    return f"{principal(config)} lacks the right {what}: {REMEDY}"


def error_said(error: object, config: Mapping[str, Any], *attempted: Right) -> str:
    """What a Kafka error says, without secrets; a denial by name."""
    reason = _reason(error)
    text = reason.str() if isinstance(reason, KafkaError) else str(reason)
    return denial(error, config, *attempted) or redact_message(text, config)


def principal(config: Mapping[str, Any]) -> str:
    """As whom the brokers know a client with these librdkafka properties, as far as these tell."""
    protocol = str(config.get("security.protocol", "plaintext")).lower()
    if protocol.startswith("sasl_"):
        user = config.get("sasl.username")
        return f"User:{user}" if user else "the principal of this client's token or ticket"
    if protocol == "ssl" and (certificate := config.get("ssl.certificate.location")):
        return f"the principal of the certificate {certificate}"
    return "User:ANONYMOUS"


def _reason(error: object) -> object:
    return error.args[0] if isinstance(error, KafkaException) and error.args else error
