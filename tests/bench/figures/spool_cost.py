"""The caller's processor time of `add_step` with a spool against that without, broker up: nothing is spooled then."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

from bench.figure import Figure
from bench.session import Session
from bench.turns import compared, take_turns
from steptrail.producers import ProcessingStepManager, emit_only
from steptrail.schemas import ProcessingStatus

BOUND = 1.1
RUNNING, SUCCESS = ProcessingStatus.RUNNING, ProcessingStatus.SUCCESS
DETAILS = {"pages": 12, "language": "en"}
METRICS = {"peak_mb": 212.5}


def measure(session: Session) -> Figure:
    """With it against without."""
    settings = session.workspace("spool")
    with tempfile.TemporaryDirectory(prefix="steptrail-spool-") as folder:
        managers = {
            "without": ProcessingStepManager(emit_only(settings)),
            "with": ProcessingStepManager(emit_only(settings, spool=folder)),
        }
        spent = take_turns(managers, steps, session.scaled(40))
    return compared("spool_cost", BOUND, spent["with"], spent["without"])


def steps(manager: ProcessingStepManager, docs: Sequence[str]) -> None:
    """Two steps of each document."""
    for doc in docs:
        manager.add_step(doc, "ocr", RUNNING)
        manager.add_step(doc, "ocr", SUCCESS, details=DETAILS, metrics=METRICS)
