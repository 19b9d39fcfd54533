"""Assigns events to executions when the caller does not name one.

For each step of a document: PENDING or RUNNING opens an execution; RUNNING after PENDING joins it; RUNNING after
RUNNING opens a new one, unless the caller marks it as progress of the current run; an ending closes the open execution
or is a complete execution by itself. Each new execution is the next attempt, unless the caller numbers them. An
execution that is not remembered (another process has it, or the bounded map evicted it) does no harm: the fold
resolves it by time.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any

from steptrail.schemas.status import ProcessingStatus

DEFAULT_REMEMBERED = 5_000
"""Steps whose last execution is remembered; about 400 bytes each."""

_PENDING = ProcessingStatus.PENDING
_RUNNING = ProcessingStatus.RUNNING


# Plain tuples: creating a named one costs a tenth of an event.
Assigned = tuple[bytes, int, float | None]
"""The execution of an event, its attempt, and for how many ms it ran if this event ended it."""

_Last = tuple[bytes, int, int, int, int | None, bytes, float | None]
"""execution_id; attempt; 0 pending, 1 running, 2 ended; since when (ns, steady clock; below 0: it began elsewhere);
the time of RUNNING in microseconds, if the caller gave it; the `fresh_id` of the event that was assigned last, and its
duration."""


class OpenExecutions:
    """Remembers the last execution of the most recently used steps, at least `remembered` and at most twice as many.

    Safe for threads without a lock: each access is one operation on a dict, and any order of two threads that record
    the same step at once is as good as another. A fork copies it.
    """

    __slots__ = ("_last", "_older", "_remembered")

    def __init__(self, remembered: int = DEFAULT_REMEMBERED) -> None:
        self._remembered = remembered
        # Two generations: when the younger is full it becomes the older, and the older is dropped as a whole.
        # The key is one text, document, NUL, step, since an event's texts hold no NUL: a tuple keeps both texts in
        # memory, and is hashed at each access.
        self._last: dict[str, _Last] = {}
        self._older: dict[str, _Last] = {}

    def __len__(self) -> int:
        return len(self._last.keys() | self._older.keys())

    def assign(
        self,
        doc_id: str,
        step_name: str,
        status: ProcessingStatus,
        fresh_id: bytes,
        given_us: int | None = None,
        now_us: int = 0,
        execution_id: bytes | None = None,
        attempt: int | None = None,
        progress: bool = False,
    ) -> Assigned:
        """Assign an event to an execution.

        `fresh_id` becomes the id if the event begins an execution; `given_us` is the event's timestamp if the caller
        set one, `now_us` the current time. `execution_id` and `attempt`, if given, are kept. RUNNING with `progress`
        belongs to the current run; if none is known, it begins one.
        """
        key = f"{doc_id}\0{step_name}"
        latest = self._last
        last = latest.get(key)
        # The most common cases first: a run that begins, and its end.
        if last is None:
            last = self._older.get(key)
            if len(latest) >= self._remembered:
                self._older, self._last = latest, {}
                latest = self._last
            if last is None and status is _RUNNING and execution_id is None:
                attempt = 1 if attempt is None else attempt
                latest[key] = (fresh_id, attempt, 1, perf_counter_ns(), given_us, fresh_id, None)
                return fresh_id, attempt, None
        elif given_us is None and status is not _RUNNING and status is not _PENDING:
            run_id, number, state, since_ns, began_us, _, _ = last
            if (
                state == 1
                and began_us is None
                and since_ns >= 0
                and (execution_id is None or execution_id == run_id)
            ):
                attempt = attempt or number
                ran_ms = (perf_counter_ns() - since_ns) / 1e6
                latest[key] = (run_id, attempt, 2, 0, None, fresh_id, ran_ms)
                return run_id, attempt, ran_ms
        duration_ms = None
        if status is _RUNNING:
            begun_ns = -1 if progress and execution_id is not None else perf_counter_ns()
            if execution_id is None:
                if last is not None and (last[2] == 0 or (progress and last[2] == 1)):
                    execution_id = last[0]
                    attempt = attempt or last[1]
                else:
                    execution_id = fresh_id
            if attempt is None:
                attempt = 1 if last is None else _next(last, execution_id)
            if last is not None and last[0] == execution_id:
                if last[2] == 0:
                    begun_ns = perf_counter_ns()
                else:  # a run is measured from its first RUNNING, and an ended run stays ended
                    latest[key] = (*last[:5], fresh_id, None)
                    return execution_id, attempt, None
            elif progress and last is not None and last[2] == 1:
                return execution_id, attempt, None  # a run that began elsewhere: keep the one here open
            latest[key] = (execution_id, attempt, 1, begun_ns, given_us, fresh_id, None)
        elif status is _PENDING:
            execution_id = execution_id or fresh_id
            if attempt is None:
                attempt = 1 if last is None else _next(last, execution_id)
            latest[key] = (execution_id, attempt, 0, 0, None, fresh_id, None)
        elif last is not None and last[2] < 2 and (execution_id is None or execution_id == last[0]):
            execution_id = last[0]
            attempt = attempt or last[1]
            if last[2] == 1 and last[3] >= 0:
                if given_us is None and last[4] is None:
                    duration_ms = (perf_counter_ns() - last[3]) / 1e6
                else:
                    duration_ms = _told_ms(last, given_us, now_us)
            latest[key] = (execution_id, attempt, 2, 0, None, fresh_id, duration_ms)
        elif execution_id is not None and last is not None and last[0] != execution_id:
            # The ending of another execution: the remembered one is unchanged.
            attempt = attempt or 1
        else:
            execution_id = execution_id or fresh_id
            if attempt is None:
                attempt = 1 if last is None else _next(last, execution_id)
            latest[key] = (execution_id, attempt, 2, 0, None, fresh_id, duration_ms)
        return execution_id, attempt, duration_ms

    def assign_again(self, doc_id: str, step_name: str, status: ProcessingStatus, *event: Any) -> Assigned:
        """As `assign`, for an event that may have been assigned already under `fresh_id`."""
        last = self._known(doc_id, step_name)
        if last is not None and last[5] == event[0]:
            return last[0], last[1], last[6]
        return self.assign(doc_id, step_name, status, *event)

    def has_ended(self, doc_id: str, step_name: str, execution_id: bytes) -> bool:
        """Whether this execution is the last one remembered of the step, and has ended."""
        last = self._known(doc_id, step_name)
        return last is not None and last[0] == execution_id and last[2] == 2

    def _known(self, doc_id: str, step_name: str) -> _Last | None:
        key = f"{doc_id}\0{step_name}"
        return self._last.get(key) or self._older.get(key)


def _next(last: _Last, execution_id: bytes) -> int:
    return last[1] if last[0] == execution_id else min(last[1] + 1, 2**31 - 1)


def _told_ms(last: _Last, given_us: int | None, now_us: int) -> float | None:
    """Milliseconds between start and end, at least one of which the caller gave; None if they make no sense."""
    _, _, _, since_ns, began_us, _, _ = last
    if began_us is None:  # began by our clock, ended by the caller's: only wall-clock times compare
        began_us = now_us - (perf_counter_ns() - since_ns) // 1000
    elapsed_us = (now_us if given_us is None else given_us) - began_us
    return elapsed_us / 1e3 if elapsed_us >= 0 else None
