"""The caller's processor time of `add_step` with a spool against that without, broker up: nothing is spooled then."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence

from bench.figure import Figure
from bench.session import Session
from bench.turns import take_turns
from steptrail.producers import ProcessingStepManager, emit_only
from steptrail.schemas import ProcessingStatus

BOUND = 1.1
RUNNING, SUCCESS = ProcessingStatus.RUNNING, ProcessingStatus.SUCCESS
DETAILS = {"pages": 12, "language": "en"}
METRICS = {"peak_mb": 212.5}


def measure(session: Session) -> Figure:
    """Median of the rounds' ratios."""
    settings = session.workspace("spool")
    with tempfile.TemporaryDirectory(prefix="steptrail-spool-") as folder:
        managers = {
            "without": ProcessingStepManager(emit_only(settings)),
            "with": ProcessingStepManager(emit_only(settings, spool=folder)),
        }
        spent = take_turns(managers, steps, session.scaled(40))
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


def steps(manager: ProcessingStepManager, docs: Sequence[str]) -> float:
    """Two steps of each document; the seconds that took."""
    started = time.thread_time()
    for doc in docs:
        manager.add_step(doc, "ocr", RUNNING)
        manager.add_step(doc, "ocr", SUCCESS, details=DETAILS, metrics=METRICS)
    return time.thread_time() - started
