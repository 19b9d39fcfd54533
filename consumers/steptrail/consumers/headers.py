"""Headers of consumed messages."""

from __future__ import annotations

from confluent_kafka import Message

RESENT_HEADER = "steptrail.resent"
"""On a message that was sent again on purpose (a redriven dead letter); its value counts how often."""


def header_pairs(message: Message) -> list[tuple[str, bytes | None]]:
    """The message's headers in their order; a name may be there more than once."""
    headers = message.headers()
    if not headers:
        return []
    pairs = headers.items() if isinstance(headers, dict) else headers
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in pairs]


def is_resent(message: Message) -> bool:
    """Whether the message carries the header of one that was sent again."""
    return any(name == RESENT_HEADER for name, _ in header_pairs(message))
