"""Exchanging the live tables with those of a rebuild, exactly, while projectors go on.

1. **Hold** the projection: nobody else can claim its partitions (`delivery.holds`).
2. **Wait** for the statements that run, and **claim** every partition: projectors write nothing from now on.
3. The live ledger's high-water is final. The other tables **catch up** with it from the topic.
4. The tables that go get a ledger that begins there, so that they can come back.
5. **Exchange** each pair of tables.
6. **Release** the hold: projectors claim again and go on at the same high-water. What the new live tables have beyond
   it they read again and leave out, as after any takeover.

A table is known by its UUID, which it keeps under any name. So whoever comes after a crash sees which tables are
exchanged, and goes on. After each exchange the other table is renamed: the same statement, should it arrive once more
by a slow way, then finds no table of that name.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Final

from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import QueryError, StoreRefused
from steptrail.projections.clickhouse.running import writer_comment
from steptrail.projections.delivery.holds import hold, release, standing
from steptrail.projections.delivery.ledger import Ledger
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.lifecycle.erasures import unfinished
from steptrail.projections.lifecycle.rebuilds import Rebuild, RebuildState, write
from steptrail.projections.lifecycle.shadow_tables import (
    REBUILT,
    Side,
    ledger_name,
    shadow_spec,
    table_name,
    table_uuids,
)
from steptrail.projections.tables.step_events import STEP_EVENTS
from steptrail.schemas.errors import SteptrailError

_TRIES: Final = 5
_UNDER_WAY: Final = {Side.NEW: RebuildState.EXCHANGING, Side.OLD: RebuildState.RETURNING}
_DONE: Final = {Side.NEW: RebuildState.EXCHANGED, Side.OLD: RebuildState.RETURNED}


class ExchangeRefused(SteptrailError):
    """The tables cannot be exchanged now; nothing was changed, and projectors go on. The message says why."""


def exchange(
    clickhouse: ClickHouse,
    rebuild: Rebuild,
    side: Side,
    *,
    partitions: Callable[[], list[int]],
    catch_up: Callable[[Mapping[int, int], uuid.UUID], bool],
    by: str,
) -> Rebuild:
    """Make the tables of `side` the live ones; returns the rebuild in its state after it.

    `partitions` names those of the topic. `catch_up` reads the topic into the tables of `side` up to an offset for
    each partition, exclusive, and tells whether it got there. Goes on where an exchange was cut off. Raises
    ExchangeRefused, and InfrastructureError when the store or Kafka is away: the hold then stands, projectors wait,
    and calling it again goes on; `abandon` gives up.
    """
    if rebuild.state is not _UNDER_WAY[side]:
        rebuild = write(clickhouse, rebuild.now(_UNDER_WAY[side]))
    identity = _hold(clickhouse, rebuild, side, by)
    if not _begun(clickhouse, rebuild, side):
        _require_same_columns(clickhouse, rebuild, side)
        _require_no_erasure(clickhouse, rebuild)
        numbers = partitions()
        ledger = Ledger(
            clickhouse, projection=STEP_EVENTS.name, topic=rebuild.topic, topic_id=rebuild.topic_id
        )
        ledger.wait_for_predecessors(numbers)
        if set(ledger.claim(numbers, under=identity)) != set(numbers):
            raise StoreRefused("another exchange has claimed the partitions", code=None, name=None)
        marks = ledger.high_water(numbers)
        if not catch_up({partition: mark + 1 for partition, mark in marks.items()}, identity):
            raise abandon(clickhouse, rebuild, "it was stopped before the tables had caught up")
        _require_caught_up(clickhouse, rebuild, side, marks)
        _begin_ledger(clickhouse, rebuild, side.other, marks)
    for table in REBUILT:
        _exchange(clickhouse, rebuild, side, table, identity)
    # In this order: whoever finds the state of an exchange that is under way goes on with it.
    release(clickhouse, STEP_EVENTS.name, identity)
    return write(clickhouse, rebuild.now(_DONE[side]))


def abandon(clickhouse: ClickHouse, rebuild: Rebuild, why: str) -> ExchangeRefused:
    """Give up an exchange of which no table is exchanged yet, and let projectors go on; returns the error to raise."""
    before = RebuildState.FILLED if rebuild.state is RebuildState.EXCHANGING else RebuildState.EXCHANGED
    if (found := standing(clickhouse, STEP_EVENTS.name)) is not None:
        release(clickhouse, STEP_EVENTS.name, found.hold)
    write(clickhouse, rebuild.now(before))
    return ExchangeRefused(f"{why}. Nothing was exchanged, and projectors go on.")


def is_live(clickhouse: ClickHouse, rebuild: Rebuild, side: Side) -> bool:
    """Whether all live tables are those of `side`."""
    found = table_uuids(clickhouse)
    return all((found.get(name) == rebuild.tables[name]) is (side is Side.NEW) for name in REBUILT)


def begun(clickhouse: ClickHouse, rebuild: Rebuild) -> bool:
    """Whether an exchange that is under way has exchanged a table already: it can only be finished."""
    side = Side.OLD if rebuild.state is RebuildState.RETURNING else Side.NEW
    return _begun(clickhouse, rebuild, side)


def _begun(clickhouse: ClickHouse, rebuild: Rebuild, side: Side) -> bool:
    found = table_uuids(clickhouse)
    return any((found.get(name) == rebuild.tables[name]) is (side is Side.NEW) for name in REBUILT)


def _hold(clickhouse: ClickHouse, rebuild: Rebuild, side: Side, by: str) -> uuid.UUID:
    """The hold of this exchange; that of one that was cut off is taken over."""
    if (found := standing(clickhouse, STEP_EVENTS.name)) is not None:
        return found.hold
    identity = uuid.uuid4()
    command = "exchange" if side is Side.NEW else "back"
    reason = (
        f"the exchange of tables that {by} began with `steptrail rebuild {command}`. If that was cut off, the same "
        "command goes on with it"
    )
    hold(clickhouse, STEP_EVENTS.name, identity, reason)
    return identity


def _require_same_columns(clickhouse: ClickHouse, rebuild: Rebuild, side: Side) -> None:
    """A migration alters the live tables alone: those that were set aside before it lack what it added."""
    for table in REBUILT:
        coming = table_name(side, rebuild, table)
        lacking = [
            str(column)
            for (column,) in clickhouse.query(
                "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {live:String} "
                "AND name NOT IN (SELECT name FROM system.columns WHERE database = currentDatabase() "
                "AND table = {coming:String}) ORDER BY position",
                {"live": table, "coming": coming},
            )
        ]
        if lacking:
            raise abandon(
                clickhouse,
                rebuild,
                f"{coming} was made before a migration added {', '.join(lacking)} to {table}: "
                "`steptrail rebuild drop --yes`, then `steptrail rebuild` again",
            )


def _require_no_erasure(clickhouse: ClickHouse, rebuild: Rebuild) -> None:
    """An erasure writes itself down before it looks for holds: one of the two sees the other."""
    if left := unfinished(clickhouse):
        raise abandon(
            clickhouse,
            rebuild,
            f"erasure {left[0].request} is under way. Try again when it is done; one that was cut off is finished by "
            "the next `steptrail erase … --yes`",
        )


def _require_caught_up(
    clickhouse: ClickHouse, rebuild: Rebuild, side: Side, marks: Mapping[int, int]
) -> None:
    """What decides is what the ledger of the tables that come says, not what a reader of the topic believes."""
    name = ledger_name(side, rebuild)
    ledger = Ledger(clickhouse, projection=name, topic=rebuild.topic, topic_id=rebuild.topic_id)
    behind = [p for p, mark in ledger.high_water(marks).items() if mark < marks[p]]
    if behind:
        raise abandon(clickhouse, rebuild, f"the tables {name}_* have not caught up in partitions {behind}")


def _begin_ledger(clickhouse: ClickHouse, rebuild: Rebuild, side: Side, marks: Mapping[int, int]) -> None:
    """Write down up to where the tables that are about to go have everything."""
    projection = Projection(
        clickhouse, shadow_spec(side, rebuild), topic=rebuild.topic, topic_id=rebuild.topic_id
    )
    projection.open(list(marks))
    projection.cover({partition: (0, mark) for partition, mark in marks.items() if mark >= 0})


def _exchange(clickhouse: ClickHouse, rebuild: Rebuild, side: Side, table: str, identity: uuid.UUID) -> None:
    """Have `table` be the one of `side`, and the other be called as it is to be; repeating it is harmless."""
    coming, going = table_name(side, rebuild, table), table_name(side.other, rebuild, table)
    for _ in range(_TRIES):
        found = table_uuids(clickhouse)
        live = (found[table] == rebuild.tables[table]) is (side is Side.NEW)
        if live and going in found:
            return
        if live:
            statement = f"RENAME TABLE {coming} TO {going}"
        elif coming in found:
            statement = f"EXCHANGE TABLES {table} AND {coming}"
        else:
            statement = f"RENAME TABLE {going} TO {coming}"
        held = standing(clickhouse, STEP_EVENTS.name)
        if held is None or held.hold != identity:
            raise StoreRefused("another process has ended this exchange", code=None, name=None)
        try:
            clickhouse.command(statement, settings={"log_comment": writer_comment(clickhouse, "exchange")})
        except QueryError as error:
            if error.code not in (57, 60):  # exists already, or no such table: another process did it
                raise
    raise StoreRefused(f"table {table} could not be exchanged", code=None, name=None)
