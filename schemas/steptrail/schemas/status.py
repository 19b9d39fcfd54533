"""The states of a processing step."""

from __future__ import annotations

from enum import Enum


class ProcessingStatus(str, Enum):
    """State of a step of a document; a string, equal to its name."""

    PENDING = "PENDING"
    """Not begun."""
    RUNNING = "RUNNING"
    """Being executed."""
    SUCCESS = "SUCCESS"
    """Done."""
    WARNING = "WARNING"
    """Done, with warnings."""
    ERROR = "ERROR"
    """Failed in a way that can be retried."""
    FAILED = "FAILED"
    """Failed for good."""
    SKIPPED = "SKIPPED"
    """Left out."""

    @property
    def code(self) -> int:
        """The status's number on the wire and in ClickHouse's Enum8: 0 (PENDING) to 6 (SKIPPED)."""
        return _CODES[self]

    @property
    def rank(self) -> int:
        """Progress of an execution: 0 pending, 1 running, 2 ended, whatever the ending."""
        return min(_CODES[self], 2)

    @property
    def is_terminal(self) -> bool:
        """Whether it ends its execution: all but PENDING and RUNNING."""
        return _CODES[self] >= 2

    @property
    def is_error(self) -> bool:
        """Whether the execution failed: ERROR and FAILED."""
        return self in (ProcessingStatus.ERROR, ProcessingStatus.FAILED)

    def __str__(self) -> str:
        return self.value


STATUS_BY_CODE: tuple[ProcessingStatus, ...] = tuple(ProcessingStatus)
"""The statuses in the order of their codes."""

_CODES: dict[ProcessingStatus, int] = {status: code for code, status in enumerate(STATUS_BY_CODE)}
