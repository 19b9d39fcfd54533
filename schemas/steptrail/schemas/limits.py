"""What a valid event is: the limits of its fields, once, for everybody who judges events.

An event is valid when its frame names a known schema, its body is at most MAX_EVENT_BYTES long and the only spelling
of its fields (numbers as short as they can be, nothing behind the last field), every text is UTF-8, and each field
that LIMITS names keeps to its limit. NUL and control characters in texts are valid, and so are empty texts.

Three judge by this, each made from LIMITS: the strict decoder (`steptrail.schemas.wire.decoder`), the quick look at
many messages (`steptrail.consumers.ingest.prefilter`) and the checks of the store
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
    """A whole number from `least` to `greatest`; `rule` is the range in words, `reason` the name of its violation."""

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
    """The text of a JSON value that opens so; see `steptrail.schemas.values.json_text`."""

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
    # The engine drops the bits that a number of 10 bytes has beyond 64: below this, none has 10 bytes.
    "sequence": Between(0, 2**62 - 1, "sequences count from 0 to 2^62 - 1"),
}
"""The limit of each field that has one."""
