"""Tracks the watermark, and publishes UNKNOWN while it is too far behind."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import Final

from steptrail.consumers.health.partition_ends import TopicWatch
from steptrail.consumers.health.progress import Progress
from steptrail.consumers.health.rules.judge import Judge
from steptrail.consumers.health.rules.slots import SLOT_S
from steptrail.consumers.health.rules.verdict import Verdict, unseen
from steptrail.consumers.health.rules.watermark import Sight, SightPolicy, Watermark
from steptrail.consumers.health.verdict_records import OVERALL, is_blind, message_of, slot_of, verdict_in
from steptrail.consumers.health.verdict_topic import VerdictTopic
from steptrail.projections.aggregates.slot_counts import first_slot_with_events
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.stores.health_store import SightRow, latest_sight, write_sight

_log = logging.getLogger("steptrail.consumers.judging")

HEARTBEAT_S: Final = 5.0


def last_slot(judge: Judge | None) -> int | None:
    """The last judged slot."""
    return None if judge is None or judge.state.next_slot is None else judge.state.next_slot - 1


class Visibility:
    """The visibility of one member, from when it starts judging until it stops; then a new one is created.

    A change is published and stored at once; heartbeats are stored as well. Methods that write raise the errors of
    ClickHouse and Kafka.
    """

    def __init__(
        self,
        clickhouse: ClickHouse,
        topic: VerdictTopic,
        progress: Progress,
        watch: TopicWatch,
        policy: SightPolicy,
        member: str,
    ) -> None:
        self._clickhouse = clickhouse
        self._topic = topic
        self._progress = progress
        self._watch = watch
        self._policy = policy
        self._member = member
        self._watermark = Watermark(policy)
        self._sight = Sight(policy)
        self._known_until: float | None = None
        self._first: int | None = None  # the slot to start with, without a snapshot
        self._overall: tuple[Verdict, int] | None = None  # not published yet
        self._beat_at = float("-inf")
        self._late = 0
        progress.watermark = None

    @property
    def watermark(self) -> float | None:
        """The time up to which the topic is known to be complete."""
        return self._watermark.value

    @property
    def blind(self) -> bool:
        """Whether verdicts cannot be trusted."""
        return self._sight.blindness is not None

    def begin(self, now: float) -> None:
        """Continue where the previous member stopped, if its verdicts were known until just now."""
        sight = latest_sight(self._clickhouse)
        if sight is not None and sight.watermark is not None:
            age = now - sight.watermark
            known = self._topic.standing().get(OVERALL)
            if age <= self._policy.blind_after_s and known is not None and not is_blind(known):
                # This member has as long to catch up as the previous one would have had.
                self._sight, self._known_until = Sight.seeing(self._policy), sight.watermark
        self._first = first_slot_with_events(self._clickhouse)

    def look(self) -> None:
        """Advance the watermark by applied batches and Kafka's answers."""
        watermark = self._watermark
        for applied in self._progress.take():
            self._late += applied.late
            for number, latest in applied.latest.items():
                watermark.applied(number, latest)
        if (listing := self._watch.listing) is not None:
            watermark.listed(listing.sent_at, range(listing.count))
        consumed = self._progress.consumed()
        for number, probe in self._watch.probes.items():
            watermark.probed(
                number,
                probe.sent_at,
                committed_end=probe.committed_end,
                end=probe.end,
                consumed=consumed.get(number),
            )
        self._progress.watermark = watermark.value

    def judged(self, overall: Verdict, slot: int) -> None:
        """The overall verdict changed; the next `see` publishes it, if it may."""
        self._overall = overall, slot

    def see(
        self, now: float, judge: Judge, *, waits_for: str | None, rules_fault: str | None, settled: bool
    ) -> None:
        """Decide whether verdicts are known at `now`, and publish the overall verdict.

        `waits_for` states what judging waits for, `rules_fault` why outdated rules are in use; `settled`: every
        verdict of `judge` is stored and published.
        """
        was_blind = self.blind
        looked = self._beat_at > float("-inf")
        self._sight.judge(now, self._seen_until(judge))
        changed = was_blind != self.blind or not looked
        self._publish_overall(now, judge, settled)
        if changed or now - self._beat_at >= HEARTBEAT_S:
            reason = self._reason(waits_for, rules_fault)
            self.tell(now, last_slot(judge), seeing=not self.blind, reason=reason)
            self._beat_at = now
            if changed and looked:
                _log.info(
                    "verdicts are UNKNOWN" if self.blind else "verdicts are known",
                    extra={"watermark": self.watermark, "reason": reason},
                )

    def stand_by(self, now: float, reason: str | None) -> None:
        """Store why no member judges, unless another did: while Kafka is unavailable no member leads."""
        if reason is None or now - self._beat_at < HEARTBEAT_S:
            return
        self._beat_at = now
        latest = latest_sight(self._clickhouse)
        if latest is None or latest.member == self._member or now - latest.at > 2 * HEARTBEAT_S:
            known = None if latest is None else latest.watermark
            slot = None if latest is None else latest.slot
            write_sight(self._clickhouse, SightRow(now, False, known, slot, reason, 0, self._member))

    def tell(self, now: float, slot: int | None, *, seeing: bool, reason: str) -> None:
        """Store whether verdicts are known, as this member's heartbeat."""
        row = SightRow(now, seeing, self.watermark, slot, reason, self._late, self._member)
        write_sight(self._clickhouse, row)

    def _seen_until(self, judge: Judge) -> float | None:
        """The time up to which verdicts hold: the watermark, or the last judged slot if that is behind."""
        value, next_slot = self.watermark, judge.state.next_slot
        if value is None:
            return self._known_until
        if next_slot is None:
            next_slot = self._first
            if next_slot is None:
                return value
        return min(value, float(next_slot + 1) * SLOT_S)

    def _reason(self, waits_for: str | None, rules_fault: str | None) -> str:
        reason = waits_for
        if reason is None and self.blind:
            behind = self._watermark.behind()
            unknown = [number for number, at in behind.items() if at is None]
            if unknown or not behind:
                reason = (
                    f"not all partitions have been read yet: {unknown}"
                    if unknown
                    else "the topic is not known yet"
                )
            else:
                number, at = min(behind.items(), key=lambda entry: entry[1] or 0.0)
                reason = f"catching up; partition {number} is complete up to {_iso(at or 0.0)}"
        return "; ".join(said for said in (reason, rules_fault) if said)

    def _publish_overall(self, now: float, judge: Judge, settled: bool) -> None:
        """Publish the current overall verdict, if the topic has a different one."""
        shown = self._topic.standing().get(OVERALL)
        blindness = self._sight.blindness
        if blindness is not None:
            if shown is None or not is_blind(shown):
                was, slot = judge.overall(), last_slot(judge)
                if slot is None:  # nothing is judged yet: the topic has the last known verdict
                    was, slot = (was, 0) if shown is None else (verdict_in(shown), slot_of(shown))
                self._topic.publish([(OVERALL, message_of(unseen(was, blindness, now), slot))])
            return
        if shown is None or is_blind(shown):
            if (slot := last_slot(judge)) is not None:
                self._topic.publish([(OVERALL, message_of(judge.overall(), slot))])
                self._overall = None
        elif self._overall is not None and settled:
            verdict, slot = self._overall
            if (shown.get("slot") or 0) < slot:
                self._topic.publish([(OVERALL, message_of(verdict, slot))])
            self._overall = None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
