"""One row's own topics and database, the processes that work on them, and how far the projection is."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from faults import hooks, safeguards
from faults.world import Process, World, child_environ
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.errors import InfrastructureError
from steptrail.schemas.topics import Topics, ensure_topics
from support.stack import kafka_variables
from support.waiting import until

SESSION_MS = 3000
CATCH_UP_S = 180.0

# Rows must stay as they were written: no merge, not even after the engine was started again, and no complaint
# about the many parts that this leaves.
NO_MERGES = (
    "max_bytes_to_merge_at_max_space_in_pool = 1, max_bytes_to_merge_at_min_space_in_pool = 1, "
    "parts_to_delay_insert = 1000000, parts_to_throw_insert = 1000000"
)


class Workspace:
    """Topics and tables of one row. `url` names the store that holds the tables, without a database."""

    def __init__(self, world: World, name: str, url: str, **values: Any) -> None:
        self.world = world
        self.name = name
        self.settings = Settings(
            **{"kafka": world.at.kafka, **values},
            clickhouse=f"{url}/{name}",
            topic_prefix=name,
            pipeline="faults",
        )
        self.topics = Topics.from_settings(self.settings)
        self.topic = self.topics.steps.name
        self.store: ClickHouse = connect(self.settings, timeout=120)
        self._instances = 0

    def create(self) -> None:
        """Make topics and tables; rows of `steps` are never merged."""
        ensure_topics(self.settings)
        migrate(self.store)
        self.store.command("SYSTEM STOP MERGES steps")
        self.store.command(f"ALTER TABLE steps MODIFY SETTING {NO_MERGES}")

    def drop(self) -> None:
        """Delete them: the next row shall not pay for them."""
        self.store.command(f"DROP DATABASE IF EXISTS {self.name} SYNC")
        self.store.close()
        admin = AdminClient({**self.settings.kafka_config(), "log_level": 0})
        for deleted in admin.delete_topics([topic.name for topic in self.topics.all]).values():
            deleted.exception(30)

    # --- processes

    def environ(self, **more: str) -> dict[str, str]:
        """The environment of a process that works here."""
        return child_environ(
            **kafka_variables(self.settings),
            STEPTRAIL_CLICKHOUSE=self.settings.clickhouse.get_secret_value(),
            STEPTRAIL_TOPIC_PREFIX=self.name,
            STEPTRAIL_PIPELINE=self.settings.pipeline,
            **({safeguards.VARIABLE: self.world.without} if self.world.without else {}),
            **more,
        )

    def projector(
        self,
        *plan: Mapping[str, Any],
        static: str | None = None,
        clickhouse: str | None = None,
        self_assigned: bool = False,
        session_ms: int = SESSION_MS,
        batch: int = 2_000,
        **more: str,
    ) -> Process:
        """Start a projector: the program of every day, unless a `plan` or a missing safeguard asks for a fault.

        `static` is its name in the group, if it is to have one; `clickhouse` another way to the store.
        """
        options = {"session.timeout.ms": str(session_ms), "heartbeat.interval.ms": str(session_ms // 6)}
        environ = self.environ(
            STEPTRAIL_KAFKA_OPTIONS=json.dumps(options), STEPTRAIL_BATCH_MAX_EVENTS=str(batch), **more
        )
        if static is not None:
            environ["STEPTRAIL_GROUP_INSTANCE_ID"] = static
        if clickhouse is not None:
            environ["STEPTRAIL_CLICKHOUSE"] = clickhouse
        module = "steptrail.consumers.projector.run"
        if plan or self_assigned or self.world.without:
            module = "faults.projector"
            environ[hooks.VARIABLE] = json.dumps(plan)
            environ["FAULTS_SELF_ASSIGNED"] = "1" if self_assigned else "0"
        return self.world.spawn("projector", [sys.executable, "-m", module], environ)

    def clickhouse_at(self, port: int) -> str:
        """The store's URL by another port, a proxy's."""
        url = urlsplit(self.settings.clickhouse.get_secret_value())
        return url._replace(netloc=f"{url.netloc.rpartition('@')[0]}@127.0.0.1:{port}").geturl()

    # --- how far it is

    @contextmanager
    def _asking(self, group: str = "faults-oracle") -> Iterator[Consumer]:
        """A consumer that only asks, made anew each time: the broker may have been another process a moment ago.

        Not the admin client, whose questions about offsets have crashed librdkafka when a broker was away.
        """
        consumer = Consumer({**self.settings.kafka_config(), "group.id": group, "log_level": 0})
        try:
            yield consumer
        finally:
            consumer.close()

    @property
    def partitions(self) -> range:
        """The numbers of the topic's partitions."""
        return range(self.settings.steps_partitions)

    def ends(self) -> dict[int, int]:
        """The offset after the last record of each partition. Raises KafkaException when Kafka does not answer."""
        with self._asking() as consumer:
            return {
                partition: consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=10)[
                    1
                ]
                for partition in self.partitions
            }

    def committed(self) -> dict[int, int]:
        """What the projectors' group has committed, by partition, for those with an offset."""
        with self._asking(self.topics.projector_group) as consumer:
            asked = [TopicPartition(self.topic, partition) for partition in self.partitions]
            return {
                entry.partition: entry.offset
                for entry in consumer.committed(asked, timeout=30)
                if entry.error is None and entry.offset >= 0
            }

    def topic_id(self) -> str:
        """Kafka's id of the topic as it is now."""
        admin = AdminClient({**self.settings.kafka_config(), "log_level": 0})
        described = admin.describe_topics(TopicCollection([self.topic]))[self.topic].result(30)
        return str(described.topic_id)

    def high_water(self) -> dict[int, int]:
        """The offset after the last one in the ledger, by partition, for those that have one."""
        return self.high_water_of(self.store)

    @staticmethod
    def high_water_of(store: ClickHouse) -> dict[int, int]:
        """The same of one store."""
        sql = (
            "SELECT partition, max(last_offset) + 1 FROM projection_ledger "
            "WHERE projection_name = 'steps' GROUP BY partition"
        )
        return {int(partition): int(offset) for partition, offset in store.query(sql)}

    def rows(self) -> int:
        """Raw rows in `steps`."""
        return int(self.store.query("SELECT count() FROM steps")[0][0])

    def is_caught_up(self) -> bool:
        """Whether the ledger has everything that the topic has; False where one of them does not answer."""
        try:
            ends, high = self.ends(), self.high_water()
        except (InfrastructureError, KafkaException):
            return False
        return all(high.get(partition, 0) >= end for partition, end in ends.items())

    def wait_caught_up(self, timeout: float = CATCH_UP_S) -> bool:
        """Wait for that; False when it did not come to it."""
        try:
            return bool(until(self.is_caught_up, "end", timeout, 0.2))
        except TimeoutError:
            return False

    def wait_rows(self, more_than: int = 0, timeout: float = CATCH_UP_S) -> int:
        """Wait until there are rows, more than so many; how many there are."""

        def counted() -> int:
            try:
                return self.rows()
            except InfrastructureError:
                return 0

        until(lambda: counted() > more_than, f"row beyond {more_than}", timeout)
        return counted()

    def gather(self) -> None:
        """Have every row in `store` before the oracle judges: they are."""

    def slow_statements(self) -> int:
        """How many statements that a plan made slow run in the store now."""
        sql = (
            "SELECT count() FROM system.processes WHERE startsWith(query, 'INSERT INTO ') "
            "AND position(query, 'sleep(') > 0 AND current_database = {database:String}"
        )
        return int(self.store.query(sql, {"database": self.name})[0][0])

    def claims(self) -> int:
        """How many claims of steps' partitions have been made so far."""
        sql = "SELECT count() FROM projection_claims WHERE projection_name = 'steps'"
        return int(self.store.query(sql)[0][0])

    def rows_of_workers(self) -> dict[str, int]:
        """Rows by the worker that their details name."""
        sql = "SELECT JSONExtractString(details, 'w') AS worker, count() FROM steps GROUP BY worker"
        return {str(worker): int(count) for worker, count in self.store.query(sql)}


def workspace_name(row: int) -> str:
    """A fresh name for the topics and databases of a row."""
    return f"faults_{row:02d}_{os.getpid()}_{secrets.token_hex(2)}"


@contextmanager
def working(workspace: Workspace) -> Iterator[None]:
    """Make topics and tables; drop them at the end, once nobody works on them."""
    workspace.create()
    try:
        yield
    finally:
        workspace.world.kill_all_but_servers()
        try:
            workspace.drop()
        except Exception as error:  # it costs the next row a little, and says nothing about this one
            print(f"faults: {workspace.name} stays: {error}", file=sys.stderr)


@contextmanager
def new_workspace(world: World, row: int, url: str | None = None, **values: Any) -> Iterator[Workspace]:
    """A workspace for a row; dropped at the end."""
    workspace = Workspace(world, workspace_name(row), url or world.engine_url, **values)
    with working(workspace):
        yield workspace
