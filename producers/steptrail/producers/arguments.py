"""Checks of the types of callers' arguments; each error names the argument.

Types only: a strange *value* must never raise, since steps are recorded in `except` blocks, where an error
from steptrail would hide the caller's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from steptrail.producers.extraction import MAX_NAMES
from steptrail.schemas.foreign import let_through
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.values.plain_numbers import plain_number

STATUS_BY_NAME: dict[str, ProcessingStatus] = {status.value: status for status in ProcessingStatus}


def check_event(
    doc_id: object,
    step_name: object,
    timestamp: object,
    details: object,
    metrics: object,
    error_message: object,
) -> None:
    """Raise TypeError or ValueError for arguments that cannot make an event; cheap when all are valid."""
    if not isinstance(doc_id, str):
        raise _wrong("doc_id", "a str", doc_id, hint="use str(doc_id)")
    if not isinstance(step_name, str):
        raise _wrong("step_name", "a str", step_name)
    if timestamp is not None:
        _check_event_time(timestamp)
    # dict first: the check against an abstract class costs as much as all the others.
    if details is not None and type(details) is not dict and not isinstance(details, Mapping):
        raise _wrong("details", "a mapping or None", details, hint="for instance {'result': …}")
    if metrics is not None and type(metrics) is not dict and not isinstance(metrics, Mapping):
        raise _wrong("metrics", "a mapping or None", metrics, hint="for instance {'pages': 3}")
    if error_message is not None and not isinstance(error_message, str):
        raise _wrong("error_message", "a str or None", error_message, hint="use str(error)")


def check_rest(
    error_type: object,
    execution_id: object,
    attempt: object,
    duration_ms: object,
    depends_on: object,
    trace_id: object,
) -> None:
    """As `check_event`, for the rarely used arguments."""
    if error_type is not None and not isinstance(error_type, str):
        raise _wrong("error_type", "a str or None", error_type, hint="use type(error).__qualname__")
    if execution_id is not None:
        if not isinstance(execution_id, bytes):
            raise _wrong("execution_id", "16 bytes or None", execution_id)
        if len(execution_id) != 16:
            raise ValueError(f"execution_id must have 16 bytes, not {len(execution_id)}")
    if attempt is not None and plain_number(attempt) is None:
        raise _wrong("attempt", "an int or None", attempt)
    if duration_ms is not None and plain_number(duration_ms) is None:
        raise _wrong("duration_ms", "a number of milliseconds or None", duration_ms)
    if depends_on is not None and not (
        not isinstance(depends_on, str | bytes)
        and isinstance(depends_on, Collection)
        and _are_names(depends_on)
    ):
        raise _wrong("depends_on", "a collection of step names (str) or None", depends_on)
    if trace_id is not None and not isinstance(trace_id, str):
        raise _wrong("trace_id", "a str or None", trace_id, hint="32 hex digits")


def _are_names(names: Collection[Any]) -> bool:
    """Whether the names that fit are strings; a collection that raises is not the caller's mistake."""
    try:
        return all(isinstance(name, str) for name in islice(names, MAX_NAMES))
    except Exception as error:
        let_through(error)
        return True


def _check_event_time(value: object) -> None:
    """As `check_time`, for a time to record: one whose offset cannot be read is a strange value, not a mistake."""
    try:
        check_time("timestamp", value)
    except Exception as error:
        let_through(error)
        if not isinstance(value, datetime) or (value.tzinfo is None and value == value):
            raise


def check_time(name: str, value: object) -> datetime:
    """Return the time if it is timezone-aware; raises TypeError or ValueError naming the argument."""
    if not isinstance(value, datetime):
        raise _wrong(name, "a datetime with a time zone", value)
    if value.utcoffset() is None:
        raise ValueError(
            f"{name} must have a time zone, and {value.isoformat()} has none;"
            " use datetime.now(timezone.utc) or value.replace(tzinfo=…)"
        )
    return value


def check_doc_id(value: object) -> str:
    """Return the document's id; raises TypeError."""
    if not isinstance(value, str):
        raise _wrong("doc_id", "a str", value, hint="use str(doc_id)")
    return value


def as_status(value: object) -> ProcessingStatus:
    """Convert a member or its name to a status; raises TypeError, or ValueError for an unknown name."""
    if isinstance(value, ProcessingStatus):
        return value
    if not isinstance(value, str):
        raise _wrong("status", "a ProcessingStatus or its name", value)
    try:
        return STATUS_BY_NAME[value]
    except KeyError:
        raise ValueError(f"status must be one of {', '.join(STATUS_BY_NAME)}, not {value!r}") from None


def as_statuses(value: object) -> frozenset[ProcessingStatus] | None:
    """Convert one status or several; None means all. Raises as `as_status` does."""
    if value is None:
        return None
    if isinstance(value, str):
        return frozenset({as_status(value)})
    if not isinstance(value, Collection):
        raise _wrong("status", "one ProcessingStatus, a collection of them, or None", value)
    return frozenset(as_status(item) for item in value)


def check_timeout(value: object) -> float:
    """Return the timeout in seconds; raises TypeError or ValueError."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong("timeout", "a number of seconds", value)
    if not value >= 0:
        raise ValueError(f"timeout must be 0 seconds or more, not {value}")
    return float(value)


def _wrong(name: str, expected: str, value: Any, *, hint: str = "") -> TypeError:
    kind = type(value)
    shown = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return TypeError(f"{name} must be {expected}, not {shown}" + (f"; {hint}" if hint else ""))
