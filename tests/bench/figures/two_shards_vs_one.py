"""From Kafka to all tables in two shards, on two engines, against one shard: the same events, the same machine.

Each repeat runs both, in turns first and second, each in a topic and databases of its own. The machine is the same, so
two shards can be no faster where one engine has all of its processors; what is asked is that they cost next to nothing.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from bench.clustered import project
from bench.engine import running_engine
from bench.figure import Figure
from bench.race import EVENTS
from bench.session import Session
from bench.topic import encoded, fill
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.projections.clickhouse.shards import connect_shards
from steptrail.schemas import Settings

BOUND = 0.9
LAPS = 5


def measure(session: Session) -> Figure:
    """Median over the repeats of the rate into two shards / the rate into one."""
    events = session.scaled(EVENTS)
    messages = encoded(events)
    rates: dict[int, list[float]] = {1: [], 2: []}
    with (
        tempfile.TemporaryDirectory(prefix="steptrail-shard-") as folder,
        running_engine(Path(folder)) as second,
    ):
        for lap in range(1 if session.quick else LAPS):
            for shards in sorted(rates, reverse=lap % 2 == 1):
                workspace = session.workspace(f"shards_{shards}")
                fill(workspace, messages)
                rates[shards].append(events / _project(_sharded(workspace, shards, second), events))
                session.forget(workspace)
    ratios = [two / one for two, one in zip(rates[2], rates[1], strict=True)]
    ratio = statistics.median(ratios)
    return Figure(
        "two_shards_vs_one",
        ratio,
        "ratio",
        f">= {BOUND}",
        ratio >= BOUND,
        {
            "two_shards_events_per_s": statistics.median(rates[2]),
            "one_shard_events_per_s": statistics.median(rates[1]),
            "ratios": ratios,
            "events": events,
        },
    )


def _sharded(workspace: Settings, shards: int, second: str) -> Settings:
    """The workspace in a sharded layout, its first shard on the session's engine."""
    first = urlsplit(workspace.clickhouse.get_secret_value())
    local = f"{workspace.topic_prefix}_local"
    servers = [first._replace(path=f"/{local}").geturl(), f"{second}/{local}"][:shards]
    settings = workspace.with_values(clickhouse_layout="sharded", clickhouse_servers=",".join(servers))
    with connect_shards(settings) as connected:
        for store in connected.stores:
            migrate(store)
    return settings


def _project(settings: Settings, events: int) -> float:
    """The seconds that a projector process takes for them."""
    assert settings.clickhouse_servers is not None
    told = project(
        settings,
        events,
        STEPTRAIL_CLICKHOUSE_LAYOUT=settings.clickhouse_layout,
        STEPTRAIL_CLICKHOUSE_SERVERS=settings.clickhouse_servers.get_secret_value(),
    )
    with connect_shards(settings) as connected:
        found = sum(store.query("SELECT count() FROM steps")[0][0] for store in connected.stores)
        if found != events:
            raise RuntimeError(f"{found} of {events} events are in the shards")
        for store in connected.stores:
            store.command(f"DROP DATABASE {store.database} SYNC")
    seconds: float = told["seconds"]
    return seconds
