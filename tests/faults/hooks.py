"""Faults at a named step of a batch, inside of the projector's process but outside of its code.

The projector's connection to the store is one that recognises the statements of the protocol, and its consumer
one that recognises the commit; at the n-th one of a name they do what the plan says. A plan comes from the
environment as JSON: [{"do": "kill", "at": "steps", "when": "after", "nth": 2}, …].

    do     kill   this process, by SIGKILL
           stop   this process, by SIGSTOP; it goes on when it is woken
           slow   the statement itself: it works for `seconds`, with everything that it checks behind it
           fail   raise as if the connection had been cut
    at     claim, stage, load, validate, <name of a table>, ledger, readback, commit
    when   before or after the statement
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import StoreUnavailable

VARIABLE = "FAULTS_PLAN"

PROJECTION = "steps"

_SHARED = (
    ("claim", re.compile(r"INSERT INTO projection_claims\b")),
    ("ledger", re.compile(r"INSERT INTO projection_ledger\b")),
    ("readback", re.compile(r"SELECT DISTINCT partition FROM projection_ledger\b")),
)
"""Statements on tables that every projection has: whose they are, their parameter `projection` says."""

_OWN = (
    ("stage", re.compile(rf"\s*CREATE TABLE stage_{PROJECTION}_")),
    ("load", re.compile(rf"INSERT INTO stage_{PROJECTION}_")),
    (
        "validate",
        re.compile(rf"WITH .*SELECT kafka_partition, count\(\).* FROM stage_{PROJECTION}_", re.DOTALL),
    ),
)
_TABLE = re.compile(r"INSERT INTO (\w+) \(")


def step_of(sql: str, parameters: Mapping[str, Any] | None = None) -> str | None:
    """The step of a batch of steps that a statement is; None for one that is no step.

    The projector's side projections, of dead letters and of emitters' reports, run statements of the same kinds.
    """
    for name, pattern in _SHARED:
        if pattern.match(sql):
            return name if (parameters or {}).get("projection") == PROJECTION else None
    for name, pattern in _OWN:
        if pattern.match(sql):
            return name
    match = _TABLE.match(sql)
    return match.group(1) if match else None


class Plan:
    """What is to happen at which step. Counts steps as they come; each entry happens once."""

    def __init__(self, entries: list[dict[str, Any]]) -> None:
        self._entries = entries
        self._seen: dict[str, int] = {}

    @classmethod
    def from_environment(cls) -> Plan:
        """The plan of this process."""
        return cls(json.loads(os.environ.get(VARIABLE, "[]")))

    def enter(self, step: str | None) -> float:
        """A step begins; how many seconds its statement is to take longer."""
        if step is None:
            return 0.0
        self._seen[step] = self._seen.get(step, 0) + 1
        return sum(self._act(entry) for entry in self._due(step, "before"))

    def leave(self, step: str | None) -> None:
        """A step has ended."""
        if step is not None:
            for entry in self._due(step, "after"):
                self._act(entry)

    def _due(self, step: str, when: str) -> list[dict[str, Any]]:
        return [
            entry
            for entry in self._entries
            if entry["at"] == step
            and entry.get("when", "before") == when
            and self._seen[step] == entry.get("nth", 1)
        ]

    def _act(self, entry: Mapping[str, Any]) -> float:
        if entry["do"] == "slow":
            return float(entry["seconds"])
        if entry["do"] == "fail":
            raise StoreUnavailable("the connection was cut")
        os.kill(os.getpid(), signal.SIGKILL if entry["do"] == "kill" else signal.SIGSTOP)
        return 0.0


class HookedClickHouse(ClickHouse):
    """A connection that follows a plan."""

    def __init__(self, target: Any, *, plan: Plan, **more: Any) -> None:
        super().__init__(target, **more)
        self._plan = plan

    def query(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> list[tuple[Any, ...]]:
        """As the plan says."""
        step = step_of(sql, parameters)
        self._plan.enter(step)
        found = super().query(sql, parameters, settings)
        self._plan.leave(step)
        return found

    def command(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        data: bytes | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """As the plan says."""
        step = step_of(sql, parameters)
        if longer := self._plan.enter(step):
            # What the statement checks is looked up when it starts; the rows come after the sleep.
            sql = sql.replace(" WHERE ", f" WHERE sleep({longer:.3f}) = 0 AND ", 1)
            limit = int(longer * 2_000_000)
            settings = {**(settings or {}), "function_sleep_max_microseconds_per_block": limit}
        super().command(sql, parameters, data=data, settings=settings)
        self._plan.leave(step)


def hooked_consumer(plan: Plan, *, self_assigned: bool) -> type[Consumer]:
    """A consumer whose commits follow the plan; `self_assigned`: one that believes to own every partition."""

    class HookedConsumer(Consumer):
        _told: Any = None

        def commit(self, *given: Any, **named: Any) -> Any:
            plan.enter("commit")
            done = super().commit(*given, **named)
            plan.leave("commit")
            return done

        def subscribe(self, topics: list[str], **callbacks: Any) -> None:  # type: ignore[override]
            if not self_assigned:
                super().subscribe(topics, **callbacks)
                return
            known = self.list_topics(topics[0], timeout=30).topics[topics[0]].partitions
            self._told = (callbacks["on_assign"], [TopicPartition(topics[0], number) for number in known])

        def consume(self, *given: Any, **named: Any) -> Any:
            if self._told is not None:
                (on_assign, partitions), self._told = self._told, None
                on_assign(self, partitions)
            return super().consume(*given, **named)

    return HookedConsumer
