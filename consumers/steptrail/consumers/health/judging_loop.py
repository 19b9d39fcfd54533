"""Judging: closed slots are read from the tables and judged, and what changes is published and stored.

One turn, over and over, in a thread of its own:

    look       advance the watermark by what was applied and what Kafka answered
    see        decide whether verdicts are known; both are `steptrail.consumers.health.visibility`
    judge      fold the slots that the watermark has closed, store and publish what changed
    remember   write a snapshot now and then

Whoever takes over decides the same again: the state comes from a snapshot, the slots after it from the tables,
and what stands on the topic is not published again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from steptrail.consumers.health.partition_ends import TopicWatch
from steptrail.consumers.health.progress import Progress
from steptrail.consumers.health.rules.judge import Judge, Judgement
from steptrail.consumers.health.rules.overdue import Observation
from steptrail.consumers.health.rules.rules import Rules
from steptrail.consumers.health.rules.slots import SLOT_S
from steptrail.consumers.health.rules.state import SnapshotError, State
from steptrail.consumers.health.rules.watermark import SightPolicy
from steptrail.consumers.health.slot_loader import chunk_end, fetch_slots
from steptrail.consumers.health.stall_detector import Applied, StallWatch, graces_of
from steptrail.consumers.health.verdict_records import (
    OVERALL,
    gone_row,
    is_news,
    key_of,
    message_of,
    row_of,
    slot_of,
)
from steptrail.consumers.health.verdict_topic import Key, VerdictTopic
from steptrail.consumers.health.visibility import Visibility, last_slot
from steptrail.consumers.loop.feed import Leadership
from steptrail.consumers.runtime.background import BackgroundPart
from steptrail.consumers.runtime.backoff import Backoff, BackoffPolicy
from steptrail.consumers.runtime.status import Status
from steptrail.consumers.runtime.watched_file import WatchedFile
from steptrail.consumers.runtime.worker_thread import WorkerThread
from steptrail.projections.aggregates.slot_counts import first_slot_with_events
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import QueryError
from steptrail.projections.reading.health_losses import (
    LossCounts,
    loss_totals,
    record_losses,
    recorded_losses,
)
from steptrail.projections.stores.health_store import (
    Snapshot,
    VerdictRow,
    snapshots,
    write_snapshot,
    write_verdicts,
)
from steptrail.schemas.errors import InfrastructureError

_log = logging.getLogger("steptrail.consumers.judging")

TURN_S: Final = 0.25
SNAPSHOT_EVERY_S: Final = 30.0
LOSSES_EVERY_S: Final = 15.0
STALLS_EVERY_S: Final = 15.0
# Losses that were there before anything was judged are held against nobody, but for the latest.
_RECENT = timedelta(minutes=10)
_SETTLED = timedelta(seconds=60)


class Judging(BackgroundPart):
    """Judges while this member leads; see the module's docstring. Waits while Kafka or ClickHouse is away.

    `fault` says what is waited for, None while nothing is. `topic_id` returns that of the steps topic, None while
    it is not known. `status` is that of the consume loop.
    """

    def __init__(
        self,
        clickhouse: ClickHouse,
        topic: VerdictTopic,
        progress: Progress,
        watch: TopicWatch,
        rules: WatchedFile[Rules],
        *,
        leadership: Leadership,
        member: str,
        stop: threading.Event,
        stalls: StallWatch,
        topic_id: Callable[[], str | None],
        status: Status,
        policy: SightPolicy | None = None,
        clock: Callable[[], float] = time.time,
        on_loss: Callable[[LossCounts], None] = lambda _: None,
    ) -> None:
        super().__init__("judging", stop, _log)
        self._on_loss = on_loss
        self._clickhouse = clickhouse
        self._topic = topic
        self._progress = progress
        self._watch = watch
        self._rules = rules
        self._leadership = leadership
        self._member = member
        self._stalls = stalls
        self._topic_id = topic_id
        self._status = status
        self._policy = policy or SightPolicy()
        self._clock = clock
        self._backoff = Backoff(BackoffPolicy(first=0.5, cap=3.0))
        self._retry_at = 0.0
        self.fault: str | None = None
        self._judge: Judge | None = None
        self._beside = WorkerThread("steptrail-stalls")
        self._forget()

    @property
    def watermark(self) -> float | None:
        """The time up to which the topic is known to be complete."""
        return self._visibility.watermark

    @property
    def slot(self) -> int | None:
        """The last slot judged."""
        return last_slot(self._judge)

    def _forget(self) -> None:
        self._judge = None
        self._visibility = Visibility(
            self._clickhouse, self._topic, self._progress, self._watch, self._policy, self._member
        )
        self._pending: deque[Judgement] = deque()
        self._snapshot_at = self._losses_at = self._stalls_at = float("-inf")
        self._snapshot_slot: int | None = None
        self._stalls_begun = False
        self._looking: Future[list[Observation] | None] | None = None

    # --- the thread ------------------------------------------------------------------------------

    def run(self) -> None:
        """Judge until `stop` is set, then leave a snapshot."""
        while not self._stop.is_set():
            if self._leadership.held:
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

    def _turn(self) -> None:
        if self._judge is not None:
            self._visibility.look()
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
        try:
            self._visibility.stand_by(self._clock(), self._status.fault)
        except (InfrastructureError, QueryError) as fault:
            self.fault = str(fault)

    def _end(self) -> None:
        if self._judge is None:
            return
        try:
            self._flush()
            self._snapshot()
            # What was judged until now stays worth something until somebody takes over, or it is too old.
            reason = f"health consumer {self._member} was stopped"
            self._visibility.tell(self._clock(), self.slot, seeing=not self._visibility.blind, reason=reason)
        except (InfrastructureError, QueryError) as fault:
            _log.warning("stopped without a snapshot: %s", fault)
        self._topic.close()

    # --- recover ---------------------------------------------------------------------------------

    def _recover(self) -> None:
        self._rules.refresh()
        standing = self._topic.standing()
        state, began = State(), None
        for snapshot in snapshots(self._clickhouse):
            try:
                state = State.from_bytes(snapshot.state)
            except SnapshotError as error:
                _log.warning("skipped a snapshot: %s", error, extra={"slot": snapshot.slot})
                continue
            began = self._snapshot_slot = snapshot.slot
            break
        now = self._clock()
        self._visibility.begin(now)
        self._judge = Judge(self._rules.value, state)
        self._snapshot_at = now
        _log.info(
            "judging",
            extra={"from_snapshot_of_slot": began, "steps": len(state.keys), "on_topic": len(standing)},
        )

    # --- see -------------------------------------------------------------------------------------

    def _see(self) -> None:
        assert self._judge is not None
        self._visibility.see(
            self._clock(),
            self._judge,
            waits_for=self._status.fault or self._watch.fault or self.fault,
            rules_fault=self._rules.fault,
            settled=not self._pending,
        )

    # --- judge -----------------------------------------------------------------------------------

    def _judge_slots(self) -> None:
        judge = self._judge
        assert judge is not None
        if self._rules.refresh():
            judge.use(self._rules.value)
        self._flush()
        watermark = self._visibility.watermark
        if watermark is None:
            return
        next_slot = judge.state.next_slot
        if next_slot is None:
            next_slot = first_slot_with_events(self._clickhouse)
            if next_slot is None:
                return
        end = int(watermark // SLOT_S)
        while next_slot < end and not self._stop.is_set() and self._leadership.held:
            upto = chunk_end(self._clickhouse, next_slot, end)
            if upto == end:
                self._count_losses(upto - 1)
            for slot in fetch_slots(self._clickhouse, self._rules.value, next_slot, upto):
                judgement = judge.fold(slot)
                if judgement.verdicts or judgement.forgotten or judgement.restated:
                    self._pending.append(judgement)
            next_slot = upto
            self._flush()
            self._visibility.look()
            self._see()
            self._remember()
        self._look_for_stalls()

    def _count_losses(self, slot: int) -> None:
        """Record new losses as a fact of `slot`; not while catching up."""
        now = self._clock()
        if self._visibility.blind or now < self._losses_at + LOSSES_EVERY_S:
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
            for loss in more.values():
                self._on_loss(loss)
        # The sums go over all that ever was: they take a twentieth of the time at most.
        self._losses_at = now + 20 * (time.monotonic() - began)

    def _look_for_stalls(self) -> None:
        """Look for stalled executions in another thread, and apply the result of the last look."""
        judge, watermark, now, topic_id = (
            self._judge,
            self._visibility.watermark,
            self._clock(),
            self._topic_id(),
        )
        if judge is None or watermark is None or judge.state.next_slot is None:
            return
        if (looking := self._looking) is not None:
            if not looking.done():
                return
            self._looking = None
            found = looking.result()
            if found is not None and not self._stalls_begun:
                # What the snapshot says of stalls is as old as it is.
                judge.forget_stalled()
                self._stalls_begun = True
            judge.observe(found or ())
        if self._visibility.blind or now - self._stalls_at < STALLS_EVERY_S:
            return
        if not self._stalls_begun:
            self._looking = self._beside.submit(self._stalls.begin)
        elif topic_id is not None:
            self._stalls_at = now
            deadlines, queue_deadlines = judge.deadlines(), judge.queue_deadlines()
            # What is written is at least what was applied at the watermark: asking for more is only slower.
            applied = Applied.upto(topic_id, self._progress.written())
            graces = graces_of(self._rules.value, deadlines.keys() | queue_deadlines.keys())
            self._looking = self._beside.submit(
                lambda: self._stalls.look(watermark, deadlines, applied, graces, queue_deadlines)
            )

    def _flush(self) -> None:
        """Store and publish pending judgements in order, without what stands on the topic already."""
        while self._pending:
            part = [self._pending[n] for n in range(min(len(self._pending), 1000))]
            rows: list[VerdictRow] = []
            messages: list[tuple[Key, dict[str, Any] | None]] = []
            for judgement in part:
                for verdict in (*judgement.verdicts, *judgement.restated):
                    rows.append(row_of(verdict, judgement.slot))
                    if verdict.pipeline is None:
                        self._visibility.judged(verdict, judgement.slot)
                    else:
                        messages.append((key_of(verdict), message_of(verdict, judgement.slot)))
                for key in judgement.forgotten:
                    rows.append(gone_row(key, judgement.slot))
                    messages.append((key, None))
            write_verdicts(self._clickhouse, rows)
            standing = self._topic.standing()
            reached = max((slot_of(told) for key, told in standing.items() if key != OVERALL), default=-1)
            news = [
                (key, told)
                for key, told in messages
                if told is None or is_news(told, standing.get(key), reached)
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
        judge, watermark, slot = self._judge, self._visibility.watermark, self.slot
        if judge is None or watermark is None or slot is None or slot == self._snapshot_slot or self._pending:
            return
        now = self._clock()
        write_snapshot(
            self._clickhouse,
            Snapshot(slot, watermark, self._progress.written(), judge.state.to_bytes(), now, self._member),
        )
        self._snapshot_at, self._snapshot_slot = now, slot
