"""A step breaks for a minute, on real parts: `python tests/health_sim/broken_step.py`, about ten minutes.

The demonstration's pipeline at a steady pace, a projector, the health consumer and the alerting consumer, each a
process of its own, and a webhook's receiver. After two quiet minutes counting terms fails for a minute; from shortly
before that until it has recovered the health consumer is killed (kill -9) ten times. Then both groups are rewound and
all that health knows is forgotten but for what is on topics, and everything is replayed. One JSON line says what
`steptrail health` answered and when, what the receiver got, what groups and SQL counted, and what differs after the
replay. Exits 1 when the step's alert was not said once and resolved once, when the counts differ, or when a row differs
after the replay or anybody was alerted again.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench import topic
from bench.session import Session
from steptrail.deploy.demo import corpus, pipeline, texts
from steptrail.producers import ProcessingStepManager, emit_only
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.projections.tables.health_events import HEALTH_EVENTS
from steptrail.schemas import Settings, Topics
from support.alerting import QUICK, alerting_process, alerts_file, rewind, route, webhook
from support.judging import HealthProcess, health_consumers
from support.listener import Listener, listening
from support.stack import environ_of
from support.waiting import until

STEP = "count_terms"
DOCUMENTS_PER_S = 12.0
QUIET_S, BROKEN_S, RECOVERY_S = 120.0, 60.0, 420.0
KILLS = 10
ASK_EVERY_S = 2.0
SETTLE_S = 10.0


class Broken(Exception):
    """What the step raises while it is broken."""


class Flow:
    """The demonstration's pipeline, one document after the other at a steady pace, in a thread."""

    def __init__(self, settings: Settings) -> None:
        self.broken = False
        self.failures = 0
        self._manager = ProcessingStepManager(emit_only(settings))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._count_terms = texts.count_terms

    def __enter__(self) -> Flow:
        texts.count_terms = self._terms
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        texts.count_terms = self._count_terms
        if left := self._manager.flush(30):
            raise RuntimeError(f"{left} events were not delivered")
        self._manager.close()

    def _terms(self, text: str) -> Any:
        if self.broken:
            self.failures += 1
            raise Broken(
                f"the dictionary on 10.0.0.{self.failures % 250} did not answer within {self.failures} ms"
            )
        return self._count_terms(text)

    def _run(self) -> None:
        rng = random.Random(1)
        documents = [path for path in corpus.choose(2000) if not path.endswith((".zip", ".tar", ".whl"))]
        while not self._stop.wait(rng.expovariate(DOCUMENTS_PER_S)):
            pipeline.process(self._manager, rng.choice(documents), run="steady")


