from datetime import datetime, timedelta, timezone

import pytest

from steptrail.schemas.event import MAX_TIMESTAMP_US, MIN_TIMESTAMP_US, datetime_from_us, us_from_datetime


def test_microseconds_and_datetimes_are_exact() -> None:
    """No microsecond is lost on the way there and back, at both ends of the range."""
    for moment in (MIN_TIMESTAMP_US, -1, 0, 1, 1_763_919_000_123_457, MAX_TIMESTAMP_US):
        assert us_from_datetime(datetime_from_us(moment)) == moment


def test_a_time_zone_does_not_move_the_instant() -> None:
    """The same instant in another zone is the same number."""
    zone = timezone(timedelta(hours=5, minutes=30))
    assert us_from_datetime(datetime(1970, 1, 1, 5, 30, tzinfo=zone)) == 0


def test_a_naive_time_is_refused() -> None:
    """Without a time zone a time has no place among events."""
    with pytest.raises(ValueError, match="naive"):
        us_from_datetime(datetime(2025, 1, 1))  # noqa: DTZ001  that is the point


def test_the_range_is_that_of_datetime64() -> None:
    """Times from 1900 to the last microsecond that 64 bits of nanoseconds hold."""
    assert datetime_from_us(MIN_TIMESTAMP_US) == datetime(1900, 1, 1, tzinfo=timezone.utc)
    assert datetime_from_us(MAX_TIMESTAMP_US).isoformat() == "2262-04-11T23:47:16.854775+00:00"
