"""The ledger's promise as a state machine: hypothesis writes the histories, the real engine lives through them.

Writers run in threads of their own and are not waited for, so that what a history says of them happens at the same
time. Each follows a plan: what it believes to own, where it begins, how it cuts its batches, and which of its
statements meets what. The engine and HTTP are real; only Kafka is a list.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from faults.hooks import step_of
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import StoreUnavailable, TopicRecreated
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.delivery.sharding import ShardedProjection
from steptrail.projections.tables.step_events import STEP_EVENTS
from steptrail.schemas.configuration.settings import ClickHouseTarget
from steptrail.schemas.errors import InfrastructureError
from support.histories import Commits, Crash, Log, finish, make_batch, make_log
from support.waiting import PATIENCE_S

STEPS = (
    *("claim", "stage", "load", "validate"),
    *(target.table for target in STEP_EVENTS.targets),
    *("ledger", "readback"),
)
KINDS = ("before", "lost", "freeze", "linger", "slow", "killed", "crash_before", "crash_after")


@dataclass(frozen=True)
class Fault:
    """What the `nth` statement of a writer that is step `at` meets.

    before, crash_before   it is not sent; the writer is told, or dies
    lost, crash_after      it is carried out, and no reply comes; the writer is told, or is dead
    freeze, linger         the writer stands still for `seconds` before or after it
    slow                   it works for `seconds` for each of its blocks, with all that it checks behind it
    killed                 the same, and the store ends it half-way
    """

    at: str
    nth: int
    kind: str
    seconds: float


@dataclass(frozen=True)
class Plan:
    """A writer's life. `owns` are indexes of partitions; `cuts` how many records of each a batch has at most.

    `block` is how many rows a block of its statements has; `replays`: it believes that nothing was projected yet.
    """

    owns: frozenset[int]
    cuts: tuple[int, ...]
    block: int
    replays: bool
    faults: tuple[Fault, ...]


fault = st.builds(
    Fault,
    at=st.sampled_from(STEPS),
    nth=st.integers(1, 3),
    kind=st.sampled_from(KINDS),
    seconds=st.sampled_from([0.03, 0.1, 0.3]),
)
plan = st.builds(
    Plan,
    owns=st.frozensets(st.integers(0, 3), min_size=1),
    cuts=st.lists(st.sampled_from([1, 3, 10, 40]), min_size=1, max_size=4).map(tuple),
    block=st.sampled_from([2, 5, 65_536]),
    replays=st.booleans(),
    faults=st.lists(fault, max_size=3).map(tuple),
)


class PlannedClickHouse(ClickHouse):
    """A connection whose statements meet what the plan says."""

    def __init__(self, target: ClickHouseTarget, plan: Plan) -> None:
        super().__init__(target)
        self._plan = plan
        self._seen: dict[str, int] = {}
        self._counting = threading.Lock()
        self._dead = False

    def query(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> list[tuple[Any, ...]]:
        """As planned."""
        met = self._meet(step_of(sql, parameters))
        found = super().query(sql, parameters, settings)
        self._leave(met)
        return found

    def command(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        data: bytes | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """As planned, in blocks of the plan's size."""
        met = self._meet(step_of(sql, parameters))
        rows = self._plan.block
        blocks = {"max_block_size": rows, "max_insert_block_size": rows, "min_insert_block_size_rows": rows}
        changed: dict[str, Any] = {**blocks, "min_insert_block_size_bytes": 0, **(settings or {})}
        if met is not None and met.kind in ("slow", "killed"):
            # What the statement checks is looked up when it starts; the rows come after the sleep.
            sql = sql.replace(" WHERE ", f" WHERE sleep({met.seconds:.3f}) = 0 AND ", 1)
        killer = None
        if met is not None and met.kind == "killed" and "log_comment" in changed:
            killer = threading.Timer(met.seconds * 1.5, self._kill, [changed["log_comment"]])
            killer.start()
        try:
            super().command(sql, parameters, data=data, settings=changed)
        finally:
            if killer is not None:
                killer.cancel()
        self._leave(met)

    def _meet(self, step: str | None) -> Fault | None:
        if self._dead:
            raise Crash
        if step is None:
            return None
        with self._counting:
            nth = self._seen[step] = self._seen.get(step, 0) + 1
        for met in self._plan.faults:
            if (met.at, met.nth) == (step, nth):
                if met.kind == "before":
                    raise StoreUnavailable("the connection was cut before the statement")
                if met.kind == "crash_before":
                    self._die()
                if met.kind == "freeze":  # a zombie: others take over meanwhile, then it goes on
                    time.sleep(met.seconds)
                return met
        return None

    def _leave(self, met: Fault | None) -> None:
        if met is not None and met.kind == "lost":
            raise StoreUnavailable("the reply was lost")
        if met is not None and met.kind == "crash_after":
            self._die()
        if met is not None and met.kind == "linger":
            time.sleep(met.seconds)

    def _die(self) -> None:
        self._dead = True
        raise Crash

    def _kill(self, comment: str) -> None:
        with ClickHouse(self.target) as other:
            sql = "KILL QUERY WHERE Settings['log_comment'] = {comment:String} ASYNC"
            other.command(sql, {"comment": comment})


