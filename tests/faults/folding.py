"""The fold, written a second time and differently: one pass, a few numbers kept for each execution.

Two statements of one rule that were written apart rarely share a mistake. This one works on dicts as fastavro gives
them and knows nothing of steptrail's models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

CODES = {"PENDING": 0, "RUNNING": 1, "SUCCESS": 2, "WARNING": 3, "ERROR": 4, "FAILED": 5, "SKIPPED": 6}

Key = tuple[str, str, str]
"""Pipeline, document, step."""


@dataclass(slots=True)
class Execution:
    """One run so far. Times in microseconds since the epoch."""

    winner: tuple[int, int, bytes] = (-1, 0, b"")
    """Rank, time and event id of the deciding event."""
    event: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 0
    first_run: int | None = None
    first_any: int = 2**63
    last_any: int = -(2**63)
    dependencies: tuple[bool, tuple[int, int, bytes], str] = (False, (-1, 0, b""), "[]")
    queued: bool = False
    ids: set[bytes] = field(default_factory=set)
    again: tuple[int, int, bytes] = (-1, 0, b"")
    """As `winner`, of events that arrived once more. Of several broker times the greatest counts: `step_executions`
    takes in every arrival, while the view folds the rows, where an event stands once."""


class Folding:
    """Folds events in whatever order they come."""

    def __init__(self) -> None:
        self._runs: dict[Key, dict[bytes, Execution]] = {}

    def add(self, event: Mapping[str, Any], broker_us: int) -> None:
        """Take one record: the event's fields as in the schema, status by name."""
        moment = min(event["timestamp"], broker_us)
        code = CODES[event["status"]]
        precedence = (min(code, 2), moment, event["event_id"])
        runs = self._runs.setdefault((event["pipeline"], event["doc_id"], event["step_name"]), {})
        run = runs.get(event["execution_id"])
        if run is None:
            run = runs[event["execution_id"]] = Execution()
        run.ids.add(event["event_id"])
        if precedence > run.winner:
            run.winner, run.event = precedence, event
        depends = (event["depends_on"] != "[]", precedence, event["depends_on"])
        if depends > run.dependencies:
            run.dependencies = depends
        run.attempt = max(run.attempt, event["attempt"])
        if code == 1 and (run.first_run is None or moment < run.first_run):
            run.first_run = moment
        run.queued |= code == 0
        run.first_any = min(run.first_any, moment)
        run.last_any = max(run.last_any, moment)

    def add_again(self, event: Mapping[str, Any], broker_us: int) -> None:
        """An event that was added arrived once more, later: it is no row of its own."""
        key = event["pipeline"], event["doc_id"], event["step_name"]
        run = self._runs[key][event["execution_id"]]
        moment = min(event["timestamp"], broker_us)
        run.again = max(run.again, (min(CODES[event["status"]], 2), moment, event["event_id"]))

    def add_documents(self, other: Folding) -> None:
        """Take in what another has folded of other documents."""
        self._runs.update(other._runs)

    def executions(self) -> Iterator[tuple[Any, ...]]:
        """Key, execution id, the winner's rank, time, id and status, attempt, first run, first and last event."""
        for key, runs in self._runs.items():
            for execution_id, run in runs.items():
                status = CODES[run.event["status"]]
                rank, moment, event_id = max(run.winner, run.again)
                yield (
                    *(*key, execution_id.hex(), rank, moment, event_id.hex(), status),
                    *(run.attempt, run.first_run, run.first_any, max(run.last_any, run.again[1])),
                )

    def states(self) -> Iterator[tuple[Any, ...]]:
        """Key and the current state of each step, in the order of the view's columns."""
        for key, runs in self._runs.items():
            began = {name: run for name, run in runs.items() if run.winner[0] > 0}
            parts, waits = _parts(runs, began)
            execution_id, run = parts[0]
            event = run.event
            first = min(part.first_any for _, part in parts)
            yield (
                *(*key, event["status"], max(part.attempt for _, part in parts), execution_id.hex()),
                first if any(part.queued for _, part in parts) else None,
                *(run.first_run, run.winner[1]),
                *(event["duration_ms"], event["error_type"], event["error_message"]),
                *(event["details"], event["metrics"], max(part.dependencies for _, part in parts)[2]),
                len(began) + waits,
                sum(len(other.ids) for other in runs.values()),
            )


Named = tuple[bytes, Execution]


def _parts(runs: Mapping[bytes, Execution], began: Mapping[bytes, Execution]) -> tuple[list[Named], bool]:
    """The executions that are the step's current run, the one that names it first, and whether it is waited for."""
    queued = {name: run for name, run in runs.items() if name not in began}
    if not began:
        return sorted(queued.items(), key=lambda item: item[1].winner, reverse=True), True
    name, last = max(began.items(), key=lambda item: (item[1].last_any, item[0]))
    late = [(other, run) for other, run in queued.items() if run.last_any > last.last_any]
    slack = 0 if last.event["status"] in ("ERROR", "FAILED") else 1_000_000
    if any(run.attempt > last.attempt or run.last_any - last.last_any > slack for _, run in late):
        return sorted(late, key=lambda item: item[1].winner, reverse=True), True
    order = sorted((run.first_any, other) for other, run in began.items())
    parts = [(name, last)]
    for other, run in queued.items():
        taker = next((each for at, each in order if at >= run.first_any), order[-1][1])
        if taker == name:
            parts.append((other, run))
    return parts, False
