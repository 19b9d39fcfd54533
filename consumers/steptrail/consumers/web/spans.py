"""Times in addresses: ISO 8601 with a zone, seconds since the epoch, or how long ago (30m, 2h, 7d)."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Final

from steptrail.consumers.web.problems import ProblemError
from steptrail.projections.reading.spans import Span

_AGO = re.compile(r"([0-9]{1,9})\s*(s|m|h|d|w)")
_EPOCH_S = re.compile(r"[0-9]{9,11}")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LEAST = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MOST = datetime(2200, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Between:
    """A span of time that has both ends; `asked` is how it was asked for, such as `1h` until now."""

    since: datetime
    until: datetime
    asked: tuple[str, str] | None = field(default=None, compare=False)

    @property
    def key(self) -> Hashable:
        """What makes spans the same question: one until now moves, and stays the same question."""
        return self.asked or (self.since, self.until)

    @property
    def span(self) -> Span:
        """For the reading layer."""
        return Span(self.since, self.until)

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.until - self.since).total_seconds()


def moment(name: str, text: str, now: datetime) -> datetime:
    """The time that `text` means. Raises ProblemError (400) that calls it `name`."""
    given = text.strip()
    try:
        if given.lower() == "now":
            return now
        if ago := _AGO.fullmatch(given.lower()):
            found = now - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
        elif _EPOCH_S.fullmatch(given):
            found = datetime.fromtimestamp(int(given), timezone.utc)
        else:
            # A "+" that was not escaped is a space by now.
            found = datetime.fromisoformat(re.sub(r" (\d\d:\d\d)$", r"+\1", given).replace("Z", "+00:00"))
    except (ValueError, OverflowError, OSError):
        raise _wrong(
            name, text, "give a time such as 2026-05-04T12:00:00Z, or how long ago, such as 30m or 7d"
        ) from None
    if found.tzinfo is None:
        raise _wrong(name, text, "say its zone: 2026-05-04T12:00:00Z")
    if not _LEAST <= found <= _MOST:
        raise _wrong(name, text, "give a time between 1970 and 2200")
    return found.astimezone(timezone.utc)


def between(since: str | None, until: str | None, now: datetime, default: str) -> Between:
    """The span from `since` (`default` before now, unless given) until `until` (now). Raises ProblemError (400)."""
    end = now if until is None else moment("until", until, now)
    start = moment("since", since, now) if since is not None else moment("since", default, end)
    if start >= end:
        raise _wrong("since", since or default, "it has to be before `until`")
    return Between(start, end, (since or default, until or "now"))


def _wrong(name: str, text: str, why: str) -> ProblemError:
    detail = f"{name}={text[:100]!r} is no time: {why}"
    return ProblemError(400, "bad_request", detail, errors=[{"name": name, "message": why}])
