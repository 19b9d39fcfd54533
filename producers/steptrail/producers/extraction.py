"""Extracts an event's fields from callers' values; nothing here raises for a strange value."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from math import isfinite
from typing import Any, Final

from steptrail.schemas.errors import DataError
from steptrail.schemas.event import MAX_TIMESTAMP_US, MIN_TIMESTAMP_US, us_from_datetime
from steptrail.schemas.foreign import let_through
from steptrail.schemas.values.plain_numbers import plain_number, whole_number
from steptrail.schemas.values.values import Marks, identity_text

MAX_DURATION_MS: Final = 1e15
"""Some 30,000 years: quantiles in the store refuse numbers near the end of what a double holds."""

MAX_NAMES: Final = 22_000
"""Names of steps that 64 KiB of JSON have room for, and so that are looked at."""

MAX_ATTEMPT: Final = 2**31 - 1
_MOST_ENTRIES: Final = 60_000


class TooLargeError(DataError):
    """The message exceeds the size limit, although its parts are within theirs."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a message of {size} bytes, at most {limit} are allowed")


def worker_name() -> str:
    """The emitting worker: `host:pid` of this process."""
    host, _ = identity_text(socket.gethostname(), 256)
    return f"{host}:{os.getpid()}"


def bounded_copy(values: Mapping[str, Any]) -> dict[str, Any]:
    """A shallow copy of at most as many entries as an event can hold; if the mapping raises, what it gave until
    then.
    """
    if type(values) is dict:
        return dict(values) if len(values) <= _MOST_ENTRIES else dict(islice(values.items(), _MOST_ENTRIES))
    copy: dict[str, Any] = {}
    try:
        for key in islice(values, _MOST_ENTRIES):
            copy[key] = values[key]
    except Exception as error:
        let_through(error)
    return copy


def time_us(timestamp: datetime) -> tuple[int | None, Marks | None]:
    """The time in microseconds since the epoch, clamped to the store's range; None for no time, such as NaT."""
    try:
        moment = int(us_from_datetime(timestamp))
    except Exception as error:  # a time zone that raises, or not a time
        let_through(error)
        return None, {"invalid": 1}
    if MIN_TIMESTAMP_US <= moment <= MAX_TIMESTAMP_US:
        return moment, None
    return (MIN_TIMESTAMP_US if moment < 0 else MAX_TIMESTAMP_US), {"clamped": 1}


def attempt_within(number: Any) -> tuple[int | None, Marks | None]:
    """The attempt's number, clamped to an event's range; None if it is not a whole number."""
    whole = whole_number(number)
    if whole is None:
        return None, {"invalid": 1}
    if 1 <= whole <= MAX_ATTEMPT:
        return whole, None
    return (1 if whole < 1 else MAX_ATTEMPT), {"clamped": 1}


def attempt_of(details: Mapping[str, Any]) -> tuple[int | None, Marks | None]:
    """`retry_count` + 1, if the details hold a number."""
    try:
        retries = plain_number(details.get("retry_count"))
    except Exception as error:  # a mapping of the caller's own class
        let_through(error)
        return None, None
    return (None, None) if retries is None else attempt_within(retries + 1)


def dependencies_of(details: Mapping[str, Any]) -> list[str] | None:
    """`depends_on` from the details, if present: one or several step names, at most as many as fit."""
    try:
        names = details.get("depends_on")
        if isinstance(names, str):
            return [names]
        if isinstance(names, list | tuple | set | frozenset):
            return [name for name in islice(names, MAX_NAMES + 1) if isinstance(name, str)]
    except Exception as error:  # names that raise, or that another thread changes
        let_through(error)
        return None
    return None


def duration_of(metrics: Mapping[str, Any]) -> Any:
    """`duration_ms`, if the metrics hold a number of any type."""
    try:
        value = metrics.get("duration_ms")
    except Exception as error:
        let_through(error)
        return None
    return value if type(value) is float or plain_number(value) is not None else None


def duration_within(value: Any) -> tuple[float | None, Marks | None]:
    """Milliseconds as a float in the store's range, or None and the reason."""
    number = plain_number(value)
    if number is None:
        return None, {"invalid": 1}
    if isinstance(number, float) and not isfinite(number):
        return None, {"non_finite": 1}
    if number < 0:
        return None, {"invalid": 1}
    return (MAX_DURATION_MS, {"clamped": 1}) if number > MAX_DURATION_MS else (float(number), None)
