"""Times on their way to and from the store: whole microseconds since the epoch, so that nothing is rounded."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)

# Before and after every time that the store can hold, and well inside 64 bits.
BEFORE_ALL = -(2**61)
AFTER_ALL = 2**61


def from_micros(micros: int) -> datetime:
    """An aware UTC time."""
    return EPOCH + timedelta(microseconds=micros)


def to_micros(name: str, value: datetime) -> int:
    """Microseconds since the epoch; `name` is what the caller calls this value.

    Raises TypeError for what is not a datetime and ValueError for one without a time zone.
    """
    if not isinstance(value, datetime):
        raise TypeError(f"{name} must be a datetime with a time zone, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise ValueError(
            f"{name} has no time zone ({value.isoformat()}); say which, for instance datetime.now(timezone.utc)"
        )
    return (value - EPOCH) // _MICROSECOND
