"""A storage for workers that only emit, and need nothing of ClickHouse."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, NoReturn

from steptrail.producers.emitter import StepEmitter
from steptrail.producers.storage import NotReadableError, Storage
from steptrail.schemas.settings import Settings
from steptrail.schemas.status import ProcessingStatus


def emit_only(settings: Settings | None = None, **overrides: Any) -> Storage:
    """A storage that emits to Kafka and whose reads raise NotReadableError.

    Takes what StepEmitter takes: settings, or from the environment, with any of them overridden by name.
    """
    return EmitOnlyStorage(settings, **overrides)


class EmitOnlyStorage(StepEmitter):
    """An emitter with the reads of a Storage, each of which raises NotReadableError."""

    def get_steps(
        self,
        doc_id: str,
        *,
        statuses: Collection[ProcessingStatus] | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        include_observed: bool = False,
    ) -> NoReturn:
        """Raises NotReadableError."""
        raise _unreadable("get_steps")

    def get_recent_errors(
        self,
        since: datetime,
        *,
        include_warnings: bool = False,
        limit: int | None = None,
        include_observed: bool = False,
    ) -> NoReturn:
        """Raises NotReadableError."""
        raise _unreadable("get_recent_errors")

    def wait_projected(self, timeout: float) -> NoReturn:
        """Raises NotReadableError."""
        raise _unreadable("wait_projected")


def _unreadable(method: str) -> NotReadableError:
    return NotReadableError(
        f"{method}() reads, and this storage only emits (emit_only());"
        " use steptrail.projections.open_storage(), which needs steptrail[clickhouse]"
    )
