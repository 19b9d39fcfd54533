"""The ledger's promise: whatever happens between any two steps, each record arrives exactly once."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.clickhouse.errors import TopicRecreated
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.projections.delivery.projection import Projection
from steptrail.projections.tables.step_events import STEP_EVENTS
from steptrail.schemas.configuration.settings import Settings
from support.effort import effort
from support.ledger_machine import LedgerMachine
from support.stack import Stack

HISTORIES = int(
    os.environ.get("STEPTRAIL_TEST_HISTORIES") or effort(4, 30)
)  # 300 and more when the ledger is changed
SECONDS_EACH = 20


@pytest.fixture(scope="module")
def store(stack: Stack) -> Iterator[ClickHouse]:
    """A migrated database on the real engine, merges stopped so that no duplicate can be merged away."""
    name = f"ledger_{uuid.uuid4().hex[:10]}"
    configured = Settings(kafka=stack.kafka, clickhouse=stack.with_database(name))
    with connect(configured) as clickhouse:
        migrate(clickhouse)
        clickhouse.command("SYSTEM STOP MERGES steps")
        yield clickhouse
        clickhouse.command(f"DROP DATABASE {name} SYNC")


@pytest.mark.thorough
@pytest.mark.timeout(300 + SECONDS_EACH * HISTORIES)
def test_in_every_history_each_record_is_written_once(store: ClickHouse) -> None:
    """Racing, freezing, crashing writers, replays, lost replies, slow and killed statements, recreated topics.

    Hypothesis draws the same histories in each run; how the writers' threads meet in the engine it does not decide, so
    a history that failed may hold when it is repeated, and is said all the same.
    """

    class Machine(LedgerMachine):
        pass

    Machine.store = store
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=HISTORIES,
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_recreated_topic_stops_the_projection(store: ClickHouse) -> None:
    """Offsets of a topic that was deleted and created again are not taken for the old ones."""
    topic = f"topic-{uuid.uuid4().hex}"
    old, new = uuid.uuid4().hex, uuid.uuid4().hex
    Projection(store, STEP_EVENTS, topic=topic, topic_id=old).open([0])
    Projection(store, STEP_EVENTS, topic=topic, topic_id=old).prepare()
    with pytest.raises(TopicRecreated, match=f"--accept-topic {new}"):
        Projection(store, STEP_EVENTS, topic=topic, topic_id=new).prepare()
    Projection(store, STEP_EVENTS, topic=topic, topic_id=new).prepare(accept_recreated=True)
