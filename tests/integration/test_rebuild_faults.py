"""Exchanges that are cut off anywhere, and erasure, retention and verdicts beside a rebuild."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from steptrail.consumers.rebuild import rebuilding
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.errors import StoreUnavailable
from steptrail.projections.delivery.holds import TablesHeld, hold, release, standing
from steptrail.projections.delivery.ledger import Ledger
from steptrail.projections.lifecycle.erasure import begin, finish, remove, selected
from steptrail.projections.lifecycle.exchange import ExchangeRefused, is_live
from steptrail.projections.lifecycle.rebuilds import Rebuild, RebuildState
from steptrail.projections.lifecycle.retention import apply
from steptrail.projections.lifecycle.retention_rules import DEFAULT, RetentionRule, RetentionRules
from steptrail.projections.lifecycle.shadow_tables import Side
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import Topics
from support.consumed import event_value
from support.effort import ONLY_IN_TEST_ALL
from support.erasing import erase, everywhere
from support.judging import health_consumers
from support.projecting import Projected, produce, projecting, read_all
from support.rebuilding import load, require_exact, shadow, unmerged
from support.waiting import until

pytestmark = ONLY_IN_TEST_ALL

NEVER = threading.Event()


@pytest.fixture
def store(workspace: Settings) -> Iterator[ClickHouse]:
    with unmerged(workspace) as clickhouse:
        yield clickhouse


class Cut(ClickHouse):
    """A connection that breaks at writing statement `at`: before it is sent, or after, when the answer is lost."""

    def __init__(self, settings: Settings, at: int, *, sent: bool) -> None:
        super().__init__(settings.clickhouse_target())
        self.left, self._sent = at, sent

    def command(
        self,
        sql: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        data: bytes | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.left -= 1
        if self.left != 0 or self._sent:
            super().command(sql, parameters, data=data, settings=settings)
        if self.left == 0:
            raise StoreUnavailable("cut off")


def rebuilt(settings: Settings, clickhouse: ClickHouse) -> Rebuild:
    """A rebuild that has caught up."""
    rebuild = rebuilding.start(clickhouse, rebuilding.plan(settings, clickhouse))
    return rebuilding.go_on(settings, clickhouse, rebuild, NEVER, lambda _: None)


def exchanged(settings: Settings, clickhouse: ClickHouse, side: Side) -> Rebuild:
    there = rebuilding.required(rebuilding.current(clickhouse))
    return rebuilding.exchange(settings, clickhouse, there, side, NEVER, lambda _: None, by="somebody")


def test_an_exchange_that_is_cut_off_at_any_statement_is_gone_on_with_by_the_next(
    workspace: Settings, store: ClickHouse
) -> None:
    """To and fro under load, each time one statement further, which is not sent, or whose answer is lost, by turns."""
    first = set(produce(workspace, (event_value(doc_id=f"doc-{n}") for n in range(600))))
    done = {Side.NEW: RebuildState.EXCHANGED, Side.OLD: RebuildState.RETURNED}
    with projecting(workspace):
        require_exact(store, first)
        rebuilt(workspace, store)
        side = Side.NEW
        with load(workspace) as more:
            for number in itertools.count(1):
                cut = Cut(workspace, number, sent=number % 4 > 1)  # each side gets both
                with cut, contextlib.suppress(StoreUnavailable):
                    exchanged(workspace, cut, side)
                if rebuilding.required(rebuilding.current(store)).state is not done[side]:
                    exchanged(workspace, store, side)
                rebuild = rebuilding.required(rebuilding.current(store))
                assert (rebuild.state, is_live(store, rebuild, side)) == (done[side], True)
                assert standing(store, "steps") is None
                if cut.left > 0:
                    break
                side = side.other
        assert number > 10
        require_exact(store, first | set(more))
        exchanged(workspace, store, side.other)
        require_exact(store, first | set(more))


def test_while_a_hold_stands_nobody_else_claims_and_earlier_claims_are_overcome(
    workspace: Settings, store: ClickHouse
) -> None:
    """The reason is in the error; the owner can claim; after the release everybody can."""
    mine = uuid.uuid4()
    ledger = Ledger(store, projection="steps", topic="t", topic_id="id")
    other = Ledger(store, projection="other", topic="t", topic_id="id")
    before = ledger.claim([0, 1])
    hold(store, "steps", mine, "somebody exchanges")
    with pytest.raises(TablesHeld, match="somebody exchanges"):
        ledger.claim([0, 1])
    assert set(other.claim([0])) == {0}
    held = ledger.claim([0, 1], under=mine)
    assert {claim.epoch for claim in held.values()} == {before[0].epoch + 1}
    release(store, "steps", mine)
    release(store, "steps", mine)
    assert set(ledger.claim([0, 1])) == {0, 1}


def test_an_erasure_reaches_the_tables_beside_the_live_ones_and_no_exchange_brings_it_back(
    workspace: Settings, store: ClickHouse
) -> None:
    """Erased while the new tables stand there, and before they are filled; an unfinished one refuses an exchange."""
    names = ("Zweigelt-1", "Zweigelt-2", "Zweigelt-3")
    produce(
        workspace,
        (event_value(pipeline="p", doc_id=name) for name in (*names, *(f"d{n}" for n in range(60)))),
    )
    with projecting(workspace):
        until(lambda: Projected(store).count() >= 63, "projection")
        erase(store, ("p", names[0]))
        rebuilt(workspace, store)
        assert b"Zweigelt-1" not in b"".join(everywhere(store).values())
        assert store.query(f"SELECT count() FROM {shadow(store, 'steps')}") == [(62,)]
        erase(store, ("p", names[1]))
        assert b"Zweigelt-2" not in b"".join(everywhere(store).values())
        with selected(store, [("p", names[2])]) as selection:
            erasure = begin(store, selection, {}, requested_by="somebody")
            with pytest.raises(ExchangeRefused, match="is under way"):
                exchanged(workspace, store, Side.NEW)
            assert standing(store, "steps") is None
            remove(store, finish(store, erasure, selection))
        exchanged(workspace, store, Side.NEW)
        assert b"Zweigelt" not in b"".join(everywhere(store).values())
        exchanged(workspace, store, Side.OLD)
        assert b"Zweigelt" not in b"".join(everywhere(store).values())
        assert Projected(store).count() == 60


def test_an_erasure_does_not_hide_rows_while_tables_are_exchanged(
    workspace: Settings, store: ClickHouse
) -> None:
    """It says what it waits for, and is finished afterwards."""
    produce(workspace, [event_value(pipeline="p", doc_id="Zweigelt")])
    with projecting(workspace):
        until(lambda: Projected(store).count() >= 1, "projection")
    mine = uuid.uuid4()
    with selected(store, [("p", "Zweigelt")]) as selection:
        erasure = begin(store, selection, {}, requested_by="somebody")
        hold(store, "steps", mine, "somebody exchanges")
        with pytest.raises(TablesHeld, match="somebody exchanges"):
            finish(store, erasure, selection)
        release(store, "steps", mine)
        remove(store, finish(store, erasure, selection))
    assert Projected(store).count() == 0


def test_retention_reaches_the_tables_beside_the_live_ones(workspace: Settings, store: ClickHouse) -> None:
    """What is too old goes from new and old tables alike, by rows: a part's name may be another table's tomorrow."""
    produce(workspace, (event_value(doc_id=f"d{n}") for n in range(60)))
    with projecting(workspace):
        until(lambda: Projected(store).count() >= 60, "projection")
    rebuilt(workspace, store)
    for table in ("steps", shadow(store, "steps")):
        store.command(
            f"INSERT INTO {table} SELECT * REPLACE (broker_time - INTERVAL 400 DAY AS broker_time) FROM {table}"
        )
    removed = apply(store, RetentionRules(RetentionRule(DEFAULT, 90, own=True), {}))
    assert {one.table: (one.rows, one.dropped_parts) for one in removed if one.table.endswith("_steps")} == {
        shadow(store, "steps"): (60, 0)
    }
    assert store.query(f"SELECT count() FROM {shadow(store, 'steps')}") == [(60,)]
    assert Projected(store).count() == 60


def test_an_exchange_says_no_verdict_again(workspace: Settings, store: ClickHouse) -> None:
    """The verdicts' topic has the same records before an exchange, after it, and after the way back."""
    produce(workspace, (event_value(pipeline="p", doc_id=f"d{n}") for n in range(600)))
    health = Topics(workspace.topic_prefix).health.name

    def said() -> list[tuple[bytes, bytes]]:
        return [(record.key() or b"", record.value() or b"") for record in read_all(workspace, health)]

    def stored() -> list[tuple[object, ...]]:
        return store.query("SELECT pipeline, step_name, slot FROM health_verdicts ORDER BY ALL")

    def said_and_stored() -> list[tuple[bytes, bytes]]:
        # One that says that nothing was known yet, at a slow start, is on the topic alone.
        records = said()
        last = {key: json.loads(value)["slot"] for key, value in records}
        latest = {f"{pipeline}\x1f{step}".encode(): slot for pipeline, step, slot in stored()}
        return records if last == latest else []

    with projecting(workspace), health_consumers(workspace):
        until(lambda: Projected(store).count() >= 600, "projection")
        until(lambda: said() != [], "a verdict")
        rebuilt(workspace, store)
        before, rows = until(said_and_stored, "verdicts in the store, too"), stored()
        for side in (Side.NEW, Side.OLD):
            exchanged(workspace, store, side)
            assert said() == before
            assert stored() == rows
