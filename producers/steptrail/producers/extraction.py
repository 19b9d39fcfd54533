"""What an event takes from the values that callers give; none of it raises for a value."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from math import isfinite
from typing import Any

from steptrail.schemas.errors import DataError
from steptrail.schemas.foreign import let_through
from steptrail.schemas.values import Marks


class TooLargeError(DataError):
    """The message is longer than one may be, in spite of the limits on its parts."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a message of {size} bytes, at most {limit} are allowed")


def worker_name() -> str:
    """Who emits: `host:pid` of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def attempt_of(details: Mapping[str, Any]) -> int | None:
    """`retry_count` + 1, where the details hold a usable one."""
    try:
        retries = details.get("retry_count")
    except Exception as error:  # a mapping of the caller's own kind
        let_through(error)
        return None
    if type(retries) is int and 0 <= retries < 2**31 - 1:
        return retries + 1
    return None


def dependencies_of(details: Mapping[str, Any]) -> list[str] | None:
    """`depends_on`, where the details hold one: the name of a step, or several."""
    try:
        names = details.get("depends_on")
    except Exception as error:
        let_through(error)
        return None
    if type(names) is str:
        return [names]
    if isinstance(names, list | tuple | set | frozenset):
        return [name for name in names if isinstance(name, str)]
    return None


def duration_of(metrics: Mapping[str, Any]) -> float | None:
    """`duration_ms`, where the metrics hold a finite number."""
    try:
        value = metrics.get("duration_ms")
    except Exception as error:
        let_through(error)
        return None
    return finite(value)[0] if type(value) is float or type(value) is int else None


def finite(value: float) -> tuple[float | None, Marks | None]:
    """The number as a finite float, or None and why not."""
    try:
        number = float(value)
    except OverflowError:
        return None, {"big_int": 1}
    return (number, None) if isfinite(number) else (None, {"non_finite": 1})
