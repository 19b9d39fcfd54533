"""A shard of ClickHouse replicas and its Keeper as a model: what each of them knows, holds and may do, step by step.

Taken from ClickHouse's documentation and sources (docs/decisions/0036): Keeper's writes are linearizable, a replica's
reads lag behind them until it writes itself or has a new session; a replica fetches parts later than they are in the
log; an insert with quorum commits only in the session that it began in, one without in any later one; a part whose
quorum was not reached in time may still reach it, or be withdrawn.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Process: TypeAlias = "Generator[None, None, Any]"
"""Something that happens in steps; the world decides who does the next one."""

REPLICAS = 3
QUORUM = 2
TABLES = ("steps", "observed")


class StatementFailed(Exception):
    """A statement ended without effect, or nobody knows with which."""


@dataclass(frozen=True)
class Safeguards:
    """What the protocol does. Each is needed: the histories find faults without it."""

    guard: bool = True  # only offsets that the target does not hold
    holds: bool = True  # only while the claim stands
    barrier: bool = True  # every replica returns the claim before it is used
    wait: bool = True  # no statement of a predecessor runs on any replica
    touch: bool = True  # R writes to Keeper, so that what it reads is no older
    sync: bool = True  # R fetches what is in the log
    settle: bool = True  # no part is left that may still be withdrawn
    quorum: bool = True  # a majority holds what is acknowledged, and a lost session ends a statement


@dataclass(eq=False)
class Part:
    """Rows of one insert into one table: offsets; in the ledger, (last offset, claim)."""

    table: str
    rows: tuple[Any, ...]
    reached: bool
    large: bool  # takes long to fetch, while others are fetched beside it
    failed: bool = False
    withdrawn: bool = False


@dataclass(eq=False)
class Replica:
    """A server. `seen` is how much of Keeper's log it reads, `session` the one that it believes to have."""

    number: int
    seen: int = 0
    session: int | None = None
    up: bool = True
    reachable: bool = True
    lost: bool = False
    parts: list[Part] = field(default_factory=list)
    running: list[Statement] = field(default_factory=list)

    def rows(self, table: str) -> list[Any]:
        """Everything that it holds of a table."""
        return [row for part in self.parts if part.table == table for row in part.rows]


@dataclass(eq=False)
class Statement:
    """An insert on a replica. It goes on whether or not its client still listens."""

    process: Process
    claim: int
    done: bool = False
    error: bool = False


Entry: TypeAlias = "tuple[Literal['claim'], int] | tuple[Literal['part', 'gone', 'reached'], Part]"


