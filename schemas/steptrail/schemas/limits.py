"""Defines a valid event: the limits of its fields, in one place for all validators.

An event is valid when its frame names a known schema, its body is at most MAX_EVENT_BYTES long and the canonical
encoding of its fields (shortest varints, no trailing bytes), every text is UTF-8, and each field in LIMITS is within
its limit. NUL and control characters in texts are valid, and so are empty texts.

Three validators are built from LIMITS: the strict decoder (`steptrail.schemas.wire.decoder`), the prefilter for batches
(`steptrail.consumers.ingest.prefilter`) and ClickHouse's checks
(`steptrail.projections.delivery.event_checks`). A test searches for an event on which they disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from steptrail.schemas.errors import DecodeReason
from steptrail.schemas.status import STATUS_BY_CODE
from steptrail.schemas.values.json_text import Opening

MAX_EVENT_BYTES: Final = 900 * 1024
"""The longest encoded event, its frame not counted, that is sent and that readers take."""

MIN_TIMESTAMP_US: Final = -2_208_988_800_000_000
"""1900-01-01T00:00:00Z in microseconds since the epoch: the earliest time that DateTime64 holds."""

MAX_TIMESTAMP_US: Final = (2**63 - 1) // 1000
"""2262-04-11T23:47:16.854775Z in microseconds: the latest time that DateTime64 holds at any precision."""


MAX_BROKER_TIME_MS: Final = 9_000_000_000_000
"""A time in 2255, in milliseconds, which every store can hold. A message of a topic that keeps its producers' times may
say any; it counts as this at the latest, and as 1970 at the earliest."""


@dataclass(frozen=True, slots=True)
class Between:
    """An integer from `least` to `greatest`; `rule` is the range in words, `reason` the name of its violation."""

    least: int
    greatest: int
    rule: str
    reason: DecodeReason = DecodeReason.BAD_VALUE


@dataclass(frozen=True, slots=True)
class Finite:
    """A double that is neither infinite nor nan."""

    rule: str
    reason: DecodeReason = DecodeReason.BAD_VALUE


@dataclass(frozen=True, slots=True)
class Json:
    """JSON text that starts with `opening`; see `steptrail.schemas.values.json_text`."""

    opening: Opening
    reason: DecodeReason = DecodeReason.BAD_JSON


Limit: TypeAlias = "Between | Finite | Json"

LIMITS: Final[Mapping[str, Limit]] = {
    "attempt": Between(1, 2**31 - 1, "attempts count from 1"),
    "status": Between(
        0,
        len(STATUS_BY_CODE) - 1,
        f"statuses have the numbers 0 to {len(STATUS_BY_CODE) - 1}",
        DecodeReason.BAD_STATUS,
    ),
    "timestamp": Between(
        MIN_TIMESTAMP_US,
        MAX_TIMESTAMP_US,
        "microseconds since 1970 lie between 1900-01-01 and 2262-04-11",
        DecodeReason.BAD_TIMESTAMP,
    ),
    "duration_ms": Finite("a duration is a finite number"),
    "details": Json("{"),
    "metrics": Json("{"),
    "depends_on": Json("["),
    # ClickHouse drops the bits beyond 64 of a 10-byte number: below this limit, none has 10 bytes.
    "sequence": Between(0, 2**62 - 1, "sequences count from 0 to 2^62 - 1"),
}
"""The limit of each field that has one."""