@dataclass
class Topic:
    """A topic as it was created: its records, what its group committed, and who is at it."""

    log: Log
    topic_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    commits: Commits = field(default_factory=Commits)


class Writer(threading.Thread):
    """A consumer without Kafka that lives by a plan."""

    def __init__(
        self, plan: Plan, projection: Projection | ShardedProjection, topic: Topic, rng: random.Random
    ) -> None:
        super().__init__(daemon=True)
        self._plan = plan
        self._projection = projection
        self._topic = topic
        self._rng = rng
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Write until the plan is over or the writer dead; an error that should not be is kept for the test."""
        try:
            positions: dict[int, int] = {}
            for cut in self._plan.cuts:
                try:
                    positions = self._write(positions, cut)
                except InfrastructureError:
                    positions = {}  # as the consume loop does: claim anew, ask anew
        except Crash:
            pass
        except BaseException as error:
            self.failure = error

    def _write(self, positions: dict[int, int], cut: int) -> dict[int, int]:
        projection, topic = self._projection, self._topic
        if not positions:
            mine = [partition for partition in topic.log if partition in self._plan.owns] or list(topic.log)
            projected = projection.open(mine)
            positions = dict.fromkeys(projected, 0) if self._plan.replays else topic.commits.resume(projected)
        held = {part: position for part, position in positions.items() if part in projection.held}
        batch = make_batch(self._rng, topic.log, held, limit=cut) if held else None
        if batch is None:
            return {}
        done = projection.write(batch)
        topic.commits.commit(done)
        return {**held, **done}


class LedgerMachine(RuleBasedStateMachine):
    """Writers come and go on one topic, which may be deleted and created again; each record arrives once."""

    store: ClickHouse
    """A migrated database whose `steps` are not merged."""

    def __init__(self) -> None:
        super().__init__()
        self.name = f"topic-{uuid.uuid4().hex}"
        self.topics: list[Topic] = []
        self.writers: list[Writer] = []
        self.rng = random.Random()

    @initialize(seed=st.integers(0, 2**32), partitions=st.integers(1, 4), records=st.integers(3, 60))
    def create(self, seed: int, partitions: int, records: int) -> None:
        """The topic."""
        self.rng = random.Random(seed)
        self.topics.append(Topic(make_log(self.rng, partitions=partitions, records=records)))

    @rule(plan=plan)
    def a_writer_comes(self, plan: Plan) -> None:
        """It goes its own way from here on."""
        projection = self._projection(PlannedClickHouse(self.store.target, plan))
        writer = Writer(plan, projection, self.topics[-1], random.Random(self.rng.random()))
        self.writers.append(writer)
        writer.start()

    @rule(
        owns=st.frozensets(st.integers(0, 3), min_size=1),
        first=st.sampled_from(["freeze", "slow", "killed", "linger", "lost"]),
        second=st.sampled_from(["none", "slow"]),
        at=st.sampled_from([target.table for target in STEP_EVENTS.targets if target.keeps_offsets]),
        later=st.sampled_from([0.05, 0.2]),
    )
    def one_takes_over_from_another(
        self, owns: frozenset[int], first: str, second: str, at: str, later: float
    ) -> None:
        """At the statement that matters most: one is before, in or after it when the other comes, for the same."""
        for kind, seconds in ((first, 0.5), (second, 0.3)):
            faults = () if kind == "none" else (Fault(at, 1, kind, seconds),)
            self.a_writer_comes(Plan(owns, (10, 10), 65_536, False, faults))
            time.sleep(later)

    @rule(seconds=st.sampled_from([0.02, 0.1, 0.3]))
    def time_passes(self, seconds: float) -> None:
        """For those who write."""
        time.sleep(seconds)

    @rule()
    def the_writers_go(self) -> None:
        """All of them."""
        for writer in self.writers:
            writer.join(PATIENCE_S)
            assert not writer.is_alive(), "a writer hangs"
            assert writer.failure is None, f"a writer failed: {writer.failure!r}"
        self.writers.clear()

    @rule()
    def the_group_forgets(self) -> None:
        """What was committed is gone."""
        self.topics[-1].commits.forget()

    @rule(records=st.integers(1, 30))
    def the_topic_is_recreated(self, records: int) -> None:
        """Its offsets begin anew: nothing of it is taken for the old one, before and after it is accepted."""
        self.the_writers_go()
        claimed = self._was_claimed()
        self.topics.append(Topic(make_log(self.rng, partitions=2, records=records)))
        new = self._projection(self.store)
        if claimed:
            with pytest.raises(TopicRecreated, match=f"--accept-topic {self.topics[-1].topic_id}"):
                new.prepare()
        new.prepare(accept_recreated=True)

    @invariant()
    def nothing_is_there_twice_or_unheard_of(self) -> None:
        """At any moment, whoever is writing."""
        for topic in self.topics:
            rows = self._rows(topic)
            assert len(rows) == len(set(rows)), (
                f"twice: {sorted({row for row in rows if rows.count(row) > 1})}"
            )
            assert set(rows) <= records_of(topic), "a row of no record"

    def teardown(self) -> None:
        """Undisturbed, a last writer brings the log to its end; then everything is there, and the ledger is whole."""
        if not self.topics:
            return
        self.the_writers_go()
        topic = self.topics[-1]
        finish(self._projection(self.store), topic.log, topic.commits, self.rng, limit=40)
        self.nothing_is_there_twice_or_unheard_of()
        assert sorted(self._rows(topic)) == sorted(records_of(topic))
        for partition, records in topic.log.items():
            covered = self.store.query(
                "SELECT first_offset, last_offset FROM projection_ledger WHERE topic_id = {id:String} "
                "AND partition = {p:Int32}",
                {"id": topic.topic_id, "p": partition},
            )
            for record in records:
                assert any(first <= record.offset <= last for first, last in covered), record.offset
            assert max(last for _, last in covered) == records[-1].offset
        note(f"{len(self._rows(topic))} records")

    def _projection(self, store: ClickHouse) -> Projection:
        return Projection(store, STEP_EVENTS, topic=self.name, topic_id=self.topics[-1].topic_id)

    def _was_claimed(self) -> bool:
        sql = "SELECT count() FROM projection_claims WHERE topic = {topic:String}"
        return bool(self.store.query(sql, {"topic": self.name})[0][0])

    def _rows(self, topic: Topic) -> list[tuple[int, int]]:
        sql = "SELECT kafka_partition, kafka_offset FROM steps WHERE topic_id = {id:String}"
        return [(int(part), int(offset)) for part, offset in self.store.query(sql, {"id": topic.topic_id})]


def records_of(topic: Topic) -> set[tuple[int, int]]:
    """Partition and offset of each record."""
    return {(part, record.offset) for part, records in topic.log.items() for record in records}
