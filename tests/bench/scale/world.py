"""The store that grows: an engine with ten million events, then with a hundred million, in one database."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psutil

from bench.engine import running_engine
from bench.figure import Figure
from bench.processor import pid_behind, port_of
from bench.scale.filling import SEED, Copy, add_copy, count_span
from bench.session import Session
from bench.store import project_generated, settle
from steptrail.deploy.stack.jars import cache_dir
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.projections.clickhouse.migrate import migrate
from steptrail.schemas import Settings

DATABASE = "scale"
_BASE = 1_000_000
_TELL_EVERY_S = 30
_PATIENCE_S = 600


@dataclass
class World:
    """The engine and what is in it. `url` has no database."""

    session: Session
    directory: Path
    url: str = ""
    events: int = 0
    copies: int = 0
    first_us: int = 0
    span_ms: int = 0
    pid: int = 0
    figures: dict[str, list[Figure]] = field(default_factory=dict)
    """What was measured of each name, at one size after the other."""
    _engine: ExitStack = field(default_factory=ExitStack)

    @property
    def last_event(self) -> datetime:
        """When the last event happened."""
        ended_us = self.first_us + self.copies * self.span_ms * 1000
        return datetime.fromtimestamp(ended_us / 1e6, timezone.utc)

    @property
    def day(self) -> datetime:
        """A day before the last event."""
        return self.last_event - timedelta(days=1)

    def connect(self, database: str = DATABASE) -> ClickHouse:
        """A client of the store."""
        return ClickHouse(Settings(clickhouse=f"{self.url}/{database}").clickhouse_target(), timeout=1200)

    def start(self) -> float:
        """Start the engine; seconds until it answers a question about the events."""
        began = time.monotonic()
        self.url = self._engine.enter_context(running_engine(self.directory))
        if self.events:
            with self.connect() as clickhouse:
                clickhouse.query("SELECT count() FROM steps WHERE pipeline = ''")
        took = time.monotonic() - began
        self.pid = pid_behind(port_of(self.url))
        return took

    def stop(self) -> float:
        """Stop the engine by SIGTERM; seconds that it took."""
        began = time.monotonic()
        self._engine.close()
        return time.monotonic() - began

    def seed(self) -> None:
        """Make the events that are copied, by the projection, and the empty tables."""
        events = self.session.scaled(_BASE)
        self.session.say(f"making the first {events:,} events")
        with self.connect(SEED) as clickhouse:
            migrate(clickhouse)
            self.first_us, last_us = project_generated(clickhouse, events)
            self.span_ms = (last_us - self.first_us) // 1000 + 1
            for table in ("steps", "step_executions", "emitter_sequences"):
                clickhouse.command(f"OPTIMIZE TABLE {table} FINAL")
        with self.connect() as clickhouse:
            migrate(clickhouse)

    def next_copy(self) -> Copy:
        """The copy after all that are there; it counts as being there from now on."""
        self.copies += 1
        return Copy(self.copies - 1, (self.copies - 1) * self.span_ms)

    def grow(self, events: int) -> float:
        """Add copies until there are so many events, and wait until they are merged; seconds that it took."""
        began = told = time.monotonic()
        base = self.session.scaled(_BASE)
        from_us = self.first_us + self.copies * self.span_ms * 1000
        with self.connect() as clickhouse:
            while self.events < events:
                add_copy(clickhouse, self.next_copy())
                self.events += base
                if time.monotonic() - told > _TELL_EVERY_S:
                    told = time.monotonic()
                    self.session.say(f"{self.events:,} of {events:,} events are there")
            self.session.say("counting minutes and error groups")
            count_span(clickhouse, from_us, int(self.last_event.timestamp() * 1e6), self.copies)
            self.session.say("waiting for merges")
            settle(clickhouse, _PATIENCE_S)
        return time.monotonic() - began

    def memory_mb(self) -> float:
        """Resident memory of the engine."""
        return float(psutil.Process(self.pid).memory_info().rss) / 2**20

    @contextmanager
    def peak_memory(self) -> Iterator[dict[str, float]]:
        """The engine's greatest resident memory within the context, as `peak_mb`, once that is over."""
        told: dict[str, float] = {}
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # the peak begins anew
        yield told
        status = Path(f"/proc/{self.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
        told["peak_mb"] = int(line.split()[1]) / 1024


@contextmanager
def open_world(session: Session) -> Iterator[World]:
    """An engine in a folder of its own, which is removed at the end; only its events are left to be made."""
    parent = cache_dir() / "bench"
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scale-", dir=parent) as folder:
        world = World(session, Path(folder))
        world.start()
        try:
            world.seed()
            yield world
        finally:
            world.stop()