@contextmanager
def part(settings: Settings, *arguments: str) -> Iterator[None]:
    """`steptrail run …` as a process; ended in order."""
    command = [sys.executable, "-m", "steptrail.deploy.cli", "run", *arguments]
    process = subprocess.Popen(command, env=environ_of(settings), stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def asked(settings: Settings, *arguments: str) -> tuple[int, list[Any]]:
    """What a command answers with --json: its exit code, and an object a line."""
    command = [sys.executable, "-m", "steptrail.deploy.cli", *arguments, "--json"]
    done = subprocess.run(
        command, env=environ_of(settings), capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, [json.loads(line) for line in (done.stdout or done.stderr).splitlines()]


class Killed:
    """A health consumer that is killed and started again `KILLS` times, some seconds apart, once it is told to."""

    def __init__(self, settings: Settings) -> None:
        self.kills = 0
        self._settings = settings
        self._process = HealthProcess(settings)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        rng = random.Random(2)
        while self.kills < KILLS:
            time.sleep(rng.uniform(5, 16))
            self._process.close()
            self.kills += 1
            self._process = HealthProcess(self._settings)

    def close(self) -> None:
        self._thread.join(KILLS * 20)
        self._process.close()


FORGOTTEN = (
    *("health_events", "health_verdicts", "health_snapshots", "aggregate_marks"),
    *("step_minute_rows", "step_metric_rows", "error_group_minutes", "error_group_hours"),
)
"""What is to be the same after a replay. `health_losses` stays: it says what was known when."""

ROWS = {
    "verdicts": "SELECT * FROM health_verdicts WHERE slot <= {slot:Int64} ORDER BY ALL LIMIT 1 BY ALL",
    "minutes": "SELECT * EXCEPT (durations) FROM step_minutes ORDER BY ALL",
    "metrics": "SELECT * FROM step_metrics ORDER BY ALL",
    "groups": "SELECT group_id, template, first_seen, last_seen, count, documents FROM error_groups ORDER BY ALL",
}


COUNTED = """
SELECT sum(counted_to + 1) FROM (SELECT max(counted_to) AS counted_to FROM aggregate_marks GROUP BY topic_id, partition)
"""
"""Of how many events minutes, metrics and groups are counted: a mark is set when all three are."""


class Replay:
    """What health says of the past before and after it was made to read everything again."""

    def __init__(self, settings: Settings, file: Path, listener: Listener) -> None:
        self._settings = settings
        self._file = file
        self._listener = listener

    def run(self) -> dict[str, Any]:
        """Forget, rewind, replay; how many rows there are of each kind, and how many differ."""
        topics = Topics(self._settings.topic_prefix)
        with connect(self._settings) as clickhouse:
            self._read_all(clickhouse, 0)  # what came after the last kill, too
            judged = self._judged(clickhouse)
            before = self._rows(clickhouse, judged)
            told = len(self._listener.got)
            for table in FORGOTTEN:
                clickhouse.command(f"TRUNCATE TABLE {table}")
            clickhouse.command(
                "ALTER TABLE projection_ledger DELETE WHERE projection_name = {name:String}",
                {"name": HEALTH_EVENTS.name},
                settings={"mutations_sync": 2},
            )
            rewind(self._settings, topics.health_group, topics.steps.name)
            rewind(self._settings, topics.alerts_group, topics.health.name)
            with alerting_process(self._settings, self._file):
                self._read_all(clickhouse, judged)
                time.sleep(SETTLE_S)
            after = self._rows(clickhouse, judged)
        # That nobody judged while this was prepared is an alert of its own, and a new one.
        again = [alert for got in self._listener.got[told:] for alert in got.alerts]
        return {
            "rows": {name: len(rows) for name, rows in before.items()},
            "differ": {name: len(set(before[name]) ^ set(after[name])) for name in before},
            "alerted_again": [each["id"] for each in again if each["kind"] != "sight"],
        }

    def _read_all(self, clickhouse: ClickHouse, slot: int) -> None:
        """Have a health consumer count every event and judge up to the slot at least."""
        began = datetime.now(timezone.utc)
        events = topic.count(self._settings, Topics(self._settings.topic_prefix).steps.name)
        with health_consumers(self._settings):
            until(lambda: self._judged(clickhouse, began) >= max(slot, 1), "judgement of all slots")
            until(lambda: clickhouse.query(COUNTED) == [(events,)], "count of all events")

    @staticmethod
    def _judged(clickhouse: ClickHouse, since: datetime | None = None) -> int:
        """The last slot that was judged, as was said from `since` on; -1 when nothing was."""
        sql = "SELECT max(ifNull(slot, -1)) FROM health_sight WHERE at >= {since:DateTime64(3, 'UTC')}"
        [(slot,)] = clickhouse.query(sql, {"since": since or datetime(2000, 1, 1, tzinfo=timezone.utc)})
        return int(slot) if slot else -1

    @staticmethod
    def _rows(clickhouse: ClickHouse, slot: int) -> dict[str, list[str]]:
        return {
            name: [repr(row) for row in clickhouse.query(sql, {"slot": slot})] for name, sql in ROWS.items()
        }


def run(session: Session, folder: Path, listener: Listener) -> dict[str, Any]:
    """The whole story; what was seen."""
    settings = session.workspace("broken")
    file = alerts_file(folder, QUICK + webhook("hook", listener.url) + route("hook"))
    turns: list[tuple[float, str, int]] = []
    with Flow(settings) as flow, part(settings, "projector"), alerting_process(settings, file):
        health = Killed(settings)
        began = time.monotonic()

        def watch(seconds: float, *, until: bool = False) -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end and not (until and resolved(listener) and turns[-1][1] == "HEALTHY"):
                code, [told] = asked(settings, "health")
                if not turns or turns[-1][1] != told["status"]:
                    turns.append((round(time.monotonic() - began, 1), told["status"], code))
                    session.say(f"{turns[-1][0]} s: {told['status']}: {told['sentence']}")
                time.sleep(ASK_EVERY_S)

        watch(QUIET_S)
        health.begin()
        session.say(f"{STEP} breaks")
        flow.broken, broke = True, time.monotonic() - began
        watch(BROKEN_S)
        flow.broken = False
        session.say(f"{STEP} is mended")
        watch(RECOVERY_S, until=True)
        health.close()
    groups = asked(settings, "groups", "--step", STEP, "--since", "1h")[1]
    with connect(settings) as clickhouse:
        [(counted, documents)] = clickhouse.query(
            "SELECT uniqExact(event_id), uniqExact(doc_id) FROM steps "
            "WHERE step_name = {step:String} AND status IN ('ERROR', 'FAILED')",
            {"step": STEP},
        )
    session.say("everything is forgotten and replayed")
    replayed = Replay(settings, file, listener).run()
    return {
        "broke_after_s": round(broke, 1),
        "failures": flow.failures,
        "kills": health.kills,
        "health_said": turns,
        "requests": len(listener.got),
        "alerts": sorted({(each["step"], each["status"]) for got in listener.got for each in got.alerts}),
        "alerts_once": listener.once(),
        "groups": groups,
        "by_sql": {"count": counted, "documents": documents},
        "replayed": replayed,
    }


def resolved(listener: Listener) -> bool:
    """Whether the receiver was told that the step's trouble is over."""
    return (STEP, "resolved") in listener.once()


def main() -> int:
    """Run it, and judge what was seen."""
    with Session(quick=False) as session, tempfile.TemporaryDirectory() as folder, listening() as listener:
        seen = run(session, Path(folder), listener)
    print(json.dumps(seen, default=str))
    said = [status for step, status in seen["alerts_once"] if step == STEP]
    counts = [group["count"] for group in seen["groups"]]
    right = said == ["firing", "resolved"] and sum(counts) == seen["by_sql"]["count"] == seen["failures"]
    replayed = seen["replayed"]
    same = not any(replayed["differ"].values()) and not replayed["alerted_again"]
    return 0 if right and same and all(replayed["rows"].values()) and seen["kills"] == KILLS else 1


if __name__ == "__main__":
    raise SystemExit(main())
