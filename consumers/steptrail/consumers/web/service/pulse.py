"""What changes by itself: a few numbers that say whether there is anything new to look at."""

from __future__ import annotations

from steptrail.consumers.web.models.common import Answer
from steptrail.consumers.web.service.now import Now


class Pulse(Answer):
    """How many documents are failing, run, wait and are stuck, and steps whose verdict is WARNING or CRITICAL."""

    failing_documents: int
    running: int
    queued: int
    stalled: int
    unwell_steps: int


def pulse(now: Now) -> Pulse:
    """The numbers of a moment."""
    return Pulse(
        as_of=now.freshness.as_of,
        behind_seconds=now.freshness.behind_seconds,
        behind_events=now.freshness.behind_events,
        failing_documents=sum(each.documents for each in now.failing.values()),
        running=sum(each.running for each in now.open.values()),
        queued=sum(each.queued for each in now.open.values()),
        stalled=sum(now.stalled.values()),
        unwell_steps=sum(
            bool(step) and verdict.status in ("WARNING", "CRITICAL")
            for (_, step), verdict in now.verdicts.items()
        ),
    )
