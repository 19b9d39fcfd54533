"""A store that can be backed up, destroyed and restored, and what must be the same in it afterwards."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from steptrail.deploy.terminal.failures import NO, OK
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.topics import ensure_topics
from support.command_line import Command
from support.engine import EngineServer, running_engine
from support.stack import Stack

SAME = {
    "minutes": "SELECT * EXCEPT (durations, quantiles, p50, p95, p99) FROM step_minutes ORDER BY ALL",
    "error groups": "SELECT group_id, count, first_seen, last_seen FROM error_groups ORDER BY group_id",
    "executions": "SELECT * FROM step_executions FINAL ORDER BY ALL",
    "events": "SELECT topic_id, kafka_partition, kafka_offset, event_id, doc_id, status FROM steps ORDER BY ALL",
    "health's events": "SELECT event_id, kafka_partition, kafka_offset FROM health_events ORDER BY ALL",
    "dead letters": "SELECT DISTINCT source_topic_id, source_partition, source_offset, reason FROM dead_letters "
    "ORDER BY ALL",
    "reports": "SELECT * FROM emitter_reports ORDER BY ALL",
}
"""What a restored store that has caught up holds as before, raw rows where each must be there once."""


class Destroyable:
    """An engine of one's own, with topics on the stack's Kafka; `store` is a connection to it."""

    def __init__(self, engine: EngineServer, settings: Settings, folder: Path, store: ClickHouse) -> None:
        self.engine = engine
        self.settings = settings
        self.folder = folder
        self.store = store

    @property
    def backups(self) -> Path:
        """The folder of the disk `backups`."""
        return self.folder / "backups"

    def destroy(self) -> None:
        """Drop the database with all that is in it."""
        self.engine.ask("DROP DATABASE steptrail SYNC", database="system")

    def held(self) -> dict[str, list[tuple[object, ...]]]:
        """What must be the same after a restore."""
        return {name: self.store.query(sql) for name, sql in SAME.items()}


@contextmanager
def destroyable(stack: Stack, *options: str) -> Iterator[Destroyable]:
    """Start one, with its tables and topics made."""
    folder = Path(tempfile.mkdtemp(prefix="steptrail-backup-"))
    try:
        with running_engine(folder, "--backups", str(folder / "backups"), *options) as engine:
            url = f"http://default:{engine.password}@127.0.0.1:{engine.port}/steptrail"
            settings = Settings(
                kafka=stack.kafka,
                clickhouse=url,
                topic_prefix=f"test_{secrets.token_hex(5)}",
                pipeline="invoices",
            )
            with connect(settings) as store:
                migrate(store)
                ensure_topics(settings)
                yield Destroyable(engine, settings, folder, store)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def world(stack: Stack) -> Iterator[Destroyable]:
    """One for a test."""
    with destroyable(stack) as world:
        yield world


def ok(command: Command, *words: str) -> dict[str, Any]:
    """Run `steptrail WORDS --json`, which must succeed; what it answers."""
    code, out, err = command(*words, "--json")
    assert code == OK, err
    answer: dict[str, Any] = json.loads(out)
    return answer


def refused(command: Command, *words: str) -> str:
    """Run `steptrail WORDS`, which must be refused; what it says."""
    code, _, err = command(*words)
    assert code == NO, err
    return err
