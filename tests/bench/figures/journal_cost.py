"""The caller's processor time of `add_step` with a journal against that without: each event is copied and marked."""

from __future__ import annotations

import tempfile

from bench.figure import Figure
from bench.figures.spool_cost import steps
from bench.session import Session
from bench.turns import compared, take_turns
from steptrail.producers import ProcessingStepManager, emit_only

BOUND = 1.3


def measure(session: Session) -> Figure:
    """With it against without."""
    settings = session.workspace("journal")
    with tempfile.TemporaryDirectory(prefix="steptrail-journal-") as folder:
        managers = {
            "without": ProcessingStepManager(emit_only(settings)),
            "with": ProcessingStepManager(emit_only(settings, journal_dir=folder)),
        }
        spent = take_turns(managers, steps, session.scaled(40))
    return compared("journal_cost", BOUND, spent["with"], spent["without"])
