"""The status of a running consumer; its loop writes it, metrics, health checks and the log read it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class State(str, Enum):
    """What a consumer is doing."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass
class PartitionStatus:
    """A partition's progress. Offsets are those after the last record; times are seconds."""

    written: int | None = None
    end: int | None = None
    lag_seconds: float = 0.0

    @property
    def lag_events(self) -> int | None:
        """Offsets between the written position and the end of the log; None while either is unknown."""
        if self.written is None or self.end is None:
            return None
        return max(0, self.end - self.written)


@dataclass
class Status:
    """The state, what it waits for if WAITING, and progress by partition.

    One thread writes; others may read at any time and see each field as it was at some recent moment.
    """

    state: State = State.STARTING
    waiting_for: str | None = None
    since: float = field(default_factory=time.time)
    last_turn: float = field(default_factory=time.monotonic)
    last_commit: float | None = None
    partitions: dict[int, PartitionStatus] = field(default_factory=dict)

    def enter(self, state: State, waiting_for: str | None = None) -> bool:
        """Change the state; returns whether it was different before."""
        changed = state is not self.state
        if changed:
            self.since = time.time()
        self.state, self.waiting_for = state, waiting_for
        return changed

    @property
    def fault(self) -> str | None:
        """What it waits for; None in every state but WAITING."""
        return self.waiting_for if self.state is State.WAITING else None

    @property
    def lag_events(self) -> int:
        """The sum over all held partitions whose lag is known."""
        return sum(p.lag_events or 0 for p in list(self.partitions.values()))

    @property
    def lag_seconds(self) -> float:
        """The maximum over all held partitions."""
        return max((p.lag_seconds for p in list(self.partitions.values())), default=0.0)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "state": self.state.value,
            "waiting_for": self.waiting_for,
            "since": self.since,
            "last_commit": self.last_commit,
            "lag_events": self.lag_events,
            "lag_seconds": round(self.lag_seconds, 3),
            "partitions": {
                str(number): {
                    "written": p.written,
                    "end": p.end,
                    "lag_events": p.lag_events,
                    "lag_seconds": round(p.lag_seconds, 3),
                }
                for number, p in sorted(self.partitions.items())
            },
        }
