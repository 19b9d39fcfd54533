"""Silences: mute matching alerts for a time, with a reason."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from steptrail.consumers.alerts.model.alert import Alert, BadAlert, loaded, rfc3339, seconds
from steptrail.schemas.stored_names import matches_name

KEPT_S = 7 * 86_400.0
"""So long a silence that has ended can still be listed."""


@dataclass(frozen=True)
class Silence:
    """Mutes notifications of alerts that match its globs, from `starts` until `ends` (seconds since the epoch).

    The alerts still fire and are listed; a resolved one is notified to targets that were notified of its firing.
    """

    id: str
    pipeline: str
    step: str
    kind: str
    starts: float
    ends: float
    reason: str
    by: str

    def matches(self, alert: Alert) -> bool:
        """Shell-style globs, case-sensitive."""
        return (
            matches_name(alert.pipeline, self.pipeline)
            and matches_name(alert.step, self.step)
            and fnmatch.fnmatchcase(alert.kind, self.kind)
        )

    def holds_at(self, now: float) -> bool:
        """Whether it is active."""
        return self.starts <= now < self.ends

    def expired(self, now: float) -> Silence:
        """A copy that ends at `now`, unless it already ended."""
        return replace(self, starts=min(self.starts, now), ends=min(self.ends, now))

    def as_dict(self) -> dict[str, Any]:
        """For JSON: times as RFC 3339 in UTC."""
        return {**vars(self), "starts": rfc3339(self.starts), "ends": rfc3339(self.ends)}

    def to_bytes(self) -> bytes:
        """As the topic has it."""
        return orjson.dumps(self.as_dict())

    @classmethod
    def from_bytes(cls, value: bytes) -> Silence:
        """Parse `to_bytes`'s result. Raises BadAlert."""
        found = loaded(value)
        try:
            texts = {name: found[name] for name in ("id", "pipeline", "step", "kind", "reason", "by")}
            if not all(isinstance(text, str) for text in texts.values()):
                raise TypeError("a text is none")
            return cls(**texts, starts=seconds(found["starts"]), ends=seconds(found["ends"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BadAlert(f"is not a silence: {type(error).__name__}: {error}"[:300]) from None


def silencing(alert: Alert, silences: Iterable[Silence], now: float) -> Silence | None:
    """The silence that mutes the alert; of several, the one that ends last."""
    matching = [silence for silence in silences if silence.holds_at(now) and silence.matches(alert)]
    return max(matching, key=lambda silence: (silence.ends, silence.id), default=None)
