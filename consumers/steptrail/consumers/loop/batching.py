"""Decides when a batch is written: policy as data, time as a parameter."""

from __future__ import annotations

from dataclasses import dataclass

from steptrail.schemas.configuration.settings import Settings


@dataclass(frozen=True)
class BatchLimits:
    """A batch is closed by whichever comes first: records, bytes or age (seconds).

    Age counts from the last time a batch was closed, so that after a pause the first records do not wait (except for
    `linger_s`, in which the rest of their burst arrives), and under steady traffic there are never more than
    1 / `max_age_s` batches a second: each batch costs ClickHouse, however small. While a batch holds fewer than
    `quiet_events` records, it may become `quiet_age_s` old (by default no older than others).

    The first batch since the start is closed as soon as it holds `first_events`: with a backlog, rows are there sooner.
    """

    max_events: int = 100_000
    max_bytes: int = 32 * 1024 * 1024
    max_age_s: float = 0.5
    linger_s: float = 0.05
    quiet_age_s: float = 0.0
    quiet_events: int = 100
    first_events: int = 5_000

    def __post_init__(self) -> None:
        if self.max_events < 1 or self.max_bytes < 1:
            raise ValueError("a batch must hold at least one record and one byte")
        if not 0 < self.max_age_s <= 1.0:
            raise ValueError(f"batch age must be above 0 and at most 1 second, not {self.max_age_s}")

    @classmethod
    def of(cls, settings: Settings, *, patience: int = 4) -> BatchLimits:
        """The limits in the settings; few events may wait for each other `patience` times as long as many.

        But at most as long as that is by default.
        """
        age = settings.batch_max_age_s
        quiet = patience * min(age, cls.max_age_s)
        return cls(settings.batch_max_events, settings.batch_max_bytes, age, quiet_age_s=quiet)

    def is_full(self, events: int, size: int) -> bool:
        """Whether the batch is full."""
        return events >= self.max_events or size >= self.max_bytes

    def due_at(self, events: int, opened_at: float, last_closed_at: float | None) -> float:
        """When to close a batch of so many events whose first record came at `opened_at`; `last_closed_at` is None for
        the first one.
        """
        if last_closed_at is None:
            return opened_at if events >= self.first_events else opened_at + self.linger_s
        age = max(self.max_age_s, self.quiet_age_s) if events < self.quiet_events else self.max_age_s
        return max(opened_at + self.linger_s, min(opened_at, last_closed_at) + age)

    def is_due(
        self, events: int, size: int, opened_at: float, last_closed_at: float | None, now: float
    ) -> bool:
        """Whether to close a batch now; an empty one never is due."""
        if events == 0:
            return False
        return self.is_full(events, size) or now >= self.due_at(events, opened_at, last_closed_at)
