"""The health consumer with 10,000 steps: how fast it takes in and judges a backlog, and in how much memory."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figure import Figure
from bench.scale.world import World
from bench.stack import STEPTRAIL
from bench.topic import Message, fill
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.schemas import ProcessingStatus, StepEvent, message_key
from steptrail.schemas.wire.codec import encode_event
from steptrail.schemas.wire.framing import frame_single_object

STEPS = 10_000
PIPELINES = 100
EVENTS = 1_000_000
_PATIENCE_S = 600


def measure(world: World) -> Figure:
    """Events a second from the first that is written to the last; then the verdicts, and the minutes counted."""
    session = world.session
    count = max(2 * STEPS, session.scaled(EVENTS))
    settings = session.workspace("steps")
    fill(settings, _messages(count))
    began = time.monotonic()
    health = subprocess.Popen(
        [*STEPTRAIL, "run", "health"], env=session.environment(settings), stderr=subprocess.DEVNULL
    )
    try:
        with connect(settings) as store:
            first = _until(health, store, "SELECT count() FROM health_events", 1)
            started = time.monotonic()
            _until(health, store, "SELECT count() FROM health_events", count)
            written = time.monotonic()
            judged = _until(
                health, store, "SELECT uniqExact(pipeline, step_name) FROM health_verdicts", STEPS
            )
            judged_s = time.monotonic() - began
            _until(health, store, "SELECT sum(events) FROM step_minutes", count)
            counted_s = time.monotonic() - began
        resident, peak = _memory_mb(health.pid)
    finally:
        health.terminate()
        health.wait()
    session.forget(settings)
    return Figure(
        "health_of_10k_steps",
        (count - first) / (written - started),
        "events/s",
        "",
        True,
        {
            "topic_events": count,
            "verdicts": judged,
            "judged_after_s": judged_s,
            "minutes_counted_after_s": counted_s,
            "memory_mb": resident,
            "peak_memory_mb": peak,
        },
    )


def _messages(count: int) -> Iterator[Message]:
    """Executions of all steps in turns, a start and an ending each; one in fifty fails."""
    chance = random.Random(11)
    emitter = chance.randbytes(8)
    for number in range(count // 2):
        step, execution = number % STEPS, _uuid7(chance)
        for status in (ProcessingStatus.RUNNING, _ending(chance)):
            ended = status is not ProcessingStatus.RUNNING
            failed = status is ProcessingStatus.ERROR
            event = StepEvent(
                event_id=_uuid7(chance),
                pipeline=f"pipeline-{step % PIPELINES}",
                doc_id=f"doc-{number}",
                step_name=f"step-{step // PIPELINES}",
                execution_id=execution,
                attempt=1,
                status=status,
                timestamp=time.time_ns() // 1000,
                duration_ms=chance.lognormvariate(5, 0.5) if ended else None,
                error_type="TimeoutError" if failed else None,
                error_message=f"no answer within {chance.randrange(60)} s" if failed else None,
                details="{}",
                metrics="{}",
                depends_on="[]",
                trace_id=None,
                worker="bench:1",
                emitter_id=emitter,
                sequence=2 * number + ended,
            )
            yield message_key(event.pipeline, event.doc_id), frame_single_object(encode_event(event))


def _ending(chance: random.Random) -> ProcessingStatus:
    return ProcessingStatus.ERROR if chance.random() < 0.02 else ProcessingStatus.SUCCESS


def _uuid7(chance: random.Random) -> bytes:
    number = time.time_ns() // 1_000_000 << 80 | chance.getrandbits(80)
    return (number & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62).to_bytes(16, "big")


def _until(health: subprocess.Popen[bytes], store: ClickHouse, sql: str, wanted: int) -> int:
    """What a statement that counts gives, once it is at least `wanted`."""
    deadline = time.monotonic() + _PATIENCE_S
    while (found := int(store.query(sql)[0][0])) < wanted:
        if health.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{sql}: {found:,} of {wanted:,} within {_PATIENCE_S} s")
        time.sleep(0.1)
    return found


def _memory_mb(pid: int) -> tuple[float, float]:
    """Resident memory of a process, and its peak."""
    lines = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    return int(lines["VmRSS"].split()[0]) / 1024, int(lines["VmHWM"].split()[0]) / 1024
