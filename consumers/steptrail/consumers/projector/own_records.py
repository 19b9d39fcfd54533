"""Topics of records that we wrote ourselves, each projected as it is."""

from __future__ import annotations

import logging
from collections.abc import Callable

from confluent_kafka import Message

from steptrail.schemas.errors import EventDecodeError


def as_it_is(decode: Callable[[bytes], object], log: logging.Logger) -> Callable[[Message], bytes]:
    """What gives a message's value when `decode` takes it, else nothing: it is passed over, and said to `log`."""

    def record_in(message: Message) -> bytes:
        value = message.value()
        if not isinstance(value, bytes):
            value = b""
        try:
            decode(value)
        except EventDecodeError as error:
            log.warning(
                "passed over: %s", error, extra={"partition": message.partition(), "offset": message.offset()}
            )
            return b""
        return value

    return record_in
