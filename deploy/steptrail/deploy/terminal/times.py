"""Times as people type them and as people read them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated

import typer

from steptrail.deploy.terminal.failures import USAGE, CommandError

if TYPE_CHECKING:
    from steptrail.consumers.web.spans import Between

_AGO = re.compile(r"(?P<count>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|sec|m|min|h|d|w)", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}

SINCE_HELP = "How far back: 90s, 15m, 1h, 7d, 2w, or a time such as 2026-05-04T12:00 (UTC unless it says)."
UNTIL_HELP = "Until when, exclusive, in the same forms."

Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help=UNTIL_HELP, show_default=False)]

_ALWAYS = datetime(1970, 1, 1, tzinfo=timezone.utc)
_OPEN_END = datetime(2200, 1, 1, tzinfo=timezone.utc)


def span_of(since: str | None, until: str | None, *, ends_now: bool = False) -> Callable[[], Between]:
    """The span from `since` (None: from the beginning) to `until`, as a function, for ages are counted from each call.

    Without `until` it has no end, so that an event of a worker whose clock is fast is in it, unless it `ends_now`.
    Raises CommandError (exit 2) at once for times that cannot be read or are the wrong way round.
    """

    def found() -> Between:
        from steptrail.consumers.web.spans import Between

        now = datetime.now(timezone.utc)
        end = now + timedelta(seconds=1) if ends_now else _OPEN_END
        if until is not None:
            end = parse_since(until, now=now)
        start = _ALWAYS if since is None else parse_since(since, now=now)
        if start >= end:
            raise CommandError(
                f"--since {since or 'always'} is not before --until {until or 'now'}.",
                exit_code=USAGE,
                kind="bad_time",
            )
        return Between(start, end)

    found()
    return found


def parse_since(text: str, *, now: datetime | None = None) -> datetime:
    """The UTC time that `text` means: an age (`15m`, `1h30m`, `7d`) before `now`, or an ISO time.

    A time without an offset is UTC. Raises CommandError (exit 2) for anything else.
    """
    now = now or datetime.now(timezone.utc)
    stripped = text.strip()
    if stripped.lower() == "now":
        return now
    if (seconds := parse_duration(stripped)) is not None:
        try:
            return now - timedelta(seconds=seconds)
        except OverflowError:
            raise _bad_time(text, "it lies before year 1") from None
    try:
        # Python 3.10 does not read the Z that everyone writes.
        moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", stripped))
    except ValueError:
        raise _bad_time(text, "neither an age nor an ISO time") from None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=timezone.utc)
    try:
        return moment.astimezone(timezone.utc)
    except OverflowError:
        raise _bad_time(text, "it lies outside the years 1 to 9999 in UTC") from None


def parse_duration(text: str) -> float | None:
    """Seconds of `90s`, `1h30m`, `2d`; None for a text that is no duration."""
    ages = list(_AGO.finditer(text))
    if not ages or _AGO.sub("", text).strip():
        return None
    return sum(float(age["count"]) * _SECONDS[age["unit"].lower()] for age in ages)


def _bad_time(text: str, why: str) -> CommandError:
    return CommandError(
        f"cannot read the time {text!r}: {why}.",
        exit_code=USAGE,
        kind="bad_time",
        hint="write an age such as 15m, 1h, 7d, or a time such as 2026-05-04T12:00:00Z.",
    )


def show_time(moment: datetime, *, precise: bool = False) -> str:
    """`moment` in UTC as `2026-05-04 12:00:00`, with milliseconds when `precise`."""
    utc = moment.astimezone(timezone.utc)
    text = utc.strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{utc.microsecond // 1000:03d}" if precise else text


def show_duration(milliseconds: float | None) -> str:
    """A duration in the unit that a person would choose: `0.42 ms`, `830 ms`, `3.2 s`, `4 m 10 s`, `2 h 5 m`."""
    if milliseconds is None:
        return ""
    if milliseconds < 0:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 1:
        return f"{milliseconds:.2f} ms"
    if milliseconds < 10:
        return f"{milliseconds:.1f} ms"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} m {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} m"


def show_age(moment: datetime, *, now: datetime | None = None) -> str:
    """How long ago `moment` was: `3 m 10 s ago`; `in 5.0 s` when it lies ahead."""
    milliseconds = ((now or datetime.now(timezone.utc)) - moment).total_seconds() * 1000
    return f"{show_duration(milliseconds)} ago" if milliseconds >= 0 else f"in {show_duration(-milliseconds)}"
