"""Caller's time of `add_step` with a spool against the same without, while the broker is up: nothing is spooled then.

The rounds take turns; what is in the queues is flushed between them, outside the time.
"""

from __future__ import annotations

import statistics
import tempfile
import time

from bench.figure import Figure
from bench.session import Session
from steptrail.producers import ProcessingStepManager, emit_only
from steptrail.schemas import ProcessingStatus

BOUND = 1.1
ROUND = 1000
RUNNING, SUCCESS = ProcessingStatus.RUNNING, ProcessingStatus.SUCCESS
DETAILS = {"pages": 12, "language": "en"}
METRICS = {"peak_mb": 212.5}


def measure(session: Session) -> Figure:
    """Median of the rounds' ratios."""
    settings = session.workspace("spool")
    spent: dict[str, list[float]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory(prefix="steptrail-spool-") as folder:
        managers = {
            "without": ProcessingStepManager(emit_only(settings)),
            "with": ProcessingStepManager(emit_only(settings, spool=folder)),
        }
        for index in range(2 + session.scaled(40)):
            docs = [f"invoices/2025/03/INV-{index * ROUND + n:07d}.pdf" for n in range(ROUND)]
            order = list(managers) if index % 2 else list(reversed(managers))
            for name in order:
                took = _steps(managers[name], docs)
                managers[name].flush(10)
                if index >= 2:  # the first two warm up
                    spent[name].append(took / ROUND / 2 * 1e6)
        for manager in managers.values():
            manager.close()
    ratio = statistics.median(on / off for on, off in zip(spent["with"], spent["without"], strict=True))
    return Figure(
        "spool_cost",
        ratio,
        "ratio",
        f"<= {BOUND}",
        ratio <= BOUND,
        {
            "add_step_us": statistics.median(spent["without"]),
            "add_step_with_spool_us": statistics.median(spent["with"]),
            "rounds": len(spent["with"]),
        },
    )


def _steps(manager: ProcessingStepManager, docs: list[str]) -> float:
    started = time.perf_counter()
    for doc in docs:
        manager.add_step(doc, "ocr", RUNNING)
        manager.add_step(doc, "ocr", SUCCESS, details=DETAILS, metrics=METRICS)
    return time.perf_counter() - started
