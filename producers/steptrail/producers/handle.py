"""The handle of one run of a step, which can be passed to other processes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

from typing_extensions import Self


class StepHandle(NamedTuple):
    """An event's id, and the execution that it belongs to.

    It identifies the run, also in another process: pass it on, and give it to `add_step(execution=…)`.
    """

    event_id: bytes
    """16 bytes, UUIDv7."""
    execution_id: bytes
    """16 bytes, UUIDv7: every event of the run carries it."""
    attempt: int
    """1 for the first run of the step."""
    doc_id: str
    step_name: str

    def to_dict(self) -> dict[str, Any]:
        """Return the handle as JSON values, for a message or a job's arguments."""
        return {
            "event_id": str(uuid.UUID(bytes=self.event_id)),
            "execution_id": str(uuid.UUID(bytes=self.execution_id)),
            "attempt": self.attempt,
            "doc_id": self.doc_id,
            "step_name": self.step_name,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build a handle from `to_dict`'s result; raises ValueError naming what is missing or wrong."""
        missing = [name for name in cls._fields if name not in data]
        if missing:
            raise ValueError(f"a step handle needs {', '.join(missing)}")
        for name in ("doc_id", "step_name"):
            if not isinstance(data[name], str):
                raise ValueError(f"{name} of a step handle must be a text")
        attempt = data["attempt"]
        if not isinstance(attempt, int) or isinstance(attempt, bool) or not 1 <= attempt < 2**31:
            raise ValueError(f"attempt of a step handle must be 1 or more, not {attempt!r}")
        return cls(
            _uuid("event_id", data), _uuid("execution_id", data), attempt, data["doc_id"], data["step_name"]
        )


def _uuid(name: str, data: Mapping[str, Any]) -> bytes:
    try:
        return uuid.UUID(data[name]).bytes
    except (ValueError, TypeError, AttributeError):
        raise ValueError(f"{name} of a step handle must be a UUID, not {data[name]!r}") from None
