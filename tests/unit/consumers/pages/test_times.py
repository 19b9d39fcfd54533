"""Times and words of pages: one helper, one zone a page, the offset always said."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from steptrail.consumers.web.pages.clock import Clock, span, zone_of
from steptrail.consumers.web.pages.words import duration, percent, placeholders, short

NOW = datetime(2026, 5, 4, 10, 32, 4, tzinfo=timezone.utc)
CLOCK = Clock(timezone.utc, NOW)
BERLIN = Clock(zone_of("Europe/Berlin"), NOW)


def test_today_is_a_time_and_another_day_has_its_date() -> None:
    """In the page's zone: what is yesterday in UTC may be today in Berlin."""
    late = datetime(2026, 5, 3, 23, 0, tzinfo=timezone.utc)
    assert CLOCK.text(late) == "2026-05-03 23:00:00"
    assert BERLIN.text(late) == "01:00:00"
    assert (CLOCK.offset, BERLIN.offset, Clock(zone_of("Asia/Kolkata"), NOW).offset) == (
        "UTC",
        "UTC+2",
        "UTC+5:30",
    )


@pytest.mark.parametrize("name", ["", None, "Nowhere/There", "../../etc/passwd", "\0", "x" * 5000])
def test_a_zone_that_is_none_is_utc(name: str | None) -> None:
    """A cookie can say anything."""
    assert zone_of(name) is timezone.utc


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "250 ms"), (18, "18 s"), (190, "3 min"), (7300, "2 h"), (200_000, "2 d"), (1e6, "1 w")],
)
def test_spans_have_the_greatest_unit(seconds: float, text: str) -> None:
    """One number that is read at a glance."""
    assert span(seconds) == text


def test_ago_says_the_absolute_time_too() -> None:
    """Whoever hovers sees the whole time with its offset; machines read UTC."""
    shown = BERLIN.ago(NOW - timedelta(minutes=3))
    assert "3 min ago" in shown
    assert 'title="2026-05-04 12:29:04.000000 UTC+2"' in shown
    assert 'datetime="2026-05-04T10:29:04Z"' in shown
    assert CLOCK.ago(NOW + timedelta(seconds=5)).striptags() == "in 5 s"
    assert str(CLOCK.when(None)) == ""


def test_the_ends_of_the_calendar_can_be_shown() -> None:
    """An event may carry a time that no zone can hold."""
    assert BERLIN.when(datetime.max.replace(tzinfo=timezone.utc))
    assert BERLIN.when(datetime.min.replace(tzinfo=timezone.utc))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.045, "45 µs"),
        (0.42, "0.4 ms"),
        (112.4, "112 ms"),
        (1200, "1.2 s"),
        (250_000, "4 min 10 s"),
    ],
)
def test_durations(value: float | None, text: str) -> None:
    """In the unit that a person would choose; nothing where nothing is known."""
    assert duration(value) == text


def test_no_error_and_few_errors_are_told_apart() -> None:
    """0.4 % is not 0 %."""
    assert [percent(share) for share in (None, 0.0, 0.004, 0.21, 1.0)] == [
        "",
        "0 %",
        "0.4 %",
        "21 %",
        "100 %",
    ]


def test_what_turns_text_around_is_written_out() -> None:
    """Bidi overrides, NUL and escapes are seen instead of obeyed; long texts are cut."""
    assert short("a\u202eb\0\x1b[31m", 100) == "a\\u202eb\\x00\\x1b[31m"
    assert short("x" * 50, 10) == "x" * 9 + "…"


def test_placeholders_are_marked_and_markup_is_not() -> None:
    """<num> is quiet; a script tag of a message is text."""
    shown = str(placeholders("no <num> <script>alert(1)</script>"))
    assert '<span class="quiet">&lt;num&gt;</span>' in shown
    assert "<script>" not in shown
