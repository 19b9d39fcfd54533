"""Executions without ceremony: which run of a step an event belongs to, when nobody says.

For each step of a document: PENDING or RUNNING opens an execution, RUNNING after PENDING joins it, RUNNING
after RUNNING opens a new one, an ending closes what is open or stands alone as a complete execution. Each
new execution is the next attempt, unless the caller numbers them. What is not remembered (another process
had it, or it fell out of the bounded map) is no harm: the fold settles it by time.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from time import perf_counter_ns
from typing import Any, NamedTuple

from typing_extensions import Self

from steptrail.schemas.ids import new_execution_id
from steptrail.schemas.status import ProcessingStatus

DEFAULT_REMEMBERED = 10_000
"""Steps whose last execution is remembered; about 400 bytes each."""

_PENDING = ProcessingStatus.PENDING
_RUNNING = ProcessingStatus.RUNNING


class StepHandle(NamedTuple):
    """Names one execution, also to another process: hand it on, and give it back to `add_step(execution=…)`."""

    doc_id: str
    step_name: str
    execution_id: bytes
    attempt: int

    def to_dict(self) -> dict[str, Any]:
        """As values that JSON can hold, for a message or a job's arguments."""
        return {
            "doc_id": self.doc_id,
            "step_name": self.step_name,
            "execution_id": str(uuid.UUID(bytes=self.execution_id)),
            "attempt": self.attempt,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict` gave; raises ValueError naming what is missing or wrong."""
        try:
            doc_id, step_name, attempt = data["doc_id"], data["step_name"], data["attempt"]
            execution_id = uuid.UUID(data["execution_id"]).bytes
        except KeyError as missing:
            raise ValueError(f"a step handle needs {missing}") from None
        except (ValueError, TypeError, AttributeError):
            raise ValueError(
                f"execution_id of a step handle must be a UUID, not {data['execution_id']!r}"
            ) from None
        if not isinstance(doc_id, str) or not isinstance(step_name, str):
            raise ValueError("doc_id and step_name of a step handle must be texts")
        if not isinstance(attempt, int) or isinstance(attempt, bool) or not 1 <= attempt < 2**31:
            raise ValueError(f"attempt of a step handle must be 1 or more, not {attempt!r}")
        return cls(doc_id, step_name, execution_id, attempt)


class Assigned(NamedTuple):
    """The execution of an event, and how long it ran if this event ended it."""

    execution_id: bytes
    attempt: int
    duration_ms: float | None


class _Last(NamedTuple):
    execution_id: bytes
    attempt: int
    state: int  # 0 pending, 1 running, 2 ended
    since_ns: int  # of RUNNING, by the steady clock
    given_us: int | None  # of RUNNING, when the caller gave its timestamp


class OpenExecutions:
    """Remembers the last execution of the most recently used steps. Safe for threads; copied by a fork."""

    __slots__ = ("_last", "_lock", "_remembered")

    def __init__(self, remembered: int = DEFAULT_REMEMBERED) -> None:
        self._remembered = remembered
        self._last: OrderedDict[tuple[str, str], _Last] = OrderedDict()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._last)

    def after_fork(self) -> None:
        """In a child: the lock may have been held by a thread that is not here; what is open stays open."""
        self._lock = threading.RLock()

    def assign(
        self,
        doc_id: str,
        step_name: str,
        status: ProcessingStatus,
        given_us: int | None = None,
        now_us: int = 0,
        execution_id: bytes | None = None,
        attempt: int | None = None,
    ) -> Assigned:
        """The execution of an event. `given_us` is its timestamp if the caller set one, `now_us` otherwise's.

        `execution_id` and `attempt`, where given, are kept.
        """
        key = (doc_id, step_name)
        with self._lock:
            last = self._last.get(key)
            if status is _RUNNING:
                if execution_id is None:
                    if last is not None and last.state == 0:
                        execution_id = last.execution_id
                        attempt = attempt or last.attempt
                    else:
                        execution_id = new_execution_id()
                attempt = attempt or _next(last, execution_id)
                self._remember(key, last, _Last(execution_id, attempt, 1, perf_counter_ns(), given_us))
                return Assigned(execution_id, attempt, None)
            if status is _PENDING:
                execution_id = execution_id or new_execution_id()
                attempt = attempt or _next(last, execution_id)
                self._remember(key, last, _Last(execution_id, attempt, 0, 0, None))
                return Assigned(execution_id, attempt, None)
            duration_ms = None
            if (
                last is not None
                and last.state < 2
                and (execution_id is None or execution_id == last.execution_id)
            ):
                execution_id = last.execution_id
                attempt = attempt or last.attempt
                if last.state == 1:
                    duration_ms = _elapsed_ms(last, given_us, now_us)
            elif execution_id is not None and last is not None and last.execution_id != execution_id:
                # The ending of some other execution: what is remembered of this step stands.
                return Assigned(execution_id, attempt or 1, None)
            else:
                execution_id = execution_id or new_execution_id()
                attempt = attempt or _next(last, execution_id)
            self._remember(key, last, _Last(execution_id, attempt, 2, 0, None))
            return Assigned(execution_id, attempt, duration_ms)

    def _remember(self, key: tuple[str, str], before: _Last | None, last: _Last) -> None:
        self._last[key] = last
        if before is not None:
            self._last.move_to_end(key)
        elif len(self._last) > self._remembered:
            self._last.popitem(last=False)


def _next(last: _Last | None, execution_id: bytes) -> int:
    if last is None:
        return 1
    if last.execution_id == execution_id:
        return last.attempt
    return min(last.attempt + 1, 2**31 - 1)


def _elapsed_ms(last: _Last, given_us: int | None, now_us: int) -> float | None:
    """By the steady clock, unless the caller told the times: then by those, if they make sense."""
    if given_us is None and last.given_us is None:
        return (perf_counter_ns() - last.since_ns) / 1e6
    began_us = last.given_us
    if began_us is None:  # began by our clock, ended by theirs: only the wall clock can tell
        began_us = now_us - (perf_counter_ns() - last.since_ns) // 1000
    elapsed_us = (now_us if given_us is None else given_us) - began_us
    return elapsed_us / 1e3 if elapsed_us >= 0 else None
