"""An alert: a problem of a step, a pipeline or everything, and since when it exists."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

import orjson

from steptrail.consumers.health.rules.status import HealthStatus
from steptrail.schemas.errors import DataError

FIRING = "firing"
RESOLVED = "resolved"

TARGET = "target"
"""Kind of the alert that a target takes no notifications; goes to all the others."""

ERROR_GROUP = "error_group"
"""Kind of the alert that an error group is new or back; only routes that name it ask for it."""

MAX_SENTENCE = 2000
"""Characters of a sentence; more is cut, so that a notification of a hundred alerts stays a message."""


class BadAlert(DataError):
    """A record on the topic of alerts, notifications or silences is invalid; the message states why."""


@dataclass(frozen=True)
class Alert:
    """One alert as stored on the topic. Times are seconds since the epoch.

    `id` identifies the problem and its subject, and is the same each time; `episode` is one occurrence, from firing to
    resolved. `since`: when the problem began, by the evidence; `fired_at`: when the alert first fired; `ended_at`: when
    it ended, None while it fires. `severity` is WARNING, CRITICAL or UNKNOWN. `sentence` is the evidence as of
    `evidence_at`, None if unknown. `examples`: up to three affected documents; `link`: where to look, "" if no address
    is configured.
    """

    id: str
    episode: str
    pipeline: str
    step: str
    severity: HealthStatus
    kind: str
    sentence: str
    since: float
    fired_at: float
    status: str = FIRING
    ended_at: float | None = None
    owner: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    evidence_at: float | None = None
    examples: tuple[str, ...] = ()
    link: str = ""

    @property
    def firing(self) -> bool:
        """Whether it has not ended."""
        return self.status == FIRING

    @property
    def scope(self) -> str:
        """Its scope for people: `invoices/ocr`, `invoices`, `everything`."""
        return "/".join(filter(None, (self.pipeline, self.step))) or "everything"

    def value_of(self, name: str) -> str:
        """A field or a label by name; "" if there is none."""
        if name == "severity":
            return self.severity.value
        if name in ("pipeline", "step", "kind", "owner", "id", "status"):
            return str(getattr(self, name))
        return self.labels.get(name, "")

    def resolved(self, at: float) -> Alert:
        """A copy that ended at `at`."""
        return replace(self, status=RESOLVED, ended_at=at)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: times as RFC 3339 in UTC."""
        return {
            **vars(self),
            "severity": self.severity.value,
            "since": rfc3339(self.since),
            "fired_at": rfc3339(self.fired_at),
            "ended_at": None if self.ended_at is None else rfc3339(self.ended_at),
            "labels": dict(self.labels),
            "evidence_at": None if self.evidence_at is None else rfc3339(self.evidence_at),
            "examples": list(self.examples),
        }

    def to_bytes(self) -> bytes:
        """As the topic has it."""
        return orjson.dumps(self.as_dict())

    @classmethod
    def from_dict(cls, value: Any) -> Alert:
        """Parse `as_dict`'s result. Raises BadAlert."""
        try:
            ended, evidence = value["ended_at"], value.get("evidence_at")
            alert = cls(
                **{
                    **{name: value[name] for name in _TEXTS},
                    "severity": HealthStatus(value["severity"]),
                    "since": seconds(value["since"]),
                    "fired_at": seconds(value["fired_at"]),
                    "ended_at": None if ended is None else seconds(ended),
                    "labels": {str(key): str(item) for key, item in value["labels"].items()},
                    # Fields that earlier versions do not write.
                    "evidence_at": None if evidence is None else seconds(evidence),
                    "examples": tuple(str(each) for each in value.get("examples", ())),
                    "link": str(value.get("link", "")),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadAlert(f"is not an alert: {type(error).__name__}: {error}"[:300]) from None
        if not all(isinstance(getattr(alert, name), str) for name in _TEXTS):
            raise BadAlert("is not an alert: a text is none")
        return alert

    @classmethod
    def from_bytes(cls, value: bytes) -> Alert:
        """Parse `to_bytes`'s result. Raises BadAlert."""
        return cls.from_dict(loaded(value))


_TEXTS = ("id", "episode", "pipeline", "step", "kind", "sentence", "status", "owner")


def alert_id(pipeline: str, step: str, kind: str, subject: str = "") -> str:
    """The id of a problem: the same wherever and whenever it is computed."""
    return _hash(pipeline, step, kind, subject)


def episode_id(of: str, since: float, before: Alert | None) -> str:
    """The id of an occurrence, from its start; never the id of the previous one, `before`, whose record still
    exists.
    """
    stamp = round(since * 1000)
    if before is not None:
        with contextlib.suppress(ValueError):  # not an id of this format
            stamp = max(stamp, int(before.episode.rpartition("-")[2], 16) + 1)
    return f"{of}-{stamp:x}"


def _hash(*parts: str) -> str:
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()[:20]


def loaded(value: bytes) -> Any:
    """Parse JSON. Raises BadAlert."""
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise BadAlert(f"is not JSON: {error}") from None


def rfc3339(moment: float) -> str:
    """Format seconds since the epoch as `2026-05-04T12:00:00.250Z`; clamps times outside the calendar's range."""
    bounded = min(max(moment, 0.0), 253_402_300_799.0) if math.isfinite(moment) else 0.0
    told = datetime.fromtimestamp(bounded, timezone.utc).isoformat(timespec="milliseconds")
    return told.replace("+00:00", "Z")


def seconds(text: Any) -> float:
    """Parse `rfc3339`'s result to seconds since the epoch. Raises ValueError, TypeError."""
    if not isinstance(text, str):
        raise TypeError("a time is not a text")
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
