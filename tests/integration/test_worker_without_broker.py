"""A worker that loses its broker and is then killed: who lost how many, and when, is in ClickHouse."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

from faults.world import World
from steptrail.projections.clickhouse.client import connect
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import ensure_topics
from support.effort import ONLY_IN_TEST_ALL
from support.projecting import projecting
from support.stack import environ_of
from support.waiting import until

WORKER = """
import sys
from steptrail.producers import emit_only
from steptrail.schemas import ProcessingStatus

emitter = emit_only(queue_max_messages=100)

def emit(count):
    for _ in range(count):
        number = emitter.accounting().accepted
        emitter.emit(doc_id=f"doc {number}", step_name="ocr", status=ProcessingStatus.SUCCESS)

for line in sys.stdin:
    what, _, count = line.strip().partition(" ")
    if what == "emit":
        emit(int(count))
    else:
        assert emitter.flush(60) == 0
    told = emitter.accounting()
    print(emitter.emitter_id.hex(), told.accepted, told.delivered, sum(told.dropped.values()), flush=True)
"""


@pytest.fixture
def own_stack() -> Iterator[World]:
    """A Kafka and a store that the test may freeze."""
    with World() as world:
        yield world


@ONLY_IN_TEST_ALL
def test_who_lost_how_many_and_when(own_stack: World) -> None:
    """Exactly, as far as its events reach; what it took after them nobody can know, and that is said too."""
    url = f"http://default:{own_stack.at.password}@127.0.0.1:{own_stack.at.clickhouse_port}/lost"
    settings = Settings(kafka=own_stack.at.kafka, clickhouse=url)
    ensure_topics(settings)
    with connect(settings) as store:
        migrate(store)
    broker = own_stack.broker.process
    assert broker is not None
    with subprocess.Popen(
        [sys.executable, "-c", WORKER],
        env=environ_of(settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:

        def tell(what: str) -> tuple[str, int, int, int]:
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write(f"{what}\n")
            worker.stdin.flush()
            emitter, accepted, delivered, dropped = worker.stdout.readline().split()
            return emitter, int(accepted), int(delivered), int(dropped)

        tell("emit 50")
        tell("flush")
        began = datetime.now(timezone.utc)
        broker.freeze()
        tell("emit 500")
        broker.wake()
        tell("flush")
        tell("emit 10")
        emitter, accepted, delivered, dropped = tell("flush")
        ended = datetime.now(timezone.utc)
        assert (accepted, delivered + dropped) == (560, 560)
        assert dropped > 0
        broker.freeze()
        tell("emit 30")
        worker.kill()
        broker.wake()
    where = f"WHERE emitter_id = '{emitter}'"
    with projecting(settings):
        arrived = f"SELECT arrived FROM emitters {where} AND accepted >= 0"
        until(lambda: asked(settings, arrived) == [{"arrived": delivered}], "projection")
    [known] = asked(settings, f"SELECT worker, arrived, missing, state FROM emitters {where}")
    assert known["worker"].endswith(f":{worker.pid}")
    assert (known["missing"], known["state"]) == (dropped, "unknown after sequence 559")
    gaps = asked(settings, f"SELECT worker, events, after, before FROM emitter_gaps {where} ORDER BY after")
    assert sum(gap["events"] for gap in gaps) == dropped
    for gap in gaps:
        assert gap["worker"] == known["worker"]
        after, before = (moment(gap[name]) for name in ("after", "before"))
        # By the broker's time, to the millisecond, of the event before the gap and the one behind it.
        assert after <= before
        assert abs((after - began).total_seconds()) < 60
        assert abs((before - ended).total_seconds()) < 60


def moment(text: str) -> datetime:
    found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def asked(settings: Settings, sql: str) -> list[dict[str, Any]]:
    """What `steptrail sql` answers."""
    done = subprocess.run(
        [sys.executable, "-m", "steptrail.deploy.cli", "sql", "--json", sql],
        env=environ_of(settings),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
