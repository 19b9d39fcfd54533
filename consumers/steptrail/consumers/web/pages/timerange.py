"""Which time a page is about, as its address says: an age before now, or two times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

from steptrail.consumers.web.spans import Between, between

CHOICES = (
    ("15m", "15 min"),
    ("1h", "hour"),
    ("6h", "6 h"),
    ("1d", "day"),
    ("7d", "7 days"),
    ("30d", "30 days"),
)
DEFAULT = "1h"


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A span, and what the address says of it: `since_text`, `until_text` (empty: until now)."""

    between: Between
    since_text: str
    until_text: str = ""

    @property
    def is_absolute(self) -> bool:
        """Whether the address means the same time tomorrow."""
        return bool(self.until_text) or (
            self.since_text[:1].isdigit() and self.since_text[-1:] not in "smhdw"
        )

    @property
    def parameters(self) -> dict[str, str]:
        """What an address takes for this range; nothing for the default."""
        found = {} if self.since_text == DEFAULT else {"since": self.since_text}
        return {**found, **({"until": self.until_text} if self.until_text else {})}

    @property
    def explicit(self) -> dict[str, str]:
        """What the API and a command take for this range, whatever their own defaults are."""
        since, until = self.since_text, self.until_text
        found = {"since": iso(self.between.since) if self.is_absolute else since}
        if until:
            found["until"] = until if until[-1:] in "smhdw" else iso(self.between.until)
        return found

    @property
    def frozen(self) -> dict[str, str]:
        """What an address takes for exactly this time."""
        return {"since": iso(self.between.since), "until": iso(self.between.until)}


def read_range(since: str | None, until: str | None, now: datetime) -> TimeRange:
    """The range that an address says. Raises ProblemError (400)."""
    return TimeRange(
        between(since or None, until or None, now, DEFAULT), (since or DEFAULT).strip(), (until or "").strip()
    )


def iso(moment: datetime) -> str:
    """In UTC to the second, such as `2026-05-04T12:00:00Z`."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
