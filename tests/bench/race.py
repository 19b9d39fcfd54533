"""Projection three ways on the same events: ours, the handwritten consumer's, the engine's own copy.

Each repeat has a topic, a group and tables of its own, and runs the three one after the other, so that
whatever slows the machine for a minute slows all of them. Ratios are taken within a repeat; figures are the
medians of these.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench import topic
from bench.processor import measured, port_of
from bench.stack import clean_environment
from steptrail.projections.clickhouse.client import connect
from steptrail.schemas import Settings
from steptrail.schemas.topics import Topics

if TYPE_CHECKING:
    from bench.session import Session

EVENTS = 600_000
HANDWRITTEN_EVENTS = 100_000
"""The peer's rate does not change with the number; the run would only be longer."""


@dataclass(frozen=True)
class Lap:
    """One repeat: events a second of each way, what the processes said of themselves, and the processor time in
    µs that an event cost each of them, start and end of the client included."""

    ours: float
    handwritten: float
    copy: float
    copy_without_projection: float
    told: dict[str, Any]
    handwritten_told: dict[str, Any]
    cpu_us: dict[str, float]
    handwritten_cpu_us: dict[str, float]


@dataclass(frozen=True)
class Race:
    """All repeats."""

    laps: list[Lap]
    events: int

    def median(self, name: str) -> float:
        """Median over the repeats of a rate."""
        return float(statistics.median(getattr(lap, name) for lap in self.laps))

    def ratio(self, other: str) -> float:
        """Median of ours divided by `other`, each taken within a repeat."""
        return float(statistics.median(lap.ours / getattr(lap, other) for lap in self.laps))

    def cpu(self, name: str) -> dict[str, float]:
        """Medians of µs of processor time an event, by process; `name` is cpu_us or handwritten_cpu_us."""
        first: dict[str, float] = getattr(self.laps[0], name)
        return {
            process: statistics.median(getattr(lap, name)[process] for lap in self.laps) for process in first
        }

    def share(self, group: str) -> dict[str, float]:
        """Medians of the shares that our process told."""
        names = self.laps[0].told[group]
        return {
            name: statistics.median(lap.told[group].get(name, 0.0) for lap in self.laps) for name in names
        }


def run_race(session: Session) -> Race:
    """Run the repeats."""
    events = session.scaled(EVENTS)
    messages = topic.encoded(events)
    ports = _ports(session)
    laps = []
    for number in range(1 if session.quick else 5):
        settings = session.workspace("race")
        topic.fill(settings, messages)
        hand_events = min(session.scaled(HANDWRITTEN_EVENTS), events)
        with measured(ports) as hand_cpu:
            hand = _handwritten(session, settings, hand_events)
        with measured(ports) as cpu:
            told = _ours(session, settings, events)
        copy, plain = _copies(settings, events)
        lap = Lap(
            events / told["seconds"],
            hand_events / hand["seconds"],
            copy,
            plain,
            told,
            hand,
            {name: spent / events * 1e6 for name, spent in cpu.items()},
            {name: spent / hand_events * 1e6 for name, spent in hand_cpu.items()},
        )
        session.say(
            f"lap {number + 1}: ours {lap.ours:,.0f}/s, handwritten {lap.handwritten:,.0f}/s, "
            f"engine's copy {lap.copy:,.0f}/s"
        )
        session.forget(settings)
        laps.append(lap)
    return Race(laps, events)


def run_projector(
    session: Session,
    messages: Sequence[topic.Message],
    *,
    module: str = "bench.ours",
    events: int | None = None,
    dead_letters: int = 0,
) -> dict[str, Any]:
    """Have `module` project `messages` in a workspace of its own; what it told, and `cpu_us`: processor time of all
    processes in µs an event.

    `events` of them are events, all unless said otherwise, and `dead_letters` are none. Raises RuntimeError when what
    is in the table, or in the dead-letter topic, is not that.
    """
    settings = session.workspace("projector")
    topic.fill(settings, messages)
    count = len(messages) if events is None else events
    with measured(_ports(session)) as cpu:
        told = _ours(session, settings, count, module)
    told["cpu_us"] = sum(cpu.values()) / count * 1e6
    letters = topic.count(settings, Topics(settings.topic_prefix).dlq.name)
    if letters != dead_letters:
        raise RuntimeError(f"there are {letters} dead letters, not {dead_letters}")
    session.forget(settings)
    return told


def _ports(session: Session) -> dict[str, int]:
    return {"broker": port_of(session.stack.kafka), "engine": port_of(session.stack.clickhouse)}


def _ours(session: Session, settings: Settings, events: int, module: str = "bench.ours") -> dict[str, Any]:
    told = _child(["-m", module, str(events)], session.environment(settings))
    if told["events"] != events:
        raise RuntimeError(f"the projector projected {told['events']} of {events} events")
    with connect(settings) as clickhouse:
        stored = clickhouse.query("SELECT count(), uniqExact(event_id) FROM steps")[0]
    if stored != (events, events):
        raise RuntimeError(f"steps holds {stored} (rows, distinct events), not {events} twice")
    return told


def _handwritten(session: Session, settings: Settings, events: int) -> dict[str, Any]:
    name = Topics(settings.topic_prefix).steps.name
    url = session.environment(settings)["STEPTRAIL_CLICKHOUSE"]
    arguments = ["-m", "bench.peers", settings.kafka, name, url, str(events), str(settings.batch_max_events)]
    told = _child(arguments, clean_environment())
    if told["stored"] != events:
        raise RuntimeError(f"the handwritten consumer stored {told['stored']} of {events} events")
    return told


def _copies(settings: Settings, events: int) -> tuple[float, float]:
    """Rows a second of INSERT SELECT into a table like `steps`, and into one without its projection."""
    rates = []
    with connect(settings) as clickhouse:
        for table, change in (("steps_copy", None), ("steps_plain", "DROP PROJECTION p_by_time")):
            clickhouse.command(f"CREATE TABLE {table} AS steps")
            if change:
                clickhouse.command(f"ALTER TABLE {table} {change}")
            started = time.perf_counter()
            clickhouse.command(f"INSERT INTO {table} SELECT * FROM steps")
            rates.append(events / (time.perf_counter() - started))
    return rates[0], rates[1]


def _child(arguments: list[str], environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{arguments[1]} ended with {done.returncode}: {done.stderr[-3000:]}")
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told
