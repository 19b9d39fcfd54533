"""Names of message headers, shared by writers and readers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

RESENT: Final = "steptrail.resent"
"""On an event that was sent again on purpose (redriven, out of a spool, after "maybe delivered"): how often, as
decimal digits. Readers take an event with this header only where its event_id is not there yet."""

REASON: Final = "steptrail.reason"
"""On a dead letter: why, one of a small stable set (DecodeReason, REFUSED_BY_STORE)."""

POSITION: Final = "steptrail.position"
"""On a dead letter: the byte of the value that is wrong, where one is to blame."""

FIELD: Final = "steptrail.field"
"""On a dead letter: the event's field, or the check, that failed."""

BROKER_TIME_MS: Final = "steptrail.broker_time_ms"
"""On a dead letter: when the broker had the message, in milliseconds since the epoch."""

TOPIC_ID: Final = "steptrail.topic_id"
"""On a dead letter: the Kafka id of the topic that it was read from; another one after the topic was recreated."""

CONNECT: Final = "__connect.errors."
"""On a dead letter: what begins the names that Kafka Connect gives to the circumstances of an error."""

_OF_DEAD_LETTERS: Final = frozenset({REASON, POSITION, FIELD, BROKER_TIME_MS, TOPIC_ID})

Headers = list[tuple[str, bytes | None]]


def header_list(headers: Any) -> Headers:
    """Convert a client's headers (None, pairs or a dict) to pairs with bytes values."""
    if not headers:
        return []
    pairs: Iterable[tuple[str, Any]] = headers.items() if isinstance(headers, dict) else headers
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in pairs]


def is_of_dead_letters(name: str) -> bool:
    """Whether a header of this name belongs to the dead letter, not to the original message."""
    return name in _OF_DEAD_LETTERS or name.startswith(CONNECT)


def times_resent(headers: Any) -> int:
    """How often a message was resent, by its headers: 0 without the header, at least 1 with it.

    A header whose value is not a number counts as 1: what matters is that the event may already exist.
    """
    if not headers:
        return 0
    pairs = headers.items() if isinstance(headers, dict) else headers
    times = 0
    for name, value in pairs:
        if name == RESENT:
            times = max(times, _count(value))
    return times


def _count(value: str | bytes | None) -> int:
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value or ""
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else 1
