"""Decides which executions are past their deadline, by the watermark, never by the wall clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from steptrail.schemas.observation import Observed as Observed


@dataclass(frozen=True)
class OpenExecution:
    """A started execution without an ending that no later execution of its step has superseded; or a `queued` one that
    has not started.

    `started_at`: broker time of its first RUNNING event, in seconds since the epoch; for a queued one, of its first
    PENDING. A producer's clock may be days off, work that was only just reported is not late, and time in a queue
    (PENDING) is not part of its duration.
    """

    pipeline: str
    step: str
    doc_id: str
    execution_id: bytes
    started_at: float
    queued: bool = False


@dataclass(frozen=True)
class Observation:
    """A decision at `watermark` about one execution, with the applied deadline (seconds)."""

    what: Observed
    execution: OpenExecution
    deadline_s: float | None
    watermark: float

    @property
    def sentence(self) -> str:
        """For people."""
        queued = self.execution.queued
        if self.what is Observed.RETRACTED:
            first = "it was begun" if queued else "an ending"
            return f"{first}, or a later execution{'' if queued else ','} arrived after all"
        waited = self.watermark - self.execution.started_at
        if queued:
            return f"PENDING for {waited:.0f} s and nobody has begun it; deadline {self.deadline_s:.0f} s"
        return f"started {waited:.0f} s ago and has not ended; deadline {self.deadline_s:.0f} s"


def is_stalled(started_at: float, deadline_s: float | None, watermark: float, grace_s: float = 60.0) -> bool:
    """Whether an execution without an ending is past its deadline, given everything up to `watermark`."""
    return deadline_s is not None and watermark >= started_at + deadline_s + grace_s


def observations(
    opened: Iterable[OpenExecution],
    stalled: Mapping[bytes, OpenExecution],
    deadlines_s: Mapping[tuple[str, str], float],
    watermark: float,
    grace_s: Mapping[tuple[str, str], float] | None = None,
    queue_deadlines_s: Mapping[tuple[str, str], float] | None = None,
) -> list[Observation]:
    """The new observations at `watermark`, compared with those already published.

    `opened` are all open executions after everything appended until `watermark` is applied; `stalled` those whose
    latest observation is STALLED, by execution id; `deadlines_s` by (pipeline, step), without steps that have none;
    `grace_s` likewise where it is not 60 s, and `queue_deadlines_s` for queued ones. The result is ordered by execution
    id, so that a replay gives the same. An execution stays stalled if its step's deadline grows later.
    """
    still: set[bytes] = set()
    found = []
    for execution in opened:
        step = execution.pipeline, execution.step
        if execution.execution_id in stalled:
            still.add(execution.execution_id)
            continue
        deadline = ((queue_deadlines_s or {}) if execution.queued else deadlines_s).get(step)
        if is_stalled(execution.started_at, deadline, watermark, (grace_s or {}).get(step, 60.0)):
            found.append(Observation(Observed.STALLED, execution, deadline, watermark))
    for execution_id, execution in stalled.items():
        if execution_id not in still:
            found.append(Observation(Observed.RETRACTED, execution, None, watermark))
    return sorted(found, key=lambda observation: observation.execution.execution_id)
