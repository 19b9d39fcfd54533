"""Health consumers as real processes, events on a real topic, and what became of them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from confluent_kafka import Producer

from steptrail.consumers.health.rules.judge import Judge
from steptrail.consumers.health.rules.rules import Rules
from steptrail.consumers.health.slot_loader import fetch_slots
from steptrail.consumers.health.verdict_records import gone_row, row_of
from steptrail.projections.clickhouse.client import ClickHouse
from steptrail.schemas.configuration.settings import Settings
from steptrail.schemas.event import StepEvent
from steptrail.schemas.ids import new_execution_id, uuid7
from steptrail.schemas.status import ProcessingStatus
from steptrail.schemas.topics import Topics
from steptrail.schemas.wire.codec import encode_event
from steptrail.schemas.wire.framing import frame_single_object
from steptrail.schemas.wire.partitioning import message_key, partition_for
from support.projecting import read_all
from support.stack import environ_of


class HealthProcess:
    """A health consumer in a process of its own."""

    def __init__(self, settings: Settings, **environ: str) -> None:
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by close()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "steptrail.consumers.health.run"],
            env=environ_of(settings, **environ),
            stderr=self.log,
        )

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        self.kill()
        self.log.close()


@contextlib.contextmanager
def health_consumers(settings: Settings, count: int = 1, **environ: str) -> Iterator[list[HealthProcess]]:
    """`count` health consumers; killed at the end. Those that are added to the list too."""
    running: list[HealthProcess] = []
    try:
        for _ in range(count):
            running.append(HealthProcess(settings, **environ))  # noqa: PERF401  each must be closed
        yield running
    except BaseException:
        for process in running:
            print(f"--- health consumer {process.process.pid}\n{process.said()[-20_000:]}")
        raise
    finally:
        for process in running:
            process.close()


class Source:
    """Emits executions onto the steps topic, as an emitter would."""

    def __init__(self, settings: Settings) -> None:
        self._topic = Topics(settings.topic_prefix).steps.name
        self._partitions = settings.steps_partitions
        self._producer = Producer({**settings.kafka_config(), "linger.ms": 5})
        self._number = 0

    def event(
        self,
        status: ProcessingStatus,
        *,
        pipeline: str = "p",
        step: str = "parse",
        doc: str = "",
        **more: Any,
    ) -> StepEvent:
        self._number += 1
        values: dict[str, Any] = {
            "event_id": uuid7(),
            "pipeline": pipeline,
            "doc_id": doc or f"doc-{self._number}",
            "step_name": step,
            "execution_id": new_execution_id(),
            "attempt": 1,
            "status": status,
            "timestamp": time.time_ns() // 1000,
            "duration_ms": None,
            "error_type": "ValueError" if status.is_error else None,
            "error_message": "it broke" if status.is_error else None,
            "details": "{}",
            "metrics": "{}",
            "depends_on": "[]",
            "trace_id": None,
            "worker": "host:1",
            "emitter_id": bytes(8),
            "sequence": self._number,
            **more,
        }
        return StepEvent(**values)

    def send(self, *events: StepEvent) -> None:
        for event in events:
            key = message_key(event.pipeline, event.doc_id)
            partition = partition_for(key, self._partitions)
            value = frame_single_object(encode_event(event))
            self._producer.produce(self._topic, value=value, key=key, partition=partition)
            self._producer.poll(0)

    def run(self, status: ProcessingStatus, count: int = 1, **more: Any) -> None:
        """`count` executions that start and end with `status`."""
        for _ in range(count):
            start = self.event(ProcessingStatus.RUNNING, **more)
            same = {"execution_id": start.execution_id, "doc": start.doc_id}
            self.send(start, self.event(status, duration_ms=12.5, **{**more, **same}))

    def flush(self) -> None:
        assert self._producer.flush(30) == 0


class Traffic:
    """A steady stream of executions in a thread: `rate` a second, `failing` of them, over `steps` of pipeline p."""

    def __init__(self, settings: Settings, *, rate: float = 40.0, steps: Sequence[str] = ("parse",)) -> None:
        self.failing = 0.0
        self.rate = rate
        self._steps = steps
        self._source = Source(settings)
        self._rng = random.Random(1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._source.flush()

    def _run(self) -> None:
        while not self._stop.wait(1 / self.rate):
            failed = self._rng.random() < self.failing
            status = ProcessingStatus.ERROR if failed else ProcessingStatus.SUCCESS
            self._source.run(status, step=self._rng.choice(self._steps))


def status_of(clickhouse: ClickHouse, pipeline: str = "", step: str = "") -> str | None:
    """The latest verdict in the tables."""
    rows = clickhouse.query(
        "SELECT toString(status) FROM health_state WHERE pipeline = {p:String} AND step_name = {s:String}",
        {"p": pipeline, "s": step},
    )
    return rows[0][0] if rows else None


def messages(settings: Settings) -> list[tuple[str, dict[str, Any] | None]]:
    """All that was ever published on the health topic, in order: key, and the verdict or None."""
    found = read_all(settings, Topics(settings.topic_prefix).health.name)
    return [((m.key() or b"").decode(), _json(m.value())) for m in found]


def said_twice(settings: Settings) -> list[tuple[str, Any]]:
    """Verdicts about steps and pipelines that stand twice on the topic."""
    keys = [(key, value["slot"]) for key, value in messages(settings) if value is not None and key != "\x1f"]
    return sorted({key for key in keys if keys.count(key) > 1})


def _json(value: bytes | None) -> dict[str, Any] | None:
    return orjson.loads(value) if value else None


def overall(settings: Settings) -> dict[str, Any] | None:
    """The latest verdict about everything on the topic."""
    told = [value for key, value in messages(settings) if key == "\x1f"]
    return told[-1] if told else None


def verdict_rows(clickhouse: ClickHouse) -> list[tuple[Any, ...]]:
    """The history, each row once."""
    return clickhouse.query(
        "SELECT DISTINCT slot, pipeline, step_name, toString(status), since, at, sentence, findings, forgotten "
        "FROM health_verdicts ORDER BY slot, pipeline, step_name"
    )


def judged_by_hand(clickhouse: ClickHouse, until: int, rules: Rules | None = None) -> list[tuple[Any, ...]]:
    """The rows that one who folds every slot from the first to `until` in one go would write."""
    rules = rules or Rules()
    judge, rows = Judge(rules), []
    [(first_ms,)] = clickhouse.query("SELECT toUnixTimestamp64Milli(min(broker_time)) FROM health_events")
    for slot in fetch_slots(clickhouse, rules, int(first_ms) // 5000, until + 1):
        judgement = judge.fold(slot)
        rows += [row_of(verdict, slot.number) for verdict in (*judgement.verdicts, *judgement.restated)]
        rows += [gone_row(key, slot.number) for key in judgement.forgotten]
    told = [
        (r.slot, r.pipeline, r.step_name, r.status, r.since, r.at, r.sentence, r.findings, r.forgotten)
        for r in rows
    ]
    return sorted(told, key=lambda row: row[:3])


def comparable(rows: Sequence[tuple[Any, ...]], until: int) -> list[tuple[Any, ...]]:
    """Rows of the store up to slot `until`, as `judged_by_hand` has them."""
    return [
        (slot, p, s, status, since.timestamp(), at.timestamp(), sentence, findings, bool(gone))
        for slot, p, s, status, since, at, sentence, findings, gone in rows
        if slot <= until
    ]


def last_slot(clickhouse: ClickHouse) -> int | None:
    """The last slot that was judged, as the heartbeat says it."""
    for (slot,) in clickhouse.query("SELECT slot FROM health_sight ORDER BY at DESC LIMIT 1"):
        return None if slot is None else int(slot)
    return None


def told(text: str) -> list[dict[str, Any]]:
    """The lines of a JSON log."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
