"""Rebuilding the tables of ten million events, against projecting them; and again while events come in and are read."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping

from bench import topic
from bench.clustered import project
from bench.figure import Figure, percentile
from bench.figures.emit_to_readable_s import running, watch
from bench.generator import generate
from bench.scale.world import World
from bench.stack import STEPTRAIL
from steptrail.projections.clickhouse.client import connect
from steptrail.schemas import message_key
from steptrail.schemas.wire.codec import encode_event
from steptrail.schemas.wire.framing import SINGLE_OBJECT_PREFIX, frame_single_object

BOUND = 0.8
BOUND_P99_S = 5.0
EVENTS = 10_000_000
COPIES = 20
RATE = 1_000
MARK_EVERY = 20
_SETTLING_S = 5
_ASK_EVERY_S = 0.25  # often enough for a bound of seconds
_PATIENCE_S = 900


def measure(world: World) -> Figure:
    """Offsets a second that the rebuild reads / events a second of a projector, each with the machine to itself.

    Then it is dropped and done again, while a worker emits RATE events a second and a projector makes them readable:
    how late they are, and what is left of the rebuild's speed.
    """
    session = world.session
    events = session.scaled(EVENTS) // COPIES * COPIES
    settings = session.workspace("rebuild")
    topic.fill(settings, _messages(events))
    projected_s = project(settings, events)["seconds"]
    environment = session.environment(settings)
    alone = _Rebuild(environment)
    alone.run()
    _steptrail(environment, "rebuild", "drop", "--yes")
    emitting_s = 2 * _SETTLING_S + int(2 * projected_s)
    emitter = [sys.executable, "-m", "bench.paced", str(RATE), str(emitting_s), str(MARK_EVERY)]
    with (
        running([*STEPTRAIL, "run", "projector"], environment),
        connect(settings) as clickhouse,
        running(emitter, environment),
    ):
        rebuild = _Rebuild(environment)
        rebuild.start()
        delays, _ = watch(clickhouse, emitting_s * RATE // MARK_EVERY, _PATIENCE_S, pause_s=_ASK_EVERY_S)
        rebuild.join()
    session.forget(settings)
    a_second = RATE // MARK_EVERY
    # In the quick form the rebuild is over before it has settled.
    meanwhile = delays[_SETTLING_S * a_second : int(rebuild.seconds) * a_second] or delays
    ratio = alone.per_s / (events / projected_s)
    p99 = percentile(meanwhile, 0.99)
    return Figure(
        "rebuild_vs_projector",
        ratio,
        "ratio",
        f">= {BOUND}; p99 <= {BOUND_P99_S}",
        ratio >= BOUND and p99 <= BOUND_P99_S,
        {
            "rebuilt_per_s": alone.per_s,
            "projected_per_s": events / projected_s,
            "rebuilt_per_s_while_events_come": rebuild.per_s,
            "topic_events": events,
            "readable_p99_s": p99,
            "readable_p50_s": percentile(meanwhile, 0.5),
            "emitted_per_s": RATE,
        },
    )


def _steptrail(environment: Mapping[str, str], *arguments: str) -> str:
    """What the command prints; raises CalledProcessError."""
    done = subprocess.run(
        [*STEPTRAIL, *arguments],
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=_PATIENCE_S,
        check=True,
    )
    return done.stdout


class _Rebuild(threading.Thread):
    """Rebuilds the tables; `read` offsets in `seconds`, the start of the command included."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__(daemon=True)
        self._environment = environment
        self.read, self.seconds = 0, 0.0

    @property
    def per_s(self) -> float:
        """Offsets a second."""
        return self.read / self.seconds

    def run(self) -> None:
        began = time.monotonic()
        told = json.loads(_steptrail(self._environment, "rebuild", "start", "--yes", "--json"))
        self.seconds = time.monotonic() - began
        self.read = sum(each["next"] - each["begin"] for each in told["partitions"])


def _messages(count: int) -> Iterator[topic.Message]:
    """The generator's events, each COPIES times: of another document, with other ids and of another emitter."""
    for event in generate(count // COPIES):
        document = event.doc_id.encode()
        key, value = (
            message_key(event.pipeline, event.doc_id),
            frame_single_object(encode_event(event)),
        )
        event_id = len(SINGLE_OBJECT_PREFIX)
        ids = (event_id, value.index(event.execution_id, event_id + 16), value.rindex(event.emitter_id))
        in_value, in_key = value.index(document, event_id + 16), key.index(document)
        for number in range(COPIES):
            copy, of = bytearray(value), bytearray(key)
            for begin in ids:
                copy[begin + 7] ^= number
            copy[in_value] = of[in_key] = ord("A") + number
            yield bytes(of), bytes(copy)
