"""The store that grows: an engine with ten million events, then with a hundred million, in one database.

It grows backward: the last events are of the moment when filling began, and each copy is of an earlier time, so that a
question about the last day is about the same events at both sizes.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
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
_REMEMBERED = ("events", "copies", "last_us", "span_ms", "shift_ms")
_PATIENCE_S = 600


@dataclass
class World:
    """The engine and what is in it. `url` has no database."""

    session: Session
    directory: Path
    url: str = ""
    events: int = 0
    copies: int = 0
    last_us: int = 0
    span_ms: int = 0
    shift_ms: int = 0
    pid: int = 0
    figures: dict[str, list[Figure]] = field(default_factory=dict)
    """What was measured of each name, at one size after the other."""
    _engine: ExitStack = field(default_factory=ExitStack)

    @property
    def _about(self) -> Path:
        return self.directory / "world.json"

    @property
    def last_event(self) -> datetime:
        """When the last event happened: just before the first copy was made."""
        return datetime.fromtimestamp(self.last_us / 1e6, timezone.utc)

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
        """Make the events that are copied, by the projection, and the empty tables, unless they are there."""
        if self._about.exists():
            for name, value in json.loads(self._about.read_text()).items():
                setattr(self, name, value)
            return
        events = self.session.scaled(_BASE)
        self.session.say(f"making the first {events:,} events")
        with self.connect(SEED) as clickhouse:
            migrate(clickhouse)
            first_us, last_us = project_generated(clickhouse, events)
            self.span_ms = (last_us - first_us) // 1000 + 1
            self.shift_ms = (time.time_ns() // 1000 - last_us) // 1000
            self.last_us = last_us + self.shift_ms * 1000
            for table in ("steps", "step_executions", "emitter_sequences"):
                clickhouse.command(f"OPTIMIZE TABLE {table} FINAL")
        with self.connect() as clickhouse:
            migrate(clickhouse)
        self.remember()

    def remember(self) -> None:
        """Write down what is there, for a run that goes on with it."""
        self._about.write_text(json.dumps({name: getattr(self, name) for name in _REMEMBERED}))

    def next_copy(self) -> Copy:
        """One that is earlier than all that are there; it counts as being there from now on."""
        self.copies += 1
        return Copy(self.copies - 1, self.shift_ms - (self.copies - 1) * self.span_ms)

    def grow(self, events: int) -> float:
        """Add copies until there are so many events, and wait until they are merged; seconds that it took."""
        began = told = time.monotonic()
        if self.events >= events:
            return 0.0
        base = self.session.scaled(_BASE)
        end_us = self._begins_us()
        with self.connect() as clickhouse:
            while self.events < events:
                add_copy(clickhouse, self.next_copy())
                self.events += base
                if time.monotonic() - told > _TELL_EVERY_S:
                    told = time.monotonic()
                    self.session.say(f"{self.events:,} of {events:,} events are there")
            self.session.say("counting minutes and error groups")
            count_span(clickhouse, self._begins_us(), end_us, self.copies)
            self.session.say("waiting for merges")
            settle(clickhouse, _PATIENCE_S)
        self.remember()
        return time.monotonic() - began

    def _begins_us(self) -> int:
        return self.last_us - self.copies * self.span_ms * 1000

    def processor_s(self) -> float:
        """Processor time that the engine has taken."""
        return float(sum(psutil.Process(self.pid).cpu_times()[:2]))

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
def open_world(session: Session, folder: Path | None = None) -> Iterator[World]:
    """The store in `folder`, made if it is not there; without a folder, in one that is removed at the end."""
    with ExitStack() as cleanup:
        if folder is None:
            parent = cache_dir() / "bench"
            parent.mkdir(parents=True, exist_ok=True)
            folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="scale-", dir=parent)))
        world = World(session, folder)
        world.start()
        cleanup.callback(world.stop)
        world.seed()
        yield world