class World:
    """Keeper, replicas, what runs on them, what the group committed, and chance."""

    def __init__(self, rng: random.Random, safeguards: Safeguards) -> None:
        self.rng = rng
        self.safeguards = safeguards
        self.log: list[Entry] = []
        self.sessions: dict[int, int] = {}  # replica -> its session, as Keeper has it: its `is_active`
        self.replicas = [Replica(number) for number in range(REPLICAS)]
        self.processes: list[Process] = []
        self.committed = 0
        self._chances = {
            # Each history has weather of its own: replicas that lag far behind, or hardly; sessions that end often.
            "read": rng.choice([1, 5, 30]),
            "fetch": rng.choice([2, 10, 40]),
            "expire": rng.choice([0.1, 2]),
            "crash": rng.choice([0.1, 1]),
            "unreachable": rng.choice([0.1, 2]),
            "withdraw": rng.choice([1, 10, 40]),
            "die": rng.choice([0, 0.3]),
            "notice": 6,
            "connect": 8,
            "nothing": 20,
        }
        # In every fourth nothing fails but what large parts take: quorums are missed, and little else happens.
        self.slow_parts = rng.random() < 0.25
        if self.slow_parts:
            self._chances = {"read": 30, "fetch": 40, "withdraw": rng.choice([0.1, 1])}
        self._next_session = 0
        self._next_claim = 0
        for replica in self.replicas:
            self.connect(replica)

    # Keeper

    def connect(self, replica: Replica) -> None:
        """A new session; ClickHouse calls `sync` then, so the replica sees all that is written."""
        self._next_session += 1
        self.sessions[replica.number] = replica.session = self._next_session
        replica.seen = len(self.log)

    def append(self, replica: Replica, entry: Entry) -> None:
        """Write through a replica: it reads its own write from then on, and all before it."""
        if self.sessions.get(replica.number) != replica.session or replica.session is None:
            replica.session = None
            raise StatementFailed
        self.log.append(entry)
        replica.seen = len(self.log)

    def claim_seen_by(self, replica: Replica) -> int | None:
        """The claim that stands, as a replica reads it."""
        return next((entry[1] for entry in reversed(self.log[: replica.seen]) if entry[0] == "claim"), None)

    def parts_seen_by(self, replica: Replica) -> list[Part]:
        """The parts of the replicated log that a replica knows of, but for those withdrawn."""
        seen = self.log[: replica.seen]
        gone = {id(entry[1]) for entry in seen if entry[0] == "gone"}
        parts = [entry[1] for entry in seen if entry[0] == "part" and id(entry[1]) not in gone]
        if not any(each.lost for each in self.replicas):
            return parts
        return [part for part in parts if any(part in each.parts for each in self.replicas if not each.lost)]

    def is_in_step(self, replica: Replica) -> bool:
        """Whether it has done what it knows of the replicated log: holds each part, and none that was withdrawn."""
        known = self.parts_seen_by(replica)
        return all(part in replica.parts for part in known) and all(part in known for part in replica.parts)

    def unsettled_for(self, replica: Replica) -> bool:
        """Whether `quorum/parallel` has an entry, as the replica reads it."""
        reached = {id(entry[1]) for entry in self.log[: replica.seen] if entry[0] == "reached"}
        return any(id(part) not in reached for part in self.parts_seen_by(replica))

    def new_claim(self) -> int:
        """A fresh owner."""
        self._next_claim += 1
        return self._next_claim

    # statements

    def insert(self, replica: Replica, table: str, rows: tuple[Any, ...], claim: int) -> Statement:
        """Begin an insert; it stands among the running statements before anything of it is evaluated."""
        statement = Statement(iter(()), claim)  # type: ignore[arg-type]  # replaced in the next line
        statement.process = self._inserting(statement, replica, table, rows)
        replica.running.append(statement)
        self.processes.append(statement.process)
        return statement

    def _inserting(
        self, statement: Statement, replica: Replica, table: str, rows: tuple[Any, ...]
    ) -> Process:
        try:
            yield from self._insert(statement, replica, table, rows)
        except StatementFailed:
            statement.error = True
        finally:
            statement.done = True
            if statement in replica.running:
                replica.running.remove(statement)

    def _insert(self, statement: Statement, replica: Replica, table: str, rows: tuple[Any, ...]) -> Process:
        yield
        safe, session = self.safeguards, replica.session
        if session is None:
            raise StatementFailed
        if safe.holds and self.claim_seen_by(replica) != statement.claim:
            rows = ()
        if safe.guard and table in TABLES:
            there = set(replica.rows(table))
            rows = tuple(row for row in rows if row not in there)
        for _ in range(self.rng.choice([0, 1, 3, 12, 40])):
            yield  # it works
        if not rows:
            return
        while not safe.quorum and replica.session is None:
            yield  # Keeper's retries take it into the next session
        if safe.quorum and self.sessions.get(replica.number) != session:
            raise StatementFailed
        part = Part(
            table, rows, reached=not safe.quorum, large=self.rng.random() < (0.5 if self.slow_parts else 0.2)
        )
        self.append(replica, ("part", part))
        if part.reached:
            self.log.append(("reached", part))
        replica.parts.append(part)
        try:
            for _ in range(self.rng.choice([1, 5, 30])):
                if part.reached:
                    return
                yield
        finally:
            part.failed = not part.reached  # in time, or before the server died
        raise StatementFailed

    # chance

    def step(self) -> None:
        """Something happens: mostly a process goes on, now and then to a replica."""
        if self.processes and self.rng.random() < 0.7:
            process = self.rng.choice(self.processes)
            self.advance(process)
        else:
            self._happen(self.rng.choice(self.replicas))

    def step_calmly(self) -> None:
        """Processes go on, replicas catch up, nothing fails."""
        for process in list(self.processes):
            if process in self.processes:
                self.advance(process)
        self._catch_up()

    def advance(self, process: Process) -> None:
        """One step of it."""
        try:
            next(process)
        except StopIteration:
            self.processes.remove(process)

    def _happen(self, replica: Replica) -> None:
        if replica.lost:
            return
        if not replica.up:
            if self.rng.random() < 0.1:
                self.start(replica)
            return
        [what] = self.rng.choices(list(self._chances), list(self._chances.values()))
        if what == "read" and replica.session is not None:
            replica.seen = self.rng.randint(replica.seen, len(self.log))
        elif what == "fetch":
            self.fetch(replica)
        elif what == "expire":
            self.sessions.pop(replica.number, None)  # the replica may not know yet
        elif what == "notice" and self.sessions.get(replica.number) != replica.session:
            replica.session = None
        elif what == "connect" and replica.session is None:
            self.connect(replica)
        elif what == "crash":
            self.crash(replica)
        elif what == "unreachable":
            replica.reachable = not replica.reachable
        elif what == "withdraw":
            self.withdraw_one()
        elif what == "die" and not any(each.lost for each in self.replicas):
            self.crash(replica)
            replica.lost = True
            self.sessions.pop(replica.number, None)

    def crash(self, replica: Replica) -> None:
        """It is gone, and what ran on it; its session ends later."""
        replica.up = False
        replica.session = None
        ended, replica.running = replica.running, []
        for statement in ended:
            statement.process.close()
            statement.done = statement.error = True
            self.processes.remove(statement.process)

    def start(self, replica: Replica) -> None:
        """It comes back with its parts and a new session."""
        replica.up = True
        self.connect(replica)

    def fetch(self, replica: Replica) -> None:
        """It takes the next part that it knows of and lacks, from whoever has it; and drops what was withdrawn."""
        if replica.session is None:
            return
        known = self.parts_seen_by(replica)
        replica.parts = [part for part in replica.parts if part in known]
        others = [each for each in self.replicas if each.up and each is not replica]
        lacking = [
            part for part in known if part not in replica.parts and any(part in each.parts for each in others)
        ]
        if lacking:
            part = self.rng.choice(lacking)  # in any order
            if part.large and self.rng.random() < 0.99:
                return
            replica.parts.append(part)
            if not part.reached and self.holders(part) >= QUORUM:
                part.reached = True
                self.log.append(("reached", part))

    def holders(self, part: Part) -> int:
        """How many replicas have it, the one that died for good among them."""
        return sum(part in each.parts for each in self.replicas)

    def withdraw_one(self) -> None:
        """A part whose insert failed for want of quorum goes, everywhere."""
        failed = [entry[1] for entry in self.log if entry[0] == "part" and entry[1].failed]
        failed = [part for part in failed if not part.reached and not part.withdrawn]
        if failed:
            part = self.rng.choice(failed)
            part.withdrawn = True
            self.log.append(("gone", part))

    def calm(self) -> None:
        """Everything that can come back does, statements end, parts are settled and fetched."""
        for replica in self.replicas:
            if not replica.lost:
                replica.up = replica.reachable = True
                self.connect(replica)
        self._withdraw_all()
        statements = [each.process for replica in self.replicas for each in replica.running]
        while any(process in self.processes for process in statements):
            self._catch_up()
            for process in statements:
                if process in self.processes:
                    self.advance(process)
        self._withdraw_all()
        self._catch_up()

    def _withdraw_all(self) -> None:
        while any(part.failed and not part.reached and not part.withdrawn for part in self._all_parts()):
            self.withdraw_one()

    def _catch_up(self) -> None:
        for replica in self.replicas:
            if not replica.lost:
                replica.seen = len(self.log)
                while not self.is_in_step(replica):
                    self.fetch(replica)
                    replica.seen = len(self.log)

    def _all_parts(self) -> list[Part]:
        return [entry[1] for entry in self.log if entry[0] == "part"]
