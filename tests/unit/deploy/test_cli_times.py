from datetime import datetime, timedelta, timezone

import pytest

from steptrail.deploy.terminal.failures import USAGE, CommandError
from steptrail.deploy.terminal.times import parse_since, show_age, show_duration, show_time

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("1h", timedelta(hours=1)),
        ("1h30m", timedelta(minutes=90)),
        ("1h 30m", timedelta(minutes=90)),
        ("0.5d", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("2W", timedelta(weeks=2)),
        ("250ms", timedelta(milliseconds=250)),
        (" 1h ", timedelta(hours=1)),
        ("now", timedelta(0)),
    ],
)
def test_ages(text: str, ago: timedelta) -> None:
    """An age is taken off the present time."""
    assert parse_since(text, now=NOW) == NOW - ago


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-05-04T12:00:00Z", NOW),
        ("2026-05-04T12:00", NOW),
        ("2026-05-04 12:00:00", NOW),
        ("2026-05-04T14:00:00+02:00", NOW),
        ("2026-05-04", datetime(2026, 5, 4, tzinfo=timezone.utc)),
        ("2026-05-04T12:00:00.123456+00:00", NOW.replace(microsecond=123456)),
    ],
)
def test_iso_times(text: str, moment: datetime) -> None:
    """An ISO time is taken as it says, as UTC when it does not say, and comes back in UTC."""
    parsed = parse_since(text, now=NOW)
    assert parsed == moment
    assert parsed.tzinfo is timezone.utc


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "yesterday",
        "1x",
        "h",
        "-1h",
        "1h ago",
        "2026-13-01",
        "99999999999d",
        "9" * 400 + "s",
        "1e3s",
        "0001-01-01T00:00+14:00",
    ],
)
def test_bad_times(text: str) -> None:
    """What is neither an age nor a time is a mistake of usage, told with the text and an example."""
    with pytest.raises(CommandError) as caught:
        parse_since(text, now=NOW)
    assert caught.value.exit_code == USAGE
    assert repr(text) in caught.value.message
    assert caught.value.hint is not None
    assert "15m" in caught.value.hint


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, ""),
        (0.0, "0.00 ms"),
        (0.42, "0.42 ms"),
        (4.25, "4.2 ms"),
        (830.4, "830 ms"),
        (3_210, "3.2 s"),
        (250_000, "4 m 10 s"),
        (7_500_000, "2 h 5 m"),
        (-5.0, "-5 ms"),
    ],
)
def test_durations(milliseconds: "float | None", text: str) -> None:
    """A duration is shown in the unit that a person would choose."""
    assert show_duration(milliseconds) == text


def test_show_time_is_utc() -> None:
    """Times are shown in UTC, whatever zone they come in."""
    east = NOW.astimezone(timezone(timedelta(hours=5)))
    assert show_time(east) == "2026-05-04 12:00:00"
    assert show_time(east.replace(microsecond=7_000), precise=True) == "2026-05-04 12:00:00.007"


def test_show_age() -> None:
    """An age says how long ago; a time that lies ahead says so."""
    assert show_age(NOW - timedelta(seconds=3), now=NOW) == "3.0 s ago"
    assert show_age(NOW + timedelta(seconds=3), now=NOW) == "in 3.0 s"
