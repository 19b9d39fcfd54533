"""What the local stack costs while next to nothing happens: ten events a second, one worker.

Projector, health consumer, engine and broker as `steptrail up` starts them: processor time as a share of one core,
memory, and the parts that are written, each of which is merged later.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench import stack
from bench.figure import Figure
from bench.session import Session
from bench.stack import clean_environment
from steptrail.deploy.stack.status import stack_status
from steptrail.projections.clickhouse.client import ClickHouse, connect
from steptrail.schemas import Settings

PARTS = ("projector", "health", "engine", "broker")
RATE = 10
WARM_S = 30
SECONDS = 60
SHARE_BOUND = 6.0
MEMORY_BOUND = 1200.0
# A part of a non-replicated table has the next number of its table.
WRITTEN = (
    "SELECT table, max(max_block_number) FROM system.parts "
    "WHERE database = currentDatabase() AND active GROUP BY table"
)


def measure(session: Session) -> Figure:
    """One stretch, after the stack has settled."""
    seconds = session.scaled(SECONDS)
    with tempfile.TemporaryDirectory(prefix="steptrail-bench-") as name:
        directory = Path(name)
        try:
            running = stack.up(directory)
            processes = {
                part.name: psutil.Process(part.pid)
                for part in stack_status(directory).parts
                if part.name in PARTS and part.pid is not None
            }
            if missing := set(PARTS) - set(processes):
                raise RuntimeError(f"the stack runs no {', '.join(sorted(missing))}")
            emitting = [sys.executable, "-m", "bench.paced", str(RATE), str(WARM_S + seconds + 10), "100"]
            environment = clean_environment(
                STEPTRAIL_KAFKA=running.kafka, STEPTRAIL_CLICKHOUSE=running.clickhouse
            )
            worker = subprocess.Popen(emitting, env=environment, stdout=subprocess.DEVNULL)
            try:
                with connect(Settings(kafka=running.kafka, clickhouse=running.clickhouse)) as store:
                    time.sleep(WARM_S)
                    written, spent, started = _written(store), _spent(processes), time.monotonic()
                    time.sleep(seconds)
                    took = time.monotonic() - started
                    shares = {
                        each: (now - spent[each]) / took * 100 for each, now in _spent(processes).items()
                    }
                    parts = {table: n - written.get(table, 0) for table, n in _written(store).items()}
                    memory = {each: process.memory_info().rss / 1e6 for each, process in processes.items()}
            finally:
                worker.terminate()
                worker.wait(30)
        finally:
            stack.down(directory)
    share = sum(shares.values())
    return Figure(
        "idle_stack",
        share,
        "% of one core",
        f"<= {SHARE_BOUND}; <= {MEMORY_BOUND:g} MB",
        share <= SHARE_BOUND and sum(memory.values()) <= MEMORY_BOUND,
        {
            "shares": shares,
            "memory_mb": sum(memory.values()),
            "memory_mb_by_part": memory,
            "parts_per_hour": sum(parts.values()) / took * 3600,
            "parts_written": {table: n for table, n in parts.items() if n},
            "events_per_s": RATE,
            "seconds": took,
        },
    )


def _spent(processes: dict[str, psutil.Process]) -> dict[str, float]:
    return {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}


def _written(store: ClickHouse) -> dict[str, int]:
    return {str(table): int(number) for table, number in store.query(WRITTEN)}
