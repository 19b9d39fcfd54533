"""What the figures share: one stack, workspaces on it, and measurements that several figures read."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from confluent_kafka.admin import AdminClient

from bench import stack
from bench.stack import clean_environment
from steptrail.schemas import Settings, Topics

if TYPE_CHECKING:
    from bench.race import Race
    from bench.store import Store


class Session:
    """One run of the benchmark; everything that it started is stopped and removed at its end."""

    def __init__(self, *, quick: bool, quick_divisor: int = 10) -> None:
        self.quick = quick
        self._divisor = quick_divisor if quick else 1
        self._cleanup = ExitStack()
        self._workspaces = 0

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def say(self, text: str) -> None:
        """Tell the person who waits; standard output is for figures."""
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def scaled(self, amount: int) -> int:
        """`amount`, or its share in a quick run (a tenth, unless said otherwise), at least 1."""
        return max(1, amount // self._divisor)

    @cached_property
    def stack(self) -> stack.RunningStack:
        """The local stack that all figures share, started at first use."""
        directory = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="steptrail-bench-")))
        self._cleanup.callback(stack.down, directory)
        running = stack.up(directory, projector=False)  # figures start their own
        self.say(f"the local stack is up after {running.seconds:.1f} s")
        return running

    def workspace(self, name: str) -> Settings:
        """Settings with topics and a database of their own on the shared stack, empty, migrated."""
        from steptrail.projections.clickhouse.client import connect
        from steptrail.projections.clickhouse.migrate import migrate
        from steptrail.schemas.topics import ensure_topics

        self._workspaces += 1
        settings = Settings.model_validate(self._addresses(f"bench_{name}_{self._workspaces}"))
        ensure_topics(settings)
        with connect(settings) as clickhouse:
            migrate(clickhouse)
        return settings

    def environment(self, settings: Settings) -> dict[str, str]:
        """The environment of a process that is to work in the workspace of `settings`."""
        addresses = self._addresses(settings.topic_prefix)
        return clean_environment(**{f"STEPTRAIL_{name.upper()}": value for name, value in addresses.items()})

    def forget(self, settings: Settings) -> None:
        """Delete a workspace's topics and database: they would weigh on what is measured later."""
        from steptrail.projections.clickhouse.client import connect

        with connect(settings) as clickhouse:
            clickhouse.command(f"DROP DATABASE {settings.topic_prefix} SYNC")
        admin = AdminClient(settings.kafka_config())
        for deleted in admin.delete_topics(
            [topic.name for topic in Topics.from_settings(settings).all]
        ).values():
            deleted.result(30)

    def _addresses(self, name: str) -> dict[str, str]:
        """A workspace has one name: of its database, and the prefix of its topics and groups."""
        url = urlsplit(self.stack.clickhouse)._replace(path=f"/{name}")
        return {"kafka": self.stack.kafka, "clickhouse": urlunsplit(url), "topic_prefix": name}

    @cached_property
    def race(self) -> Race:
        """Projection by us, by the handwritten consumer and by the engine's own copy, measured once."""
        from bench.race import run_race

        return run_race(self)

    @cached_property
    def store(self) -> Store:
        """The engine with 1M and 10M events, from the cache or built now."""
        from bench.store import open_store

        return self._cleanup.enter_context(open_store(self))
