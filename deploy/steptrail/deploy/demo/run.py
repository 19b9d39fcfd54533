"""One run of the demonstration from its documents to its figures, on a stack that is up."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steptrail.deploy.demo.summary import Run, RunSummary
from steptrail.deploy.demo.workers import WorkerReport, run_workers

if TYPE_CHECKING:
    from steptrail.projections.clickhouse.client import ClickHouse

PIPELINE = "demo"

#: Seconds that the projection may lag behind the last event before the run is called incomplete.
PROJECTION_S = 120.0


@dataclass(frozen=True)
class DemoResult:
    """What a run did. Times in seconds; `working_s` from the first document to the last acknowledged event,
    `projecting_s` from there to the last row.
    """

    run: str
    workers: int
    documents: int
    emitted: int
    delivered: int
    lost: dict[str, int]
    summary: RunSummary
    working_s: float
    projecting_s: float

    @property
    def agree(self) -> bool:
        """Whether every event that the workers emitted was delivered and can be read, and every document too."""
        return (
            0 < self.emitted == self.delivered == self.summary.events
            and self.documents == self.summary.documents
        )

    @property
    def events_per_s(self) -> float:
        """Events a second, from the first document to the last row."""
        return self.summary.events / max(self.working_s + self.projecting_s, 1e-9)


@dataclass(frozen=True)
class Progress:
    """Receives the progress of a run: documents done so far, then events projected so far and of how many."""

    worked: Callable[[int], None]
    projected: Callable[[int, int], None]


def run_demo(
    clickhouse: ClickHouse,
    documents: Sequence[str],
    workers: int,
    progress: Progress,
) -> DemoResult:
    """Let `workers` processes work through `documents`, wait for the projection, and ask the store for figures.

    The workers find Kafka as any worker does: by the environment.

    Raises WorkerFailed when a worker dies, and the store's errors.
    """
    run = uuid.uuid4().hex[:8]
    job = {"pipeline": PIPELINE, "run": run}
    started = time.monotonic()
    reports = run_workers(job, documents, workers, progress.worked)
    worked = time.monotonic()
    emitters = [report.emitter_id for report in reports]
    delivered = sum(report.delivered for report in reports)
    of_run = Run(clickhouse, PIPELINE, emitters)
    _wait_projected(of_run, delivered, progress.projected)
    projected = time.monotonic()
    return DemoResult(
        run=run,
        workers=workers,
        documents=sum(report.documents for report in reports),
        emitted=sum(report.accepted for report in reports),
        delivered=delivered,
        lost=_lost(reports),
        summary=of_run.summary(),
        working_s=worked - started,
        projecting_s=projected - worked,
    )


def _wait_projected(run: Run, expected: int, on_progress: Callable[[int, int], None]) -> None:
    """Until the store has `expected` events of the run, or makes no headway for PROJECTION_S seconds."""
    best, deadline = -1, time.monotonic() + PROJECTION_S
    while time.monotonic() < deadline:
        events, _ = run.projected()
        on_progress(events, expected)
        if events >= expected:
            return
        if events > best:
            best, deadline = events, time.monotonic() + PROJECTION_S
        time.sleep(0.1)


def _lost(reports: Sequence[WorkerReport]) -> dict[str, int]:
    """Events that were not delivered, by reason, over all workers."""
    lost: dict[str, int] = {}
    for report in reports:
        for reasons in (
            report.failed,
            report.dropped,
            {"pending": report.pending, "spooled": report.spooled},
        ):
            for reason, count in reasons.items():
                if count:
                    lost[reason] = lost.get(reason, 0) + count
    return lost
