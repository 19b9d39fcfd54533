"""The watermark: the time up to which the topic is complete, over all partitions, with idle ones proven idle."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SightPolicy:
    """Parameters of the watermark, in seconds.

    `margin_s` covers the skew of the brokers' clocks and replication delay. Verdicts become UNKNOWN when the watermark
    is more than `blind_after_s` behind, and known again when it is at most `seeing_within_s` behind.
    """

    margin_s: float = 2.0
    blind_after_s: float = 60.0
    seeing_within_s: float = 30.0


@dataclass(frozen=True)
class Blindness:
    """A period without verdicts; stored as a fact, never recomputed.

    `since` and `until` (None while it lasts) are when it was detected; `watermark` is the watermark at `since` (None
    before the first).
    """

    since: float
    until: float | None
    watermark: float | None

    def covers(self, time: float) -> bool:
        """Whether `time` lies within it."""
        return self.since <= time and (self.until is None or time < self.until)


@dataclass
class Watermark:
    """The time up to which every record of the topic has been applied; all times in seconds since the epoch.

    For each partition, A is the largest applied broker time (LogAppendTime), and I the send time of the latest request
    for its end whose answers at both isolation levels agree and equal the consumed position. A partition is complete up
    to max(A, I) - margin, the topic up to the least of its partitions, and never beyond the last successful listing of
    its partitions - margin, since there may be a new one. The watermark never goes back.
    """

    policy: SightPolicy = field(default_factory=SightPolicy)
    value: float | None = None
    late: int = 0
    _complete: dict[int, float] = field(
        default_factory=dict
    )  # partition -> max(A, I), absent before the first
    _partitions: set[int] = field(default_factory=set)
    _listed: float | None = None

    def listed(self, sent_at: float, partitions: Collection[int]) -> None:
        """Apply a complete listing of the topic's partitions, requested at `sent_at`.

        New partitions hold the watermark back until something is known about them.
        """
        self._partitions.update(partitions)
        self._listed = sent_at if self._listed is None else max(self._listed, sent_at)
        self._advance()

    def applied(self, partition: int, latest: float, *, late: int = 0) -> None:
        """Note that records of `partition` were applied, the latest of them appended at `latest`.

        `late` counts those appended before `value`, which the watermark had ruled out.
        """
        self.late += late
        self._partitions.add(partition)
        self._complete[partition] = max(latest, self._complete.get(partition, latest))
        self._advance()

    def probed(
        self,
        partition: int,
        sent_at: float,
        *,
        committed_end: int | None,
        end: int | None,
        consumed: int | None,
    ) -> bool:
        """Apply the answer to a request for the partition's end at `sent_at`; returns whether it is proven idle since.

        `committed_end` is the last stable offset (read committed), `end` the high watermark (read uncommitted),
        `consumed` the consumer's position at PARTITION_EOF: transaction markers occupy offsets too. None is a missing
        answer, and proves nothing.
        """
        if end is None or committed_end != end or consumed != end:
            return False
        self._partitions.add(partition)
        self._complete[partition] = max(sent_at, self._complete.get(partition, sent_at))
        self._advance()
        return True

    def behind(self) -> dict[int, float | None]:
        """The time up to which each partition is complete, to find the one that holds the watermark back."""
        margin = self.policy.margin_s
        return {
            p: self._complete[p] - margin if p in self._complete else None for p in sorted(self._partitions)
        }

    def _advance(self) -> None:
        if self._listed is None or not self._partitions or len(self._complete) < len(self._partitions):
            return
        reached = min(self._listed, *self._complete.values()) - self.policy.margin_s
        self.value = reached if self.value is None else max(self.value, reached)


@dataclass
class Sight:
    """Whether verdicts are possible, with hysteresis. Starts blind, until the watermark is close."""

    policy: SightPolicy = field(default_factory=SightPolicy)
    blindness: Blindness | None = None
    _looked: bool = False

    @classmethod
    def seeing(cls, policy: SightPolicy | None = None) -> Sight:
        """For a member that takes over from one that was seeing."""
        return cls(policy or SightPolicy(), _looked=True)

    def judge(self, now: float, watermark: float | None) -> Blindness | None:
        """Judge at `now`; returns a period of blindness that has just ended, for the caller to store.

        `blindness` is the current period, None while seeing.
        """
        age = None if watermark is None else now - watermark
        if self.blindness is not None or not self._looked:
            self._looked = True
            if age is not None and age <= self.policy.seeing_within_s:
                ended, self.blindness = self.blindness, None
                return ended and Blindness(ended.since, now, ended.watermark)
            self.blindness = self.blindness or Blindness(now, None, watermark)
        elif age is None or age > self.policy.blind_after_s:
            self.blindness = Blindness(now, None, watermark)
        return None
