"""What changes by itself: a few numbers that say whether there is anything new to look at."""

from __future__ import annotations

from steptrail.consumers.web.models.common import Answer
from steptrail.projections.clickhouse.queries import Store, ask, scope
from steptrail.projections.reading.failing import failing_counts
from steptrail.projections.reading.in_progress import in_progress_counts
from steptrail.projections.reading.spans import BEFORE_ALL
from steptrail.projections.reading.stalls import recent_stalls


class Pulse(Answer):
    """How many documents are failing, run, wait and are stuck, and steps whose verdict is WARNING or CRITICAL."""

    failing_documents: int
    running: int
    queued: int
    stalled: int
    unwell_steps: int


def pulse(store: Store, pipeline: str | None) -> Pulse:
    """The numbers as they are now."""
    open_ = in_progress_counts(store, pipeline)
    verdicts = ask(store, "step_verdicts", {**scope(pipeline, store), "any_step": True, "step_name": ""})
    return Pulse(
        failing_documents=sum(each.documents for each in failing_counts(store, pipeline)),
        running=sum(each.running for each in open_),
        queued=sum(each.queued for each in open_),
        stalled=len(recent_stalls(store, pipeline, BEFORE_ALL, 10_000)),
        unwell_steps=sum(
            bool(row["step_name"]) and row["status"] in ("WARNING", "CRITICAL") for row in verdicts
        ),
    )
