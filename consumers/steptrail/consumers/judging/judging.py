"""Judging: closed slots out of the store, into the rule, and what changes to the topic and the tables.

One turn, over and over, in a thread of its own:

    watch      what was applied and what Kafka answered: on with the watermark
    see        whether verdicts can be believed; a change is said at once, and a heartbeat stored
    judge      fold the slots that the watermark has closed, store and publish what changed
    remember   a snapshot, now and then

Everything that was decided is decided again in the same way by whoever takes over: the state comes from a
snapshot, the slots after it from the tables, and what stands on the topic is not published again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import datetime, timedelta, timezone
from typing import Any, Final, Protocol

import orjson

from steptrail.consumers.backoff import Backoff, BackoffPolicy
from steptrail.consumers.health.baseline import SLOT_S
from steptrail.consumers.health.judge import Judge, Judgement
from steptrail.consumers.health.slots import StepKey
from steptrail.consumers.health.stalled import Observation
from steptrail.consumers.health.state import SnapshotError, State
from steptrail.consumers.health.status import HealthStatus
from steptrail.consumers.health.verdict import Finding, Verdict, unseen
from steptrail.consumers.health.watermark import Sight, SightPolicy, Watermark
from steptrail.consumers.judging.progress import Progress
from steptrail.consumers.judging.rules_file import RulesFile
from steptrail.consumers.judging.slots import chunk_end, fetch_slots
from steptrail.consumers.judging.topic_watch import TopicWatch
from steptrail.consumers.judging.verdict_topic import Key, VerdictTopic
from steptrail.consumers.side_thread import SideThread
from steptrail.projections.clickhouse import ClickHouse
from steptrail.projections.errors import QueryError
from steptrail.projections.health_losses import LossCounts, loss_totals, record_losses, recorded_losses
from steptrail.projections.health_store import (
    SightRow,
    Snapshot,
    VerdictRow,
    latest_sight,
    snapshots,
    write_sight,
    write_snapshot,
    write_verdicts,
)
from steptrail.projections.slot_counts import first_slot_with_events
from steptrail.schemas.errors import InfrastructureError

_log = logging.getLogger("steptrail.consumers.judging")

TURN_S: Final = 0.25
HEARTBEAT_S: Final = 5.0
SNAPSHOT_EVERY_S: Final = 30.0
LOSSES_EVERY_S: Final = 15.0
STALLS_EVERY_S: Final = 15.0
# Losses that were there before anything was judged are held against nobody, but for the latest.
_RECENT = timedelta(minutes=10)
_SETTLED = timedelta(seconds=60)
_OVERALL: Final[Key] = ("", "")


class Stalls(Protocol):
    """What finds stalled executions; see `steptrail.consumers.judging.stalls`. It may block, and does not raise."""

    def begin(self) -> list[Observation] | None:
        """Those that stand now; None while that is not known."""
        ...

    def look(self, watermark: float, deadlines: Mapping[StepKey, float]) -> list[Observation]:
        """What is to be said at `watermark`, once it is said; [] when nothing can be decided."""
        ...


class Judging:
    """Judges while `leading()`; see the module's docstring. Faults of Kafka and the store are waited out.

    `fault` says what is waited for, None while nothing is.
    """

    def __init__(
        self,
        clickhouse: ClickHouse,
        topic: VerdictTopic,
        progress: Progress,
        watch: TopicWatch,
        rules: RulesFile,
        *,
        leading: Callable[[], bool],
        member: str,
        stop: threading.Event,
        stalls: Stalls | None = None,
        waiting: Callable[[], str | None] = lambda: None,
        policy: SightPolicy | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clickhouse = clickhouse
        self._topic = topic
        self._progress = progress
        self._watch = watch
        self._rules = rules
        self._leading = leading
        self._member = member
        self._stalls = stalls
        self._waiting = waiting
        self._policy = policy or SightPolicy()
        self._clock = clock
        self._backoff = Backoff(BackoffPolicy(first=0.5, cap=3.0))
        self._retry_at = 0.0
        self.fault: str | None = None
        self._judge: Judge | None = None
        self._beside = SideThread("steptrail-stalls")
        self._thread = threading.Thread(target=self._run, name="steptrail-judging", daemon=True)
        self._stop = stop
        self.failure: BaseException | None = None
        self._forget()

    def start(self) -> None:
        """Begin; `stop` ends it."""
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait `timeout` seconds for the end, which is a last snapshot after `stop` was set."""
        self._thread.join(timeout)

    @property
    def watermark(self) -> float | None:
        """Up to when the topic is known to be complete."""
        return self._watermark.value

    @property
    def slot(self) -> int | None:
        """The last slot that was judged."""
        judge = self._judge
        return None if judge is None or judge.state.next_slot is None else judge.state.next_slot - 1

    def _forget(self) -> None:
        self._judge = None
        self._watermark = Watermark(self._policy)
        self._sight = Sight(self._policy)
        self._known_until: float | None = None
        self._first: int | None = None  # the slot to begin with, where no snapshot says another
        self._pending: deque[Judgement] = deque()
        self._overall: tuple[Verdict, int] | None = None
        self._beat_at = self._snapshot_at = self._losses_at = self._stalls_at = float("-inf")
        self._snapshot_slot: int | None = None
        self._stalls_begun = False
        self._looking: Future[list[Observation] | None] | None = None
        self._late = 0
        self._progress.watermark = None

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                if self._leading():
                    self._turn()
                elif self._judge is not None:
                    self._topic.close()
                    self._forget()
                    _log.info("another member judges, or Kafka is away")
                else:
                    self._stand_by()
                self._progress.wait(TURN_S)
                time.sleep(0.02)
            self._end()
        except BaseException as error:
            self.failure = error
            self._stop.set()  # the whole process: what reads without judging is of no use
            _log.exception("judging ended: %s", error)

    def _turn(self) -> None:
        if self._judge is not None:
            self._look()
        if self._clock() < self._retry_at:
            return
        try:
            if self._judge is None:
                self._recover()
            self._see()
            self._judge_slots()
            self._remember()
        except (InfrastructureError, QueryError) as fault:
            delay = self._backoff.failed()
            self._retry_at = self._clock() + delay
            self.fault = str(fault)
            _log.warning("judging waits for %s", fault, extra={"retry_in_seconds": round(delay, 2)})
        else:
            self._backoff.succeeded()
            self.fault = None

    def _stand_by(self) -> None:
        """Say why nobody judges, if nobody says anything: while Kafka is away no member leads."""
        now, reason = self._clock(), self._waiting()
        if reason is None or now - self._beat_at < HEARTBEAT_S:
            return
        self._beat_at = now
        try:
            latest = latest_sight(self._clickhouse)
            if latest is None or latest.member == self._member or now - latest.at > 2 * HEARTBEAT_S:
                known = None if latest is None else latest.watermark
                slot = None if latest is None else latest.slot
                write_sight(self._clickhouse, SightRow(now, False, known, slot, reason, 0, self._member))
        except (InfrastructureError, QueryError) as fault:
            self.fault = str(fault)

    def _end(self) -> None:
        if self._judge is None:
            return
        try:
            self._flush()
            self._snapshot()
            seeing, reason = self._sight.blindness is None, f"health consumer {self._member} was stopped"
            # What was judged until now stays worth something until somebody takes over, or it is too old.
            self._tell_sight(self._clock(), seeing=seeing, reason=reason)
        except (InfrastructureError, QueryError) as fault:
            _log.warning("stopped without a snapshot: %s", fault)
        self._topic.close()

    # --- recover ---------------------------------------------------------------------------------

    def _recover(self) -> None:
        self._rules.look()
        standing = self._topic.standing()
        state, began = State(), None
        for snapshot in snapshots(self._clickhouse):
            try:
                state = State.from_bytes(snapshot.state)
            except SnapshotError as error:
                _log.warning("a snapshot is passed over: %s", error, extra={"slot": snapshot.slot})
                continue
            began = self._snapshot_slot = snapshot.slot
            break
        sight = latest_sight(self._clickhouse)
        now = self._clock()
        if sight is not None and sight.watermark is not None:
            age = now - sight.watermark
            known = standing.get(_OVERALL)
            if age <= self._policy.blind_after_s and known is not None and not _is_blind(known):
                # The member before could see until just now: this one has as long to find its way.
                self._sight, self._known_until = Sight.seeing(self._policy), sight.watermark
        self._first = first_slot_with_events(self._clickhouse)
        self._judge = Judge(self._rules.rules, state)
        self._snapshot_at = now
        _log.info(
            "judging",
            extra={"from_snapshot_of_slot": began, "steps": len(state.keys), "on_topic": len(standing)},
        )

    # --- watch -----------------------------------------------------------------------------------

    def _look(self) -> None:
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

    # --- see -------------------------------------------------------------------------------------

    def _seen_until(self) -> float | None:
        """Up to when verdicts hold: the watermark, or where judging stands if that is behind."""
        assert self._judge is not None
        value, next_slot = self._watermark.value, self._judge.state.next_slot
        if value is None:
            return self._known_until
        if next_slot is None:
            next_slot = self._first
            if next_slot is None:
                return value
        return min(value, float(next_slot + 1) * SLOT_S)

    def _see(self) -> None:
        now = self._clock()
        had = self._sight.blindness
        looked = self._beat_at > float("-inf")
        self._sight.look(now, self._seen_until())
        blindness = self._sight.blindness
        changed = (had is None) != (blindness is None) or not looked
        self._publish_overall(now)
        if changed or now - self._beat_at >= HEARTBEAT_S:
            self._tell_sight(now, seeing=blindness is None, reason=self._reason())
            self._beat_at = now
        if changed and looked:
            told = {"watermark": self._watermark.value, "reason": self._reason()}
            _log.info("verdicts are known" if blindness is None else "verdicts are UNKNOWN", extra=told)

    def _reason(self) -> str:
        reason = self._waiting() or self._watch.fault or self.fault
        if reason is None and self._sight.blindness is not None:
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
        if self._rules.fault is not None:
            reason = f"{reason}; {self._rules.fault}" if reason else self._rules.fault
        return reason or ""

    def _tell_sight(self, now: float, *, seeing: bool, reason: str) -> None:
        row = SightRow(now, seeing, self._watermark.value, self.slot, reason, self._late, self._member)
        write_sight(self._clickhouse, row)

    def _publish_overall(self, now: float) -> None:
        """Have the topic say of everything what may be said of it now."""
        assert self._judge is not None
        shown = self._topic.standing().get(_OVERALL)
        blindness = self._sight.blindness
        if blindness is not None:
            if shown is None or not _is_blind(shown):
                was, slot = self._judge.overall(), self.slot
                if slot is None:  # nothing is judged yet: what stands there is what was known last
                    was, slot = (was, 0) if shown is None else (_verdict(shown), _slot(shown))
                verdict = unseen(was, blindness, now)
                self._topic.publish([(_OVERALL, {**verdict.as_dict(), "slot": slot})])
            return
        if shown is None or _is_blind(shown):
            if self._judge.state.next_slot is not None:
                self._topic.publish([(_OVERALL, {**self._judge.overall().as_dict(), "slot": self.slot})])
                self._overall = None
        elif self._overall is not None and not self._pending:
            verdict, slot = self._overall
            if (shown.get("slot") or 0) < slot:
                self._topic.publish([(_OVERALL, {**verdict.as_dict(), "slot": slot})])
            self._overall = None

    # --- judge -----------------------------------------------------------------------------------

    def _judge_slots(self) -> None:
        judge = self._judge
        assert judge is not None
        if self._rules.look():
            judge.use(self._rules.rules)
        self._flush()
        watermark = self._watermark.value
        if watermark is None:
            return
        next_slot = judge.state.next_slot
        if next_slot is None:
            next_slot = first_slot_with_events(self._clickhouse)
            if next_slot is None:
                return
        end = int(watermark // SLOT_S)
        while next_slot < end and not self._stop.is_set() and self._leading():
            upto = chunk_end(self._clickhouse, next_slot, end)
            if upto == end:
                self._count_losses(upto - 1)
            for slot in fetch_slots(self._clickhouse, self._rules.rules, next_slot, upto):
                judgement = judge.fold(slot)
                if judgement.verdicts or judgement.forgotten:
                    self._pending.append(judgement)
            next_slot = upto
            self._flush()
            self._look()
            self._see()
            self._remember()
        self._look_for_stalls()

    def _count_losses(self, slot: int) -> None:
        """Record what is lost more than before as a fact of `slot`; not while catching up."""
        now = self._clock()
        if self._sight.blindness is not None or now < self._losses_at + LOSSES_EVERY_S:
            return
        began = time.monotonic()
        latest, known = recorded_losses(self._clickhouse)
        at = datetime.fromtimestamp(now, timezone.utc)
        if latest is None:
            before = loss_totals(self._clickhouse, at - _RECENT, at - _RECENT)
            record_losses(self._clickhouse, slot - 1, before or {"": LossCounts()}, after=None, counted=False)
            latest, known = recorded_losses(self._clickhouse)
        if latest is not None and latest < slot:
            more = {}
            for pipeline, total in loss_totals(self._clickhouse, at + _RECENT, at - _SETTLED).items():
                had = known.get(pipeline, LossCounts())
                loss = LossCounts(
                    max(0, total.dropped - had.dropped),
                    max(0, total.gaps - had.gaps),
                    max(0, total.dead_letters - had.dead_letters),
                )
                if loss != LossCounts():
                    more[pipeline] = loss
            record_losses(self._clickhouse, slot, more, after=latest)
        # The sums go over all that ever was: they take a twentieth of the time at most.
        self._losses_at = now + 20 * (time.monotonic() - began)

    def _look_for_stalls(self) -> None:
        """Have stalled executions looked for, in a thread beside this one, and take in what was found."""
        judge, watermark, now, stalls = self._judge, self._watermark.value, self._clock(), self._stalls
        if stalls is None or judge is None or watermark is None or judge.state.next_slot is None:
            return
        if (looking := self._looking) is not None:
            if not looking.done():
                return
            self._looking = None
            found = looking.result()
            if found is not None and not self._stalls_begun:
                # What the snapshot says of stalls is as old as it is.
                judge.state.standing.stalls.count[:] = 0
                self._stalls_begun = True
            judge.observe(found or ())
        if self._sight.blindness is not None or now - self._stalls_at < STALLS_EVERY_S:
            return
        if self._stalls_begun:
            self._stalls_at = now
            deadlines = judge.deadlines()
            self._looking = self._beside.submit(lambda: stalls.look(watermark, deadlines))
        else:
            self._looking = self._beside.submit(stalls.begin)

    def _flush(self) -> None:
        """Store and publish what is pending, in order; what stands on the topic is left out."""
        while self._pending:
            part = [self._pending[n] for n in range(min(len(self._pending), 1000))]
            rows: list[VerdictRow] = []
            messages: list[tuple[Key, dict[str, Any] | None]] = []
            for judgement in part:
                for verdict in judgement.verdicts:
                    rows.append(_row(verdict, judgement.slot))
                    if verdict.pipeline is None:
                        self._overall = verdict, judgement.slot
                    else:
                        messages.append((_key(verdict), {**verdict.as_dict(), "slot": judgement.slot}))
                for key in judgement.forgotten:
                    rows.append(_gone(key, judgement.slot))
                    messages.append((key, None))
            write_verdicts(self._clickhouse, rows)
            standing = self._topic.standing()
            reached = max((_slot(told) for key, told in standing.items() if key != _OVERALL), default=-1)
            news = [
                (key, told)
                for key, told in messages
                if told is None or _is_news(told, standing.get(key), reached)
            ]
            news = [(key, told) for key, told in news if told is not None or key in standing]
            if news:
                self._topic.publish(news)
            for _ in part:
                self._pending.popleft()

    # --- remember --------------------------------------------------------------------------------

    def _remember(self) -> None:
        if self._clock() - self._snapshot_at >= SNAPSHOT_EVERY_S:
            self._snapshot()

    def _snapshot(self) -> None:
        judge, watermark, slot = self._judge, self._watermark.value, self.slot
        if judge is None or watermark is None or slot is None or slot == self._snapshot_slot or self._pending:
            return
        now = self._clock()
        write_snapshot(
            self._clickhouse,
            Snapshot(slot, watermark, self._progress.written(), judge.state.to_bytes(), now, self._member),
        )
        self._snapshot_at, self._snapshot_slot = now, slot


def _key(verdict: Verdict) -> Key:
    return verdict.pipeline or "", verdict.step or ""


def _row(verdict: Verdict, slot: int) -> VerdictRow:
    findings = orjson.dumps([finding.as_dict() for finding in verdict.findings]).decode()
    return VerdictRow(
        *_key(verdict), slot, verdict.status.value, verdict.since, verdict.at, verdict.sentence, findings
    )


def _gone(key: StepKey, slot: int) -> VerdictRow:
    at = float(slot + 1) * SLOT_S
    return VerdictRow(
        *key, slot, "UNKNOWN", at, at, "not heard of for so long that it is not watched", "[]", True
    )


def _slot(told: dict[str, Any]) -> int:
    slot = told.get("slot")
    return slot if isinstance(slot, int) else -1


def _is_news(told: dict[str, Any], shown: dict[str, Any] | None, reached: int) -> bool:
    """Whether a message is not on the topic yet, which has everything before slot `reached`, and part of that."""
    slot = _slot(told)
    return slot > reached or (slot == reached and (shown is None or _slot(shown) < slot))


def _verdict(told: dict[str, Any]) -> Verdict:
    """The verdict about everything that a message says, with as much of its findings as its sentence needs."""
    status = HealthStatus(told["status"])
    findings = (Finding("parts", status, told["sentence"]),) if told["findings"] else ()
    return Verdict(None, None, status, told["since"], told["at"], findings)


def _is_blind(told: dict[str, Any]) -> bool:
    return any(finding.get("rule") == "sight" for finding in told.get("findings", ()))


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds")
